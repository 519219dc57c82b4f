package admin

// The queue: lists of jobs, one job, the targets.

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/vault"
)

// pageRows is how many rows lists have.
const pageRows = 50

// jobRow is a job in a list.
type jobRow struct {
	Key, Kind, Target, State, Owner, Error string
	What                                   string // the file, or the recipients
	Mail                                   ledger.Key
	QueueID                                string
	Age                                    time.Duration
	Next                                   time.Time
	Attempts                               int
	Waits                                  string // for what, besides its time
}

type queuePage struct {
	Filter  Jobs
	Error   string
	Rows    []jobRow
	States  []stateCount
	Kinds   []string
	Targets []string
	More    string // the address of the next page; "" for none
	All     url.Values
	Counted time.Time
	Depth   int64
}

func (s *Server) queue(r *http.Request, f *frame) (string, any, error) {
	f.Title, f.Live = "Queue", true
	q := r.URL.Query()
	p := &queuePage{Filter: Jobs{State: q.Get("state"), Kind: q.Get("kind"), Target: q.Get("target"), Owner: strings.ToLower(trimmed(r, "owner"))}, Error: trimmed(r, "error")}
	filter := jobs.Filter{Kind: p.Filter.Kind, Target: p.Filter.Target, Owner: p.Filter.Owner, Error: p.Error}
	switch p.Filter.State {
	case "":
		filter.States = []jobs.State{jobs.Waiting, jobs.Running, jobs.Failed, jobs.Held}
	case "all":
	default:
		state, err := jobs.ParseState(p.Filter.State)
		if err != nil {
			return "", nil, badRequest("%v", err)
		}
		filter.States = []jobs.State{state}
	}
	after := jobs.Cursor{Key: q.Get("after")}
	if ms, err := strconv.ParseInt(q.Get("at"), 10, 64); err == nil {
		after.Due = time.UnixMilli(ms)
	} else {
		after = jobs.Cursor{}
	}
	found, err := s.watch.p.Jobs.List(r.Context(), filter, after, pageRows+1)
	if err != nil {
		return "", nil, err
	}
	if len(found) > pageRows {
		found = found[:pageRows]
		next := jobs.Next(&found[pageRows-1])
		q.Set("after", next.Key)
		q.Set("at", strconv.FormatInt(next.Due.UnixMilli(), 10))
		q.Del("did")
		p.More = "/queue?" + q.Encode()
	}
	state := s.watch.current()
	for i := range found {
		p.Rows = append(p.Rows, s.jobRow(&found[i], &state))
	}
	p.States, p.Counted = state.states(), state.queueAt
	p.Depth, _ = state.backlog()
	for _, t := range state.targets {
		if !slices.Contains(p.Kinds, t.Kind) {
			p.Kinds = append(p.Kinds, t.Kind)
		}
		if t.Target != "" && !slices.Contains(p.Targets, t.Target) {
			p.Targets = append(p.Targets, t.Target)
		}
	}
	return "queue.html", p, nil
}

func (s *Server) jobRow(j *jobs.Job, state *state) jobRow {
	row := jobRow{Key: j.Key, Kind: j.Kind, Target: j.Target, State: string(j.State), Owner: j.Owner, Error: j.LastError,
		Age: s.now().Sub(j.Created), Attempts: j.Attempts}
	if j.State == jobs.Waiting {
		row.Next = j.NotBefore
		for _, t := range state.targets {
			switch {
			case t.Kind != j.Kind || t.Target != j.Target:
			case t.Held:
				row.Waits = "target held"
			case t.Down():
				row.Waits = "target down"
			}
		}
	}
	switch j.Kind {
	case vault.JobKind:
		var about vault.About
		if json.Unmarshal(j.Payload, &about) == nil {
			row.What, row.Mail, row.QueueID = about.Name, about.Mail, about.QueueID
			if about.Part < 0 {
				row.What = "the whole mail"
			}
		}
	case flow.JobCopy:
		var copied flow.Copy
		if json.Unmarshal(j.Payload, &copied) == nil {
			var to []string
			for _, one := range copied.Recipients {
				to = append(to, one.Address)
			}
			row.What, row.Mail, row.QueueID = "mail to "+strings.Join(to, ", "), copied.Mail, copied.QueueID
			if len(copied.Returned) > 0 {
				row.What = "notification to " + copied.Sender
			}
		}
	case flow.JobReceipt:
		var receipt flow.Receipt
		if json.Unmarshal(j.Payload, &receipt) == nil {
			row.What, row.Mail = "news of a download for "+receipt.To, receipt.Mail
		}
	}
	return row
}

