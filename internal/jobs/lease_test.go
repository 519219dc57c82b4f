package jobs

// Leases and fences: workers that die, hang, or have a clock of their own.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
)

// short is a lease that a test can wait for.
const short = 150 * time.Millisecond

// waitClaim claims until there is something to claim.
func waitClaim(t *testing.T, s *Store) Job {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got := claimN(t, s, 1, time.Minute); len(got) == 1 {
			return got[0]
		}
	}
	t.Fatal("nothing to claim")
	return Job{}
}

func TestALostLeaseGoesToAnotherAndTheStaleFenceIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		one := open(t, o)
		two := testStore(t, one.db, "two")
		enqueue(t, one, numbered("a", 1)...)
		stale := claimOne(t, one, short)
		if got := claimN(t, two, 1, time.Minute); len(got) != 0 {
			t.Fatalf("claimed during another's lease: %+v", got)
		}
		begin := time.Now()
		j := waitClaim(t, two)
		if waited := time.Since(begin); waited < short/3 || waited > 10*time.Second {
			t.Errorf("taken over after %v, the lease was %v", waited, short)
		}
		if j.Fence <= stale.Fence || j.Attempts != 2 || j.Node != "two" || !strings.Contains(j.LastError, "node one") {
			t.Errorf("fences %d, then %d; %+v", stale.Fence, j.Fence, j)
		}
		if err := one.Complete(t.Context(), stale.Ref(), done(stale.Ref())); !errors.Is(err, ErrFenced) {
			t.Errorf("stale completion: %v", err)
		}
		if err := one.Fail(t.Context(), stale.Ref(), errors.New("x")); !errors.Is(err, ErrFenced) {
			t.Errorf("stale failure: %v", err)
		}
		if err := one.GiveBack(t.Context(), stale.Ref()); !errors.Is(err, ErrFenced) {
			t.Errorf("stale return: %v", err)
		}
		lost, err := one.Renew(t.Context(), []Ref{stale.Ref()}, time.Minute)
		if err != nil || len(lost) != 1 || lost[0] != stale.Ref() {
			t.Errorf("stale renewal: lost %v, %v", lost, err)
		}
		if n := countEffects(t, one); n != 0 {
			t.Errorf("the stale worker had %d effects", n)
		}
		for range 2 { // the answer to the first may have been lost
			if err := two.Complete(t.Context(), j.Ref(), done(j.Ref())); err != nil {
				t.Errorf("completion: %v", err)
			}
		}
		if got := mustGet(t, one, j.Key); got.State != Done || got.LastError != "" || countEffects(t, one) != 1 {
			t.Errorf("%+v", got)
		}
		if err := one.Complete(t.Context(), stale.Ref(), nil); !errors.Is(err, ErrFenced) {
			t.Errorf("stale completion of a job that is done: %v", err)
		}
	})
}

func TestAnExpiredLeaseThatNobodyTookStillCompletes(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 2)...)
		got := claimN(t, s, 2, time.Millisecond)
		time.Sleep(20 * time.Millisecond)
		if err := s.Complete(t.Context(), got[0].Ref(), nil); err != nil {
			t.Errorf("before it was put back: %v", err)
		}
		if _, err := s.Claim(t.Context(), Claim{Kind: "vault", Limit: 1, Lease: time.Minute, Room: func(string) int { return 0 }}); err != nil {
			t.Fatal(err)
		}
		if j := mustGet(t, s, got[1].Key); j.State != Waiting || j.Fence != got[1].Fence {
			t.Fatalf("not put back: %+v", j)
		}
		if err := s.Complete(t.Context(), got[1].Ref(), nil); err != nil {
			t.Errorf("after it was put back: %v", err)
		}
	})
}

func TestRenewedLeasesHold(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 2)...)
		got := claimN(t, s, 2, short)
		until := time.Now().Add(3 * short)
		for time.Now().Before(until) {
			if lost, err := s.Renew(t.Context(), []Ref{got[1].Ref(), got[0].Ref()}, time.Minute); err != nil || len(lost) > 0 {
				t.Fatalf("lost %v, %v", lost, err)
			}
			if more := claimN(t, s, 1, short); len(more) > 0 {
				t.Fatalf("claimed while it was renewed: %+v", more)
			}
			time.Sleep(short / 5)
		}
	})
}

func TestAFenceIsNeverUsedAgainEvenForADroppedJob(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 1)...)
		first := claimOne(t, s, time.Millisecond)
		time.Sleep(10 * time.Millisecond)
		if _, err := s.Claim(t.Context(), Claim{Kind: "vault", Limit: 1, Room: func(string) int { return 0 }}); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Drop(t.Context(), Filter{}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		enqueue(t, s, numbered("a", 1)...)
		claimOne(t, s, time.Minute)
		if err := s.Complete(t.Context(), first.Ref(), nil); !errors.Is(err, ErrFenced) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheClockOfANodeDoesNotMatter(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		var stores []*Store
		for i, skew := range []time.Duration{-10 * time.Hour, 10 * time.Hour} {
			o.Now = func() time.Time { return time.Now().Add(skew) }
			d, err := openDB(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			stores = append(stores, testStore(t, d, fmt.Sprint("skewed", i)))
		}
		behind, ahead := stores[0], stores[1]
		enqueue(t, ahead, numbered("a", 1)...)
		j := claimOne(t, behind, time.Minute)
		if got := claimN(t, ahead, 1, time.Minute); len(got) != 0 {
			t.Errorf("a lease of a minute was taken for one that ended: %+v", got)
		}
		if age := time.Since(j.Created); age < -time.Second || age > time.Minute {
			t.Errorf("a job of now was made %v ago", age)
		}
	})
}

