package db

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkCommit inserts one row per commit, as a mail's commit does several.
func BenchmarkCommit(b *testing.B) {
	for _, journal := range []bool{false, true} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("journal=%v/callers=%d", journal, callers), func(b *testing.B) {
				o := Options{Path: filepath.Join(b.TempDir(), "a.db"), Log: slog.New(slog.DiscardHandler)}
				if journal {
					o.Journal = filepath.Join(b.TempDir(), "journal")
				}
				d, err := Open(b.Context(), o, testSchema...)
				if err != nil {
					b.Fatal(err)
				}
				defer d.Close()
				benchmarkCommits(b, d, callers)
			})
		}
	}
}

func benchmarkCommits(b *testing.B, d *DB, callers int) {
	b.ReportAllocs()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				id := fmt.Sprint(n)
				err := d.Commit(context.Background(), Entry{{"file", id}}, insertFile(id))
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}