// When tells when a job is tried.
func (r jobRow) When(now time.Time) string {
	switch {
	case r.Waits != "":
		return r.Waits
	case r.Next.IsZero():
		return ""
	case r.Next.After(now.Add(time.Second)):
		return "in " + ageWords(r.Next.Sub(now))
	}
	return "now"
}

type jobPage struct {
	jobRow
	Job    *jobs.Job
	Upload *vault.Record
	Record *ledger.Mail
}

func (s *Server) job(r *http.Request, f *frame) (string, any, error) {
	j, err := s.watch.p.Jobs.Get(r.Context(), r.PathValue("key"))
	if errors.Is(err, jobs.ErrNotFound) {
		return "", nil, notFound("There is no such job any more: it is done and forgotten, or was deleted.")
	}
	if err != nil {
		return "", nil, err
	}
	f.Title, f.Live = "Job "+tail(j.Key), true
	state := s.watch.current()
	p := &jobPage{jobRow: s.jobRow(j, &state), Job: j}
	if j.Kind == vault.JobKind {
		p.Upload, _, err = vault.Of(r.Context(), s.watch.p.DB.Read(), j)
		if err != nil && !errors.Is(err, vault.ErrNoUpload) {
			return "", nil, err
		}
	}
	p.Record, err = ledger.Get(r.Context(), s.watch.p.DB.Read(), p.Mail)
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return "", nil, err
	}
	return "job.html", p, nil
}

// targetRow is a target in the list.
type targetRow struct {
	Kind, Name, Words, Server, Address       string
	State                                    string // up, down, held, unused
	Since, Probe                             time.Time
	Error                                    string
	Waiting, Running, Failed, Held, DoneJobs int64
	Oldest                                   time.Duration
	Testable                                 bool
}

func (s *Server) targets(r *http.Request, f *frame) (string, any, error) {
	f.Title, f.Live = "Targets", true
	state := s.watch.current()
	known, err := s.watch.p.Jobs.Targets(r.Context())
	if err != nil {
		return "", nil, err
	}
	state.targets = known
	return "targets.html", s.targetRows(&state), nil
}

// targetRows lists the targets of the queue and those of the configuration.
func (s *Server) targetRows(state *state) []*targetRow {
	var rows []*targetRow
	find := func(kind, name string) *targetRow {
		for _, one := range rows {
			if one.Kind == kind && one.Name == name {
				return one
			}
		}
		rows = append(rows, &targetRow{Kind: kind, Name: name, Words: targetWords(kind, name), State: "unused"})
		return rows[len(rows)-1]
	}
	if s.watch.p.Targets != nil {
		for _, t := range s.watch.p.Targets() {
			row := find(vault.JobKind, t.Name)
			row.Server, row.Address, row.Testable = t.Kind, t.Address, true
		}
	}
	for _, t := range state.targets {
		row := find(t.Kind, t.Target)
		row.State, row.Since = "up", t.Changed
		switch {
		case t.Held:
			row.State, row.Error = "held", t.LastError
		case t.Down():
			row.State, row.Error, row.Probe = "down", t.LastError, t.ProbeAt
		}
	}
	for _, one := range state.stats {
		row := find(one.Kind, one.Target)
		switch one.State {
		case jobs.Waiting:
			row.Waiting = one.Count
		case jobs.Running:
			row.Running = one.Count
		case jobs.Failed:
			row.Failed = one.Count
		case jobs.Held:
			row.Held = one.Count
		case jobs.Done:
			row.DoneJobs = one.Count
		}
		if one.State != jobs.Done && one.State != jobs.Held {
			row.Oldest = max(row.Oldest, one.OldestAge)
		}
	}
	return rows
}
