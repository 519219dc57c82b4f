package sisa

// Who has a blob: the mails, their links and whatever else refers to it.

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/sisa/blob"
)

// maxUses bounds the mails that are listed for one blob.
const maxUses = 1000

// Place is all that is known of a blob.
type Place struct {
	SHA256  ledger.Hash `json:"sha256"`
	Stored  bool        `json:"stored"`         // its file is there
	Size    int64       `json:"size,omitempty"` // of the file, bytes
	Created time.Time   `json:"created,omitzero"`
	Used    time.Time   `json:"used,omitzero"` // by a mail, the last time
	Needed  []string    `json:"needed_by"`     // why it stays; none: the next collection takes it
	Uses    []Usage     `json:"mails"`
	More    bool        `json:"more,omitempty"` // there are more mails than are listed
}

// Usage is a mail that has the blob.
type Usage struct {
	Mail       ledger.Key `json:"mail"`
	QueueID    string     `json:"queue_id,omitempty"`
	MessageID  string     `json:"message_id,omitempty"`
	Sender     string     `json:"sender"`
	Recipients []string   `json:"recipients"`
	Received   time.Time  `json:"received"`
	Part       int        `json:"part"` // -1: it is the mail without its attachments
	Name       string     `json:"name,omitempty"`
	Linked     bool       `json:"linked"`
	Retired    bool       `json:"retired,omitempty"` // the mail does not need it any more
	Held       bool       `json:"held,omitempty"`
	Links      []LinkRef  `json:"links"`
}

// LinkRef is a link of such a mail.
type LinkRef struct {
	ID    string `json:"id"`
	State State  `json:"state"`
}

// Where tells who has a blob.
func (k *Keeper) Where(ctx context.Context, sum [32]byte) (*Place, error) {
	p := &Place{SHA256: sum, Needed: []string{}, Uses: []Usage{}}
	ref, err := k.Blobs.Stat(ctx, sum)
	if err == nil {
		p.Stored, p.Size = true, ref.Size
	} else if !errors.Is(err, blob.ErrNotExist) {
		return nil, err
	}
	var created, used int64
	q := k.DB.Read()
	err = q.QueryRowContext(ctx, `SELECT created, used FROM blobs WHERE sha256 = $1`, sum[:]).Scan(&created, &used)
	switch {
	case err == nil:
		p.Created, p.Used = time.UnixMilli(created), time.UnixMilli(used)
	case !errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("look up blob %x: %w", sum, err)
	}
	names, err := allNeeds(k.Needs).of(ctx, q, sum)
	if err != nil {
		return nil, err
	}
	p.Needed = append(p.Needed, names...)
	if p.Uses, err = k.uses(ctx, q, sum, maxUses+1); err != nil {
		return nil, err
	}
	if p.More = len(p.Uses) > maxUses; p.More {
		p.Uses = p.Uses[:maxUses]
	}
	return p, nil
}

// uses lists mails that have a blob, the newest first.
func (k *Keeper) uses(ctx context.Context, q db.Tx, sum [32]byte, limit int) ([]Usage, error) {
	rows, err := q.QueryContext(ctx, `SELECT m.key, m.queue_id, m.message_id, m.sender, m.recipients, m.received, m.retired, u.part, u.name, u.linked,
		(SELECT COUNT(*) FROM holds h WHERE h.mail = m.key)
		FROM (SELECT mail, part, name, linked FROM parts WHERE sha256 = $1 AND (linked = 1 OR cut = 1)
			UNION ALL SELECT key, -1, '', 0 FROM mails WHERE skeleton_blob = $1) u
		JOIN mails m ON m.key = u.mail ORDER BY m.received DESC, m.key, u.part LIMIT $2`, sum[:], limit)
	if err != nil {
		return nil, fmt.Errorf("mails with blob %x: %w", sum, err)
	}
	defer rows.Close()
	out := []Usage{}
	for rows.Next() {
		u, err := scanUse(rows)
		if err != nil {
			return nil, fmt.Errorf("mails with blob %x: %w", sum, err)
		}
		out = append(out, u)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	rows.Close()
	for i := range out {
		if out[i].Links, err = k.linksOf(ctx, q, out[i].Mail); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func scanUse(rows *sql.Rows) (u Usage, err error) {
	var raw []byte
	var recipients string
	var received int64
	var retired sql.NullInt64
	var linked, holds int
	if err := rows.Scan(&raw, &u.QueueID, &u.MessageID, &u.Sender, &recipients, &received, &retired, &u.Part, &u.Name, &linked, &holds); err != nil {
		return u, err
	}
	copy(u.Mail[:], raw)
	u.Received, u.Retired, u.Linked, u.Held = time.UnixMilli(received), retired.Valid, linked != 0, holds > 0
	return u, json.Unmarshal([]byte(recipients), &u.Recipients)
}

func (k *Keeper) linksOf(ctx context.Context, q db.Tx, key ledger.Key) ([]LinkRef, error) {
	rows, err := q.QueryContext(ctx, `SELECT id, expires, revoked FROM links WHERE mail = $1 ORDER BY generation`, key[:])
	if err != nil {
		return nil, fmt.Errorf("links of mail %s: %w", key, err)
	}
	defer rows.Close()
	out := []LinkRef{}
	for rows.Next() {
		var id []byte
		var expires, revoked sql.NullInt64
		if err := rows.Scan(&id, &expires, &revoked); err != nil {
			return nil, fmt.Errorf("links of mail %s: %w", key, err)
		}
		out = append(out, LinkRef{hex.EncodeToString(id), stateOf(fromMillis(expires), fromMillis(revoked), k.Now())})
	}
	return out, rows.Err()
}
