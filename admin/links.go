package admin

// Links: the newest, those that a search finds, and one of them.

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloakroom/ledger"
	"cloakroom/sisa"
)

type linksPage struct {
	Sender, Recipient, File, Mail, State, Since, Before string
	Rows                                                []sisa.Row
	More                                                bool
	Searched                                            bool
}

func (s *Server) links(r *http.Request, f *frame) (string, any, error) {
	f.Title = "Links"
	p := &linksPage{Sender: trimmed(r, "sender"), Recipient: trimmed(r, "recipient"), File: trimmed(r, "file"), Mail: trimmed(r, "mail"),
		State: trimmed(r, "state"), Since: trimmed(r, "since"), Before: trimmed(r, "before")}
	filter := sisa.Filter{State: sisa.State(p.State), Limit: pageRows + 1,
		Mails: ledger.Filter{Mail: p.Mail, Sender: p.Sender, Recipient: p.Recipient, File: p.File}}
	var err error
	if filter.Mails.Since, err = dayOrNothing(p.Since); err != nil {
		return "", nil, err
	}
	if filter.Mails.Before, err = dayOrNothing(p.Before); err != nil {
		return "", nil, err
	}
	if p.File != "" && !strings.ContainsAny(p.File, "*?") {
		filter.Mails.File = "*" + p.File + "*"
	}
	switch filter.State {
	case "", sisa.Active, sisa.Expired, sisa.Revoked:
	default:
		return "", nil, badRequest("There is no state %q of links.", p.State)
	}
	p.Searched = !filter.IsZero()
	if p.Rows, err = s.watch.p.Links.List(r.Context(), filter); err != nil {
		return "", nil, err
	}
	if p.More = len(p.Rows) > pageRows; p.More {
		p.Rows = p.Rows[:pageRows]
	}
	return "links.html", p, nil
}

func dayOrNothing(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	if err != nil {
		return time.Time{}, badRequest("%q is not a date such as 2026-12-31.", text)
	}
	return t, nil
}

// oneID finds the link with an id, or the beginning of one.
func (s *Server) oneID(r *http.Request, id string) (*sisa.Row, error) {
	id = strings.ToLower(id)
	if len(id) < idDigits || len(id) > 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, notFound("There is no such link.")
	}
	rows, err := s.watch.p.Links.List(r.Context(), sisa.Filter{ID: id, Limit: 2})
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, notFound("There is no such link.")
	case len(rows) > 1:
		return nil, badRequest("Several links begin with %s: give more of it.", id)
	}
	return &rows[0], nil
}

func (s *Server) link(r *http.Request, f *frame) (string, any, error) {
	row, err := s.oneID(r, r.PathValue("id"))
	if err != nil {
		return "", nil, err
	}
	f.Title = "Link " + digits(row.ID)
	t, err := s.traceMail(r.Context(), row.Mail)
	if err != nil {
		return "", nil, err
	}
	p := &linkPage{Row: row, Mail: t}
	if p.Admission, err = s.watch.p.Links.Admission(r.Context(), row.ID); err != nil {
		return "", nil, err
	}
	p.name()
	return "link.html", p, nil
}

type linkPage struct {
	Row          *sisa.Row
	Mail         *mailTrace // nil: its record is gone
	Admission    sisa.Admission
	Left         []fileLeft
	LastDownload time.Time
}

// fileLeft is how often a file can still be fetched.
type fileLeft struct {
	Name string
	Left int64
}

// name gives the files their names, and finds the link's own downloads among those
// of its mail.
func (p *linkPage) name() {
	names := make(map[int]string)
	if p.Mail != nil {
		for _, part := range p.Mail.Parts {
			names[part.Index] = part.Name
		}
		for _, d := range p.Mail.Downloads {
			if d.LinkID == p.Row.ID && d.At.After(p.LastDownload) {
				p.LastDownload = d.At
			}
		}
	}
	for _, l := range p.Admission.Left {
		p.Left = append(p.Left, fileLeft{cmp.Or(names[l.Part], fmt.Sprint("part ", l.Part)), l.Left})
	}
}
