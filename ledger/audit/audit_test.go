package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/testserver/pgtest"
	"cloakroom/ledger"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestActsAreRememberedBeforeAndAfter(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal")
	for name, o := range map[string]func(t *testing.T) db.Options{
		"sqlite": func(t *testing.T) db.Options {
			return db.Options{Path: filepath.Join(t.TempDir(), "x.db"), Journal: journal}
		},
		"postgres": func(t *testing.T) db.Options { return db.Options{URL: pgtest.Database(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			d, err := db.Open(t.Context(), o(t), Migrations...)
			if err != nil {
				t.Fatal(err)
			}
			clock := time.UnixMilli(1_800_000_000_000)
			now := func() time.Time { clock = clock.Add(time.Second); return clock }
			first, err := Do(t.Context(), d, Act{Actor: "alice", Door: Dashboard, Action: "drop jobs", Object: "a\x00b"}, now, func(ctx context.Context) (string, error) {
				begun, err := List(ctx, d.Read(), Filter{})
				if err != nil || len(begun) != 1 || !begun[0].Ended.IsZero() {
					t.Errorf("while it is done the audit has %v, %v", begun, err)
				}
				return "dropped: 3 jobs", nil
			})
			if err != nil {
				t.Fatal(err)
			}
			broken := errors.New("no luck")
			second, err := Do(t.Context(), d, Act{Actor: "bob", Door: Command, Action: "revoke links"}, now, func(context.Context) (string, error) { return "", broken })
			if !errors.Is(err, broken) {
				t.Errorf("the error is %v", err)
			}
			got, err := List(t.Context(), d.Read(), Filter{Limit: 5})
			if err != nil || len(got) != 2 || got[0].ID != second || got[1].ID != first {
				t.Fatalf("listed %v, %v", got, err)
			}
			if got[0].Outcome != "failed: no luck" || got[1].Outcome != "dropped: 3 jobs" || got[1].Ended.IsZero() || got[1].Object != "a\uFFFDb" {
				t.Errorf("listed %v", got)
			}
			only, err := List(t.Context(), d.Read(), Filter{Actor: "alice", Since: got[1].At, Before: got[0].At})
			if err != nil || len(only) != 1 || only[0].ID != first {
				t.Errorf("of alice %v, %v", only, err)
			}
			mails := make([]ledger.Key, 2*mailsAtOnce+1) // zero, but for one
			mails[mailsAtOnce+7][0] = 9
			third, err := Do(t.Context(), d, Act{Actor: "carol", Action: "restore mails", Mails: mails}, now, func(context.Context) (string, error) { return "", nil })
			if err != nil {
				t.Fatal(err)
			}
			for key, want := range map[ledger.Key]int{{9}: 1, {}: 1, {8}: 0} {
				about, err := List(t.Context(), d.Read(), Filter{Mails: []ledger.Key{{7}, key}})
				if err != nil || len(about) != want || want == 1 && about[0].ID != third {
					t.Errorf("about mail %s: %v, %v", key, about, err)
				}
			}
			if _, err := Get(t.Context(), d.Read(), strings.Repeat("0", 32)); !errors.Is(err, ErrNotFound) {
				t.Errorf("an unknown id gives %v", err)
			}
			for _, text := range []string{`UPDATE audit SET actor = 'mallory'`, `DELETE FROM audit`, `UPDATE audit_mails SET mail = id`, `DELETE FROM audit_mails`} {
				err := d.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
					_, err := tx.ExecContext(ctx, text)
					return err
				})
				if err == nil || !strings.Contains(err.Error(), "rows of the audit are never") {
					t.Errorf("%s: %v", text, err)
				}
			}
			if again, err := List(t.Context(), d.Read(), Filter{}); err != nil || len(again) != 3 || again[1].Actor != "bob" {
				t.Errorf("afterwards it lists %v, %v", again, err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			ran := false
			if _, err := Do(t.Context(), d, Act{Actor: "alice"}, now, func(context.Context) (string, error) { ran = true; return "", nil }); err == nil || ran {
				t.Error("something was done that could not be written down")
			}
		})
	}
	segments, err := filepath.Glob(filepath.Join(journal, "*.jsonl"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("no journal: %v", err)
	}
	text, err := os.ReadFile(segments[0])
	if err != nil || strings.Count(string(text), `"kind":"audit"`) != 6 || strings.Count(string(text), `"kind":"audit-mails"`) != 3 {
		t.Errorf("the journal has %s, %v", text, err)
	}
}

func TestTheJournalBringsBackWhichMailsAnActWasAbout(t *testing.T) {
	d, err := db.Open(t.Context(), db.Options{Path: filepath.Join(t.TempDir(), "x.db"), Journal: filepath.Join(t.TempDir(), "journal")}, Migrations...)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	id := strings.Repeat("ab", idBytes)
	lines := []db.Record{
		{Kind: fact, Data: []byte(`{"id":"` + id + `","at":"2026-03-01T10:00:00Z","actor":"alice","door":"command","action":"restore mails","object":"1 mails"}`)},
		{Kind: mailFact, Data: []byte(`{"act":"` + id + `","mails":["` + ledger.Key{9}.String() + `"]}`)},
		{Kind: "link", Data: []byte(`{}`)},
	}
	for range 2 { // it may be repeated
		err := d.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
			for i, r := range lines {
				known, err := Replay(ctx, tx, r)
				if known != (i < 2) || err != nil {
					t.Errorf("line %d: known %v, %v", i, known, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, err := List(t.Context(), d.Read(), Filter{Mails: []ledger.Key{{9}}}); err != nil || len(got) != 1 || got[0].ID != id {
		t.Errorf("%v, %v", got, err)
	}
}
