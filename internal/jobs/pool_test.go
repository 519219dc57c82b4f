package jobs

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
)

// start runs a pool; stop ends it and waits.
func start(t *testing.T, s *Store, o PoolOptions, kinds ...Kind) (stop func()) {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	p, err := NewPool(s, o, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	stop = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Error("the pool does not stop")
		}
	}
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// records is a handler whose effect is a row.
func records(_ context.Context, j Job) (Effect, error) { return done(j.Ref()), nil }

func TestPoolsWorkEveryJobOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		n := size(1000)
		one := open(t, o)
		enqueue(t, one, append(numbered("a", n/2), numbered("b", n/2)...)...)
		k := Kind{Name: "vault", Workers: 4, Handle: records}
		start(t, one, PoolOptions{}, k)
		start(t, testStore(t, one.db, "two"), PoolOptions{}, k)
		eventually(t, "all done", func() bool { return countEffects(t, one) == n })
	})
}

func TestAnEnqueuedJobIsTakenAtOnceWhenThePoolIsWoken(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		start(t, s, PoolOptions{Poll: time.Hour}, Kind{Name: "vault", Workers: 2, Handle: records})
		for n := 1; n <= 3; n++ {
			enqueue(t, s, Job{Key: fmt.Sprint(n), Kind: "vault"})
			s.Wake()
			eventually(t, "done", func() bool { return countEffects(t, s) == n })
		}
	})
}

func TestAPoolPollsForWhatOthersEnqueue(t *testing.T) {
	s := open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
	start(t, s, PoolOptions{Poll: 20 * time.Millisecond}, Kind{Name: "vault", Workers: 2, Handle: records})
	enqueue(t, s, numbered("a", 1)...)
	eventually(t, "done", func() bool { return countEffects(t, s) == 1 })
}

func TestAPoolKeepsItsLimits(t *testing.T) {
	s := open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
	enqueue(t, s, append(numbered("a", 40), numbered("b", 40)...)...)
	var mu sync.Mutex
	now, most := map[string]int{}, map[string]int{}
	count := func(name string, by int) {
		mu.Lock()
		defer mu.Unlock()
		now[name] += by
		most[name] = max(most[name], now[name])
	}
	start(t, s, PoolOptions{}, Kind{Name: "vault", Workers: 5, PerTarget: 3, Handle: func(ctx context.Context, j Job) (Effect, error) {
		count(j.Target, 1)
		count("all", 1)
		time.Sleep(5 * time.Millisecond)
		count(j.Target, -1)
		count("all", -1)
		return done(j.Ref()), nil
	}})
	eventually(t, "all done", func() bool { return countEffects(t, s) == 80 })
	mu.Lock()
	defer mu.Unlock()
	if most["a"] > 3 || most["b"] > 3 || most["all"] > 5 || most["all"] < 4 {
		t.Errorf("at most at a time: %v", most)
	}
}

func TestALongJobKeepsItsLease(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		one := open(t, o)
		enqueue(t, one, numbered("a", 1)...)
		var runs atomic.Int64
		k := Kind{Name: "vault", Workers: 1, Lease: time.Second, Handle: func(ctx context.Context, j Job) (Effect, error) {
			runs.Add(1)
			select {
			case <-time.After(2500 * time.Millisecond):
			case <-ctx.Done():
				t.Errorf("interrupted: %v", context.Cause(ctx))
			}
			return done(j.Ref()), nil
		}}
		start(t, one, PoolOptions{Poll: 20 * time.Millisecond}, k)
		start(t, testStore(t, one.db, "two"), PoolOptions{Poll: 20 * time.Millisecond}, k)
		eventually(t, "done", func() bool { return countEffects(t, one) == 1 })
		if runs.Load() != 1 {
			t.Errorf("%d runs", runs.Load())
		}
	})
}

