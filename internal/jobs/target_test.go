package jobs

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"cloakroom/internal/db"
)

var errUnreachable = TargetDown(errors.New("connection refused"))

func target(t *testing.T, s *Store, name string) Target {
	t.Helper()
	all, err := s.Targets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.Target == name {
			return one
		}
	}
	t.Fatalf("no target %s in %+v", name, all)
	return Target{}
}

func TestATargetThatIsDownIsTriedByOneJobAtATime(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		one := open(t, o)
		retry := map[string]Retry{"vault": {Job: Backoff{time.Millisecond, time.Millisecond}, Target: Backoff{800 * time.Millisecond, time.Hour}, MaxAge: time.Hour}}
		one.opt.Retry = retry
		two := testStore(t, one.db, "two")
		two.opt.Retry = retry
		enqueue(t, one, append(numbered("a", 20), numbered("b", 3)...)...)
		under := claimN(t, one, 8, time.Minute)
		if len(under) != 8 {
			t.Fatalf("%d claimed", len(under))
		}
		onA := 0
		for _, j := range under {
			if j.Target != "a" {
				continue
			}
			onA++
			if err := one.Fail(t.Context(), j.Ref(), fmt.Errorf("upload: %w", errUnreachable)); err != nil {
				t.Fatal(err)
			}
		}
		state := target(t, one, "a")
		if onA < 2 || state.Failures != 1 || !state.Down() || state.LastError != "upload: connection refused" || state.ProbeAt.Sub(state.Changed) != 600*time.Millisecond {
			t.Errorf("after %d jobs failed: %+v", onA, state)
		}
		for _, j := range claimN(t, two, 50, time.Minute) {
			if j.Target == "a" {
				t.Errorf("claimed from a target that is down: %s", j.Key)
			}
		}
		probe := waitClaim(t, two)
		if got := claimN(t, one, 50, time.Minute); len(got) != 0 {
			t.Errorf("claimed beside the probe: %d jobs", len(got))
		}
		if state := target(t, one, "a"); state.Probe != probe.Key {
			t.Errorf("the probe is %q, want %q", state.Probe, probe.Key)
		}
		if err := two.Fail(t.Context(), probe.Ref(), errUnreachable); err != nil {
			t.Fatal(err)
		}
		if state := target(t, one, "a"); state.Failures != 2 || state.ProbeAt.Sub(state.Changed) < 1200*time.Millisecond {
			t.Errorf("after the probe failed: %+v", state)
		}
		probe = waitClaim(t, one)
		if err := one.Complete(t.Context(), probe.Ref(), nil); err != nil {
			t.Fatal(err)
		}
		if state := target(t, one, "a"); state.Down() || !state.ProbeAt.IsZero() || state.LastError == "" {
			t.Errorf("after the probe went well: %+v", state)
		}
		time.Sleep(5 * time.Millisecond)
		if got := claimN(t, one, 50, time.Minute); len(got) != 19 {
			t.Errorf("%d jobs of the target are taken again, want 19", len(got))
		}
	})
}

func TestARefusalShowsThatTheTargetIsUp(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 2)...)
		got := claimN(t, s, 2, time.Minute)
		for i, cause := range []error{errUnreachable, Permanent(errors.New("550"))} {
			if err := s.Fail(t.Context(), got[i].Ref(), cause); err != nil {
				t.Fatal(err)
			}
			if down := target(t, s, "a").Down(); down != (i == 0) {
				t.Errorf("after %v: down is %v", cause, down)
			}
		}
	})
}

func TestAnOutageDoesNotUseUpTheAgeOfWaitingJobs(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		s.opt.Retry = map[string]Retry{"vault": {MaxAge: 0, MinAttempts: 1}}
		enqueue(t, s, numbered("a", 3)...)
		got := claimN(t, s, 3, time.Minute)
		for i, want := range []State{Failed, Waiting, Waiting} {
			// The first was tried while the target was thought well: it may be the cause.
			if err := s.Fail(t.Context(), got[i].Ref(), errUnreachable); err != nil {
				t.Fatal(err)
			}
			if j := mustGet(t, s, got[i].Key); j.State != want {
				t.Errorf("job %d is %s, want %s", i, j.State, want)
			}
		}
		probe := claimOne(t, s, time.Minute)
		if err := s.Fail(t.Context(), probe.Ref(), errUnreachable); err != nil {
			t.Fatal(err)
		}
		if j := mustGet(t, s, probe.Key); j.State != Waiting {
			t.Errorf("the probe is %s", j.State)
		}
	})
}

func TestAProbeThatDiedDoesNotKeepTheTargetDown(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		s.opt.Retry = map[string]Retry{"vault": {MaxAge: time.Hour}}
		enqueue(t, s, numbered("a", 3)...)
		j := claimOne(t, s, time.Minute)
		if err := s.Fail(t.Context(), j.Ref(), errUnreachable); err != nil {
			t.Fatal(err)
		}
		claimOne(t, s, time.Hour)
		if n, err := s.FreeOwn(t.Context()); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		j = claimOne(t, s, time.Hour)
		if err := s.GiveBack(t.Context(), j.Ref()); err != nil {
			t.Fatal(err)
		}
		claimOne(t, s, short)
		time.Sleep(short)
		waitClaim(t, s)
	})
}

func TestAHeldTargetKeepsItsJobs(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		if err := s.HoldTarget(t.Context(), "vault", "a"); err != nil {
			t.Fatal(err)
		}
		enqueue(t, s, append(numbered("a", 3), numbered("b", 2)...)...)
		for _, j := range claimN(t, s, 10, time.Minute) {
			if j.Target != "b" {
				t.Errorf("claimed %s", j.Key)
			}
		}
		if !target(t, s, "a").Held || target(t, s, "b").Held {
			t.Error("the wrong target is held")
		}
		if err := s.ReleaseTarget(t.Context(), "vault", "a"); err != nil {
			t.Fatal(err)
		}
		if got := claimN(t, s, 10, time.Minute); len(got) != 3 {
			t.Errorf("%d jobs after the release", len(got))
		}
	})
}
