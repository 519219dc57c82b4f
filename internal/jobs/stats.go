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
// Of one target the first that was due is the oldest: they wait for as long as
// each other before they are, but where that was configured anew meanwhile.
const (
	countPlace  = `SELECT COUNT(*) FROM jobs WHERE ` + shelf + ` = $1 AND kind = $2 AND target = $3`
	oldestPlace = `SELECT created, {now} FROM jobs WHERE ` + shelf + ` = $1 AND kind = $2 AND target = $3 ORDER BY due, key LIMIT 1`
)

// Stats counts all jobs. It reads one index from end to end: some 300 ms for a
// million jobs, not for every page view.
func (s *Store) Stats(ctx context.Context) ([]Stat, error) {
	places, err := s.places(ctx, &Filter{})
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	var out []Stat
	for _, one := range places {
		stat := Stat{Kind: one.kind, Target: one.target, State: one.shelf}
		var oldest, now int64
		q, args := s.db.Read(), []any{string(one.shelf), one.kind, one.target}
		err := q.QueryRowContext(ctx, s.sql(oldestPlace), args...).Scan(&oldest, &now)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err == nil {
			err = q.QueryRowContext(ctx, countPlace, args...).Scan(&stat.Count)
		}
		if err != nil {
			return nil, fmt.Errorf("count jobs: %w", err)
		}
		if stat.Count == 0 {
			continue // it went meanwhile
		}
		if stat.State == again {
			stat.State = Waiting
		}
		stat.Oldest, stat.OldestAge = time.UnixMilli(oldest), time.Duration(max(0, now-oldest))*time.Millisecond
		i := slices.IndexFunc(out, func(o Stat) bool { return o.Kind == stat.Kind && o.Target == stat.Target && o.State == stat.State })
		if i < 0 {
			out = append(out, stat)
			continue
		}
		out[i].Count += stat.Count
		if stat.Oldest.Before(out[i].Oldest) {
			out[i].Oldest, out[i].OldestAge = stat.Oldest, stat.OldestAge
		}
	}
	slices.SortFunc(out, func(a, b Stat) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Target, b.Target), cmp.Compare(a.State, b.State))
	})
	return out, nil
}
