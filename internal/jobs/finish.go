package jobs

// Ending a claim: done, failed, or given back.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cloakroom/internal/db"
)

// Effect is what a completed job writes, in the transaction that completes it.
// It keeps to the rules of a commit function and does not use tx afterwards.
type Effect func(ctx context.Context, tx db.Tx) error

// effectError tells a failed Effect from a failed completion.
type effectError struct{ error }

func (e effectError) Unwrap() error { return e.error }

// turned is the journal's line about what became of a job: a database that is
// rebuilt must not send a copy twice, nor begin what an administrator stopped.
type turned struct {
	Key   string `json:"key"`
	How   string `json:"how"`
	Error string `json:"error,omitempty"` // why it failed
}

// What becomes of a job, in the journal.
const (
	howDone     = "done"
	howDropped  = "dropped"
	howFailed   = "failed"
	howHeld     = "held"
	howPurged   = "purged"
	howReleased = "released"
	howRetried  = "retried"
	howStays    = "stays" // it was to be changed, and is under way meanwhile
)

// purged is the journal's line about jobs that were done long ago: a mail that
// comes again makes them again.
type purged struct {
	Keys []string `json:"keys"`
}

// The kinds of this package's lines in the journal: a Job or turned, what an
// administrator did to a whole target, and purged.
const (
	factJob    = "job"
	factTarget = "target"
	factPurged = "jobs purged"
)

func journal(how, key string) db.Entry {
	return db.Entry{{Kind: factJob, Data: turned{Key: key, How: how}}}
}

// Complete marks a job as done and runs effect, which may be nil, in the same
// transaction. It may be repeated after an error: a job that is done already
// by this claim gives nil and effect does not run again. ErrFenced.
//
// A lease that ran out does not matter as long as nobody else took the job.
func (s *Store) Complete(ctx context.Context, ref Ref, effect Effect) error {
	err := s.db.Commit(ctx, journal(howDone, ref.Key), func(ctx context.Context, tx db.Tx) error {
		return s.CompleteTx(ctx, tx, ref, effect)
	})
	if err != nil {
		return fmt.Errorf("complete job %s: %w", ref.Key, err)
	}
	return nil
}

// CompleteTx is Complete in a transaction of the caller's, who writes the
// journal too.
func (s *Store) CompleteTx(ctx context.Context, tx db.Tx, ref Ref, effect Effect) error {
	var kind, target string
	err := tx.QueryRowContext(ctx, s.sql(`UPDATE jobs SET state = 'done', lease_until = 0, last_error = '', updated = {now}
		WHERE key = $1 AND fence = $2 AND state <> 'done' RETURNING kind, target`), ref.Key, ref.Fence).Scan(&kind, &target)
	if errors.Is(err, sql.ErrNoRows) {
		return s.alreadyDone(ctx, tx, ref)
	}
	if err != nil {
		return err
	}
	if effect != nil {
		if err := effect(ctx, tx); err != nil {
			return effectError{err}
		}
	}
	return s.targetAnswered(ctx, tx, kind, target)
}

// alreadyDone tells a repeated completion from one that comes too late.
func (s *Store) alreadyDone(ctx context.Context, tx db.Tx, ref Ref) error {
	var fence int64
	err := tx.QueryRowContext(ctx, `SELECT fence FROM jobs WHERE key = $1 AND state = 'done'`, ref.Key).Scan(&fence)
	if errors.Is(err, sql.ErrNoRows) || err == nil && fence != ref.Fence {
		return ErrFenced
	}
	return err
}

// Fail ends a claim without success. The job is tried again after a while, or
// becomes failed: when cause is Permanent, or when the job is too old and was
// tried often enough. A failure that is the target's own (TargetDown) stops
// the target's other jobs. ErrFenced.
func (s *Store) Fail(ctx context.Context, ref Ref, cause error) error {
	random, again := s.opt.Random(), s.opt.Random()
	err := s.db.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		j, now, err := s.claimed(ctx, tx, ref)
		if err != nil {
			return err
		}
		r := s.retry(j.Kind)
		spared := false // the target was known to be down: not the job's fault
		if isDown(cause) {
			spared, err = s.targetFailed(ctx, tx, j, cause, r.Target, again)
		} else {
			err = s.targetAnswered(ctx, tx, j.Kind, j.Target)
		}
		if err != nil {
			return err
		}
		next := Waiting
		if isPermanent(cause) || r.exhausted(j.Attempts, now.Sub(j.Since)) && !spared {
			next = Failed
		}
		delay := r.Job.Delay(j.Attempts, random)
		if isDown(cause) {
			delay = 0 // its target's wait is enough: a lone job would make it longer
		}
		return s.putBack(ctx, tx, j.Key, next, delay, cause.Error())
	})
	if err != nil {
		return fmt.Errorf("record failure of job %s: %w", ref.Key, err)
	}
	return nil
}

// GiveBack ends a claim as if it had not been: for a worker that stops before
// it did anything that counts. ErrFenced.
func (s *Store) GiveBack(ctx context.Context, ref Ref) error {
	err := s.db.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		j, _, err := s.claimed(ctx, tx, ref)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.sql(`UPDATE jobs SET state = 'waiting', not_before = {now}, lease_until = 0,
			attempts = attempts - 1, updated = {now} WHERE key = $1`), ref.Key)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.sql(`UPDATE job_targets SET probe = '', probe_at = {now}
			WHERE kind = $1 AND target = $2 AND probe = $3`), j.Kind, j.Target, j.Key)
		return err
	})
	if err != nil {
		return fmt.Errorf("give back job %s: %w", ref.Key, err)
	}
	return nil
}

// claimed locks the row of a claim that still holds.
func (s *Store) claimed(ctx context.Context, tx db.Tx, ref Ref) (*Job, time.Time, error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+columns+` FROM jobs WHERE key = $1 AND fence = $2 AND state = 'running' FOR UPDATE`,
		ref.Key, ref.Fence)
	found, err := scan(rows, err)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(found) == 0 {
		return nil, time.Time{}, ErrFenced
	}
	now, err := s.now(ctx, tx)
	return &found[0], now, err
}
