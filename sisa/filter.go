package sisa

// Which links an administrator means.

import (
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"cloakroom/ledger"
)

// State is what a link does for its holder.
type State string

// The states of a link.
const (
	Active  State = "active"
	Expired State = "expired"
	Revoked State = "revoked"
)

// States lists all of them.
var States = []State{Active, Expired, Revoked}

// Filter selects links; zero fields select all.
type Filter struct {
	ID    string        // a prefix of the id, in hex
	Mails ledger.Filter // of which mails; its times are about the link
	State State
	Limit int // rows at most; 0 is no limit
}

// IsZero tells a filter that selects all links.
func (f Filter) IsZero() bool {
	f.Limit = 0
	return f == Filter{}
}

// Row is one link as an administrator sees it; the token is known to nobody.
type Row struct {
	ID         string     `json:"id"`
	Mail       ledger.Key `json:"mail"`
	Generation uint32     `json:"generation"`
	State      State      `json:"state"`
	Created    time.Time  `json:"created"`
	Expires    time.Time  `json:"expires,omitzero"`
	Revoked    time.Time  `json:"revoked,omitzero"`
	Sender     string     `json:"sender"`
	Recipients []string   `json:"recipients"`
	Subject    string     `json:"subject,omitempty"`
	QueueID    string     `json:"queue_id,omitempty"`
	Files      int        `json:"files"`
	Bytes      int64      `json:"bytes"`
	Downloads  int        `json:"downloads"`
	Held       bool       `json:"held,omitempty"`     // under a legal hold
	Retired    time.Time  `json:"retired,omitzero"`   // the files are gone since
	Forgotten  time.Time  `json:"forgotten,omitzero"` // and so is what was known of the mail
}

const rowColumns = `l.id, l.mail, l.generation, l.created, l.expires, l.revoked, m.sender, m.recipients, m.subject, m.queue_id,
	m.retired, m.forgotten,
	(SELECT COUNT(*) FROM link_parts lp WHERE lp.link = l.id),
	(SELECT CAST(COALESCE(SUM(p.size), 0) AS BIGINT) FROM link_parts lp JOIN parts p ON p.mail = l.mail AND p.part = lp.part
		WHERE lp.link = l.id),
	(SELECT COUNT(*) FROM downloads d WHERE d.link = l.id),
	(SELECT COUNT(*) FROM holds h WHERE h.mail = l.mail)`

func (f Filter) where(c *ledger.Conditions, now time.Time) error {
	if f.ID != "" {
		low, high, err := idRange(f.ID)
		if err != nil {
			return err
		}
		c.And("l.id >= %s AND l.id <= %s", c.Arg(low), c.Arg(high))
	}
	f.Mails.Where(c, "l.created")
	switch f.State {
	case "":
	case Active:
		c.And("l.revoked IS NULL AND (l.expires IS NULL OR l.expires > %s)", c.Arg(now.UnixMilli()))
	case Expired:
		c.And("l.revoked IS NULL AND l.expires IS NOT NULL AND l.expires <= %s", c.Arg(now.UnixMilli()))
	case Revoked:
		c.And("l.revoked IS NOT NULL")
	default:
		return fmt.Errorf("state %q is none of %s, %s, %s", f.State, Active, Expired, Revoked)
	}
	return nil
}

func scanRow(rows *sql.Rows, now time.Time) (r Row, err error) {
	var id, mail []byte
	var created int64
	var recipients string
	var expires, revoked, retired, forgotten sql.NullInt64
	var holds int
	if err := rows.Scan(&id, &mail, &r.Generation, &created, &expires, &revoked, &r.Sender, &recipients, &r.Subject, &r.QueueID,
		&retired, &forgotten, &r.Files, &r.Bytes, &r.Downloads, &holds); err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(recipients), &r.Recipients); err != nil {
		return r, fmt.Errorf("recipients of mail %x: %w", mail, err)
	}
	r.ID, r.Held = hex.EncodeToString(id), holds > 0
	copy(r.Mail[:], mail)
	r.Created, r.Expires, r.Revoked = time.UnixMilli(created), fromMillis(expires), fromMillis(revoked)
	r.Retired, r.Forgotten = fromMillis(retired), fromMillis(forgotten)
	r.State = stateOf(r.Expires, r.Revoked, now)
	return r, nil
}

func stateOf(expires, revoked, now time.Time) State {
	switch {
	case !revoked.IsZero():
		return Revoked
	case !expires.IsZero() && !now.Before(expires):
		return Expired
	}
	return Active
}

// idRange is the range of ids that begin with a hex prefix.
func idRange(prefix string) (low, high []byte, err error) {
	prefix = strings.ToLower(prefix)
	if len(prefix) > 64 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, nil, fmt.Errorf("link id %q is not made of up to 64 hex digits", prefix)
	}
	low, _ = hex.DecodeString(prefix + strings.Repeat("0", 64-len(prefix)))
	high, _ = hex.DecodeString(prefix + strings.Repeat("f", 64-len(prefix)))
	return low, high, nil
}
