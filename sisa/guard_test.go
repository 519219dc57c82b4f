package sisa

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// issueGuarded makes a link to the parts 2 and 4 of a mail.
func (s *store) issueGuarded(t *testing.T, mail ledger.Key, guard Guard) *Grant {
	t.Helper()
	g := new(Grant)
	err := s.db.Commit(t.Context(), db.Entry{{Kind: "link", Data: g}}, func(ctx context.Context, tx db.Tx) (err error) {
		*g, err = Issue(ctx, tx, linkKey, Wish{Mail: mail, Parts: []int{2, 4}, Now: s.now, Guard: guard})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (s *store) fetch(t *testing.T, g *Grant, part int, again ...int) error {
	t.Helper()
	return s.links.Downloaded(t.Context(), Download{LinkID: g.ID.String(), Part: part, At: s.now, Again: again})
}

// left is what is left of the parts 2 and 4.
func (s *store) left(t *testing.T, g *Grant) [2]int64 {
	t.Helper()
	link, err := s.links.ByID(t.Context(), g.ID.String())
	if err != nil || len(link.Files) != 2 {
		t.Fatalf("%+v, %v", link, err)
	}
	return [2]int64{link.Files[0].Left, link.Files[1].Left}
}

func TestDownloadsAreTakenOffWhatIsLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		g := s.issueGuarded(t, s.mail(t, 1, "a@acmecorp.test"), Guard{Downloads: 2})
		steps := []struct {
			part  int
			again []int
			want  error
			left  [2]int64
		}{
			{2, nil, nil, [2]int64{1, 2}},
			{2, []int{2}, nil, [2]int64{1, 2}}, // the same visitor once more
			{AllParts, nil, nil, [2]int64{0, 1}},
			{2, nil, ErrUsedUp, [2]int64{0, 1}},
			{AllParts, nil, ErrUsedUp, [2]int64{0, 1}}, // what there was of part 4 comes back
			{AllParts, []int{2}, nil, [2]int64{0, 0}},
			{4, nil, ErrUsedUp, [2]int64{0, 0}},
			{4, []int{2, 4}, nil, [2]int64{0, 0}},
		}
		for i, step := range steps {
			if err := s.fetch(t, g, step.part, step.again...); !errors.Is(err, step.want) || s.left(t, g) != step.left {
				t.Errorf("step %d: %v, left %v, want %v, %v", i, err, s.left(t, g), step.want, step.left)
			}
		}
		if d, err := s.links.Downloads(t.Context(), g.ID.String()); err != nil || len(d) != 5 {
			t.Errorf("%d downloads in the list, %v", len(d), err)
		}
		// A mail that comes again brings none back; an administrator does.
		s.issueGuarded(t, g.Mail, Guard{Downloads: 7})
		if s.left(t, g) != [2]int64{0, 0} {
			t.Errorf("left %v after the mail came again", s.left(t, g))
		}
		done, err := s.links.Allow(t.Context(), []string{g.ID.String()}, 3, Act{By: "root"})
		if err != nil || done[0].Refused != "" || s.left(t, g) != [2]int64{3, 3} {
			t.Errorf("%+v, %v, left %v", done, err, s.left(t, g))
		}
		free := s.issueGuarded(t, s.mail(t, 2, "a@acmecorp.test"), Guard{})
		if done, err := s.links.Allow(t.Context(), []string{free.ID.String()}, 3, Act{By: "root"}); err != nil || done[0].Refused == "" {
			t.Errorf("%+v, %v", done, err)
		}
		if err := s.links.Downloaded(t.Context(), Download{LinkID: TokenID("none"), Part: 2, At: s.now}); !errors.Is(err, ErrNotFound) {
			t.Errorf("a link that is not there: %v", err)
		}
	})
}

