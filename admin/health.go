package admin

// Whether mail can be handled now, and what somebody should look at.

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloakroom/internal/jobs"
)

const (
	// checkTimeout is what one check may take.
	checkTimeout = 3 * time.Second
	// checkFresh is how old a check's result may be for /readyz.
	checkFresh = time.Second
)

// Check is one thing that must be well.
type Check struct {
	Name string // one word
	// Run looks at it. The error says why mail cannot be handled, the attention
	// what somebody should look at; both are for people.
	Run func(ctx context.Context) (attention string, err error)
}

// Result is what a check found.
type Result struct {
	Name      string `json:"check"`
	OK        bool   `json:"ok"`
	Vital     bool   `json:"stops_mail,omitempty"` // without it mail cannot be handled
	Words     string `json:"words,omitempty"`
	Attention bool   `json:"attention,omitempty"`
}

// checks are the results of all checks, as of a time.
type checks struct {
	at      time.Time
	results []Result
	running chan struct{} // closed when those under way are over; nil: none
}

// ready tells whether mail can be handled, as far as a result says.
func ready(results []Result) bool {
	for _, r := range results {
		if r.Vital {
			return false
		}
	}
	return true
}

// runChecks makes all checks at once. One that hangs is told of and left behind.
func (w *watch) runChecks(ctx context.Context) []Result {
	w.mu.Lock()
	if running := w.checks.running; running != nil {
		w.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
		}
		return w.results()
	}
	done := make(chan struct{})
	w.checks.running = done
	w.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	all := append(w.p.Checks[:len(w.p.Checks):len(w.p.Checks)], Check{"queue", w.checkQueue}, Check{"targets", w.checkTargets})
	answers := make([]chan Result, len(all))
	for i, c := range all {
		answers[i] = make(chan Result, 1)
		go func() { answers[i] <- c.result(ctx) }()
	}
	results := make([]Result, len(all))
	for i, c := range all {
		select {
		case results[i] = <-answers[i]:
		case <-ctx.Done():
			select {
			case results[i] = <-answers[i]:
			default:
				results[i] = Result{Name: c.Name, Vital: true, Words: fmt.Sprintf("did not answer within %v", checkTimeout)}
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checks = checks{at: w.now(), results: results}
	close(done)
	return results
}

func (c Check) result(ctx context.Context) Result {
	attention, err := c.Run(ctx)
	switch {
	case err != nil:
		return Result{Name: c.Name, Vital: true, Words: err.Error()}
	case attention != "":
		return Result{Name: c.Name, Attention: true, Words: attention}
	}
	return Result{Name: c.Name, OK: true}
}

// results are the last ones.
func (w *watch) results() []Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.checks.results
}

// fresh gives results of now.
func (w *watch) fresh(ctx context.Context) []Result {
	w.mu.Lock()
	age := w.now().Sub(w.checks.at)
	w.mu.Unlock()
	if age >= 0 && age < checkFresh {
		return w.results()
	}
	return w.runChecks(ctx)
}

// checkQueue asks for attention where jobs grow old.
func (w *watch) checkQueue(context.Context) (string, error) {
	s := w.current()
	if s.trouble != "" {
		return "the queue cannot be counted: " + s.trouble, nil
	}
	failed := int64(0)
	for _, one := range s.stats {
		if one.State == jobs.Failed {
			failed += one.Count
		}
	}
	_, age := s.backlog()
	switch {
	case age > w.p.QueueAge && failed > 0:
		return fmt.Sprintf("the oldest job is %s old, and %s for good: look at the queue", ageWords(age), countWords(failed, "job has failed", "jobs have failed")), nil
	case age > w.p.QueueAge:
		return fmt.Sprintf("the oldest job is %s old: look at the queue", ageWords(age)), nil
	}
	return "", nil
}

// checkTargets asks for attention where a target does not work.
func (w *watch) checkTargets(context.Context) (string, error) {
	var words []string
	for _, t := range w.current().targets {
		name := targetWords(t.Kind, t.Target)
		switch {
		case t.Held && t.LastError != "":
			words = append(words, fmt.Sprintf("%s is held: %s", name, t.LastError))
		case t.Held:
			words = append(words, name+" is held")
		case t.Down():
			words = append(words, fmt.Sprintf("%s is down: %s", name, t.LastError))
		}
	}
	return strings.Join(words, "; "), nil
}

// healthz tells that the process answers; nothing else.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// readyz tells what is not ready. Who did not name himself where that is asked
// for hears only whether, not what.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	results := s.watch.fresh(r.Context())
	well := ready(results)
	attention := false
	for _, one := range results {
		attention = attention || one.Attention
	}
	status := http.StatusOK
	if !well || attention && r.URL.Query().Has("strict") {
		status = http.StatusServiceUnavailable
	}
	words := "ready"
	switch {
	case !well:
		words = "not ready"
	case attention:
		words = "ready, but somebody should look"
	}
	knows := s.guard.check(r).in
	if knows && strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{"ready": well, "checks": results}) // who has left need not hear it
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, words)
	if !knows {
		return
	}
	for _, one := range results {
		switch {
		case one.OK:
			fmt.Fprintf(w, "ok         %s\n", one.Name)
		case one.Vital:
			fmt.Fprintf(w, "not ready  %s: %s\n", one.Name, one.Words)
		default:
			fmt.Fprintf(w, "attention  %s: %s\n", one.Name, one.Words)
		}
	}
}
