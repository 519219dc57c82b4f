package app

// The queue as an administrator sees it: which jobs are meant, and what is told
// of each.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/vault"
)

// Which says which jobs are meant: those with the keys, or all that match every
// other field that is set.
type Which struct {
	Keys   []string // as Resolve gives them
	States []jobs.State
	Kind   string
	Target string
	Owner  string
	Older  time.Duration
	Error  string // a part of the last error
	File   string // a part of the path that a file shall have on its target
}

// IsZero tells that nothing was said.
func (w *Which) IsZero() bool {
	return len(w.Keys) == 0 && len(w.States) == 0 && w.Kind == "" && w.Target == "" && w.Owner == "" && w.Older == 0 && w.Error == "" && w.File == ""
}

// WholeTarget is the target that is meant as a whole: where nothing is said but
// its name, or that it is about copies. They go to one MTA.
func (w *Which) WholeTarget() (kind, target string, ok bool) {
	if len(w.Keys)+len(w.States) > 0 || w.Owner != "" || w.Older != 0 || w.Error != "" || w.File != "" {
		return "", "", false
	}
	switch {
	case w.Target != "" && (w.Kind == "" || w.Kind == vault.JobKind):
		return vault.JobKind, w.Target, true
	case w.Target == "" && (w.Kind == flow.JobCopy || w.Kind == flow.JobReceipt):
		return w.Kind, "", true
	}
	return "", "", false
}

// filters are what the queue is asked for: one for each key.
func (w *Which) filters() []jobs.Filter {
	f := jobs.Filter{States: w.States, Kind: w.Kind, Target: w.Target, Owner: strings.ToLower(w.Owner), MinAge: w.Older, Error: w.Error, Label: w.File}
	if len(w.Keys) == 0 {
		return []jobs.Filter{f}
	}
	var out []jobs.Filter
	for _, key := range w.Keys {
		f.Key = key
		out = append(out, f)
	}
	return out
}

// Job is a job as it is told.
type Job struct {
	ID         string    `json:"id"` // the end of the key, for people
	Key        string    `json:"key"`
	Kind       string    `json:"kind"`
	Target     string    `json:"target,omitempty"`
	State      string    `json:"state"`
	Owner      string    `json:"owner"`
	File       string    `json:"file,omitempty"`
	Size       int64     `json:"size,omitempty"`
	Sent       int64     `json:"sent,omitempty"`
	Recipients []string  `json:"recipients,omitempty"`
	Attempts   int       `json:"attempts"`
	Created    time.Time `json:"created"`
	Next       time.Time `json:"next_try,omitzero"` // while it waits
	Waits      string    `json:"waits_for,omitempty"`
	Lease      time.Time `json:"lease_until,omitzero"`
	Node       string    `json:"node,omitempty"`
	Error      string    `json:"last_error,omitempty"`
	Updated    time.Time `json:"updated"`
}

// idDigits are shown of a key, and enough to name a job.
const idDigits = 8

// ErrNoJob is returned for a name that no job has.
var ErrNoJob = errors.New("no such job")

// Resolve gives the key of a job named by it, or by the end of it.
func (s *Store) Resolve(ctx context.Context, name string) (string, error) {
	if _, err := s.Jobs.Get(ctx, name); err == nil || !errors.Is(err, jobs.ErrNotFound) {
		return name, err
	}
	if len(name) < idDigits {
		return "", fmt.Errorf("%w: %q; give the ID of a list, %d digits, or the key", ErrNoJob, name, idDigits)
	}
	found, err := s.Jobs.KeysEnding(ctx, name, 2)
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", fmt.Errorf("%w: %s", ErrNoJob, name)
	case len(found) > 1:
		return "", fmt.Errorf("several jobs have a key that ends in %s: give more of it", name)
	}
	return found[0], nil
}

// JobPage is a page of a list.
type JobPage struct {
	Jobs []Job `json:"jobs"`
	// After is the key to go on after, where there are more.
	After string `json:"after,omitempty"`
}