func TestANodeThatStartsFreesItsOwnLeasesOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		one := open(t, o)
		two := testStore(t, one.db, "two")
		enqueue(t, one, numbered("a", 2)...)
		mine, other := claimOne(t, one, time.Hour), claimOne(t, two, time.Hour)
		again := testStore(t, one.db, "one")
		if n, err := again.FreeOwn(t.Context()); n != 1 || err != nil {
			t.Fatalf("freed %d, %v", n, err)
		}
		if j := claimOne(t, again, time.Minute); j.Key != mine.Key || j.Fence <= mine.Fence {
			t.Errorf("got %+v", j)
		}
		if j := mustGet(t, one, other.Key); j.State != Running || j.Fence != other.Fence {
			t.Errorf("the other node's job: %+v", j)
		}
	})
}

const killOptions = "CLOAKROOM_TEST_KILL_OPTIONS"

// TestKilledWorker is its own child: with killOptions set it works until it is
// killed.
func TestKilledWorker(t *testing.T) {
	if text := os.Getenv(killOptions); text != "" {
		workForever(text)
	}
	onBoth(t, func(t *testing.T, o db.Options) {
		jobs := size(3000)
		s := open(t, o)
		enqueue(t, s, numbered("a", jobs)...)
		for range 3 {
			killAfter(t, o, jobs*6/100) // 180 or 36: in the midst of a claim of 50
		}
		var held int
		if err := s.db.Read().QueryRow(`SELECT COUNT(*) FROM jobs WHERE state = 'running'`).Scan(&held); err != nil {
			t.Fatal(err)
		}
		if held == 0 {
			t.Errorf("the killed workers left no lease after %d jobs: the test shows nothing", countEffects(t, s))
		}
		for deadline := time.Now().Add(30 * time.Second); countEffects(t, s) < jobs; {
			if time.Now().After(deadline) {
				t.Fatalf("%d of %d jobs are done", countEffects(t, s), jobs)
			}
			for _, j := range claimN(t, s, 100, time.Minute) {
				if err := s.Complete(t.Context(), j.Ref(), done(j.Ref())); err != nil {
					t.Error(err)
				}
			}
		}
		stats, err := s.Stats(t.Context())
		if err != nil || len(stats) != 1 || stats[0].State != Done || stats[0].Count != int64(jobs) {
			t.Errorf("%+v, %v", stats, err)
		}
	})
}

// killAfter runs a worker in a process of its own and kills it when it has
// done n jobs.
func killAfter(t *testing.T, o db.Options, n int) {
	t.Helper()
	text, err := json.Marshal(map[string]string{"path": o.Path, "url": o.URL})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWorker$")
	cmd.Env = append(os.Environ(), killOptions+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	count := 0
	for count < n && lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "done ") {
			t.Errorf("the worker says: %s", lines.Text())
		}
		count++
	}
	if count < n {
		t.Errorf("the worker ended by itself after %d jobs", count)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
}

func workForever(text string) {
	var where map[string]string
	err := json.Unmarshal([]byte(text), &where)
	fail := func() {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fail()
	ctx := context.Background()
	d, err := openDB(ctx, db.Options{Path: where["path"], URL: where["url"]})
	fail()
	s, err := New(ctx, d, Options{Node: fmt.Sprint("pid", os.Getpid()), Log: slog.New(slog.DiscardHandler)})
	fail()
	for {
		var got []Job
		got, err = s.Claim(ctx, Claim{Kind: "vault", Limit: 50, Lease: time.Second})
		fail()
		for _, j := range got {
			err = s.Complete(ctx, j.Ref(), done(j.Ref()))
			fail()
			fmt.Println("done", j.Key)
		}
	}
}

func TestAJobThatKillsItsWorkersIsTakenLessAndLessOften(t *testing.T) {
	s := open(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")})
	s.opt.Retry = map[string]Retry{"vault": {Job: Backoff{time.Hour, time.Hour}, MaxAge: 0, MinAttempts: 3}}
	enqueue(t, s, numbered("a", 1)...)
	key := claimOne(t, s, time.Millisecond).Key
	for attempt, want := range []struct {
		state State
		delay time.Duration
	}{{Running, 0}, {Waiting, 45 * time.Minute}} {
		time.Sleep(5 * time.Millisecond)
		claimN(t, s, 1, time.Millisecond)
		j := mustGet(t, s, key)
		if j.State != want.state || j.State == Waiting && j.NotBefore.Sub(j.Updated) != want.delay {
			t.Errorf("after %d attempts: %+v", attempt+1, j)
		}
	}
	// Its time comes again, and again it takes its worker along.
	err := s.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE jobs SET not_before = 0`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if j := claimOne(t, s, time.Millisecond); j.Attempts != 3 {
		t.Errorf("%d attempts", j.Attempts)
	}
	time.Sleep(5 * time.Millisecond)
	claimN(t, s, 1, time.Minute)
	if j := mustGet(t, s, key); j.State != Failed || !strings.Contains(j.LastError, "did not finish") {
		t.Errorf("in the end: %+v", j)
	}
}
