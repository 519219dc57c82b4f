package jobs

// What happens when the database's clock is set back: times that were reckoned
// before lie far ahead then, and nothing would happen until they come.

import (
	"context"
	"fmt"
	"time"

	"cloakroom/internal/db"
)

const (
	// clockSlack is how far ahead of the clock a change may have happened before
	// the clock counts as set back. Smaller steps are waited for.
	clockSlack = 5 * time.Second
	// clockCheck is how often workers look.
	clockCheck = 10 * time.Second
)

// Jobs whose change lies ahead wait as long as they were meant to after it.
const (
	resetWaiting = `UPDATE jobs SET not_before = {now} + CASE WHEN not_before > updated THEN not_before - updated ELSE 0 END, updated = {now}
		WHERE ` + shelf + ` IN ('waiting', 'again') AND kind = $1 AND target IN (SELECT target FROM job_targets WHERE kind = $1)
		AND not_before > {now} AND updated > {now} + $2`
	resetLeases = `UPDATE jobs SET lease_until = {now} + $2 WHERE kind = $1 AND state = 'running' AND lease_until > {now} + $2 + $3`
	resetProbes = `UPDATE job_targets SET probe_at = {now} WHERE kind = $1 AND failures > 0 AND probe_at > {now} + $2`
)

// timesAhead tells whether there are such times. A target's jobs are looked for
// by the time they wait for: with target IN (…), SQLite would rather look at all
// that wait, a million of them every ten seconds. Those that wait for the first
// time were changed last when they were made.
const timesAhead = `SELECT
	(SELECT COUNT(*) FROM job_targets t WHERE t.kind = $1 AND EXISTS (SELECT 1 FROM jobs WHERE ` + shelf + ` = 'waiting' AND kind = $1 AND target = t.target
		AND due > {now} AND created > {now} + CAST($2 AS BIGINT)))
	+ (SELECT COUNT(*) FROM job_targets t WHERE t.kind = $1 AND EXISTS (SELECT 1 FROM jobs WHERE kind = $1 AND target = t.target AND state = 'waiting'
		AND not_before <> due AND not_before > {now} AND updated > {now} + CAST($2 AS BIGINT)))
	+ (SELECT COUNT(*) FROM jobs WHERE kind = $1 AND state = 'running' AND lease_until > {now} + CAST($3 AS BIGINT) + CAST($2 AS BIGINT))
	+ (SELECT COUNT(*) FROM job_targets WHERE kind = $1 AND failures > 0 AND probe_at > {now} + CAST($4 AS BIGINT))`

// setRight mends the times of a kind after the clock was set back, and tells
// how many jobs waited for times that are no more. There is nothing to write as
// long as time goes on.
func (s *Store) setRight(ctx context.Context, kind string, lease time.Duration) (int, error) {
	slack := clockSlack.Milliseconds()
	longest := max(lease, s.retry(kind).Target.Max).Milliseconds() + slack
	wrong := 0
	err := s.db.Read().QueryRowContext(ctx, s.sql(timesAhead),
		kind, slack, lease.Milliseconds(), longest).Scan(&wrong)
	if err != nil || wrong == 0 {
		return 0, err
	}
	var n int64
	err = s.db.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		res, err := tx.ExecContext(ctx, s.sql(resetWaiting), kind, slack)
		if err == nil {
			n, err = res.RowsAffected()
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, s.sql(resetLeases), kind, lease.Milliseconds(), slack)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, s.sql(resetProbes), kind, longest)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("set times right after the clock was set back: %w", err)
	}
	return int(n), nil
}
