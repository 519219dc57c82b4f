package jobs

// What an administrator does to jobs. Every change goes through them in small
// transactions: mail that is being answered is not to wait for a million rows.

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/db"
)

// changeBatch is how many jobs one transaction changes.
const changeBatch = 200

// Hold keeps waiting jobs from being taken. Jobs under way are left alone. It
// tells how many it changed, also beside an error.
func (s *Store) Hold(ctx context.Context, f Filter) (int, error) {
	return s.changeEach(ctx, "hold jobs", f, []State{Waiting}, action{how: howHeld,
		text: `UPDATE jobs SET state = 'held', updated = {now} WHERE key = $1 AND state = 'waiting'`})
}

// Release ends Hold: the jobs are due at once.
func (s *Store) Release(ctx context.Context, f Filter) (int, error) {
	defer s.Wake()
	return s.changeEach(ctx, "release jobs", f, []State{Held}, action{how: howReleased,
		text: `UPDATE jobs SET state = 'waiting', not_before = {now}, updated = {now} WHERE key = $1 AND state = 'held'`})
}

// Retry makes failed jobs, and those that wait after a failure, due at once;
// their attempts and age count anew.
func (s *Store) Retry(ctx context.Context, f Filter) (int, error) {
	defer s.Wake()
	return s.changeEach(ctx, "retry jobs", f, []State{Failed, Waiting}, action{how: howRetried,
		text: `UPDATE jobs SET state = 'waiting', not_before = {now}, attempts = 0, since = {now}, updated = {now}
			WHERE key = $1 AND state IN ('failed', 'waiting')`})
}

// Drop deletes jobs for good, all but those under way. A repeated mail makes
// them anew.
func (s *Store) Drop(ctx context.Context, f Filter) (int, error) {
	from := []State{Waiting, Held, Failed, Done}
	var states []string // a job that has come to another state since it was listed stays
	for _, one := range chosen(f.States, from) {
		states = append(states, "'"+string(one)+"'")
	}
	return s.changeEach(ctx, "drop jobs", f, from, action{how: howDropped,
		text: "DELETE FROM jobs WHERE key = $1 AND state IN (" + strings.Join(states, ", ") + ")"})
}

// action is what is done to each of many jobs.
type action struct {
	text string // with $1 for the key
	how  string // in the journal
}

// chosen are the states among from that a filter lets through.
func chosen(states, from []State) []State {
	if len(states) == 0 {
		return from
	}
	return slices.DeleteFunc(slices.Clone(states), func(one State) bool { return !slices.Contains(from, one) })
}

// Purge deletes jobs that were done at least keep ago. As long as a job is
// kept, a mail that comes again does not make it again: keep more than the
// days for which MTAs try.
func (s *Store) Purge(ctx context.Context, keep time.Duration) (int, error) {
	f := Filter{States: []State{Done}, MinAge: keep}
	return s.changeEach(ctx, "purge jobs", f, f.States, action{how: howPurged,
		text: fmt.Sprintf(`DELETE FROM jobs WHERE key = $1 AND state = 'done' AND updated <= {now} - %d`, keep.Milliseconds())})
}

// changeEach runs an action for each job that f chooses and that is in one of the
// states it is for.
func (s *Store) changeEach(ctx context.Context, what string, f Filter, from []State, a action) (int, error) {
	if f.States = chosen(f.States, from); len(f.States) == 0 {
		return 0, nil
	}
	a.text = s.sql(a.text)
	total := 0
	for after := (Cursor{}); ; {
		page, err := s.List(ctx, f, after, changeBatch)
		if err != nil {
			return total, fmt.Errorf("%s: %w", what, err)
		}
		if len(page) == 0 {
			return total, nil
		}
		n, err := s.changePage(ctx, page, a)
		total += n
		if err != nil {
			return total, fmt.Errorf("%s: %w", what, err)
		}
		after = Next(&page[len(page)-1])
	}
}

func (s *Store) changePage(ctx context.Context, page []Job, a action) (int, error) {
	ends := make([]*turned, len(page))
	for i := range page {
		ends[i] = &turned{Key: page[i].Key}
	}
	// All nodes lock the rows in one order.
	slices.SortFunc(ends, func(a, b *turned) int { return strings.Compare(a.Key, b.Key) })
	var entry db.Entry
	gone := new(purged)
	if a.how == howPurged {
		entry = db.Entry{{Kind: factPurged, Data: gone}}
	} else {
		for _, e := range ends {
			entry = append(entry, db.Fact{Kind: factJob, Data: e})
		}
	}
	changed := 0
	err := s.db.Commit(ctx, entry, func(ctx context.Context, tx db.Tx) error {
		changed, gone.Keys = 0, []string{}
		for _, e := range ends {
			e.How = howStays
			res, err := tx.ExecContext(ctx, a.text, e.Key)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			changed++
			e.How = a.how
			gone.Keys = append(gone.Keys, e.Key)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}
