package jobs

import (
	"math"
	"time"
)

// Backoff says how long to wait after a failure: Min after the first, twice
// as long after each further one, never more than Max.
type Backoff struct {
	Min, Max time.Duration
}

// Delay is the wait after the given attempt, counted from 1. random is from
// [0, 1) and spreads the wait over the upper half of its length, so that jobs
// which failed together do not come back together.
func (b Backoff) Delay(attempt int, random float64) time.Duration {
	d := float64(b.Min) * math.Pow(2, float64(max(attempt, 1)-1))
	if d > float64(b.Max) {
		d = float64(b.Max)
	}
	return time.Duration(d * (1 + random) / 2)
}

// Retry says how the jobs of a kind are repeated.
type Retry struct {
	Job    Backoff       // of a job that failed by itself
	Target Backoff       // of a target that is down
	MaxAge time.Duration // after this a job that fails is given up
	// MinAttempts is how often a job is tried whatever its age: one that lay
	// held or behind a target that was down for long is as good as new.
	MinAttempts int
}

// DefaultRetry follows what MTAs do with mail: five days (RFC 5321, 4.5.4.1),
// quick at first.
func DefaultRetry() Retry {
	return Retry{
		Job:         Backoff{Min: 10 * time.Second, Max: time.Hour},
		Target:      Backoff{Min: 5 * time.Second, Max: 5 * time.Minute},
		MaxAge:      5 * 24 * time.Hour,
		MinAttempts: 5,
	}
}

// exhausted tells whether a job that failed is given up.
func (r Retry) exhausted(attempts int, age time.Duration) bool {
	return attempts >= r.MinAttempts && age >= r.MaxAge
}

// takeover is the wait before another worker gets a job whose lease ran out:
// none the first time, since most of all a process was stopped. A job that
// brings down every process that takes it must not be taken at once for ever.
func (r Retry) takeover(attempts int, random float64) time.Duration {
	if attempts <= 1 {
		return 0
	}
	return r.Job.Delay(attempts-1, random)
}
