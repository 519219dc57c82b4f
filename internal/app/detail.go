package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cloakroom/ledger"
	"cloakroom/sisa"
)

// LinkDetail is one link with everything known of it.
type LinkDetail struct {
	sisa.Row
	URL       string          `json:"url,omitempty"` // only where it was asked for
	Record    *ledger.Mail    `json:"record"`
	Access    sisa.Admission  `json:"access"`
	Downloads []sisa.Download `json:"downloaded"`
}

// LinkRow finds a link by the beginning of its id, or by its address.
func (s *Store) LinkRow(ctx context.Context, id string) (sisa.Row, error) {
	if i := strings.LastIndexByte(id, '/'); i >= 0 || sisa.ValidToken(id) {
		token := id[i+1:]
		if !sisa.ValidToken(token) {
			return sisa.Row{}, fmt.Errorf("%q does not end in a link's token", id)
		}
		id = sisa.TokenID(token)
	}
	rows, err := s.Links.List(ctx, sisa.Filter{ID: id, Limit: 2})
	switch {
	case err != nil:
		return sisa.Row{}, err
	case len(rows) == 0 || id == "":
		return sisa.Row{}, fmt.Errorf("no link has an id that begins with %q", id)
	case len(rows) > 1:
		return sisa.Row{}, fmt.Errorf("several links have an id that begins with %q: give more of it", id)
	}
	return rows[0], nil
}

// LinkDetail finds a link as LinkRow does.
func (s *Store) LinkDetail(ctx context.Context, id string) (*LinkDetail, error) {
	row, err := s.LinkRow(ctx, id)
	if err != nil {
		return nil, err
	}
	d := &LinkDetail{Row: row}
	if d.Record, err = ledger.Get(ctx, s.DB.Read(), d.Mail); err != nil {
		return nil, err
	}
	d.Record.Skeleton.Inline = nil // of no use to a person
	if d.Access, err = s.Links.Admission(ctx, d.ID); err != nil {
		return nil, err
	}
	d.Downloads, err = s.Links.Downloads(ctx, d.ID)
	return d, err
}

// SelectLinks finds the links with these ids, each as LinkRow does, or those that
// f selects.
func (s *Store) SelectLinks(ctx context.Context, ids []string, f sisa.Filter) ([]sisa.Row, error) {
	if len(ids) == 0 {
		return s.Links.List(ctx, f)
	}
	var rows []sisa.Row
	for _, id := range ids {
		row, err := s.LinkRow(ctx, id)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// SelectMails finds the mails that f selects and those with these names: queue
// id, Message-ID, key, or what LinkRow takes for one of their links.
func (s *Store) SelectMails(ctx context.Context, names []string, f ledger.Filter) ([]ledger.Key, error) {
	if len(names) == 0 {
		return ledger.Find(ctx, s.DB.Read(), f)
	}
	var out []ledger.Key
	for _, name := range names {
		keys, err := ledger.Find(ctx, s.DB.Read(), ledger.Filter{Mail: name})
		if err != nil {
			return nil, err
		}
		if len(keys) == 0 {
			row, err := s.LinkRow(ctx, name)
			if err != nil {
				return nil, fmt.Errorf("no mail has the queue id, Message-ID or key %q, and it names no link", name)
			}
			keys = []ledger.Key{row.Mail}
		}
		out = append(out, keys...)
	}
	return out, nil
}

// when writes a time for a table; zero is shown as none.
func when(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.Format("2006-01-02 15:04")
}
