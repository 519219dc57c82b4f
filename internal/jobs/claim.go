package jobs

// Taking jobs: leases, fences, and what happens to leases nobody renews.

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"cloakroom/internal/db"
)

const (
	// maxClaim bounds the jobs taken in one transaction; on SQLite all mail
	// waits for it.
	maxClaim = 500
	// maxExpired bounds the lost leases that one claim puts back.
	maxExpired = 100
)

// Claim says which jobs a worker wants.
type Claim struct {
	Kind  string
	Limit int           // at most this many
	Lease time.Duration // until then they are to be completed or renewed
	// Room tells how many jobs of a target the caller can take; nil: any number.
	Room func(target string) int
}

// share is what a claim may take of one target.
type share struct {
	target string
	limit  int
	down   bool // it takes one job, to find out
}

// claimJobs takes the jobs of one target that are due, of those that wait for the
// first time and of those that wait again. What it picks is materialized:
// PostgreSQL could otherwise run the inner query again and take more than the
// limit.
const claimJobs = `WITH first AS MATERIALIZED (
	SELECT key, not_before FROM jobs WHERE ` + shelf + ` = 'waiting' AND kind = $1 AND target = $2 AND due <= {now} AND ` + takes + `
	ORDER BY due LIMIT $3 FOR UPDATE SKIP LOCKED),
	later AS MATERIALIZED (
	SELECT key, not_before FROM jobs WHERE kind = $1 AND target = $2 AND state = 'waiting' AND not_before <> due AND not_before <= {now} AND ` + takes + `
	ORDER BY not_before LIMIT $3 FOR UPDATE SKIP LOCKED),
	picked AS MATERIALIZED (
	SELECT key FROM (SELECT key, not_before FROM first UNION ALL SELECT key, not_before FROM later) AS ready ORDER BY not_before LIMIT $3)
	UPDATE jobs SET state = 'running', attempts = attempts + 1, node = $4, lease_until = {now} + $5, updated = {now},
	fence = CASE WHEN fence < {now} THEN {now} ELSE fence + 1 END
	WHERE key IN (SELECT key FROM picked) RETURNING ` + columns

// takes is the condition that the target gets jobs.
const takes = `EXISTS (SELECT 1 FROM job_targets t WHERE t.kind = $1 AND t.target = $2 AND t.held = 0 AND t.failures <= $6)`