func TestOneOfManyGetsTheLastDownload(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		g := s.issueGuarded(t, s.mail(t, 1, "a@acmecorp.test"), Guard{Downloads: 3})
		var wg sync.WaitGroup
		results := make(chan error, 30)
		for i := range cap(results) {
			part := AllParts
			if i%3 == 0 {
				part = 2 + i%2*2
			}
			wg.Go(func() { results <- s.fetch(t, g, part) })
		}
		wg.Wait()
		close(results)
		taken := 0
		for err := range results {
			if err == nil {
				taken++
			} else if !errors.Is(err, ErrUsedUp) {
				t.Error(err)
			}
		}
		left := s.left(t, g)
		d, err := s.links.Downloads(t.Context(), g.ID.String())
		if err != nil || len(d) != taken || left[0] < 0 || left[1] < 0 || left[0]+left[1] == 6 {
			t.Errorf("%d taken, %d recorded, left %v, %v", taken, len(d), left, err)
		}
		count := [2]int64{3, 3}
		for _, one := range d {
			if one.Part != 4 {
				count[0]--
			}
			if one.Part != 2 {
				count[1]--
			}
		}
		if count != left {
			t.Errorf("left %v, by the list %v", left, count)
		}
	})
}

func TestTheFirstDownloadOfEachFileIsToldOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		var told []FirstDownload
		var broken error
		tell := func(_ context.Context, _ db.Tx, d FirstDownload) error {
			if broken == nil {
				told = append(told, d)
			}
			return broken
		}
		g := s.issueGuarded(t, s.mail(t, 1, "a@acmecorp.test"), Guard{Notify: true})
		quiet := s.issueGuarded(t, s.mail(t, 2, "a@acmecorp.test"), Guard{})
		if err := s.fetch(t, g, 4); err != nil { // nobody is there to tell: it is told later
			t.Fatal(err)
		}
		s.links.Tell = tell
		broken = errors.New("no queue")
		if err := s.fetch(t, g, 4); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		broken = nil
		for _, part := range []int{4, 4, AllParts, 2} {
			if err := errors.Join(s.fetch(t, g, part), s.fetch(t, quiet, part)); err != nil {
				t.Fatal(err)
			}
		}
		if len(told) != 2 || !slices.Equal(told[0].Parts, []int{4}) || !slices.Equal(told[1].Parts, []int{2}) || told[0].Mail != g.Mail || told[0].Link != g.ID {
			t.Errorf("told %+v", told)
		}
	})
}