// ListJobs lists jobs, those first that were to be done first, behind the one with the key after if that
// is not "".
func (s *Store) ListJobs(ctx context.Context, w Which, after string, limit int) (*JobPage, error) {
	var from jobs.Cursor
	if after != "" {
		j, err := s.Jobs.Get(ctx, after)
		if err != nil {
			return nil, fmt.Errorf("go on after %s: %w", after, err)
		}
		from = jobs.Next(j)
	}
	var found []jobs.Job
	for _, f := range w.filters() {
		for len(found) <= limit {
			page, err := s.Jobs.List(ctx, f, from, limit+1-len(found))
			if err != nil {
				return nil, err
			}
			found = append(found, page...)
			if len(page) == 0 || f.Key != "" {
				break
			}
			from = jobs.Next(&page[len(page)-1])
		}
	}
	out := &JobPage{Jobs: []Job{}}
	if len(found) > limit {
		found = found[:limit]
		out.After = found[limit-1].Key
	}
	targets, err := s.targetsByName(ctx)
	if err != nil {
		return nil, err
	}
	for i := range found {
		one, err := s.jobView(ctx, &found[i], targets)
		if err != nil {
			return nil, err
		}
		out.Jobs = append(out.Jobs, one)
	}
	return out, nil
}

type targetName struct{ kind, target string }

func (s *Store) targetsByName(ctx context.Context) (map[targetName]jobs.Target, error) {
	all, err := s.Jobs.Targets(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[targetName]jobs.Target, len(all))
	for _, t := range all {
		out[targetName{t.Kind, t.Target}] = t
	}
	return out, nil
}

// What a job waits for that is not its own time.
const (
	waitsForRelease = "target held"
	waitsForTarget  = "target down"
)

func (s *Store) jobView(ctx context.Context, j *jobs.Job, targets map[targetName]jobs.Target) (Job, error) {
	out := Job{ID: j.Key[max(0, len(j.Key)-idDigits):], Key: j.Key, Kind: j.Kind, Target: j.Target, State: string(j.State), Owner: j.Owner,
		Attempts: j.Attempts, Created: j.Created, Error: j.LastError, Updated: j.Updated}
	switch t := targets[targetName{j.Kind, j.Target}]; j.State {
	case jobs.Waiting:
		out.Next = j.NotBefore
		switch {
		case t.Held:
			out.Waits = waitsForRelease
		case t.Down():
			out.Waits = waitsForTarget
			if t.ProbeAt.After(out.Next) {
				out.Next = t.ProbeAt
			}
		}
	case jobs.Running:
		out.Lease, out.Node = j.LeaseUntil, j.Node
	}
	switch j.Kind {
	case vault.JobKind:
		out.Size, out.Sent = j.Size, j.Sent
		if j.State == jobs.Done {
			out.Sent = j.Size
		}
		var about vault.About
		if err := json.Unmarshal(j.Payload, &about); err == nil {
			out.File = about.Name
		}
	case flow.JobCopy:
		var c flow.Copy
		if err := json.Unmarshal(j.Payload, &c); err == nil {
			for _, r := range c.Recipients {
				out.Recipients = append(out.Recipients, r.Address)
			}
		}
	case flow.JobReceipt:
		out.Recipients = []string{j.Owner}
	}
	return out, nil
}

// JobDetail is a job with everything known of it.
type JobDetail struct {
	Job
	Upload  *JobUpload    `json:"upload,omitempty"`
	Copy    *flow.Copy    `json:"copy,omitempty"`
	Receipt *flow.Receipt `json:"receipt,omitempty"`
	Mail    *JobMail      `json:"mail,omitempty"`
	Since   time.Time     `json:"since"` // begin of this series of attempts
	Fence   int64         `json:"fence"`
	Then    string        `json:"what_happens_next"`
}

// JobUpload is what an upload's row says.
type JobUpload struct {
	SHA256 ledger.Hash `json:"sha256"`
	Wanted string      `json:"wanted"`
	Path   string      `json:"path,omitempty"` // once it is there
	Done   time.Time   `json:"done,omitzero"`
	Stored bool        `json:"stored"` // the store has the content
	Rule   string      `json:"rule"`
	Part   int         `json:"part"`
	Inner  int         `json:"inner,omitempty"`
}

// JobMail is the mail that a job is about.
type JobMail struct {
	Key        ledger.Key `json:"key"`
	QueueID    string     `json:"queue_id"`
	MessageID  string     `json:"message_id"`
	Sender     string     `json:"sender"`
	Recipients []string   `json:"recipients"`
	Subject    string     `json:"subject"`
	Received   time.Time  `json:"received"`
	Size       int64      `json:"size"`
}

