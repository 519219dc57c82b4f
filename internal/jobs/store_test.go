package jobs

// What must hold on both databases: jobs come in once, are taken in order, and
// end once.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/testserver/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// effects is what the jobs of tests do: a job done twice breaks the key.
var effects = db.Migration{Name: "test-1", SQL: `CREATE TABLE effects (key TEXT PRIMARY KEY, fence BIGINT NOT NULL)`}

func openDB(ctx context.Context, o db.Options) (*db.DB, error) {
	o.Log = slog.New(slog.DiscardHandler)
	return db.Open(context.WithoutCancel(ctx), o, append([]db.Migration{effects}, Migrations...)...)
}

// onBoth runs a test on either database, both at the same time: most of it is
// waiting.
func onBoth(t *testing.T, f func(t *testing.T, o db.Options)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, db.Options{URL: pgtest.Database(t)})
	})
}

// half is chance that is none: every delay is three quarters of its length.
func half() float64 { return 0.5 }

func testStore(t testing.TB, d *db.DB, node string) *Store {
	t.Helper()
	s, err := New(t.Context(), d, Options{Node: node, Random: half, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// open opens a database and a store of node "one" on it.
func open(t testing.TB, o db.Options) *Store {
	t.Helper()
	d, err := openDB(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return testStore(t, d, "one")
}

func enqueue(t testing.TB, s *Store, jobs ...Job) {
	t.Helper()
	err := s.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		for _, j := range jobs {
			if err := s.Enqueue(ctx, tx, j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// numbered makes n jobs of kind "vault" for a target.
// size is n, and less under the race detector (go test -short), which needs fewer
// rounds to see what happens at once, and takes ten times as long for each.
func size(n int) int {
	if testing.Short() {
		return n / 5
	}
	return n
}

func numbered(target string, n int) []Job {
	out := make([]Job, n)
	for i := range out {
		out[i] = Job{Key: fmt.Sprintf("%s-%05d", target, i), Kind: "vault", Target: target, Owner: "bob@acmecorp.test"}
	}
	return out
}

func claimN(t testing.TB, s *Store, limit int, lease time.Duration) []Job {
	t.Helper()
	got, err := s.Claim(t.Context(), Claim{Kind: "vault", Limit: limit, Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func claimOne(t testing.TB, s *Store, lease time.Duration) Job {
	t.Helper()
	got := claimN(t, s, 1, lease)
	if len(got) != 1 {
		t.Fatalf("%d jobs claimed, want 1", len(got))
	}
	return got[0]
}

func mustGet(t testing.TB, s *Store, key string) *Job {
	t.Helper()
	j, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// done is the effect of a test's job.
func done(ref Ref) Effect {
	return func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO effects (key, fence) VALUES ($1, $2)`, ref.Key, ref.Fence)
		return err
	}
}

func countEffects(t testing.TB, s *Store) (n int) {
	t.Helper()
	if err := s.db.Read().QueryRow(`SELECT COUNT(*) FROM effects`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAJobComesBackAsItWasEnqueued(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		later := time.UnixMilli(4102444800123)
		enqueue(t, s, Job{Key: "a/1", Kind: "vault", Target: "assets", Owner: "b\x00ob\xff@acmecorp.test", Payload: []byte(`{"part": "図\u0000"}`), NotBefore: later},
			Job{Key: "a/2", Kind: "submit"})
		j := mustGet(t, s, "a/1")
		if j.Kind != "vault" || j.Target != "assets" || j.Owner != "b\uFFFDob\uFFFD@acmecorp.test" || string(j.Payload) != `{"part": "図\u0000"}` ||
			j.State != Waiting || j.Attempts != 0 || !j.NotBefore.Equal(later) || !j.LeaseUntil.IsZero() || j.Fence != 0 || j.Node != "" || j.LastError != "" {
			t.Errorf("got %+v", j)
		}
		if age := time.Since(j.Created); age < -time.Second || age > time.Minute || !j.Since.Equal(j.Created) || !j.Updated.Equal(j.Created) {
			t.Errorf("created %v ago, since %v, updated %v", age, j.Since, j.Updated)
		}
		j = mustGet(t, s, "a/2")
		if j.Target != "" || string(j.Payload) != "null" || !j.NotBefore.Equal(j.Created) {
			t.Errorf("got %+v", j)
		}
		if _, err := s.Get(t.Context(), "a/3"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown job: %v", err)
		}
		if got := claimN(t, s, 10, time.Minute); len(got) != 0 {
			t.Errorf("claimed before its time: %+v", got)
		}
	})
}

func TestAKeyIsWorkedOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				err := s.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
					return s.Enqueue(ctx, tx, Job{Key: "k", Kind: "vault", Target: "a", Owner: "first"})
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		j := claimOne(t, s, time.Minute)
		if err := s.Complete(t.Context(), j.Ref(), done(j.Ref())); err != nil {
			t.Fatal(err)
		}
		enqueue(t, s, Job{Key: "k", Kind: "vault", Target: "other", Owner: "second"})
		if j := mustGet(t, s, "k"); j.State != Done || j.Owner != "first" || j.Target != "a" {
			t.Errorf("a job that was done is now %+v", j)
		}
		if got := claimN(t, s, 10, time.Minute); len(got) != 0 {
			t.Errorf("claimed again: %+v", got)
		}
	})
}

func TestAFailedCommitLeavesNoJob(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		boom := errors.New("boom")
		err := s.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
			return errors.Join(s.Enqueue(ctx, tx, Job{Key: "k", Kind: "vault"}), boom)
		})
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), "k"); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhatCannotBeStoredIsRefused(t *testing.T) {
	s := open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
	for name, j := range map[string]Job{
		"without key":            {Kind: "vault"},
		"without kind":           {Key: "k"},
		"limit is 512":           {Key: strings.Repeat("k", 513), Kind: "vault"},
		"target of a job is no ": {Key: "k", Kind: "vault", Target: "a\x00"},
		"key of a job is no ":    {Key: "k\xff", Kind: "vault"},
		"is not JSON":            {Key: "k", Kind: "vault", Payload: []byte("{")},
		"limit is 262144":        {Key: "k", Kind: "vault", Payload: []byte(`"` + strings.Repeat("x", maxPayload) + `"`)},
	} {
		err := s.Enqueue(t.Context(), s.db.Read(), j)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestJobsAreTakenOldestFirstAndFromEveryTarget(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		old := time.UnixMilli(1000)
		for i, j := range append(numbered("a", 4), numbered("b", 4)...) {
			j.NotBefore = old.Add(-time.Duration(i) * time.Millisecond)
			enqueue(t, s, j)
		}
		room := func(target string) int { return map[string]int{"a": 1, "b": 2}[target] }
		got, err := s.Claim(t.Context(), Claim{Kind: "vault", Limit: 10, Lease: time.Minute, Room: room})
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, j := range got {
			keys = append(keys, j.Key)
			if j.State != Running || j.Attempts != 1 || j.Node != "one" || j.Fence == 0 || j.LeaseUntil.Sub(j.Updated) != time.Minute {
				t.Errorf("claimed %+v", j)
			}
		}
		if want := "b-00003 b-00002 a-00003"; strings.Join(keys, " ") != want {
			t.Errorf("claimed %v, want %s", keys, want)
		}
		first := map[string]bool{}
		for range 2 {
			first[claimOne(t, s, time.Minute).Target] = true
		}
		if len(first) != 2 {
			t.Errorf("two claims of one job each came from %v only", first)
		}
	})
}

func TestEveryJobIsDoneExactlyOnceByEightWorkers(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		const workers = 8
		jobs := size(2000)
		s := open(t, o)
		enqueue(t, s, append(numbered("a", jobs/2), numbered("b", jobs/2)...)...)
		var claimed atomic.Int64
		begin := time.Now()
		var wg sync.WaitGroup
		for n := range workers {
			one := testStore(t, s.db, fmt.Sprint("node", n))
			wg.Go(func() {
				for {
					got, err := one.Claim(t.Context(), Claim{Kind: "vault", Limit: 25, Lease: time.Minute})
					if err != nil {
						t.Error(err)
						return
					}
					if len(got) == 0 {
						return
					}
					claimed.Add(int64(len(got)))
					for _, j := range got {
						if err := one.Complete(t.Context(), j.Ref(), done(j.Ref())); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%.0f jobs/s", float64(jobs)/time.Since(begin).Seconds())
		// A worker that finds nothing leaves, though another may hold locked rows.
		if rest := claimN(t, s, jobs, time.Minute); len(rest) > 0 {
			t.Errorf("%d jobs were left", len(rest))
		}
		stats, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, one := range stats {
			if one.State == Done {
				total += one.Count
			}
		}
		if claimed.Load() != int64(jobs) || countEffects(t, s) != jobs || total != int64(jobs) {
			t.Errorf("%d claims, %d effects, %d done; want %d of each", claimed.Load(), countEffects(t, s), total, jobs)
		}
	})
}
