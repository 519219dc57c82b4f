package admin

// The way of one mail: what came, which rule decided what, and what became of its
// links, copies and uploads.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/sisa"
	"cloakroom/vault"
)

const (
	// maxTraced is how many mails one queue id or Message-ID shows.
	maxTraced = 20
	// maxTracedRows bounds each table of a mail.
	maxTracedRows = 200
	// copiesWithin is how long after a mail came its copies were queued, at the
	// latest: MTAs give up on an answer after ten minutes.
	copiesWithin = time.Hour
)

// tokenIn finds a link's token in its address.
var tokenIn = regexp.MustCompile(`(?:^|/d/)([A-Za-z0-9_-]{22})(?:$|[/?#])`)

// mailTrace is all that is known of a mail.
type mailTrace struct {
	*ledger.Mail
	Links     []linkTrace
	Uploads   []uploadTrace
	Copies    []jobRow
	Downloads []sisa.DownloadRow
}

type linkTrace struct{ sisa.Row }

type uploadTrace struct {
	vault.Record
	State, Error string
}

type tracePage struct {
	Query string
	Mails []*mailTrace
	More  bool
	Known bool // it was a token, of a link that is there
}

func (s *Server) trace(r *http.Request, f *frame) (string, any, error) {
	f.Title = "Trace"
	p := &tracePage{Query: trimmed(r, "q")}
	if p.Query == "" {
		return "trace.html", p, nil
	}
	keys, err := s.traced(r, p)
	if err != nil {
		return "", nil, err
	}
	if p.More = len(keys) > maxTraced; p.More {
		keys = keys[len(keys)-maxTraced:]
	}
	for i := len(keys) - 1; i >= 0; i-- {
		m, err := s.traceMail(r.Context(), keys[i])
		if err != nil {
			return "", nil, err
		}
		if m != nil {
			p.Mails = append(p.Mails, m)
		}
	}
	return "trace.html", p, nil
}

// traced finds the mails that are meant. A link's address is not kept: it opens
// the files.
func (s *Server) traced(r *http.Request, p *tracePage) ([]ledger.Key, error) {
	if m := tokenIn.FindStringSubmatch(p.Query); m != nil && sisa.ValidToken(m[1]) {
		rows, err := s.watch.p.Links.List(r.Context(), sisa.Filter{ID: sisa.TokenID(m[1]), Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(rows) == 1 {
			p.Known, p.Query = true, rows[0].ID
			return []ledger.Key{rows[0].Mail}, nil
		}
	}
	keys, err := ledger.Find(r.Context(), s.watch.p.DB.Read(), ledger.Filter{Mail: p.Query})
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	if row, err := s.oneID(r, p.Query); err == nil {
		return []ledger.Key{row.Mail}, nil
	}
	return nil, nil
}

// traceMail gathers what is known of a mail; nil where there is no record.
func (s *Server) traceMail(ctx context.Context, key ledger.Key) (*mailTrace, error) {
	q := s.watch.p.DB.Read()
	m, err := ledger.Get(ctx, q, key)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &mailTrace{Mail: m}
	of := sisa.Filter{Mails: ledger.Filter{Mail: key.String()}, Limit: maxTracedRows}
	rows, err := s.watch.p.Links.List(ctx, of)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		t.Links = append(t.Links, linkTrace{row})
	}
	if err := s.downloadsOf(ctx, t); err != nil {
		return nil, err
	}
	uploads, err := vault.OfMail(ctx, q, key)
	if err != nil {
		return nil, err
	}
	for _, u := range uploads[:min(len(uploads), maxTracedRows)] {
		one := uploadTrace{Record: u, State: string(jobs.Done)}
		j, err := s.watch.p.Jobs.Get(ctx, u.Job)
		switch {
		case err == nil:
			one.State, one.Error = string(j.State), j.LastError
		case !errors.Is(err, jobs.ErrNotFound):
			return nil, err
		case u.Done.IsZero():
			one.State = "dropped"
		}
		t.Uploads = append(t.Uploads, one)
	}
	t.Copies, err = s.copiesOf(ctx, m)
	return t, err
}

// downloadsOf reads the downloads link by link, each by its index, the newest
// first: the log as a whole is in the order of time.
func (s *Server) downloadsOf(ctx context.Context, t *mailTrace) error {
	names := make(map[int]string)
	for _, p := range t.Parts {
		names[p.Index] = p.Name
	}
	for _, l := range t.Links {
		if l.Row.Downloads == 0 {
			continue
		}
		found, err := s.watch.p.Links.Downloads(ctx, l.ID)
		if err != nil {
			return err
		}
		for _, d := range found {
			t.Downloads = append(t.Downloads, sisa.DownloadRow{At: d.At, LinkID: l.ID, Mail: t.Key, Part: d.Part, Name: names[d.Part], Client: d.Client, Agent: d.Agent, Proven: d.Proven})
		}
	}
	slices.SortStableFunc(t.Downloads, func(a, b sisa.DownloadRow) int { return b.At.Compare(a.At) })
	t.Downloads = t.Downloads[:min(len(t.Downloads), maxTracedRows)]
	return nil
}

// copiesOf lists the jobs that send copies of a mail: they were queued when it
// came, and their keys begin with its own.
func (s *Server) copiesOf(ctx context.Context, m *ledger.Mail) ([]jobRow, error) {
	if m.Received.IsZero() {
		return nil, nil
	}
	begin := fmt.Sprintf("%s-%s-", flow.JobCopy, m.Key.String()[:16])
	const ofMail = `key BETWEEN ? AND ? AND key LIKE ?`
	f := jobs.Filter{Kind: flow.JobCopy, Until: m.Received.Add(copiesWithin), Also: &jobs.Condition{SQL: ofMail, Keys: `SELECT key FROM jobs WHERE ` + ofMail,
		Args: []any{begin, begin + "g", begin + "%"}}} // g is behind every hex digit
	found, err := s.watch.p.Jobs.List(ctx, f, jobs.Cursor{Due: m.Received.Add(-time.Minute)}, maxTracedRows)
	if err != nil {
		return nil, err
	}
	state := s.watch.current()
	var out []jobRow
	for i := range found {
		var copied flow.Copy
		if json.Unmarshal(found[i].Payload, &copied) == nil && copied.Mail == m.Key {
			out = append(out, s.jobRow(&found[i], &state))
		}
	}
	return out, nil
}
