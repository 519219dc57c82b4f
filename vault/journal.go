package vault

// What the journal has about uploads, and how it is read back.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

// The kinds of this package's lines.
const (
	factQueued = "upload" // written until the job's own line told all of it
	factMade   = "uploaded"
)

// queued is the journal's line of old about a file that was to be put on a target:
// the line of its job stands before it.
type queued struct {
	Job    string      `json:"job"`
	SHA256 ledger.Hash `json:"sha256"`
	Size   int64       `json:"size"`
	Wanted string      `json:"wanted"`
}

// Made is the journal's line about a file that is on its target.
type Made struct {
	Job    string      `json:"job"`
	Path   string      `json:"path"`
	At     time.Time   `json:"at"`
	Target string      `json:"target"` // this and the rest is not in lines of old
	SHA256 ledger.Hash `json:"sha256"`
	Size   int64       `json:"size"`
	Mail   ledger.Key  `json:"mail"`
	Owner  string      `json:"owner"`
	Wanted string      `json:"wanted"`
}

func insert(ctx context.Context, tx db.Tx, m *Made) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO uploaded (job, target, sha256, size, mail, owner, wanted, path, done)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (job) DO UPDATE SET path = excluded.path, done = excluded.done`,
		m.Job, m.Target, m.SHA256[:], m.Size, m.Mail[:], m.Owner, m.Wanted, m.Path, m.At.UnixMilli())
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
		var q queued
		if err := json.Unmarshal(r.Data, &q); err != nil {
			return true, err
		}
		if err := sisa.Use(ctx, tx, q.SHA256, q.Size, r.Time); err != nil {
			return true, err
		}
		_, err := tx.ExecContext(ctx, `UPDATE jobs SET label = $2, sha256 = $3, size = $4 WHERE key = $1 AND sha256 IS NULL`, q.Job, q.Wanted, q.SHA256[:], q.Size)
		return true, err
	case factMade:
		m := new(Made)
		if err := json.Unmarshal(r.Data, m); err != nil {
			return true, err
		}
		if m.Target == "" {
			if found, err := m.complete(ctx, tx); err != nil || !found {
				return true, err
			}
		}
		return true, insert(ctx, tx, m)
	}
	return false, nil
}

// complete adds to a line of old what the job tells, if there is one.
func (m *Made) complete(ctx context.Context, tx db.Tx) (found bool, err error) {
	of, err := jobs.Between(ctx, tx, m.Job, m.Job)
	if err != nil || len(of) == 0 {
		return false, err
	}
	r, _, err := Open(&of[0])
	if errors.Is(err, ErrNoUpload) { // the line that told of it was damaged
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("job %s: %w", m.Job, err)
	}
	m.Target, m.SHA256, m.Size, m.Mail, m.Owner, m.Wanted = r.Target, r.SHA256, r.Size, r.Mail, r.Owner, r.Wanted
	return true, nil
}
