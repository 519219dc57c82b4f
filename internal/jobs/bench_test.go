package jobs

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/db"
)

// BenchmarkClaimAndComplete works jobs with 16 workers, each of which claims
// up to 16, in front of a backlog of others.
func BenchmarkClaimAndComplete(b *testing.B) {
	for _, backlog := range []int{0, 1_000_000} {
		b.Run(fmt.Sprintf("backlog=%d", backlog), func(b *testing.B) {
			o := db.Options{Path: filepath.Join(b.TempDir(), "test.db")}
			s := open(b, o)
			fill(b, s, "a", b.N)
			if backlog > 0 {
				fill(b, s, "b", backlog)
				if err := s.HoldTarget(b.Context(), "vault", "b"); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			workAll(b, s)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
		})
	}
}

func workAll(b *testing.B, s *Store) {
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				got, err := s.Claim(b.Context(), Claim{Kind: "vault", Limit: 16, Lease: time.Minute})
				if err != nil {
					b.Error(err)
				}
				if len(got) == 0 || err != nil {
					return
				}
				for _, j := range got {
					if err := s.Complete(b.Context(), j.Ref(), nil); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}
