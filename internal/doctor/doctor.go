// Package doctor looks at everything that mail through Cloakroom depends on:
// the MTA, the milter, the disk, the database, the name in DNS, the certificate.
//
// Every check is a small function over what it is handed. It changes nothing,
// ends in time, and says in words what is there and, where that is not as it
// should be, what to do. All checks run at once.
package doctor

import (
	"context"
	"fmt"
	"time"
)

// State is how something is.
type State string

// The states, from good to bad.
const (
	OK      State = "ok"
	Warning State = "warning" // it works, and will disappoint
	Wrong   State = "wrong"   // mail, links or uploads do not work
)

// Line is one finding.
type Line struct {
	Check string `json:"check"`
	State State  `json:"state"`
	Text  string `json:"text"`          // what is there
	Fix   string `json:"fix,omitempty"` // what to do
}

// ok, warn and wrong make lines; the check is named by whoever runs it.
func ok(format string, args ...any) Line { return Line{State: OK, Text: fmt.Sprintf(format, args...)} }

func warn(fix, format string, args ...any) Line {
	return Line{State: Warning, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func wrong(fix, format string, args ...any) Line {
	return Line{State: Wrong, Text: fmt.Sprintf(format, args...), Fix: fix}
}

// Good, Doubtful and Bad make lines for checks that others bring along.
func Good(format string, args ...any) Line { return ok(format, args...) }

// Doubtful is a warning.
func Doubtful(fix, format string, args ...any) Line { return warn(fix, format, args...) }

// Bad is wrong.
func Bad(fix, format string, args ...any) Line { return wrong(fix, format, args...) }

// Check is one look.
type Check struct {
	Name string // one word or two, as it is called by --only and --skip
	// Limit is how long it may take; 0 is defaultLimit.
	Limit time.Duration
	// Run looks. Lines without a Check get the name of this one.
	Run func(ctx context.Context) []Line
}

const (
	// defaultLimit is longer than any healthy answer, and shorter than people wait.
	defaultLimit = 10 * time.Second
	// grace is how much longer a check is waited for that was told to stop.
	grace = 500 * time.Millisecond
)

// Report is what was found.
type Report struct {
	State State     `json:"state"` // of the worst line
	At    time.Time `json:"at"`
	Lines []Line    `json:"lines"`
}

// Count counts the lines in a state.
func (r *Report) Count(s State) int {
	n := 0
	for _, l := range r.Lines {
		if l.State == s {
			n++
		}
	}
	return n
}

// Examine runs all checks at once and gives their lines in the order of the
// checks. One that does not end in time is told of, and left behind.
func Examine(ctx context.Context, checks []Check) *Report {
	r := &Report{State: OK, At: time.Now(), Lines: []Line{}}
	answers := make([]chan []Line, len(checks))
	for i := range checks {
		answers[i] = make(chan []Line, 1)
		go func() { answers[i] <- checks[i].run(ctx) }()
	}
	for i := range checks {
		for _, l := range <-answers[i] {
			if l.Check == "" {
				l.Check = checks[i].Name
			}
			if l.State == Wrong || l.State == Warning && r.State == OK {
				r.State = l.State
			}
			r.Lines = append(r.Lines, l)
		}
	}
	return r
}

func (c *Check) run(ctx context.Context) []Line {
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan []Line, 1)
	go func() { done <- c.Run(ctx) }()
	select {
	case lines := <-done:
		return lines
	case <-ctx.Done():
	}
	select {
	case lines := <-done:
		return lines
	case <-time.After(grace):
		return []Line{wrong("look why it hangs; other lines may tell", "no end within %v", limit)}
	}
}
