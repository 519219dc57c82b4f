package jobs

// Looking at jobs: lists by page, and sums.

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// maxPage bounds the jobs of one page of a list.
const maxPage = 1000

// Filter chooses jobs; every field that is set must match, and the zero Filter
// matches all. Key, Kind, Target and Owner
// match as a whole.
type Filter struct {
	Key    string
	Kind   string
	Target string
	Owner  string
	States []State
	Error  string        // a part of the last error's text, in whatever case
	MinAge time.Duration // made at least so long ago, by the database's clock
}

// Cursor is a place in a list: behind the job it names. Zero is the beginning.
type Cursor struct {
	Created time.Time
	Key     string
}

// Next is the place behind a job.
func Next(j *Job) Cursor { return Cursor{j.Created, j.Key} }

// where writes the conditions of a statement, and collects its parameters.
type where struct {
	text strings.Builder
	args []any
}

// add adds a condition in which each ? stands for the next of args.
func (w *where) add(condition string, args ...any) {
	if w.text.Len() == 0 {
		w.text.WriteString(" WHERE ")
	} else {
		w.text.WriteString(" AND ")
	}
	for _, part := range strings.SplitAfter(condition, "?") {
		before, found := strings.CutSuffix(part, "?")
		w.text.WriteString(before)
		if found {
			w.args = append(w.args, args[0])
			args = args[1:]
			fmt.Fprintf(&w.text, "$%d", len(w.args))
		}
	}
}

// likeEscaper makes a text match itself in LIKE.
var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func (f *Filter) where(after Cursor) *where {
	w := &where{}
	for _, c := range []struct{ column, value string }{{"key", f.Key}, {"kind", f.Kind}, {"target", f.Target}, {"owner", f.Owner}} {
		if c.value != "" {
			w.add(c.column+" = ?", c.value)
		}
	}
	if len(f.States) > 0 {
		var states []any
		for _, s := range f.States {
			states = append(states, string(s))
		}
		w.add("state IN (?"+strings.Repeat(", ?", len(states)-1)+")", states...)
	}
	if f.Error != "" {
		w.add(`LOWER(last_error) LIKE LOWER(?) ESCAPE '\'`, "%"+likeEscaper.Replace(f.Error)+"%")
	}
	if f.MinAge > 0 {
		w.add("created <= {now} - CAST(? AS BIGINT)", f.MinAge.Milliseconds())
	}
	if after != (Cursor{}) {
		w.add("(created, key) > (CAST(? AS BIGINT), ?)", after.Created.UnixMilli(), after.Key)
	}
	return w
}

// List reads a page of at most limit jobs, oldest first; for the next page
// after is Next of the last job. Jobs that come or go meanwhile do not shift
// the pages.
//
// A list by states, kind and target reads no more rows than the page has, and
// an index; other filters read what the named ones leave.
func (s *Store) List(ctx context.Context, f Filter, after Cursor, limit int) ([]Job, error) {
	w := f.where(after)
	w.args = append(w.args, max(1, min(limit, maxPage)))
	rows, err := s.db.Read().QueryContext(ctx, s.sql(fmt.Sprintf(`SELECT %s FROM jobs WHERE key IN
		(SELECT key FROM jobs%s ORDER BY created, key LIMIT $%d) ORDER BY created, key`, columns, w.text.String(), len(w.args))), w.args...)
	found, err := scan(rows, err)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return found, nil
}

// Stat counts the jobs of one kind and target in one state.
type Stat struct {
	Kind, Target string
	State        State
	Count        int64
	Oldest       time.Time     // when the oldest of them was made
	OldestAge    time.Duration // how long ago, by the database's clock
}

// Stats counts all jobs. It reads one index from end to end: 100 ms for a
// million jobs, not for every page view.
func (s *Store) Stats(ctx context.Context) ([]Stat, error) {
	rows, err := s.db.Read().QueryContext(ctx, s.sql(`SELECT kind, target, state, COUNT(*), MIN(created), {now} FROM jobs
		GROUP BY state, kind, target ORDER BY kind, target, state`))
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	defer rows.Close()
	var out []Stat
	for rows.Next() {
		var one Stat
		var oldest, now int64
		if err := rows.Scan(&one.Kind, &one.Target, &one.State, &one.Count, &oldest, &now); err != nil {
			return nil, fmt.Errorf("count jobs: %w", err)
		}
		one.Oldest, one.OldestAge = time.UnixMilli(oldest), time.Duration(max(0, now-oldest))*time.Millisecond
		out = append(out, one)
	}
	return out, rows.Err()
}
