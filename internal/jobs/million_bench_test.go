package jobs

// A million jobs wait: what an administrator asks for, and what workers do,
// beside them. `go test -run '^$' -bench Million -benchtime 1x -v ./internal/jobs`
// prints how the database finds what it is asked for, too.

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/testserver/pgtest"
)

const million = 1_000_000

// fillMillion makes jobs with their uploads: of 1,000 owners, for two targets,
// every fifth with an error, every thousandth failed.
func fillMillion(b *testing.B, s *Store) {
	b.Helper()
	err := s.db.Commit(b.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		for _, target := range []string{"assets", "archive"} {
			if err := s.addTarget(ctx, tx, "vault", target); err != nil {
				return err
			}
		}
		const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) `
		const key = `'vault-4f2a91c3d0e8b7a6-' || CAST(i AS TEXT)`
		_, err := tx.ExecContext(ctx, numbers+`INSERT INTO jobs (key, kind, target, owner, payload, state, attempts, not_before, lease_until, node, fence,
			last_error, created, since, updated, due, label, sha256, size) SELECT `+key+`, 'vault', CASE i % 2 WHEN 0 THEN 'assets' ELSE 'archive' END,
			'user' || CAST(i % 1000 AS TEXT) || '@acmecorp.test', CAST('{"part":1,"name":"report.pdf","subject":"Quarterly report"}' AS BYTEA),
			CASE i % 1000 WHEN 7 THEN 'failed' ELSE 'waiting' END, 1, 1700000000000 + i + CASE i % 5 WHEN 0 THEN 3600000 ELSE 0 END, 0, '', 0,
			CASE i % 5 WHEN 0 THEN 'connection refused' WHEN 2 THEN CASE i % 1000 WHEN 7 THEN 'permission denied' ELSE '' END ELSE '' END,
			1700000000000 + i, 1700000000000, 1700000000000, 1700000000000 + i,
			'user' || CAST(i % 1000 AS TEXT) || '@acmecorp.test/2026/11/report ' || CAST(i AS TEXT) || '.pdf',
			CAST('0123456789abcdef' || CAST(i AS TEXT) AS BYTEA), 1000000 FROM n`, million)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkMillionWaiting(b *testing.B) {
	for name, options := range map[string]func() db.Options{
		"sqlite":   func() db.Options { return db.Options{Path: filepath.Join(b.TempDir(), "test.db")} },
		"postgres": func() db.Options { return db.Options{URL: pgtest.Database(b)} },
	} {
		b.Run(name, func(b *testing.B) {
			d, err := db.Open(context.WithoutCancel(b.Context()), options(), Migrations...)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { d.Close() })
			s := testStore(b, d, "one")
			b.Run("claim and complete, empty", func(b *testing.B) { claimAmong(b, s) })
			fillMillion(b, s)
			b.Run("claim and complete, full", func(b *testing.B) { claimAmong(b, s) })
			listMillion(b, s)
			b.Run("stats", func(b *testing.B) {
				for b.Loop() {
					if _, err := s.Stats(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("count of a drop", func(b *testing.B) {
				for b.Loop() {
					if n, _, err := s.Count(b.Context(), Filter{Kind: "vault", States: []State{Waiting}}); err != nil || n < million/2 {
						b.Fatal(n, err)
					}
				}
			})
			b.Run("key by its end", func(b *testing.B) {
				for b.Loop() {
					if _, err := s.KeysEnding(b.Context(), "b7a6-777777", 2); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// claimed is how many jobs are worked beside the others.
const claimed = 2000

// claimAmong works jobs of a third target.
func claimAmong(b *testing.B, s *Store) {
	for b.Loop() {
		b.StopTimer()
		fresh := make([]Job, claimed)
		for i := range fresh {
			fresh[i] = Job{Key: fmt.Sprintf("live-%d-%d", time.Now().UnixNano(), i), Kind: "live", Target: "live", Owner: "bob@acmecorp.test"}
		}
		enqueue(b, s, fresh...)
		b.StartTimer()
		for done := 0; done < claimed; {
			got, err := s.Claim(b.Context(), Claim{Kind: "live", Limit: 16, Lease: time.Minute})
			if err != nil || len(got) == 0 {
				b.Fatal(len(got), err)
			}
			for _, j := range got {
				if err := s.Complete(b.Context(), j.Ref(), nil); err != nil {
					b.Fatal(err)
				}
			}
			done += len(got)
		}
	}
	b.ReportMetric(claimed*float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

func listMillion(b *testing.B, s *Store) {
	waits := []State{Waiting, Running, Failed, Held}
	for _, c := range []struct {
		name string
		f    Filter
		n    int
	}{
		{"all", Filter{States: waits}, 100},
		{"state", Filter{States: []State{Failed}}, 100},
		{"target", Filter{Target: "assets", States: waits}, 100},
		{"kind", Filter{Kind: "vault", States: waits}, 100},
		{"age", Filter{States: waits, MinAge: 100 * 24 * time.Hour}, 100},
		{"owner", Filter{Owner: "user500@acmecorp.test", States: waits}, 100},
		{"owner and state", Filter{Owner: "user7@acmecorp.test", States: []State{Failed}}, 100},
		{"error of many", Filter{Error: "REFUSED", States: waits}, 100},
		{"error of few", Filter{Error: "denied", States: waits}, 100},
		{"error of none", Filter{Error: "certificate", States: waits}, 0},
		{"file of many", Filter{Label: "REPORT", States: waits}, 100},
		{"file of one", Filter{Label: "report 999999.pdf", States: waits}, 1},
	} {
		b.Run("list by "+c.name, func(b *testing.B) {
			for b.Loop() {
				got, err := s.List(b.Context(), c.f, Cursor{}, 100)
				if err != nil || len(got) != c.n {
					b.Fatal(len(got), err)
				}
			}
			if testing.Verbose() {
				b.Log("\n" + listPlan(b, s, c.f))
			}
		})
	}
}

// listPlan is how the database finds a page.
func listPlan(b *testing.B, s *Store, f Filter) string {
	text, args, err := s.page(b.Context(), &f, Cursor{}, 100)
	if err != nil {
		b.Fatal(err)
	}
	explain := "EXPLAIN QUERY PLAN "
	if strings.Contains(s.clock, "EXTRACT") {
		explain = "EXPLAIN "
	}
	rows, err := s.db.Read().QueryContext(b.Context(), explain+text, args...)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var step string
		if explain == "EXPLAIN " {
			err = rows.Scan(&step)
		} else {
			var id, parent, unused int
			err = rows.Scan(&id, &parent, &unused, &step)
		}
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, step)
	}
	return strings.Join(out, "\n")
}
