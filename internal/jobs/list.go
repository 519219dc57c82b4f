package jobs

// Looking at jobs: lists by page, and sums.

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxPage bounds the jobs of one page of a list.
const maxPage = 1000

// Filter chooses jobs; every field that is set must match, and the zero Filter
// matches all. Key, Kind, Target and Owner match as a whole.
type Filter struct {
	Key    string
	Kind   string
	Target string
	Owner  string
	States []State
	Error  string        // a part of the last error's text, in whatever case
	Label  string        // a part of the label, in whatever case
	MinAge time.Duration // made at least so long ago, by the database's clock
	Until  time.Time     // made then or before, by the database's clock; zero: any time
	Also   *Condition
}

// Condition is one that another package's tables decide: SQL about the column
// key, with a ? for each argument.
type Condition struct {
	SQL  string
	Args []any
	// Keys, if it is set, is a query that finds the keys by itself, with a ? for
	// each of the same arguments: for the case that few jobs match.
	Keys string
}

// Cursor is a place in a list: behind the job it names. Zero is the beginning.
type Cursor struct {
	Due time.Time
	Key string
}

// Next is the place behind a job.
func Next(j *Job) Cursor { return Cursor{j.Due, j.Key} }

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

// where has the conditions of f, and the place after which a list goes on.
func (f *Filter) where(after Cursor) *where {
	w := &where{}
	// By an expression no index is searched: that of errors is the better one.
	column := func(name string) string {
		if f.Error != "" {
			return "(" + name + " || '')"
		}
		return name
	}
	for _, c := range []struct{ column, value string }{{"kind", f.Kind}, {"target", f.Target}} {
		if c.value != "" {
			w.add(column(c.column)+" = ?", c.value)
		}
	}
	if states := f.States; len(states) > 0 {
		in := column("state")
		if f.Key == "" && f.Error == "" {
			in, states = shelf, shelvesOf(states)
		}
		w.add(in+" IN (?"+strings.Repeat(", ?", len(states)-1)+")", collect(states, func(s State) any { return string(s) })...)
	}
	f.rest(w, after)
	return w
}

// rest adds the conditions that are not about kind, target and state.
func (f *Filter) rest(w *where, after Cursor) {
	for _, c := range []struct{ column, value string }{{"key", f.Key}, {"owner", f.Owner}} {
		if c.value != "" {
			w.add(c.column+" = ?", c.value)
		}
	}
	if f.Error != "" {
		w.add(`last_error <> '' AND LOWER(last_error) LIKE LOWER(?) ESCAPE '\'`, Containing(f.Error))
	}
	if f.Label != "" {
		w.add(`LOWER(label) LIKE LOWER(?) ESCAPE '\'`, Containing(f.Label))
	}
	if f.MinAge > 0 {
		w.add("created <= {now} - CAST(? AS BIGINT)", f.MinAge.Milliseconds())
	}
	if !f.Until.IsZero() {
		w.add("created <= CAST(? AS BIGINT)", f.Until.UnixMilli())
	}
	if f.Also != nil {
		w.add(f.Also.SQL, f.Also.Args...)
	}
	if after != (Cursor{}) {
		w.add("(due, key) > (CAST(? AS BIGINT), ?)", after.Due.UnixMilli(), after.Key)
	}
}

// Containing is the pattern of LIKE, with \ for an escape, for texts that
// contain part.
func Containing(part string) string { return "%" + likeEscaper.Replace(part) + "%" }

