package jobs

// What an administrator does to jobs. Every change goes through them in small
// transactions: mail that is being answered is not to wait for a million rows.

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cloakroom/internal/db"
)

// changeBatch is how many jobs one transaction changes.
const changeBatch = 200

// Hold keeps waiting jobs from being taken. Jobs under way are left alone. It
// tells how many it changed, also beside an error.
func (s *Store) Hold(ctx context.Context, f Filter) (int, error) {
	return s.change(ctx, "hold jobs", f, []State{Waiting},
		`UPDATE jobs SET state = 'held', updated = {now} WHERE key = $1 AND state = 'waiting'`)
}

// Release ends Hold: the jobs are due at once.
func (s *Store) Release(ctx context.Context, f Filter) (int, error) {
	defer s.Wake()
	return s.change(ctx, "release jobs", f, []State{Held},
		`UPDATE jobs SET state = 'waiting', not_before = {now}, updated = {now} WHERE key = $1 AND state = 'held'`)
}

// Retry makes failed jobs, and those that wait after a failure, due at once;
// their attempts and age count anew.
func (s *Store) Retry(ctx context.Context, f Filter) (int, error) {
	defer s.Wake()
	return s.change(ctx, "retry jobs", f, []State{Failed, Waiting},
		`UPDATE jobs SET state = 'waiting', not_before = {now}, attempts = 0, since = {now}, updated = {now}
			WHERE key = $1 AND state IN ('failed', 'waiting')`)
}

// Drop deletes jobs for good, all but those under way. A repeated mail makes
// them anew.
func (s *Store) Drop(ctx context.Context, f Filter) (int, error) {
	return s.change(ctx, "drop jobs", f, []State{Waiting, Held, Failed, Done}, dropJob)
}

const dropJob = `DELETE FROM jobs WHERE key = $1 AND state <> 'running'`

// Purge deletes jobs that were done at least keep ago. As long as a job is
// kept, a mail that comes again does not make it again: keep more than the
// days for which MTAs try.
func (s *Store) Purge(ctx context.Context, keep time.Duration) (int, error) {
	f := Filter{States: []State{Done}, MinAge: keep}
	return s.change(ctx, "purge jobs", f, f.States,
		fmt.Sprintf(`DELETE FROM jobs WHERE key = $1 AND state = 'done' AND updated <= {now} - %d`, keep.Milliseconds()))
}

// change runs a statement for each job that f chooses and that is in one of
// the states it is for.
func (s *Store) change(ctx context.Context, what string, f Filter, from []State, statement string) (int, error) {
	if len(f.States) == 0 {
		f.States = from
	} else {
		f.States = slices.DeleteFunc(slices.Clone(f.States), func(one State) bool { return !slices.Contains(from, one) })
		if len(f.States) == 0 {
			return 0, nil
		}
	}
	total := 0
	for after := (Cursor{}); ; {
		page, err := s.List(ctx, f, after, changeBatch)
		if err != nil {
			return total, fmt.Errorf("%s: %w", what, err)
		}
		if len(page) == 0 {
			return total, nil
		}
		n, err := s.changePage(ctx, page, statement)
		total += n
		if err != nil {
			return total, fmt.Errorf("%s: %w", what, err)
		}
		after = Next(&page[len(page)-1])
	}
}

func (s *Store) changePage(ctx context.Context, page []Job, statement string) (int, error) {
	keys := make([]string, len(page))
	for i := range page {
		keys[i] = page[i].Key
	}
	slices.Sort(keys) // all nodes lock the rows in one order
	var entry db.Entry
	if statement == dropJob {
		entry = journal(howDropped, keys...)
	}
	text := s.sql(statement)
	var changed int64
	err := s.db.Commit(ctx, entry, func(ctx context.Context, tx db.Tx) error {
		changed = 0
		for _, key := range keys {
			res, err := tx.ExecContext(ctx, text, key)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			changed += n
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return int(changed), nil
}
