package jobs

import (
	"context"
	"errors"
	"testing"
	"time"

	"cloakroom/internal/db"
)

// shift moves all times, which is to everybody as if the database's clock had
// jumped the other way.
func shift(t *testing.T, s *Store, d time.Duration) {
	t.Helper()
	err := s.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		for _, statement := range []string{
			`UPDATE jobs SET not_before = not_before + $1, created = created + $1, since = since + $1, updated = updated + $1`,
			`UPDATE jobs SET lease_until = lease_until + $1 WHERE state = 'running'`,
			`UPDATE job_targets SET probe_at = probe_at + $1, changed = changed + $1`,
		} {
			if _, err := tx.ExecContext(ctx, statement, d.Milliseconds()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestJobsDoNotWaitForTimesOfAClockThatWasSetBack(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("down", 3)...)
		enqueue(t, s, numbered("well", 3)...)
		enqueue(t, s, Job{Key: "later", Kind: "vault", Target: "well", NotBefore: time.Now().Add(time.Hour)})
		for _, j := range claimN(t, s, 6, time.Minute) {
			switch {
			case j.Target == "down":
				if err := s.Fail(t.Context(), j.Ref(), TargetDown(errors.New("away"))); err != nil {
					t.Fatal(err)
				}
			case j.Key != "well-00000":
				if err := s.Fail(t.Context(), j.Ref(), errors.New("cut")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n, err := s.setRight(t.Context(), "vault", time.Minute); n != 0 || err != nil {
			t.Fatalf("nothing was wrong: %d, %v", n, err)
		}
		shift(t, s, 300*24*time.Hour)
		n, err := s.setRight(t.Context(), "vault", time.Minute)
		if n != 6 || err != nil {
			t.Errorf("%d jobs were set right, want 6: %v", n, err)
		}
		now, err := s.now(t.Context(), s.db.Read())
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.List(t.Context(), Filter{}, Cursor{}, 10)
		if err != nil || len(all) != 7 {
			t.Fatal(all, err)
		}
		for _, j := range all {
			switch wait := j.NotBefore.Sub(now); {
			case j.State == Running && j.LeaseUntil.Sub(now) > time.Minute:
				t.Errorf("%s has its lease for %v", j.Key, j.LeaseUntil.Sub(now))
			case j.Key == "later" && (wait < 59*time.Minute || wait > time.Hour):
				t.Errorf("a job that was to wait an hour waits %v", wait)
			case j.State == Waiting && j.Key != "later" && wait > 10*time.Second:
				t.Errorf("%s waits %v", j.Key, wait)
			}
		}
		if at := target(t, s, "down").ProbeAt.Sub(now); at > time.Minute {
			t.Errorf("the target is tried in %v", at)
		}
		if n, err := s.setRight(t.Context(), "vault", time.Minute); n != 0 || err != nil {
			t.Errorf("and again: %d, %v", n, err)
		}
	})
}

// TestALoneJobTriesItsTargetAsOftenAsManyWould: its own waits, which grow to an
// hour, must not come on top.
func TestALoneJobTriesItsTargetAsOftenAsManyWould(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		s.opt.Retry = map[string]Retry{"vault": {Job: Backoff{time.Hour, time.Hour}, Target: Backoff{20 * time.Millisecond, 20 * time.Millisecond}, MaxAge: time.Hour}}
		enqueue(t, s, numbered("a", 1)...)
		for range 4 {
			j := waitClaim(t, s)
			if err := s.Fail(t.Context(), j.Ref(), TargetDown(errors.New("away"))); err != nil {
				t.Fatal(err)
			}
		}
		if state := target(t, s, "a"); state.Failures != 4 {
			t.Errorf("tried 4 times: %+v", state)
		}
	})
}
