package jobs

// Sums of the queue.

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Stat counts the jobs of one kind and target in one state.
type Stat struct {
	Kind, Target string
	State        State
	Count        int64
	Oldest       time.Time     // when the oldest of them was made
	OldestAge    time.Duration // how long ago, by the database's clock
}

// What is counted one by one: grouping the whole index takes three times as long.
const (
	countShelf  = `SELECT COUNT(*) FROM jobs WHERE state = $1 AND kind = $2 AND target = $3`
	oldestShelf = `SELECT created, {now} FROM jobs WHERE state = $1 AND kind = $2 AND target = $3 ORDER BY created, key LIMIT 1`
)

// Stats counts all jobs. It reads one index from end to end: some 300 ms for a
// million jobs, not for every page view.
func (s *Store) Stats(ctx context.Context) ([]Stat, error) {
	shelves, err := s.shelves(ctx, &Filter{})
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	var out []Stat
	for _, one := range shelves {
		stat := Stat{Kind: one.kind, Target: one.target, State: one.state}
		var oldest, now int64
		q, args := s.db.Read(), []any{string(one.state), one.kind, one.target}
		err := q.QueryRowContext(ctx, s.sql(oldestShelf), args...).Scan(&oldest, &now)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err == nil {
			err = q.QueryRowContext(ctx, countShelf, args...).Scan(&stat.Count)
		}
		if err != nil {
			return nil, fmt.Errorf("count jobs: %w", err)
		}
		if stat.Count == 0 {
			continue // it went meanwhile
		}
		stat.Oldest, stat.OldestAge = time.UnixMilli(oldest), time.Duration(max(0, now-oldest))*time.Millisecond
		out = append(out, stat)
	}
	slices.SortFunc(out, func(a, b Stat) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Target, b.Target), cmp.Compare(a.State, b.State))
	})
	return out, nil
}
