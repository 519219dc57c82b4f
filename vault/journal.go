package vault

// What the journal has about uploads, and how it is read back.

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

// The kinds of this package's lines.
const (
	factQueued = "upload"
	factMade   = "uploaded"
)

// Queued is the journal's line about a file that is to be put on a target: the
// line of its job stands beside it.
type Queued struct {
	Job    string      `json:"job"`
	Target string      `json:"target"`
	SHA256 ledger.Hash `json:"sha256"`
	Size   int64       `json:"size"`
	Mail   ledger.Key  `json:"mail"`
	Owner  string      `json:"owner"`
	Wanted string      `json:"wanted"`
}

// Made is the journal's line about a file that is on its target.
type Made struct {
	Job  string    `json:"job"`
	Path string    `json:"path"`
	At   time.Time `json:"at"`
}

func insert(ctx context.Context, tx db.Tx, q *Queued) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO uploads (job, target, sha256, size, mail, owner, wanted, path, sent, done)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, 0) ON CONFLICT (job) DO NOTHING`,
		q.Job, q.Target, q.SHA256[:], q.Size, q.Mail[:], q.Owner, q.Wanted)
	if err != nil {
		return fmt.Errorf("record upload %s: %w", q.Job, err)
	}
	return nil
}

func update(ctx context.Context, tx db.Tx, m *Made) error {
	_, err := tx.ExecContext(ctx, `UPDATE uploads SET path = $2, sent = size, done = $3 WHERE job = $1`, m.Job, m.Path, m.At.UnixMilli())
	if err != nil {
		return fmt.Errorf("record upload %s: %w", m.Job, err)
	}
	return nil
}

// Replay does again what a line of the journal tells, and reports whether the
// line is of this package. It may be repeated.
func Replay(ctx context.Context, tx db.Tx, r db.Record) (known bool, err error) {
	switch r.Kind {
	case factQueued:
		var q Queued
		if err := json.Unmarshal(r.Data, &q); err != nil {
			return true, err
		}
		if err := sisa.Use(ctx, tx, q.SHA256, q.Size, r.Time); err != nil {
			return true, err
		}
		return true, insert(ctx, tx, &q)
	case factMade:
		var m Made
		if err := json.Unmarshal(r.Data, &m); err != nil {
			return true, err
		}
		return true, update(ctx, tx, &m)
	}
	return false, nil
}
