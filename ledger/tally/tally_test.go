package tally

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cloakroom/internal/db"
)

func open(t *testing.T) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), db.Options{Path: filepath.Join(t.TempDir(), "t.db"), Log: slog.New(slog.DiscardHandler)}, Migrations...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

var today = time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)

// linked is a mail whose files become links.
func linked(at time.Time, from string, to []string, files ...string) Mail {
	m := Mail{At: at, Observed: true, Direction: "outbound", From: from, To: to}
	m.Add(Act{Action: Seen, Detail: "observed", Bytes: 5000})
	for _, f := range files {
		m.Add(Act{Action: Linked, Parts: 1, Bytes: int64(len(f))})
		m.Add(Act{Action: Link, Rule: "large", Parts: 1, Bytes: int64(len(f))})
		m.Files = append(m.Files, Content{sha256.Sum256([]byte(f)), int64(len(f))})
	}
	return m
}

func find(t *testing.T, d *db.DB, from time.Time, action string) (mails, parts, bytes int64) {
	t.Helper()
	rows, err := Since(t.Context(), d.Read(), from)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Action == action {
			mails, parts, bytes = mails+r.Mails, parts+r.Parts, bytes+r.Bytes
		}
	}
	return mails, parts, bytes
}

func TestFilesThatComeAgainAreFoundWithinAndAcrossBatches(t *testing.T) {
	d, c := open(t), NewCounter()
	c.Add(linked(today, "alice@acmecorp.test", []string{"@ext.test"}, "aaaa", "bbbbbb", "aaaa"))
	if err := c.Flush(t.Context(), d, today); err != nil {
		t.Fatal(err)
	}
	c.Add(linked(today.Add(time.Hour), "bob@acmecorp.test", []string{"@ext.test"}, "bbbbbb", "cc"))
	c = restart(t, c, d)
	c.Add(linked(today.Add(2*time.Hour), "bob@acmecorp.test", []string{"carol@acmecorp.test"}, "cc"))
	if err := c.Flush(t.Context(), d, today); err != nil {
		t.Fatal(err)
	}
	if mails, parts, bytes := find(t, d, today, Link); mails != 3 || parts != 6 || bytes != 24 {
		t.Errorf("links: %d mails, %d parts, %d bytes", mails, parts, bytes)
	}
	if _, parts, bytes := find(t, d, today, Repeated); parts != 3 || bytes != 4+6+2 {
		t.Errorf("repeated: %d parts, %d bytes", parts, bytes)
	}
	if _, parts, _ := find(t, d, today, Uncompared); parts != 0 {
		t.Errorf("uncompared: %d parts", parts)
	}
	top, err := Top(t.Context(), d.Read(), today, true, From, 10)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Person{{"alice@acmecorp.test", 1, 3, 14}, {"bob@acmecorp.test", 2, 3, 10}}; !slices.Equal(top, want) {
		t.Errorf("senders %v, want %v", top, want)
	}
	if top, err = Top(t.Context(), d.Read(), today, false, From, 10); err != nil || len(top) != 0 {
		t.Errorf("in the other mode: %v, %v", top, err)
	}
}

// restart writes down what was counted, as at the end of a daemon, and begins anew.
func restart(t *testing.T, c *Counter, d *db.DB) *Counter {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Run(ctx, d, slog.New(slog.DiscardHandler))
	return NewCounter()
}

func TestWhatCouldNotBeWrittenIsWrittenLater(t *testing.T) {
	d, c := open(t), NewCounter()
	broken := open(t)
	broken.Close()
	c.Add(linked(today, "alice@acmecorp.test", nil, "aaaa"))
	if err := c.Flush(t.Context(), broken, today); err == nil {
		t.Fatal("no error of a closed database")
	}
	c.Add(linked(today, "alice@acmecorp.test", nil, "aaaa"))
	if err := c.Flush(t.Context(), d, today); err != nil {
		t.Fatal(err)
	}
	if mails, _, bytes := find(t, d, today, Link); mails != 2 || bytes != 8 {
		t.Errorf("%d mails, %d bytes", mails, bytes)
	}
	if _, parts, _ := find(t, d, today, Repeated); parts != 1 {
		t.Errorf("repeated: %d parts", parts)
	}
}

func TestPeopleBeyondTheBoundAreCountedAsOne(t *testing.T) {
	d, c := open(t), NewCounter()
	for i := range maxPeople + 7 {
		c.Add(linked(today, fmt.Sprintf("user%05d@acmecorp.test", i), nil, "aaaa"))
	}
	for range 2 { // whoever has a row keeps it; nobody gets a second one
		if err := c.Flush(t.Context(), d, today); err != nil {
			t.Fatal(err)
		}
		c.Add(linked(today, "user00000@acmecorp.test", nil, "aaaa"))
		c.Add(linked(today, "late@acmecorp.test", nil, "aaaa"))
	}
	top, err := Top(t.Context(), d.Read(), today, true, From, maxPeople*2)
	if err != nil {
		t.Fatal(err)
	}
	if len(top) != maxPeople+1 || top[0] != (Person{"", 8, 8, 32}) || top[1] != (Person{"user00000@acmecorp.test", 2, 2, 8}) {
		t.Errorf("%d people, first %v", len(top), top[:2])
	}
}

func TestOldDaysGo(t *testing.T) {
	d, c := open(t), NewCounter()
	c.Add(linked(today.Add(-keep-48*time.Hour), "alice@acmecorp.test", nil, "aaaa"))
	c.Add(linked(today, "alice@acmecorp.test", nil, "bbbb"))
	if err := c.Flush(t.Context(), d, today); err != nil {
		t.Fatal(err)
	}
	if mails, _, _ := find(t, d, time.Time{}, Seen); mails != 1 {
		t.Errorf("%d mails are left", mails)
	}
	days, err := Days(t.Context(), d.Read(), today)
	if err != nil || len(days) == 0 || !days[0].Begin.Equal(today.Truncate(24*time.Hour)) || !days[0].Observed {
		t.Errorf("days %v, %v", days, err)
	}
	// The purge is once a day, also where nothing was counted.
	if err := c.Flush(t.Context(), d, today.Add(keep+48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if mails, _, _ := find(t, d, time.Time{}, Seen); mails != 0 {
		t.Errorf("%d mails are left", mails)
	}
}

func TestPendingIsBounded(t *testing.T) {
	d, c := open(t), NewCounter()
	for i := range maxPending + 100 {
		m := Mail{At: today, Observed: true}
		m.Add(Act{Action: Vault, Rule: "keep", Detail: fmt.Sprint(i), Parts: 1})
		m.Files = []Content{{sha256.Sum256(fmt.Append(nil, i)), 10}}
		c.Add(m)
	}
	if n := len(c.now.rows); n > maxPending+2 {
		t.Errorf("%d rows are pending", n)
	}
	if n := len(c.now.contents); n > maxPending {
		t.Errorf("%d contents are pending", n)
	}
	if err := c.Flush(t.Context(), d, today); err != nil {
		t.Fatal(err)
	}
	if mails, parts, _ := find(t, d, today, Vault); mails != maxPending+100 || parts != mails {
		t.Errorf("%d mails, %d parts", mails, parts)
	}
	if _, parts, bytes := find(t, d, today, Uncompared); parts != 100 || bytes != 1000 {
		t.Errorf("uncompared: %d parts, %d bytes", parts, bytes)
	}
}
