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
	Record    *ledger.Mail    `json:"record"`
	Downloads []sisa.Download `json:"downloaded"`
}

// LinkDetail finds a link by the beginning of its id, or by its address.
func (s *Store) LinkDetail(ctx context.Context, id string) (*LinkDetail, error) {
	if i := strings.LastIndexByte(id, '/'); i >= 0 || sisa.ValidToken(id) {
		token := id[i+1:]
		if !sisa.ValidToken(token) {
			return nil, fmt.Errorf("%q does not end in a link's token", id)
		}
		id = sisa.TokenID(token)
	}
	rows, err := s.Links.List(ctx, sisa.Filter{ID: id, Limit: 2})
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, fmt.Errorf("no link has an id that begins with %q", id)
	case len(rows) > 1:
		return nil, fmt.Errorf("several links have an id that begins with %q: give more of it", id)
	}
	d := &LinkDetail{Row: rows[0]}
	if d.Record, err = ledger.Get(ctx, s.DB.Read(), d.Mail); err != nil {
		return nil, err
	}
	d.Record.Skeleton.Inline = nil // of no use to a person
	d.Downloads, err = s.Links.Downloads(ctx, d.ID)
	return d, err
}

// when writes a time for a table; zero is shown as none.
func when(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.Format("2006-01-02 15:04")
}
