package hours

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/testserver/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// both runs a test on SQLite and on PostgreSQL.
func both(t *testing.T, f func(t *testing.T, d *db.DB)) {
	for name, options := range map[string]func(t *testing.T) db.Options{
		"sqlite":   func(t *testing.T) db.Options { return db.Options{Path: filepath.Join(t.TempDir(), "x.db")} },
		"postgres": func(t *testing.T) db.Options { return db.Options{URL: pgtest.Database(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			d, err := db.Open(t.Context(), options(t), Migrations...)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			f(t, d)
		})
	}
}

func TestNodesAddUpAndLevelsKeepTheHighest(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB) {
		noon := time.Date(2026, 11, 24, 12, 34, 0, 0, time.UTC)
		commit := func(f func(ctx context.Context, tx db.Tx) error) {
			t.Helper()
			if err := d.Commit(t.Context(), nil, f); err != nil {
				t.Fatal(err)
			}
		}
		commit(func(ctx context.Context, tx db.Tx) error {
			return Add(ctx, tx, "a", noon, map[string]int64{"mails": 3, "bytes": 0})
		})
		commit(func(ctx context.Context, tx db.Tx) error {
			return Add(ctx, tx, "b", noon, map[string]int64{"mails": 4})
		})
		commit(func(ctx context.Context, tx db.Tx) error {
			return Add(ctx, tx, "a", noon.Add(20*time.Minute), map[string]int64{"mails": 5})
		})
		commit(func(ctx context.Context, tx db.Tx) error {
			return Add(ctx, tx, "a", noon.Add(time.Hour), map[string]int64{"mails": 1})
		})
		for _, v := range []int64{7, 9, 2} {
			commit(func(ctx context.Context, tx db.Tx) error { return Raise(ctx, tx, noon, map[string]int64{"depth": v}) })
			commit(func(ctx context.Context, tx db.Tx) error { return Set(ctx, tx, noon, map[string]int64{"links": v}) })
		}
		got, err := Since(t.Context(), d.Read(), noon)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || got[0].Values["mails"] != 12 || got[0].Values["depth"] != 9 || got[0].Values["links"] != 2 || got[1].Values["mails"] != 1 {
			t.Errorf("hours %v", got)
		}
		if _, found := got[0].Values["bytes"]; found || !got[0].Begin.Equal(noon.Truncate(time.Hour)) {
			t.Errorf("the first hour is %v", got[0])
		}
		n, err := Purge(t.Context(), d, noon.Add(time.Hour))
		if err != nil || n != 4 {
			t.Errorf("purged %d rows, %v", n, err)
		}
		sums, err := Ever(t.Context(), d.Read())
		if err != nil || sums["mails"] != 13 || len(sums) != 1 {
			t.Errorf("since ever %v, %v", sums, err)
		}
	})
}