func TestAJobThatLostItsLeaseIsInterrupted(t *testing.T) {
	s := open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
	enqueue(t, s, numbered("a", 1)...)
	started, cause := make(chan Ref, 1), make(chan error, 1)
	start(t, s, PoolOptions{}, Kind{Name: "vault", Workers: 1, Lease: 200 * time.Millisecond, Handle: func(ctx context.Context, j Job) (Effect, error) {
		if j.Attempts > 1 {
			return done(j.Ref()), nil
		}
		started <- j.Ref()
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return nil, ctx.Err()
	}})
	// The node is freed behind the worker's back, as if it had been started twice.
	<-started
	if n, err := s.FreeOwn(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := <-cause; !errors.Is(err, ErrFenced) {
		t.Errorf("cause %v", err)
	}
	eventually(t, "done by the second run", func() bool { return countEffects(t, s) == 1 })
}

func TestFailuresAndPanicsOfJobsAreRecorded(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, Job{Key: "panics", Kind: "vault"}, Job{Key: "fails", Kind: "vault"}, Job{Key: "never", Kind: "vault"}, Job{Key: "down", Kind: "vault", Target: "x"})
		start(t, s, PoolOptions{}, Kind{Name: "vault", Workers: 4, Handle: func(_ context.Context, j Job) (Effect, error) {
			switch j.Key {
			case "panics":
				panic("ouch")
			case "never":
				return nil, Permanent(errors.New("no"))
			case "down":
				return nil, TargetDown(errors.New("off"))
			}
			return nil, errors.New("not now")
		}})
		for key, want := range map[string]string{"panics": "waiting panic: ouch", "fails": "waiting not now", "never": "failed no", "down": "waiting off"} {
			eventually(t, key+" is "+want, func() bool {
				j := mustGet(t, s, key)
				return string(j.State)+" "+j.LastError == want
			})
		}
		if !target(t, s, "x").Down() {
			t.Error("the target is not down")
		}
	})
}

func TestAnEffectThatFailsIsTriedAgainAndThenTheJob(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		var once, always atomic.Int64
		enqueue(t, s, Job{Key: "once", Kind: "vault"}, Job{Key: "always", Kind: "vault"})
		start(t, s, PoolOptions{}, Kind{Name: "vault", Workers: 2, Handle: func(_ context.Context, j Job) (Effect, error) {
			if j.Key == "always" {
				return func(context.Context, db.Tx) error { always.Add(1); return errors.New("broken") }, nil
			}
			return func(ctx context.Context, tx db.Tx) error {
				if once.Add(1) == 1 {
					return errors.New("hiccup")
				}
				return done(j.Ref())(ctx, tx)
			}, nil
		}})
		eventually(t, "done", func() bool { return mustGet(t, s, "once").State == Done })
		eventually(t, "failed", func() bool { return strings.Contains(mustGet(t, s, "always").LastError, "broken") })
		if once.Load() != 2 || always.Load() != effectAttempts || countEffects(t, s) != 1 || mustGet(t, s, "once").Attempts != 1 {
			t.Errorf("once ran %d times, always %d", once.Load(), always.Load())
		}
	})
}

func TestAStoppingPoolFinishesWhatItCan(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, Job{Key: "quick", Kind: "vault"}, Job{Key: "slow", Kind: "vault"})
		var running sync.WaitGroup
		running.Add(2)
		stop := start(t, s, PoolOptions{Grace: 300 * time.Millisecond}, Kind{Name: "vault", Workers: 2, Handle: func(ctx context.Context, j Job) (Effect, error) {
			running.Done()
			if j.Key == "quick" {
				time.Sleep(100 * time.Millisecond)
				return done(j.Ref()), ctx.Err()
			}
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), ErrStopped) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return nil, fmt.Errorf("upload: %w", ctx.Err())
		}})
		running.Wait()
		enqueue(t, s, Job{Key: "late", Kind: "vault"})
		stop()
		for key, want := range map[string]State{"quick": Done, "slow": Waiting, "late": Waiting} {
			if j := mustGet(t, s, key); j.State != want || want == Waiting && j.Attempts != 0 {
				t.Errorf("%s: %+v", key, j)
			}
		}
	})
}

func TestAPoolTakesUpWhatItsNodeLeft(t *testing.T) {
	s := open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
	enqueue(t, s, numbered("a", 1)...)
	claimOne(t, s, time.Hour)
	start(t, s, PoolOptions{}, Kind{Name: "vault", Workers: 1, Handle: records})
	eventually(t, "done", func() bool { return countEffects(t, s) == 1 })
}

func TestAPoolEndsWithItsDatabase(t *testing.T) {
	s := open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
	p, err := NewPool(s, PoolOptions{Log: slog.New(slog.DiscardHandler)}, Kind{Name: "vault", Workers: 1, Handle: records})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); !errors.Is(err, db.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestKindsAreChecked(t *testing.T) {
	ok := Kind{Name: "a", Workers: 1, Handle: records}
	for name, kinds := range map[string][]Kind{
		"no name": {{Workers: 1, Handle: records}}, "no workers": {{Name: "a", Handle: records}}, "no handler": {{Name: "a", Workers: 1}}, "twice": {ok, ok},
	} {
		if _, err := NewPool(nil, PoolOptions{}, kinds...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