func TestAGuardAsksForMoreAndNeverForLess(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store) {
		mail := s.mail(t, 1, "a@acmecorp.test")
		guard := func() Guard {
			g, err := s.links.Guard(t.Context(), TokenID(Token(linkKey, mail, 0)))
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		s.issueGuarded(t, mail, Guard{})
		if g := guard(); !g.Equal(&Guard{}) || g.Access() != "anyone" {
			t.Errorf("%+v", g)
		}
		s.issueGuarded(t, mail, Guard{ByMail: true, Recipients: []string{"bob@ext.test"}, Password: "one"})
		s.issueGuarded(t, mail, Guard{ByMail: true, Recipients: []string{"BOB@ext.test", "al@ext.test"}, Password: "two", Downloads: 3, Notify: true})
		s.issueGuarded(t, mail, Guard{})
		want := Guard{ByMail: true, Recipients: []string{"al@ext.test", "bob@ext.test"}, Password: "one"}
		if g := guard(); !g.Equal(&want) || g.Access() != "recipients and password" {
			t.Errorf("%+v", g)
		}
		id := []string{TokenID(Token(linkKey, mail, 0))}
		if err := s.links.Protect(t.Context(), id, Access{}, Act{By: "root"}); err != nil {
			t.Fatal(err)
		}
		s.issueGuarded(t, mail, want)
		if g := guard(); g.ByMail || g.Password != "" || !g.Fixed || len(g.Recipients) != 0 {
			t.Errorf("a mail that came again changed what an administrator said: %+v", g)
		}
		if err := s.links.Protect(t.Context(), id, Access{ByMail: true}, Act{By: "root"}); err != nil {
			t.Fatal(err)
		}
		if g := guard(); !slices.Equal(g.Recipients, []string{"bob@ext.test"}) { // of the mail
			t.Errorf("%+v", g)
		}
		if err := s.links.Protect(t.Context(), []string{TokenID("none")}, Access{}, Act{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
		s.commit(t, func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE links SET guard = NULL`)
			return err
		})
		if _, err := s.links.ByID(t.Context(), id[0]); !errors.Is(err, ErrGuard) {
			t.Errorf("a link of which it is not known who may open it: %v", err)
		}
	})
}

// TestTheJournalBringsGuardsAndCountsBack reads it into an empty database, twice.
func TestTheJournalBringsGuardsAndCountsBack(t *testing.T) {
	open := func(journal string) *store {
		d, err := db.Open(context.WithoutCancel(t.Context()), db.Options{Path: filepath.Join(t.TempDir(), "test.db"), Journal: journal, Log: slog.New(slog.DiscardHandler)},
			slices.Concat(ledger.Migrations, Migrations)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		s := &store{db: d, now: start}
		s.links = NewLinks(d, func() time.Time { return s.now })
		return s
	}
	journal := t.TempDir()
	s := open(journal)
	s.links.Tell = func(context.Context, db.Tx, FirstDownload) error { return nil }
	record := func(n byte, recipients ...string) ledger.Key {
		m := &ledger.Mail{Key: ledger.Key{n}, Sender: "a@acmecorp.test", Recipients: recipients, Received: start, Skeleton: ledger.Skeleton{Inline: []byte{1}, Stored: 1},
			Parts: []ledger.Part{{Index: 2, Size: 1, SHA256: ledger.Hash{2}, Linked: true}, {Index: 4, Size: 1, SHA256: ledger.Hash{4}, Linked: true}}}
		err := s.db.Commit(t.Context(), db.Entry{{Kind: "mail", Data: m}}, func(ctx context.Context, tx db.Tx) error {
			_, err := ledger.Put(ctx, tx, m)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return m.Key
	}
	byMail := Guard{ByMail: true, Recipients: []string{"bob@ext.test", "carol@ext.test"}, Downloads: 3, Notify: true}
	first := s.issueGuarded(t, record(1, "bob@ext.test", "carol@ext.test"), byMail)
	second := s.issueGuarded(t, record(2, "dave@ext.test"), Guard{Password: "hash", Downloads: 1})
	k := &Keeper{DB: s.db, Now: func() time.Time { return s.now }}
	for _, err := range []error{
		s.links.Downloaded(t.Context(), Download{LinkID: first.ID.String(), Part: 2, At: s.now, Proven: "bob@ext.test"}), s.fetch(t, first, AllParts), s.fetch(t, second, 4),
		s.links.Protect(t.Context(), []string{second.ID.String()}, Access{ByMail: true}, Act{By: "root"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.links.Allow(t.Context(), []string{first.ID.String()}, 5, Act{By: "root"}); err != nil {
		t.Fatal(err)
	}
	if struck, err := k.Strike(t.Context(), first.Mail, "BOB@ext.test", Act{By: "root"}); err != nil || !struck {
		t.Fatalf("struck %v, %v", struck, err)
	}
	if g, err := s.links.Guard(t.Context(), first.ID.String()); err != nil || !slices.Equal(g.Recipients, []string{"carol@ext.test"}) {
		t.Errorf("a struck address stays in the guard: %+v, %v", g, err)
	}
	want := s.dump(t)
	if slices.ContainsFunc(want, func(line string) bool { return strings.Contains(line, "bob@ext.test") }) {
		t.Errorf("the struck address is still there:\n%v", want)
	}

	again := open("")
	for round := range 2 {
		err := db.ReadJournal(journal, func(r db.Record) error {
			return again.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
				known, err := Replayer{}.Replay(ctx, tx, r)
				if !known {
					return fmt.Errorf("nobody knows %q", r.Kind)
				}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := again.dump(t); !reflect.DeepEqual(got, want) {
			t.Errorf("round %d:\n%v\nwant\n%v", round, got, want)
		}
	}
}

// dump is what the tables have about who may open links, and who did.
func (s *store) dump(t *testing.T) (out []string) {
	t.Helper()
	for _, text := range []string{
		`SELECT hex(id) || ' ' || guard FROM links ORDER BY id`,
		`SELECT hex(link) || ' ' || part || ' ' || allowance || ' ' || COALESCE(told, 0) FROM link_parts ORDER BY link, part`,
		`SELECT hex(link) || ' ' || part || ' ' || at || ' ' || proven FROM downloads ORDER BY link, at, part`,
	} {
		rows, err := s.db.Read().QueryContext(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var line sql.NullString
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			out = append(out, line.String)
		}
		rows.Close()
	}
	return out
}
