package sisa

// What must hold on both databases.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/testserver/pgtest"
	"cloakroom/ledger"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var (
	linkKey = bytes.Repeat([]byte{7}, 32)
	start   = time.UnixMilli(1773500966123)
)

// store is a database with a clock.
type store struct {
	db    *db.DB
	links *Links
	now   time.Time
}

func onBoth(t *testing.T, f func(t *testing.T, s *store)) {
	open := func(t *testing.T, o db.Options) *store {
		o.Log = slog.New(slog.DiscardHandler)
		d, err := db.Open(context.WithoutCancel(t.Context()), o, slices.Concat(ledger.Migrations, Migrations)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		s := &store{db: d, now: start}
		s.links = NewLinks(d, func() time.Time { return s.now })
		return s
	}
	t.Run("sqlite", func(t *testing.T) { f(t, open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})) })
	t.Run("postgres", func(t *testing.T) {
		f(t, open(t, db.Options{URL: pgtest.Database(t)}))
	})
}

func (s *store) commit(t *testing.T, f func(ctx context.Context, tx db.Tx) error) {
	t.Helper()
	if err := s.db.Commit(t.Context(), nil, f); err != nil {
		t.Fatal(err)
	}
}

// mail records a mail with two files that are linked and one that is not.
func (s *store) mail(t *testing.T, n byte, sender string) ledger.Key {
	t.Helper()
	m := &ledger.Mail{
		Key: ledger.Key{n}, QueueID: fmt.Sprint("q", n), Sender: sender, Subject: "Pläne 図", Recipients: []string{"bob@ext.test"}, Received: start,
		Skeleton: ledger.Skeleton{Inline: []byte{1}},
		Parts: []ledger.Part{
			{Index: 2, Name: "a.pdf", Type: "application/pdf", Size: 3 << 30, SHA256: ledger.Hash{n, 2}, Linked: true},
			{Index: 3, Name: "kept.pdf", Type: "application/pdf", Size: 9, SHA256: ledger.Hash{n, 3}},
			{Index: 4, Name: "日本.txt", Type: "text/plain", Size: 5, SHA256: ledger.Hash{n, 4}, Linked: true},
		},
	}
	s.commit(t, func(ctx context.Context, tx db.Tx) error {
		_, err := ledger.Put(ctx, tx, m)
		return err
	})
	return m.Key
}

// issue asks for a link to the parts 2 and 4, or those given.
func (s *store) issue(t *testing.T, mail ledger.Key, now time.Time, life time.Duration, parts ...int) (g Grant) {
	t.Helper()
	if parts == nil {
		parts = []int{2, 4}
	}
	s.commit(t, func(ctx context.Context, tx db.Tx) (err error) {
		g, err = Issue(ctx, tx, linkKey, Wish{Mail: mail, Parts: parts, Life: life, Now: now})
		return err
	})
	return g
}