// List reads a page of at most limit jobs, in the order in which they were to be
// done first; for the next page after is Next of the last job. Jobs that come or
// go meanwhile do not shift the pages.
//
// A list by state, kind and target, or one of these, or none, reads no more than
// the page has for each target and state. By age, owner and label it reads what
// these leave, in one index, until the page is full; by an error those that have
// one; by Also the rows that the others leave, but where its Keys are few, only
// those.
func (s *Store) List(ctx context.Context, f Filter, after Cursor, limit int) ([]Job, error) {
	limit = max(1, min(limit, maxPage))
	if f.Also != nil && f.Also.Keys != "" {
		if found, few, err := s.listFew(ctx, &f, after, limit); few || err != nil {
			return found, err
		}
	}
	text, args, err := s.page(ctx, &f, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	rows, err := s.db.Read().QueryContext(ctx, text, args...)
	found, err := scan(rows, err)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return found, nil
}

// page is the statement of List.
func (s *Store) page(ctx context.Context, f *Filter, after Cursor, limit int) (string, []any, error) {
	const whole = `SELECT %s FROM jobs WHERE key IN (SELECT key FROM %s ORDER BY due, key LIMIT $%d) ORDER BY due, key`
	if f.Key == "" && f.Error == "" {
		places, err := s.places(ctx, f)
		if err != nil {
			return "", nil, err
		}
		if n := len(places); n > 0 && n <= maxPlaces {
			from, args := f.merged(places, after, limit)
			args = append(args, limit)
			return s.sql(fmt.Sprintf(whole, columns, from, len(args))), args, nil
		}
	}
	w := f.where(after)
	w.args = append(w.args, limit)
	return s.sql(fmt.Sprintf(whole, columns, "jobs"+w.text.String(), len(w.args))), w.args, nil
}

// place is a part of the jobs that jobs_list has in the order of lists.
type place struct {
	shelf        State // or again
	kind, target string
}

// shelvesOf are those on which jobs in some states stand.
func shelvesOf(states []State) []State {
	if slices.Contains(states, Waiting) {
		return append(slices.Clone(states), again)
	}
	return states
}

// maxPlaces are merged in one statement: SQLite takes 500 selects in one.
const maxPlaces = 400

// places are those that f chooses from.
func (s *Store) places(ctx context.Context, f *Filter) ([]place, error) {
	states := f.States
	if len(states) == 0 {
		states = States
	}
	states = shelvesOf(states)
	rows, err := s.db.Read().QueryContext(ctx, `SELECT kind, target FROM job_targets
		WHERE ($1 = '' OR kind = $1) AND ($2 = '' OR target = $2) ORDER BY kind, target`, f.Kind, f.Target)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []place
	for rows.Next() {
		var one place
		if err := rows.Scan(&one.kind, &one.target); err != nil {
			return nil, err
		}
		for _, one.shelf = range states {
			out = append(out, one)
		}
	}
	return out, rows.Err()
}

// merged is what takes the first jobs of each place, as a table of their keys:
// sorting all jobs for the first hundred would read all of them.
func (f *Filter) merged(places []place, after Cursor, limit int) (string, []any) {
	rest := &where{}
	f.rest(rest, after)
	conditions := strings.Replace(rest.text.String(), " WHERE ", " AND ", 1)
	args := append(rest.args, limit)
	most := len(args)
	var b strings.Builder
	b.WriteString("(")
	for i, one := range places {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		n := len(args)
		args = append(args, string(one.shelf), one.kind, one.target)
		fmt.Fprintf(&b, "SELECT due, key FROM (SELECT due, key FROM jobs WHERE %s = $%d AND kind = $%d AND target = $%d%s ORDER BY due, key LIMIT $%d) AS s%d",
			shelf, n+1, n+2, n+3, conditions, most, i)
	}
	b.WriteString(") AS merged")
	return b.String(), args
}

// KeysEnding lists up to limit keys with an ending. It looks at all of them:
// 300 ms for a million.
func (s *Store) KeysEnding(ctx context.Context, ending string, limit int) ([]string, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT key FROM jobs WHERE key LIKE $1 ESCAPE '\' LIMIT $2`, "%"+likeEscaper.Replace(ending), limit)
	if err != nil {
		return nil, fmt.Errorf("find jobs: %w", err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, fmt.Errorf("find jobs: %w", err)
		}
		out = append(out, key)
	}
	return out, rows.Err()
}

// Count counts the jobs that f chooses, and tells when the newest of them was
// made.
func (s *Store) Count(ctx context.Context, f Filter) (n int, newest time.Time, err error) {
	w := f.where(Cursor{})
	var ms int64
	err = s.db.Read().QueryRowContext(ctx, s.sql(`SELECT COUNT(*), COALESCE(MAX(created), 0) FROM jobs`+w.text.String()), w.args...).Scan(&n, &ms)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count jobs: %w", err)
	}
	return n, time.UnixMilli(ms), nil
}
