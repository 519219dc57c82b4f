package jobs

// The circuit breaker of a target. It is kept in the database: all nodes, a
// restarted process and the command line see the same.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cloakroom/internal/db"
)

// maxFailures bounds the counted failures of a target; the wait has long
// reached its maximum by then.
const maxFailures = 1000

// Target is the state of a destination.
type Target struct {
	Kind, Target string
	Held         bool      // an administrator said so: nothing is taken
	Failures     int       // failed probes in a row; 0: it works, as far as we know
	Probe        string    // the key of the job that tries it now, or tried it last
	ProbeAt      time.Time // when a job tries it next; zero unless Failures > 0
	LastError    string    // why it is, or was, down
	Changed      time.Time // when it went down or up, was held or released
}

// Down tells whether its jobs wait for a probe.
func (t Target) Down() bool { return t.Failures > 0 }

// addTarget sees to it that a target of a new job has its row. It asks no other
// connection than the transaction's: where all that there are wait in commits for
// one more, nobody ever gets it.
func (s *Store) addTarget(ctx context.Context, tx db.Tx, kind, target string) error {
	if _, ok := s.targets.Load([2]string{kind, target}); ok {
		return nil
	}
	_, err := tx.ExecContext(ctx, s.sql(`INSERT INTO job_targets (kind, target, held, failures, probe, probe_at, last_error, changed)
		VALUES ($1, $2, 0, 0, '', 0, '', {now}) ON CONFLICT (kind, target) DO NOTHING`), kind, target)
	return err
}

// Targets lists all targets that ever had a job, by kind and name.
func (s *Store) Targets(ctx context.Context) ([]Target, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT kind, target, held, failures, probe, probe_at, last_error, changed
		FROM job_targets ORDER BY kind, target`)
	if err != nil {
		return nil, fmt.Errorf("list targets: %w", err)
	}
	defer rows.Close()
	var out []Target
	for rows.Next() {
		var t Target
		var held int
		var probeAt, changed int64
		if err := rows.Scan(&t.Kind, &t.Target, &held, &t.Failures, &t.Probe, &probeAt, &t.LastError, &changed); err != nil {
			return nil, fmt.Errorf("list targets: %w", err)
		}
		t.Held, t.Changed = held != 0, time.UnixMilli(changed)
		if t.Failures > 0 {
			t.ProbeAt = time.UnixMilli(probeAt)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// HoldTarget stops a target: its jobs stay where they are, new ones join them,
// and those under way are finished. A target that had no job yet can be held.
func (s *Store) HoldTarget(ctx context.Context, kind, target string) error {
	return s.setHeld(ctx, kind, target, 1)
}

// ReleaseTarget ends HoldTarget, and has a target that is down tried at once.
func (s *Store) ReleaseTarget(ctx context.Context, kind, target string) error {
	if err := s.setHeld(ctx, kind, target, 0); err != nil {
		return err
	}
	s.Wake()
	return nil
}

// TryTarget has a target that is down tried at once.
func (s *Store) TryTarget(ctx context.Context, kind, target string) error {
	err := s.db.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, s.sql(`UPDATE job_targets SET probe_at = {now} WHERE kind = $1 AND target = $2 AND failures > 0`), kind, target)
		return err
	})
	if err != nil {
		return fmt.Errorf("try target %s: %w", target, err)
	}
	s.Wake()
	return nil
}

func (s *Store) setHeld(ctx context.Context, kind, target string, held int) error {
	fact := stopped{kind, target, held == 1}
	err := s.db.Commit(ctx, db.Entry{{Kind: factTarget, Data: fact}}, func(ctx context.Context, tx db.Tx) error {
		if err := s.addTarget(ctx, tx, kind, target); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.sql(`UPDATE job_targets SET held = $3, probe_at = {now}, changed = {now}
			WHERE kind = $1 AND target = $2`), kind, target, held)
		return err
	})
	if err != nil {
		return fmt.Errorf("hold or release target %s: %w", target, err)
	}
	return nil
}

// reserveProbe wins the right to try a target that is down, until the lease of
// the job that tries it would end.
func (s *Store) reserveProbe(ctx context.Context, tx db.Tx, c Claim, target string) (bool, error) {
	res, err := tx.ExecContext(ctx, s.sql(`UPDATE job_targets SET probe_at = {now} + $3
		WHERE kind = $1 AND target = $2 AND held = 0 AND failures > 0 AND probe_at <= {now}`), c.Kind, target, c.Lease.Milliseconds())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// assignProbe notes which job is the probe; none was left to take: the right
// is given back.
func (s *Store) assignProbe(ctx context.Context, tx db.Tx, kind, target string, taken []Job) error {
	if len(taken) == 0 {
		_, err := tx.ExecContext(ctx, s.sql(`UPDATE job_targets SET probe = '', probe_at = {now} WHERE kind = $1 AND target = $2`), kind, target)
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE job_targets SET probe = $3 WHERE kind = $1 AND target = $2`, kind, target, taken[0].Key)
	return err
}

// targetFailed notes that a job found its target down. Of the jobs that were
// under way when it went down only the first counts, then only probes. It
// tells whether the target was known to be down.
func (s *Store) targetFailed(ctx context.Context, tx db.Tx, j *Job, cause error, wait Backoff, random float64) (wasDown bool, err error) {
	var failures int
	var probe string
	err = tx.QueryRowContext(ctx, `SELECT failures, probe FROM job_targets WHERE kind = $1 AND target = $2 FOR UPDATE`, j.Kind, j.Target).
		Scan(&failures, &probe)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if failures > 0 && probe != j.Key {
		return true, nil
	}
	_, err = tx.ExecContext(ctx, s.sql(`UPDATE job_targets SET failures = $3, probe = '', probe_at = {now} + $4, last_error = $5,
		changed = CASE failures WHEN 0 THEN {now} ELSE changed END WHERE kind = $1 AND target = $2`),
		j.Kind, j.Target, min(failures+1, maxFailures), wait.Delay(failures+1, random).Milliseconds(), clean(cause.Error(), maxErrorText))
	return failures > 0, err
}

// targetAnswered notes that a target did something, even if it refused a job.
// Mostly there is nothing to note, and no row is locked.
func (s *Store) targetAnswered(ctx context.Context, tx db.Tx, kind, target string) error {
	_, err := tx.ExecContext(ctx, s.sql(`UPDATE job_targets SET failures = 0, probe = '', probe_at = 0, changed = {now}
		WHERE kind = $1 AND target = $2 AND failures > 0`), kind, target)
	return err
}
