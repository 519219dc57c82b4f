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
	"runtime/debug"
	"slices"
	"strings"
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
	Name string // one word, as it is called by --only and --skip
	// Run looks. Lines without a Check get the name of this one.
	Run func(ctx context.Context) []Line
}

// grace is how much longer a check is waited for that was told to stop.
const grace = 300 * time.Millisecond

// Schema is the version of a Report as JSON: it grows when a field changes its
// meaning or goes away, not when one is added.
const Schema = 1

// Report is what was found.
type Report struct {
	Schema  int       `json:"schema"`
	State   State     `json:"state"` // of the worst line
	At      time.Time `json:"at"`
	Host    string    `json:"host"`
	Version string    `json:"version"`
	Took    int64     `json:"took_ms"`
	Lines   []Line    `json:"lines"`
}

// Add puts lines at the end, and remembers the worst.
func (r *Report) Add(lines ...Line) {
	for _, l := range lines {
		if l.State == Wrong || l.State == Warning && r.State != Wrong || r.State == "" {
			r.State = l.State
		}
		r.Lines = append(r.Lines, l)
	}
}

// Order sorts the lines by the order of the checks' names; lines of one check stay
// as they came.
func (r *Report) Order(names []string) {
	slices.SortStableFunc(r.Lines, func(a, b Line) int { return slices.Index(names, a.Check) - slices.Index(names, b.Check) })
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

// Examine runs all checks at once until limit is over, and gives their lines in the
// order of the checks. One that does not end in time is told of, and left behind.
func Examine(ctx context.Context, checks []Check, limit time.Duration) []Line {
	answers := make([]chan []Line, len(checks))
	for i := range checks {
		answers[i] = make(chan []Line, 1)
		go func() { answers[i] <- checks[i].run(ctx, limit) }()
	}
	var all []Line
	for i := range checks {
		for _, l := range <-answers[i] {
			if l.Check == "" {
				l.Check = checks[i].Name
			}
			all = append(all, l)
		}
	}
	return all
}

func (c *Check) run(ctx context.Context, limit time.Duration) []Line {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan []Line, 1)
	go func() { done <- c.protected(ctx) }()
	select {
	case lines := <-done:
		return lines
	case <-ctx.Done():
	}
	select {
	case lines := <-done:
		return lines
	case <-time.After(grace):
		return []Line{wrong("look what it waits for: the disk, the network, or what other lines name; --timeout gives it longer", "no end within %s", short(limit))}
	}
}

// protected keeps the other lines from being lost with one.
func (c *Check) protected(ctx context.Context) (lines []Line) {
	defer func() {
		if p := recover(); p != nil {
			lines = []Line{wrong("report this to the authors of Cloakroom", "the check itself failed: %v %s", p, firstLines(string(debug.Stack())))}
		}
	}()
	return c.Run(ctx)
}

// stackLines are enough to find the place.
const stackLines = 12

func firstLines(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[:min(stackLines, len(lines))], " ")
}

// short is a duration for people.
func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
