package app

// Sums of the queue, and what is going on in it now.

import (
	"context"
	"time"

	"cloakroom/internal/jobs"
	"cloakroom/vault"
)

// QueueStat counts the jobs of one kind and target in one state.
type QueueStat struct {
	Kind   string        `json:"kind"`
	Target string        `json:"target,omitempty"`
	State  string        `json:"state"`
	Count  int64         `json:"count"`
	Oldest time.Time     `json:"oldest"`
	Age    time.Duration `json:"-"`
	AgeSec int64         `json:"oldest_age_seconds"`
}

// QueueStats sums up the queue.
func (s *Store) QueueStats(ctx context.Context) ([]QueueStat, error) {
	all, err := s.Jobs.Stats(ctx)
	out := make([]QueueStat, len(all))
	for i, one := range all {
		out[i] = QueueStat{one.Kind, one.Target, string(one.State), one.Count, one.Oldest, one.OldestAge, int64(one.OldestAge / time.Second)}
	}
	return out, err
}

// TargetState is a target as the queue knows it.
type TargetState struct {
	Kind   string    `json:"kind"`
	Target string    `json:"target,omitempty"`
	State  string    `json:"state"` // up, down, held
	Since  time.Time `json:"since,omitzero"`
	Probe  time.Time `json:"probe_at,omitzero"` // when a job tries it next
	Error  string    `json:"last_error,omitempty"`
}

// States of targets.
const (
	targetUp     = "up"
	targetDown   = "down"
	targetHeld   = "held"
	targetUnused = "unused"
)

func targetState(t jobs.Target) TargetState {
	out := TargetState{Kind: t.Kind, Target: t.Target, State: targetUp, Since: t.Changed}
	switch {
	case t.Held:
		out.State, out.Error = targetHeld, t.LastError
		if !t.Down() {
			out.Error = ""
		}
	case t.Down():
		out.State, out.Probe, out.Error = targetDown, t.ProbeAt, t.LastError
	}
	return out
}

// Upload is one that is under way.
type Upload struct {
	ID      string        `json:"id"`
	Key     string        `json:"key"`
	Target  string        `json:"target"`
	Owner   string        `json:"owner"`
	File    string        `json:"file"`
	Size    int64         `json:"size"`
	Sent    int64         `json:"sent"` // as last written down by the daemon, every two seconds
	Rate    int64         `json:"bytes_per_second"`
	Running time.Duration `json:"-"`
	Seconds int64         `json:"seconds"`
}

// Snapshot is the queue at one moment.
type Snapshot struct {
	At      time.Time     `json:"at"`
	Stats   []QueueStat   `json:"stats"`
	Targets []TargetState `json:"targets"` // those that are down or held
	Uploads []Upload      `json:"uploads"` // under way, oldest first
	Copies  int           `json:"copies"`  // under way
}

// maxWatched uploads are told of a moment: more than targets take at once.
const maxWatched = 100

// Watcher takes snapshots. Counting a long queue takes a while, so that it is
// not done each time.
type Watcher struct {
	store  *Store
	counts []QueueStat
	due    time.Time
}

// countShare is how much of the time may go into counting.
const countShare = 20

// Watch makes a watcher.
func (s *Store) Watch() *Watcher { return &Watcher{store: s} }

// Snapshot takes the next.
func (w *Watcher) Snapshot(ctx context.Context) (*Snapshot, error) {
	now := time.Now()
	if now.After(w.due) {
		var err error
		if w.counts, err = w.store.QueueStats(ctx); err != nil {
			return nil, err
		}
		w.due = time.Now().Add(countShare * time.Since(now))
	}
	out := &Snapshot{At: now, Stats: w.counts, Targets: []TargetState{}, Uploads: []Upload{}}
	all, err := w.store.Jobs.Targets(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if t.Held || t.Down() {
			out.Targets = append(out.Targets, targetState(t))
		}
	}
	running, err := w.store.Jobs.List(ctx, jobs.Filter{States: []jobs.State{jobs.Running}}, jobs.Cursor{}, maxWatched)
	if err != nil {
		return nil, err
	}
	for i := range running {
		j := &running[i]
		if j.Kind != vault.JobKind {
			out.Copies++
			continue
		}
		view, err := w.store.jobView(ctx, j, nil)
		if err != nil {
			return nil, err
		}
		u := Upload{ID: view.ID, Key: j.Key, Target: j.Target, Owner: j.Owner, File: view.File, Size: view.Size, Sent: view.Sent,
			Running: max(0, now.Sub(j.Updated))}
		if u.Running >= time.Second {
			u.Rate = int64(float64(u.Sent) / u.Running.Seconds())
		}
		u.Seconds = int64(u.Running / time.Second)
		out.Uploads = append(out.Uploads, u)
	}
	return out, nil
}
