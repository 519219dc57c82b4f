package app

// What an administrator does to the queue: hold, release, retry, drop.

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/jobs"
	"cloakroom/vault"
)

// QueueChange is what a command did.
type QueueChange struct {
	Did    string `json:"did"`               // held, released, retried, dropped
	Jobs   int    `json:"jobs"`              // changed one by one
	Whole  bool   `json:"whole_target"`      // the target itself was held or released
	Kind   string `json:"kind,omitempty"`    // of that target
	Target string `json:"target,omitempty"`  // its name
	Waits  int    `json:"waiting,omitempty"` // jobs of the target that wait
	Held   int    `json:"held,omitempty"`    // jobs of the target that are held one by one, and stay so
	// Notes tell what else stands in the way.
	Notes []string `json:"notes,omitempty"`
}

// HoldJobs keeps jobs from being worked.
func (s *Store) HoldJobs(ctx context.Context, w Which) (*QueueChange, error) {
	return s.each(ctx, w, "held", s.Jobs.Hold)
}

// ReleaseJobs ends HoldJobs.
func (s *Store) ReleaseJobs(ctx context.Context, w Which) (*QueueChange, error) {
	return s.each(ctx, w, "released", s.Jobs.Release)
}

// RetryJobs has jobs tried at once that failed or wait for their next try, and
// asks targets that are down at once.
func (s *Store) RetryJobs(ctx context.Context, w Which) (*QueueChange, error) {
	out, err := s.each(ctx, w, "retried", s.Jobs.Retry)
	if err != nil || out.Jobs == 0 {
		return out, err
	}
	all, err := s.Jobs.Targets(ctx)
	for _, t := range all {
		if err == nil && t.Down() && !t.Held && (w.Target == "" || w.Target == t.Target) {
			err = s.Jobs.TryTarget(ctx, t.Kind, t.Target)
		}
	}
	return out, err
}

// DropJobs deletes jobs that were made until then. What is done stays, unless
// its state is asked for.
func (s *Store) DropJobs(ctx context.Context, w Which, until time.Time) (*QueueChange, error) {
	if w = droppable(w); len(w.States) == 0 { // an empty list would mean all
		return &QueueChange{Did: "dropped"}, nil
	}
	return s.each(ctx, w, "dropped", func(ctx context.Context, f jobs.Filter) (int, error) {
		f.Until = until
		return s.Jobs.Drop(ctx, f)
	})
}

func droppable(w Which) Which {
	if len(w.States) == 0 {
		w.States = []jobs.State{jobs.Waiting, jobs.Held, jobs.Failed}
	}
	w.States = slices.DeleteFunc(slices.Clone(w.States), func(s jobs.State) bool { return s == jobs.Running })
	return w
}

func (s *Store) each(ctx context.Context, w Which, did string, change func(context.Context, jobs.Filter) (int, error)) (*QueueChange, error) {
	out := &QueueChange{Did: did}
	for _, f := range w.filters() {
		n, err := change(ctx, f)
		out.Jobs += n
		if err != nil {
			return out, err
		}
	}
	if did == "held" || did == "dropped" || out.Jobs == 0 {
		return out, nil
	}
	return out, s.notes(ctx, w, out)
}

// notes tells of targets that are held, whatever is done to their jobs.
func (s *Store) notes(ctx context.Context, w Which, out *QueueChange) error {
	all, err := s.Jobs.Targets(ctx)
	for _, t := range all {
		if t.Held && (w.Target == "" || w.Target == t.Target) && (w.Kind == "" || w.Kind == t.Kind) {
			out.Notes = append(out.Notes, fmt.Sprintf("%s is held: its jobs wait until `cloakroom queue release %s`", targetText(t.Kind, t.Target), wholeTargetFlags(t.Kind, t.Target)))
		}
	}
	return err
}

// targetText names a target for people.
func targetText(kind, target string) string {
	switch kind {
	case flow.JobCopy:
		return "sending copies"
	case flow.JobReceipt:
		return "telling senders of downloads"
	}
	return "target " + target
}

// Lost is what a drop would delete.
type Lost struct {
	Uploads  int
	Copies   int
	Receipts int
	Done     int       // of all: what is remembered of work that was done
	Until    time.Time // when the newest of them was made
}

// CountLost counts what DropJobs would delete.
func (s *Store) CountLost(ctx context.Context, w Which) (Lost, error) {
	var out Lost
	w = droppable(w)
	if len(w.States) == 0 {
		return out, nil
	}
	for _, f := range w.filters() {
		for _, state := range w.States {
			for kind, sum := range map[string]*int{vault.JobKind: &out.Uploads, flow.JobCopy: &out.Copies, flow.JobReceipt: &out.Receipts} {
				if f.Kind != "" && f.Kind != kind {
					continue
				}
				one := f
				one.Kind, one.States = kind, []jobs.State{state}
				n, newest, err := s.Jobs.Count(ctx, one)
				if err != nil {
					return out, err
				}
				if state == jobs.Done {
					sum = &out.Done
				}
				*sum += n
				if newest.After(out.Until) {
					out.Until = newest
				}
			}
		}
	}
	return out, nil
}

// ErrNoTarget is returned for a target that neither the configuration nor the
// queue has.
type ErrNoTarget struct{ Name string }

func (e *ErrNoTarget) Error() string {
	return fmt.Sprintf("there is no target %q in `vault.targets`, and no job for one", e.Name)
}

// SetTarget holds a target as a whole, or releases it.
func (s *Store) SetTarget(ctx context.Context, cfg *config.Config, kind, target string, hold bool) (*QueueChange, error) {
	known, err := s.targetsByName(ctx)
	if err != nil {
		return nil, err
	}
	_, configured := cfg.Vault.Targets[target]
	if _, found := known[targetName{kind, target}]; !found && !configured && kind == vault.JobKind {
		return nil, &ErrNoTarget{target}
	}
	out := &QueueChange{Did: "released", Whole: true, Kind: kind, Target: target}
	if hold {
		out.Did = "held"
		err = s.Jobs.HoldTarget(ctx, kind, target)
	} else {
		err = s.Jobs.ReleaseTarget(ctx, kind, target)
	}
	if err != nil {
		return nil, err
	}
	f := jobs.Filter{Kind: kind, Target: target, States: []jobs.State{jobs.Waiting}}
	if out.Waits, _, err = s.Jobs.Count(ctx, f); err != nil {
		return nil, err
	}
	f.States = []jobs.State{jobs.Held}
	out.Held, _, err = s.Jobs.Count(ctx, f)
	return out, err
}
