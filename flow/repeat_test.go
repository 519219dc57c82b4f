package flow_test

// A mail that comes again: MTAs repeat what was not answered.

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/policy"
	"cloakroom/sisa"
)

// links lists all links, oldest generation first.
func (w *world) links(t testing.TB) []sisa.Row {
	t.Helper()
	rows, err := sisa.NewLinks(w.db, time.Now).List(t.Context(), sisa.Filter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(rows, func(a, b sisa.Row) int { return int(a.Generation) - int(b.Generation) })
	return rows
}

func (w *world) change(t testing.TB, query string, args ...any) {
	t.Helper()
	err := w.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var tokenInURL = regexp.MustCompile(regexp.QuoteMeta(site) + `([A-Za-z0-9_-]{22})`)

// token is the one that the notice in a mail names.
func (d *delivery) token(t testing.TB) string {
	t.Helper()
	found := tokenInURL.FindSubmatch(d.body)
	if found == nil {
		t.Fatalf("no link in the mail:\n%s", d.body)
	}
	return string(found[1])
}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, f func(t *testing.T, open func(t testing.TB, rules ...policy.Rule) *world)) {
	t.Run("sqlite", func(t *testing.T) { f(t, newWorld) })
	t.Run("postgres", func(t *testing.T) { f(t, newPostgresWorld) })
}

func TestTheSameMailKeepsItsLinkUntilThatIsOver(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(t testing.TB, rules ...policy.Rule) *world) {
		expiring := policy.Rule{Name: "for a day", Link: &policy.LinkAction{Options: policy.LinkOptions{Expires: 24 * time.Hour}}}
		w := open(t, expiring)
		raw := plans("again").raw()
		send := func(after time.Duration) (*delivery, string) {
			t.Helper()
			w.now = received.Add(after)
			env := outbound("q")
			env.Received = w.now
			d := w.mustDeliver(t, env, raw)
			token := d.token(t)
			if id := w.links(t)[len(w.links(t))-1].ID; sisa.TokenID(token) != id {
				t.Errorf("the notice names another link than the newest, %s", id)
			}
			return d, token
		}
		first, a := send(0)
		second, b := send(time.Hour)
		if a != b || !bytes.Equal(first.raw(), second.raw()) {
			t.Error("an hour later the mail has another link, or looks different")
		}
		if _, c := send(24 * time.Hour); c == a {
			t.Error("the link that had expired was given again")
		}
		w.change(t, `UPDATE links SET revoked = $1 WHERE generation = 1`, received.UnixMilli())
		_, d := send(25 * time.Hour)
		_, e := send(26 * time.Hour)
		if d == a || d == b || d != e {
			t.Error("the link that was revoked was given again, or its successor not twice")
		}
		links := w.links(t)
		if len(links) != 3 || w.rows(t, "mails") != 1 || w.rows(t, "blobs") != 1 {
			t.Fatalf("%d links, %d records, %d blobs; want 3, 1, 1", len(links), w.rows(t, "mails"), w.rows(t, "blobs"))
		}
		for i, want := range []time.Duration{24 * time.Hour, 48 * time.Hour, 49 * time.Hour} {
			if l := links[i]; l.Generation != uint32(i) || !l.Expires.Equal(received.Add(want)) {
				t.Errorf("generation %d expires %v, want %v", l.Generation, l.Expires, received.Add(want))
			}
		}
	})
}

func TestTheSameMailAtOnceHasOneRecordAndOneLink(t *testing.T) {
	onBoth(t, func(t *testing.T, open func(t testing.TB, rules ...policy.Rule) *world) {
		const callers = 8
		w := open(t, linkAll)
		l := letter{id: "at once", files: []file{{"a.pdf", noise(1, 50000)}, {"b.pdf", noise(2, 50000)}, {"c.pdf", noise(3, 50000)}}}
		raw := l.raw()
		atOnce := func() {
			t.Helper()
			out := make([][]byte, callers)
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					d, err := w.deliver(t.Context(), outbound("q"), raw, 4096)
					if err != nil {
						t.Error(err)
						return
					}
					out[i] = d.raw()
				})
			}
			wg.Wait()
			for i := range out {
				if !bytes.Equal(out[i], out[0]) {
					t.Errorf("delivery %d differs from the first", i)
				}
			}
		}
		atOnce()
		if m, n, b := w.rows(t, "mails"), w.rows(t, "links"), w.rows(t, "blobs"); m != 1 || n != 1 || b != 3 || len(w.stored(t)) != 3 {
			t.Errorf("%d records, %d links, %d blobs in the database, %d stored; want 1, 1, 3, 3", m, n, b, len(w.stored(t)))
		}
		// A revoked link needs one successor, however many ask for it.
		w.change(t, `UPDATE links SET revoked = 1`)
		atOnce()
		if n := w.rows(t, "links"); n != 2 {
			t.Errorf("%d links after the first was revoked, want 2", n)
		}
	})
}

func TestMailsThatShareFilesDoNotWaitForEachOtherInACircle(t *testing.T) {
	w := newPostgresWorld(t, linkAll)
	var files, backwards []file
	for i := range 12 {
		files = append(files, file{"f.pdf", noise(uint64(i), 600)})
	}
	backwards = slices.Clone(files)
	slices.Reverse(backwards)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 12 {
				l := letter{id: string(rune('a'+i)) + string(rune('a'+j)), files: files}
				if i%2 == 1 {
					l.files = backwards
				}
				if _, err := w.deliver(t.Context(), outbound("q"), l.raw(), 4096); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, want := w.rows(t, "mails"), 96; n != want {
		t.Errorf("%d records, want %d", n, want)
	}
	// PostgreSQL looks for deadlocks after one second of waiting.
	var deadlocks int
	if err := w.db.Read().QueryRow(`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks); err != nil {
		t.Fatal(err)
	}
	if deadlocks != 0 {
		t.Errorf("%d deadlocks", deadlocks)
	}
	t.Logf("96 mails of 12 shared files each in %v", time.Since(start).Round(time.Millisecond))
}
