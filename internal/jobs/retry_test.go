package jobs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
)

func TestBackoffDoublesWithinItsBounds(t *testing.T) {
	b := Backoff{Min: 10 * time.Second, Max: time.Hour}
	for _, c := range []struct {
		attempt int
		random  float64
		want    time.Duration
	}{
		{1, 0, 5 * time.Second}, {1, 0.5, 7500 * time.Millisecond}, {2, 0, 10 * time.Second}, {4, 0.5, time.Minute},
		{9, 0, 1280 * time.Second}, {10, 0, 30 * time.Minute}, {10, 0.5, 45 * time.Minute}, {5000, 0, 30 * time.Minute},
		{0, 0, 5 * time.Second}, {-7, 0, 5 * time.Second},
	} {
		if got := b.Delay(c.attempt, c.random); got != c.want {
			t.Errorf("attempt %d with %v: %v, want %v", c.attempt, c.random, got, c.want)
		}
	}
	if got := b.Delay(100, 0.999999); got > time.Hour || got < 59*time.Minute {
		t.Errorf("upper end: %v", got)
	}
	if got := (Backoff{}).Delay(3, 0.5); got != 0 {
		t.Errorf("no backoff waits %v", got)
	}
}

func TestFailuresAreRepeatedLaterAndAtLastGivenUp(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		s.opt.Retry = map[string]Retry{"vault": {Job: Backoff{40 * time.Millisecond, 80 * time.Millisecond}, MaxAge: 50 * time.Millisecond, MinAttempts: 4}}
		enqueue(t, s, numbered("a", 1)...)
		for attempt, want := range []time.Duration{30, 60, 60} {
			j := waitClaim(t, s)
			if j.Attempts != attempt+1 {
				t.Errorf("attempt %d says it is %d", attempt+1, j.Attempts)
			}
			if err := s.Fail(t.Context(), j.Ref(), fmt.Errorf("no\x00 luck %d", attempt)); err != nil {
				t.Fatal(err)
			}
			got := mustGet(t, s, j.Key)
			if got.State != Waiting || got.NotBefore.Sub(got.Updated) != want*time.Millisecond || !got.LeaseUntil.IsZero() ||
				got.LastError != fmt.Sprintf("no\uFFFD luck %d", attempt) {
				t.Errorf("after attempt %d: waits %v, %+v", attempt+1, got.NotBefore.Sub(got.Updated), got)
			}
		}
		j := waitClaim(t, s)
		long := strings.Repeat("€", maxErrorText)
		if err := s.Fail(t.Context(), j.Ref(), errors.New(long)); err != nil {
			t.Fatal(err)
		}
		got := mustGet(t, s, j.Key)
		if got.State != Failed || len(got.LastError) > maxErrorText || !strings.HasPrefix(long, got.LastError) {
			t.Errorf("not given up: %+v", got)
		}
		if n, err := s.Retry(t.Context(), Filter{States: []State{Failed}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if j := claimOne(t, s, time.Minute); j.Attempts != 1 || !j.Since.After(j.Created) {
			t.Errorf("a retried job: %+v", j)
		}
	})
}

func TestAPermanentFailureIsNotRepeated(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 1)...)
		j := claimOne(t, s, time.Minute)
		if err := s.Fail(t.Context(), j.Ref(), fmt.Errorf("upload: %w", Permanent(errors.New("name is taken")))); err != nil {
			t.Fatal(err)
		}
		if got := mustGet(t, s, j.Key); got.State != Failed || got.LastError != "upload: name is taken" || got.Attempts != 1 {
			t.Errorf("got %+v", got)
		}
		if got := claimN(t, s, 1, time.Minute); len(got) != 0 {
			t.Errorf("claimed: %+v", got)
		}
	})
}

func TestAJobGivenBackHasLostNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, o db.Options) {
		s := open(t, o)
		enqueue(t, s, numbered("a", 1)...)
		j := claimOne(t, s, time.Hour)
		if err := s.GiveBack(t.Context(), j.Ref()); err != nil {
			t.Fatal(err)
		}
		if again := claimOne(t, s, time.Hour); again.Attempts != 1 || again.Fence <= j.Fence || again.LastError != "" {
			t.Errorf("got %+v", again)
		}
	})
}