func (s *store) revoke(t *testing.T, g Grant) {
	t.Helper()
	s.commit(t, func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE links SET revoked = $2 WHERE id = $1`, g.ID[:], s.now.UnixMilli())
		return err
	})
}

func TestATokenOpensTheLinkedFilesOfItsMail(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		g := s.issue(t, s.mail(t, 1, "alice@acmecorp.test"), start, 0)
		s.issue(t, s.mail(t, 2, "eve@acmecorp.test"), start, 0)
		want := Link{
			ID: g.ID.String(), Sender: "alice@acmecorp.test", Subject: "Pläne 図", Created: start,
			Files: []File{
				{Part: 2, Name: "a.pdf", Type: "application/pdf", Size: 3 << 30, SHA256: [32]byte{1, 2}},
				{Part: 4, Name: "日本.txt", Type: "text/plain", Size: 5, SHA256: [32]byte{1, 4}},
			},
		}
		byToken, err := s.links.ByToken(t.Context(), g.Token)
		if err != nil || !reflect.DeepEqual(byToken, want) {
			t.Errorf("by token: %+v, %v; want %+v", byToken, err, want)
		}
		byID, err := s.links.ByID(t.Context(), g.ID.String())
		if err != nil || !reflect.DeepEqual(byID, want) {
			t.Errorf("by id: %+v, %v", byID, err)
		}
		for _, token := range []string{"", "x", g.ID.String(), Token(linkKey, g.Mail, 1), Token([]byte("other"), g.Mail, 0)} {
			if _, err := s.links.ByToken(t.Context(), token); !errors.Is(err, ErrNotFound) {
				t.Errorf("token %q: %v", token, err)
			}
		}
		for _, id := range []string{"", "zz", g.ID.String()[:62], TokenID("no such token")} {
			if _, err := s.links.ByID(t.Context(), id); !errors.Is(err, ErrNotFound) {
				t.Errorf("id %q: %v", id, err)
			}
		}
	})
}

func TestALinkEndsAtItsExpiryAndAtOnceWhenRevoked(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		g := s.issue(t, s.mail(t, 1, "a@acmecorp.test"), start, time.Hour)
		look := func(at time.Time) error {
			s.now = at
			link, err := s.links.ByToken(t.Context(), g.Token)
			if err == nil && !link.Expires.Equal(start.Add(time.Hour)) {
				t.Errorf("expires %v", link.Expires)
			}
			return err
		}
		if err := look(start.Add(time.Hour - time.Millisecond)); err != nil {
			t.Errorf("a millisecond before: %v", err)
		}
		if err := look(start.Add(time.Hour)); !errors.Is(err, ErrExpired) {
			t.Errorf("at its expiry: %v", err)
		}
		s.revoke(t, g)
		if err := look(start); !errors.Is(err, ErrNotFound) {
			t.Errorf("revoked: %v", err)
		}
		if err := look(start.Add(2 * time.Hour)); !errors.Is(err, ErrNotFound) {
			t.Errorf("revoked and expired: %v, want what an unknown link gives", err)
		}
	})
}

func TestIssueGivesTheLinkThatWorksOrANewOne(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		mail := s.mail(t, 1, "a@acmecorp.test")
		end := start.Add(time.Hour)
		first := s.issue(t, mail, start, time.Hour)
		if want := Offer(linkKey, Wish{Mail: mail, Parts: []int{2, 4}, Life: time.Hour, Now: start}, 0); !reflect.DeepEqual(first, want) {
			t.Errorf("got %+v, want what was offered: %+v", first, want)
		}
		if g := s.issue(t, mail, start.Add(time.Minute), time.Hour); g.Token != first.Token || !g.Expires.Equal(end) || !g.Created.Equal(start) {
			t.Errorf("a minute later: %+v", g)
		}
		second := s.issue(t, mail, end, 0)
		if second.Generation != 1 || second.Token == first.Token || !second.Expires.IsZero() || !second.Created.Equal(end) {
			t.Errorf("after its end: %+v", second)
		}
		s.revoke(t, second)
		third := s.issue(t, mail, end, 0)
		if again := s.issue(t, mail, end.Add(1000*time.Hour), 0); third.Generation != 2 || again.Token != third.Token {
			t.Errorf("after it was revoked: %+v, then %+v", third, again)
		}
		if _, err := s.links.ByToken(t.Context(), second.Token); !errors.Is(err, ErrNotFound) {
			t.Errorf("the revoked one: %v", err)
		}
	})
}

func TestALinkIsProlongedAndNeverShortened(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		mail := s.mail(t, 1, "a@acmecorp.test")
		first := s.issue(t, mail, start, 10*time.Hour)
		for _, step := range []struct {
			name  string
			after time.Duration // when the mail comes again
			life  time.Duration // what the rules say by then
			want  time.Duration // from the start; 0 is never
		}{
			{"more than half is left", 4 * time.Hour, 10 * time.Hour, 10 * time.Hour},
			{"less than half is left", 6 * time.Hour, 10 * time.Hour, 16 * time.Hour},
			{"a shorter life now", 6 * time.Hour, time.Hour, 16 * time.Hour},
			{"a much longer life now", 7 * time.Hour, 100 * time.Hour, 107 * time.Hour},
			{"forever now", 8 * time.Hour, 0, 0},
			{"it was forever", 9 * time.Hour, time.Hour, 0},
		} {
			g := s.issue(t, mail, start.Add(step.after), step.life)
			want := start.Add(step.want)
			if step.want == 0 {
				want = time.Time{}
			}
			if g.Token != first.Token || !g.Expires.Equal(want) {
				t.Errorf("%s: generation %d expires %v, want %v", step.name, g.Generation, g.Expires, want)
			}
			if link, err := s.links.ByToken(t.Context(), g.Token); err != nil || !link.Expires.Equal(want) {
				t.Errorf("%s: looked up, it expires %v (%v), want %v", step.name, link.Expires, err, want)
			}
		}
	})
}

func TestALinkOpensThePartsItWasIssuedForOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		mail := s.mail(t, 1, "a@acmecorp.test")
		files := func(g Grant) (parts []int) {
			link, err := s.links.ByToken(t.Context(), g.Token)
			if err != nil {
				t.Error(err)
			}
			for _, f := range link.Files {
				parts = append(parts, f.Part)
			}
			return parts
		}
		one := s.issue(t, mail, start, 0, 2)
		both := s.issue(t, mail, start, 0, 2, 4)
		if one.Token == both.Token || both.Generation != 1 {
			t.Errorf("other parts, the same link: %+v, %+v", one, both)
		}
		if a, b := files(one), files(both); !slices.Equal(a, []int{2}) || !slices.Equal(b, []int{2, 4}) {
			t.Errorf("the links open %v and %v", a, b)
		}
		rows, err := s.links.List(t.Context(), Filter{Limit: 10})
		if err != nil || len(rows) != 2 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for _, r := range rows {
			want := Row{Files: 1, Bytes: 3 << 30}
			if r.Generation == 1 {
				want = Row{Files: 2, Bytes: 3<<30 + 5}
			}
			if r.Files != want.Files || r.Bytes != want.Bytes {
				t.Errorf("generation %d: %d files of %d bytes, want %d of %d", r.Generation, r.Files, r.Bytes, want.Files, want.Bytes)
			}
		}
	})
}

func TestALinkNeedsARecordOfItsMail(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		err := s.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
			_, err := Issue(ctx, tx, linkKey, Wish{Mail: ledger.Key{9}, Parts: []int{1}, Now: start})
			return err
		})
		if err == nil {
			t.Error("a link to no mail was issued")
		}
	})
}

func TestListFindsLinksBySenderAndByTheBeginningOfTheirID(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		var grants []Grant
		for i := range 20 {
			sender := []string{"alice@acmecorp.test", "eve@acmecorp.test"}[i%2]
			grants = append(grants, s.issue(t, s.mail(t, byte(i+1), sender), start.Add(time.Duration(i)*time.Second), 0))
		}
		list := func(f Filter) []Row {
			t.Helper()
			rows, err := s.links.List(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			return rows
		}
		all := list(Filter{Limit: 100})
		if len(all) != 20 || !slices.IsSortedFunc(all, func(a, b Row) int { return b.Created.Compare(a.Created) }) {
			t.Errorf("%d rows, want 20, newest first", len(all))
		}
		if n := len(list(Filter{Limit: 7})); n != 7 {
			t.Errorf("%d rows, want 7", n)
		}
		for _, r := range list(Filter{Mails: ledger.Filter{Sender: "eve@acmecorp.test"}, Limit: 100}) {
			if r.Sender != "eve@acmecorp.test" {
				t.Errorf("a link of %s among those of eve", r.Sender)
			}
		}
		if n := len(list(Filter{Mails: ledger.Filter{Sender: "eve@acmecorp.test"}, Limit: 100})); n != 10 {
			t.Errorf("%d links of eve, want 10", n)
		}
		for _, digits := range []int{64, 9, 1} { // whole and half bytes
			prefix := grants[3].ID.String()[:digits]
			want := 0
			for _, g := range grants {
				if g.ID.String()[:digits] == prefix {
					want++
				}
			}
			if n := len(list(Filter{ID: prefix, Limit: 100})); n != want {
				t.Errorf("%d links begin with %s, want %d", n, prefix, want)
			}
		}
		if _, err := s.links.List(t.Context(), Filter{ID: "xyz", Limit: 1}); err == nil {
			t.Error("an id that is no hex: no error")
		}
		want := Row{
			ID: grants[3].ID.String(), Mail: ledger.Key{4}, State: Active, Recipients: []string{"bob@ext.test"}, Created: start.Add(3 * time.Second), Sender: "eve@acmecorp.test",
			Subject: "Pläne 図", QueueID: "q4", Files: 2, Bytes: 3<<30 + 5,
		}
		if got := list(Filter{ID: want.ID, Limit: 1}); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

func TestDownloadsAreListedInTheirOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		g := s.issue(t, s.mail(t, 1, "a@acmecorp.test"), start, 0)
		other := s.issue(t, s.mail(t, 2, "a@acmecorp.test"), start, 0)
		id := g.ID.String()
		want := []Download{
			{LinkID: id, Part: 2, Client: "192.0.2.1", Agent: "Browser/1", At: start},
			{LinkID: id, Part: 4, Client: "2001:db8::1", At: start.Add(time.Second)},
		}
		for _, d := range []Download{want[1], want[0], {LinkID: other.ID.String(), Part: 2, At: start}} {
			if err := s.links.Downloaded(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.links.Downloads(t.Context(), id)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
		odd := Download{LinkID: other.ID.String(), Part: 4, Agent: "a\x00b\xffc", At: start.Add(time.Second)}
		if err := s.links.Downloaded(t.Context(), odd); err != nil {
			t.Fatal(err)
		}
		if got, err = s.links.Downloads(t.Context(), odd.LinkID); err != nil || len(got) != 2 || got[1].Agent != "abc" {
			t.Errorf("got %+v, %v", got, err)
		}
		rows, err := s.links.List(t.Context(), Filter{ID: id, Limit: 1})
		if err != nil || len(rows) != 1 || rows[0].Downloads != 2 {
			t.Errorf("listed with %+v, %v; want 2 downloads", rows, err)
		}
		for _, bad := range []string{"", "zz"} {
			if got, err := s.links.Downloads(t.Context(), bad); len(got) != 0 || bad == "zz" && err == nil {
				t.Errorf("downloads of link %q: %+v, %v", bad, got, err)
			}
		}
		if err := s.links.Downloaded(t.Context(), Download{LinkID: "zz"}); err == nil {
			t.Error("a download of link zz was recorded")
		}
	})
}

func TestUseCountsABlobOnceAndKeepsItYoung(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		use := func(n byte, size int64, at time.Time) {
			s.commit(t, func(ctx context.Context, tx db.Tx) error { return Use(ctx, tx, [32]byte{n}, size, at) })
		}
		if got, err := s.links.Stats(t.Context()); err != nil || got != (StoreStats{}) {
			t.Errorf("empty: %+v, %v", got, err)
		}
		use(1, 3<<30, start)
		use(2, 7, start)
		use(1, 3<<30, start.Add(time.Hour))
		s.issue(t, s.mail(t, 1, "a@acmecorp.test"), start, 0)
		if got, err := s.links.Stats(t.Context()); err != nil || got != (StoreStats{Blobs: 2, Bytes: 3<<30 + 7, Links: 1}) {
			t.Errorf("got %+v, %v", got, err)
		}
		var created, used int64
		err := s.db.Read().QueryRow(`SELECT created, used FROM blobs WHERE size > 7`).Scan(&created, &used)
		if err != nil || created != start.UnixMilli() || used != start.Add(time.Hour).UnixMilli() {
			t.Errorf("created %d, used %d, %v", created, used, err)
		}
	})
}
