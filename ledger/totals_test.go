package ledger

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"cloakroom/internal/db"
)

// sums compares what is kept with what is there.
func sums(t *testing.T, d *db.DB, when string) Stats {
	t.Helper()
	kept, err := Count(t.Context(), d.Read())
	if err != nil {
		t.Fatal(err)
	}
	there, err := countAnew(t.Context(), d.Read())
	if err != nil || kept != there {
		t.Errorf("%s: kept %+v, and there is %+v (%v)", when, kept, there, err)
	}
	return kept
}

func TestSumsGoWithEveryChange(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB) {
		if got := sums(t, d, "nothing"); got != (Stats{}) {
			t.Errorf("of nothing: %+v", got)
		}
		for n := range 3 {
			put(t, d, sample(byte(n+1)))
		}
		if got, want := sums(t, d, "three mails"), (Stats{Mails: 3, Bytes: 15 << 30, Linked: 3, Received: 9 << 30, Skeleton: 12}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		again := sample(1)
		again.Parts[2].Linked = true
		put(t, d, again)
		if got := sums(t, d, "one more link"); got.Linked != 4 || got.Received != 9<<30+40 {
			t.Errorf("one more link: %+v", got)
		}
		for when, f := range map[string]func(context.Context, db.Tx, Key, time.Time) error{"retired": Retire, "forgotten": Forget} {
			within(t, d, func(ctx context.Context, tx db.Tx) error {
				return f(ctx, tx, sample(1).Key, time.UnixMilli(1783500966123))
			})
			sums(t, d, when)
			put(t, d, sample(1))
			sums(t, d, when+", and there again")
		}
		for _, text := range []string{`UPDATE parts SET size = size + 1`, `UPDATE parts SET linked = 1 - linked`, `UPDATE mails SET size = size - 1, skeleton_stored = 0`,
			`DELETE FROM parts WHERE part = 1`, `DELETE FROM parts`, `DELETE FROM mails`} {
			within(t, d, func(ctx context.Context, tx db.Tx) error { _, err := tx.ExecContext(ctx, text); return err })
			sums(t, d, text)
		}
	})
}

// Data of an older version has its sums from the first start on.
func TestSumsBeginWithWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.db")
	open := func(m []db.Migration) *db.DB {
		t.Helper()
		d, err := db.Open(t.Context(), db.Options{Path: path, Log: slog.New(slog.DiscardHandler)}, m...)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	before := slices.IndexFunc(Migrations, func(m db.Migration) bool { return m.Name == totals.Name })
	d := open(Migrations[:before])
	put(t, d, sample(1))
	put(t, d, sample(2))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(Migrations)
	defer d.Close()
	if got := sums(t, d, "after the step"); got.Mails != 2 || got.Linked != 2 {
		t.Errorf("%+v", got)
	}
	put(t, d, sample(3))
	sums(t, d, "and one more")
}