// ShowJob tells everything of one job.
func (s *Store) ShowJob(ctx context.Context, key string) (*JobDetail, error) {
	j, err := s.Jobs.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	targets, err := s.targetsByName(ctx)
	if err != nil {
		return nil, err
	}
	d := &JobDetail{Since: j.Since, Fence: j.Fence}
	if d.Job, err = s.jobView(ctx, j, targets); err != nil {
		return nil, err
	}
	d.Node = j.Node
	var mail ledger.Key
	switch j.Kind {
	case vault.JobKind:
		mail, err = s.uploadDetail(ctx, d, j)
	case flow.JobCopy:
		d.Copy = new(flow.Copy)
		err = json.Unmarshal(j.Payload, d.Copy)
		mail = d.Copy.Mail
	case flow.JobReceipt:
		d.Receipt = new(flow.Receipt)
		err = json.Unmarshal(j.Payload, d.Receipt)
		mail = d.Receipt.Mail
	}
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", key, err)
	}
	if err := s.mailOf(ctx, d, mail); err != nil {
		return nil, err
	}
	d.Then = next(d, targets[targetName{j.Kind, j.Target}], time.Now())
	return d, nil
}

func (s *Store) uploadDetail(ctx context.Context, d *JobDetail, j *jobs.Job) (ledger.Key, error) {
	r, about, err := vault.Of(ctx, s.DB.Read(), j)
	if errors.Is(err, vault.ErrNoUpload) {
		return about.Mail, nil
	}
	if err != nil {
		return ledger.Key{}, err
	}
	_, err = s.Blobs.Stat(ctx, r.SHA256)
	d.Upload = &JobUpload{SHA256: r.SHA256, Wanted: r.Wanted, Path: r.Path, Done: r.Done, Stored: err == nil, Rule: about.Rule, Part: about.Part, Inner: about.Inner}
	return about.Mail, nil
}

func (s *Store) mailOf(ctx context.Context, d *JobDetail, key ledger.Key) error {
	m, err := ledger.Get(ctx, s.DB.Read(), key)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d.Mail = &JobMail{Key: m.Key, QueueID: m.QueueID, MessageID: m.MessageID, Sender: m.Sender, Recipients: m.Recipients, Subject: m.Subject,
		Received: m.Received, Size: m.Size}
	return nil
}

// next tells what happens to a job, and what an administrator can do.
func next(d *JobDetail, t jobs.Target, now time.Time) string {
	switch jobs.State(d.State) {
	case jobs.Running:
		return fmt.Sprintf("node %s works on it; should that die, another takes it when the lease ends", d.Node)
	case jobs.Done:
		return "nothing: it is kept for a while, so that the same mail coming again does not make it anew"
	case jobs.Held:
		return "nothing until an administrator releases it: cloakroom queue release " + d.ID
	case jobs.Failed:
		return "nothing until an administrator decides: cloakroom queue retry " + d.ID + ", or drop"
	}
	switch {
	case d.Waits == waitsForRelease:
		return fmt.Sprintf("nothing until the target is released: cloakroom queue release %s", wholeTargetFlags(d.Kind, d.Target))
	case d.Waits == waitsForTarget:
		return fmt.Sprintf("the target is down since %s; one job tries it %s, then all go on", when(t.Changed, ""), inTime(t.ProbeAt, now))
	}
	return "a worker of the daemon takes it " + inTime(d.Next, now)
}

// wholeTargetFlags are those by which commands mean a target as a whole.
func wholeTargetFlags(kind, target string) string {
	if kind == flow.JobCopy || kind == flow.JobReceipt {
		return "--kind " + kind
	}
	return "--target " + target
}

// inTime tells how far away a time is.
func inTime(t, now time.Time) string {
	if wait := t.Sub(now); wait >= time.Second {
		return "in " + age(wait)
	}
	return "as soon as one is free"
}

// age writes a duration in one unit, for a column.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d/time.Second)))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d/time.Hour))
	}
	return fmt.Sprintf("%dd", int(d/(24*time.Hour)))
}