// Claim takes jobs that are due, oldest first within a target. Leases that
// ran out are put back before. An empty result is not an error.
//
// The fence of a claim is the database's time in milliseconds, or one more
// than the last: so it grows even for a job that was dropped and made again.
func (s *Store) Claim(ctx context.Context, c Claim) ([]Job, error) {
	shares, expired, err := s.ready(ctx, c)
	if err == nil && expired {
		err = s.db.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error { return s.expire(ctx, tx, c.Kind) })
		if err == nil {
			shares, _, err = s.ready(ctx, c)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("claim %s jobs: %w", c.Kind, err)
	}
	if len(shares) == 0 {
		return nil, nil
	}
	var got []Job
	err = s.db.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		got = nil
		for _, share := range shares {
			left := min(c.Limit, maxClaim) - len(got)
			if left <= 0 {
				break
			}
			share.limit = min(share.limit, left)
			taken, err := s.take(ctx, tx, c, share)
			if err != nil {
				return err
			}
			got = append(got, taken...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim %s jobs: %w", c.Kind, err)
	}
	// RETURNING has no order.
	slices.SortStableFunc(got, func(a, b Job) int {
		return cmp.Or(a.NotBefore.Compare(b.NotBefore), a.Created.Compare(b.Created))
	})
	return got, nil
}

// ready looks, without a transaction that writes, for targets with work, and
// for leases that ran out.
func (s *Store) ready(ctx context.Context, c Claim) (shares []share, expired bool, err error) {
	if c.Limit <= 0 {
		return nil, false, nil
	}
	rows, err := s.db.Read().QueryContext(ctx, s.sql(readyTargets), c.Kind)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		one := share{limit: c.Limit}
		var failures int
		var due bool
		if err := rows.Scan(&one.target, &failures, &due); err != nil {
			return nil, false, err
		}
		s.targets.Store([2]string{c.Kind, one.target}, nil) // read outside of transactions: this is not taken back
		if !due {
			continue
		}
		if c.Room != nil {
			one.limit = min(one.limit, c.Room(one.target))
		}
		if one.down = failures > 0; one.down {
			one.limit = min(one.limit, 1)
		}
		if one.limit > 0 {
			shares = append(shares, one)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, false, err
	}
	rows.Close()
	err = s.db.Read().QueryRowContext(ctx, s.sql(`SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE kind = $1 AND state = 'running'
		AND lease_until <= {now} LIMIT 1) AS expired`), c.Kind).Scan(&expired)
	return s.rotate(shares), expired, err
}

// readyTargets are all targets of a kind, and whether they have work.
const readyTargets = `SELECT t.target, t.failures, t.held = 0 AND (t.failures = 0 OR t.probe_at <= {now})
	AND (EXISTS (SELECT 1 FROM jobs WHERE ` + shelf + ` = 'waiting' AND kind = $1 AND target = t.target AND due <= {now})
		OR EXISTS (SELECT 1 FROM jobs WHERE kind = $1 AND target = t.target AND state = 'waiting' AND not_before <> due AND not_before <= {now}))
	FROM job_targets t WHERE t.kind = $1 ORDER BY t.target`

// rotate lets another target be first each time: when workers are few, none
// of the targets is always last.
func (s *Store) rotate(shares []share) []share {
	if len(shares) < 2 {
		return shares
	}
	s.mu.Lock()
	n := int(s.turn % uint(len(shares)))
	s.turn++
	s.mu.Unlock()
	return slices.Concat(shares[n:], shares[:n])
}

// take takes the jobs of one target.
func (s *Store) take(ctx context.Context, tx db.Tx, c Claim, one share) ([]Job, error) {
	failures := 0
	if one.down {
		// Of all nodes the first to change the row sends the probe.
		if ok, err := s.reserveProbe(ctx, tx, c, one.target); !ok || err != nil {
			return nil, err
		}
		failures = maxFailures
	}
	rows, err := tx.QueryContext(ctx, s.sql(claimJobs), c.Kind, one.target, one.limit, s.opt.Node, c.Lease.Milliseconds(), failures)
	taken, err := scan(rows, err)
	if err != nil || !one.down {
		return taken, err
	}
	return taken, s.assignProbe(ctx, tx, c.Kind, one.target, taken)
}

// expire puts back jobs whose worker did not come back in time.
func (s *Store) expire(ctx context.Context, tx db.Tx, kind string) error {
	rows, err := tx.QueryContext(ctx, s.sql(`SELECT `+columns+` FROM jobs WHERE kind = $1 AND state = 'running'
		AND lease_until <= {now} ORDER BY lease_until LIMIT $2 FOR UPDATE SKIP LOCKED`), kind, maxExpired)
	lost, err := scan(rows, err)
	if err != nil {
		return err
	}
	now, err := s.now(ctx, tx)
	if err != nil {
		return err
	}
	for i := range lost {
		j := &lost[i]
		r := s.retry(kind)
		next, delay := Waiting, r.takeover(j.Attempts, s.opt.Random())
		if r.exhausted(j.Attempts, now.Sub(j.Since)) {
			next = Failed
		}
		reason := fmt.Sprintf("node %s did not finish it in its lease", j.Node)
		if err := s.putBack(ctx, tx, j.Key, next, delay, reason); err != nil {
			return err
		}
		s.opt.Log.Warn("lease of a job ran out", "job", j.Key, "kind", kind, "target", j.Target, "node", j.Node, "attempts", j.Attempts, "state", next)
	}
	return nil
}

// now is the database's time.
func (s *Store) now(ctx context.Context, q db.Tx) (time.Time, error) {
	var ms int64
	err := q.QueryRowContext(ctx, s.sql(`SELECT {now}`)).Scan(&ms)
	return time.UnixMilli(ms), err
}

// putBack ends a claim without success. The fence stays: a worker that did
// finish the job after all may still say so, as long as no other took it.
func (s *Store) putBack(ctx context.Context, tx db.Tx, key string, next State, delay time.Duration, reason string) error {
	if next == Failed {
		db.Also(ctx, db.Fact{Kind: factJob, Data: turned{Key: key, How: howFailed, Error: clean(reason, maxErrorText)}})
	}
	_, err := tx.ExecContext(ctx, s.sql(`UPDATE jobs SET state = $2, not_before = {now} + $3, lease_until = 0, last_error = $4,
		updated = {now} WHERE key = $1`), key, string(next), delay.Milliseconds(), clean(reason, maxErrorText))
	return err
}

// FreeOwn puts back the jobs that an earlier process of this node had, and
// tells how many. It is for the start, before the first claim.
func (s *Store) FreeOwn(ctx context.Context) (int, error) {
	var n int64
	err := s.db.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		res, err := tx.ExecContext(ctx, s.sql(`UPDATE jobs SET state = 'waiting', not_before = {now}, lease_until = 0, updated = {now},
			last_error = 'the process that worked on it was ended' WHERE node = $1 AND state = 'running'`), s.opt.Node)
		if err == nil {
			n, err = res.RowsAffected()
		}
		if err != nil {
			return err
		}
		// A probe that died with its process is not waited for.
		_, err = tx.ExecContext(ctx, s.sql(`UPDATE job_targets SET probe = '', probe_at = {now}
			WHERE probe <> '' AND EXISTS (SELECT 1 FROM jobs WHERE key = probe AND node = $1 AND state = 'waiting')`), s.opt.Node)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("free the jobs of node %s: %w", s.opt.Node, err)
	}
	return int(n), nil
}

// Renew extends leases, counted from now, and tells which of them are lost.
func (s *Store) Renew(ctx context.Context, refs []Ref, lease time.Duration) (lost []Ref, err error) {
	if len(refs) == 0 {
		return nil, nil
	}
	// All nodes lock the rows in one order.
	refs = slices.SortedFunc(slices.Values(refs), func(a, b Ref) int { return cmp.Compare(a.Key, b.Key) })
	err = s.db.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		lost = nil
		for _, r := range refs {
			res, err := tx.ExecContext(ctx, s.sql(`UPDATE jobs SET lease_until = {now} + $3
				WHERE key = $1 AND fence = $2 AND state = 'running'`), r.Key, r.Fence, lease.Milliseconds())
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			if n == 0 {
				lost = append(lost, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("renew leases: %w", err)
	}
	return lost, nil
}
