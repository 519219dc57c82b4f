package jobs

// Reading the journal back: what waits, what is done, and what an administrator
// stopped.

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cloakroom/internal/db"
)

// stopped is the journal's line about a target that was held or released.
type stopped struct {
	Kind   string `json:"kind"`
	Target string `json:"target"`
	Held   bool   `json:"held"`
}

// Replayed is what a line of the journal was about.
type Replayed struct {
	Known bool  // the line is of this package
	Needs Sum   // the blob that a new job needs; nil: none
	Size  int64 // of that
}

// journalled is either form of a line about a job.
type journalled struct {
	Job
	How   string `json:"how"`
	Error string `json:"error"`
}

// what a line does to a job that is there: $2 is when, $3 why it failed.
var turns = map[string]string{
	howDone:     `UPDATE jobs SET state = 'done', lease_until = 0, last_error = $3, updated = $2 WHERE key = $1`,
	howFailed:   `UPDATE jobs SET state = 'failed', lease_until = 0, last_error = $3, updated = $2 WHERE key = $1 AND state <> 'done'`,
	howHeld:     `UPDATE jobs SET state = 'held', updated = $2 WHERE key = $1 AND state = 'waiting'`,
	howReleased: `UPDATE jobs SET state = 'waiting', not_before = $2, updated = $2 WHERE key = $1 AND state = 'held'`,
	howRetried: `UPDATE jobs SET state = 'waiting', not_before = $2, attempts = 0, since = $2, updated = $2
		WHERE key = $1 AND state IN ('failed', 'waiting')`,
}

// Replay does again what a line of the journal tells. It may be repeated. What is
// not in the journal is how often a job was tried and why that failed, who works
// on it, and whether a target answers: all that is found out again.
func Replay(ctx context.Context, tx db.Tx, r db.Record) (Replayed, error) {
	switch r.Kind {
	case factTarget:
		var t stopped
		if err := json.Unmarshal(r.Data, &t); err != nil {
			return Replayed{Known: true}, err
		}
		return Replayed{Known: true}, replayTarget(ctx, tx, t, r.Time)
	case factPurged:
		return Replayed{Known: true}, replayPurged(ctx, tx, r.Data)
	case factJob:
	default:
		return Replayed{}, nil
	}
	var j journalled
	if err := json.Unmarshal(r.Data, &j); err != nil {
		return Replayed{Known: true}, err
	}
	out := Replayed{Known: true}
	var err error
	switch text := turns[j.How]; {
	case j.How == "":
		out.Needs, out.Size = j.Blob, j.Size
		err = replayJob(ctx, tx, &j.Job, r.Time)
	case j.How == howStays:
	case j.How == howDropped:
		_, err = tx.ExecContext(ctx, `DELETE FROM jobs WHERE key = $1`, j.Key)
	case text == "":
		err = fmt.Errorf("job %s: the journal says %q of it, which this program does not know", j.Key, j.How)
	case j.How == howDone || j.How == howFailed:
		_, err = tx.ExecContext(ctx, text, j.Key, r.Time.UnixMilli(), clean(j.Error, maxErrorText))
	default:
		_, err = tx.ExecContext(ctx, text, j.Key, r.Time.UnixMilli())
	}
	return out, err
}

func replayJob(ctx context.Context, tx db.Tx, j *Job, at time.Time) error {
	if err := j.check(); err != nil {
		return err
	}
	if len(j.Payload) == 0 {
		j.Payload = []byte("null")
	}
	due := at
	if !j.NotBefore.IsZero() {
		due = j.NotBefore
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO jobs (key, kind, target, owner, payload, state, attempts, not_before,
		lease_until, node, fence, last_error, created, since, updated, due, label, sha256, size)
		VALUES ($1, $2, $3, $4, $5, 'waiting', 0, $6, 0, '', 0, '', $7, $7, $7, $6, $8, $9, $10) ON CONFLICT (key) DO NOTHING`,
		j.Key, j.Kind, j.Target, clean(j.Owner, maxName), []byte(j.Payload), due.UnixMilli(), at.UnixMilli(), j.Label, j.Blob.value(), j.Size)
	if err == nil {
		err = replayKnown(ctx, tx, j.Kind, j.Target, at)
	}
	if err != nil {
		return fmt.Errorf("job %s: %w", j.Key, err)
	}
	return nil
}

func replayKnown(ctx context.Context, tx db.Tx, kind, target string, at time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO job_targets (kind, target, held, failures, probe, probe_at, last_error, changed)
		VALUES ($1, $2, 0, 0, '', 0, '', $3) ON CONFLICT (kind, target) DO NOTHING`, kind, target, at.UnixMilli())
	return err
}

func replayTarget(ctx context.Context, tx db.Tx, t stopped, at time.Time) error {
	err := replayKnown(ctx, tx, t.Kind, t.Target, at)
	if err == nil {
		held := 0
		if t.Held {
			held = 1
		}
		_, err = tx.ExecContext(ctx, `UPDATE job_targets SET held = $3, changed = $4 WHERE kind = $1 AND target = $2`,
			t.Kind, t.Target, held, at.UnixMilli())
	}
	if err != nil {
		return fmt.Errorf("target %s: %w", t.Target, err)
	}
	return nil
}

func replayPurged(ctx context.Context, tx db.Tx, data []byte) error {
	var p purged
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	for _, key := range p.Keys {
		if _, err := tx.ExecContext(ctx, `DELETE FROM jobs WHERE key = $1 AND state = 'done'`, key); err != nil {
			return fmt.Errorf("job %s: %w", key, err)
		}
	}
	return nil
}
