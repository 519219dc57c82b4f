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
// matches all. Key, Kind, Target and Owner match as a whole.
type Filter struct {
	Key    string
	Kind   string
	Target string
	Owner  string
	States []State
	Error  string        // a part of the last error's text, in whatever case
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
	if len(f.States) > 0 {
		var states []any
		for _, s := range f.States {
			states = append(states, string(s))
		}
		w.add(column("state")+" IN (?"+strings.Repeat(", ?", len(states)-1)+")", states...)
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
		w.add("(created, key) > (CAST(? AS BIGINT), ?)", after.Created.UnixMilli(), after.Key)
	}
}

// Containing is the pattern of LIKE, with \ for an escape, for texts that
// contain part.
func Containing(part string) string { return "%" + likeEscaper.Replace(part) + "%" }

// List reads a page of at most limit jobs, oldest first; for the next page
// after is Next of the last job. Jobs that come or go meanwhile do not shift
// the pages.
//
// A list by state, kind, target and age, or one of these, or none, reads no
// more rows than the page has for each target and state; so does one of an
// owner. By an error it reads those that have one, by Also all that the others
// leave, in the order of the list, until the page is full; but where its Keys
// are few, only those.
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
	const whole = `SELECT %s FROM jobs WHERE key IN (SELECT key FROM %s ORDER BY created, key LIMIT $%d) ORDER BY created, key`
	if f.Key == "" && f.Owner == "" && f.Error == "" {
		shelves, err := s.shelves(ctx, f)
		if err != nil {
			return "", nil, err
		}
		if n := len(shelves); n > 0 && n <= maxShelves {
			from, args := f.merged(shelves, after, limit)
			args = append(args, limit)
			return s.sql(fmt.Sprintf(whole, columns, from, len(args))), args, nil
		}
	}
	w := f.where(after)
	w.args = append(w.args, limit)
	return s.sql(fmt.Sprintf(whole, columns, "jobs"+w.text.String(), len(w.args))), w.args, nil
}

// shelf is a part of the jobs that an index has in the order of lists.
type shelf struct {
	state        State
	kind, target string
}

// maxShelves are merged in one statement: SQLite takes 500 selects in one.
const maxShelves = 400

// shelves are those that f chooses from.
func (s *Store) shelves(ctx context.Context, f *Filter) ([]shelf, error) {
	states := f.States
	if len(states) == 0 {
		states = States
	}
	rows, err := s.db.Read().QueryContext(ctx, `SELECT kind, target FROM job_targets
		WHERE ($1 = '' OR kind = $1) AND ($2 = '' OR target = $2) ORDER BY kind, target`, f.Kind, f.Target)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []shelf
	for rows.Next() {
		var one shelf
		if err := rows.Scan(&one.kind, &one.target); err != nil {
			return nil, err
		}
		for _, one.state = range states {
			out = append(out, one)
		}
	}
	return out, rows.Err()
}

// merged is what takes the first jobs of each shelf, as a table of their keys:
// sorting all jobs for the first hundred would read all of them.
func (f *Filter) merged(shelves []shelf, after Cursor, limit int) (string, []any) {
	rest := &where{}
	f.rest(rest, after)
	conditions := strings.Replace(rest.text.String(), " WHERE ", " AND ", 1)
	args := append(rest.args, limit)
	most := len(args)
	var b strings.Builder
	b.WriteString("(")
	for i, one := range shelves {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		n := len(args)
		args = append(args, string(one.state), one.kind, one.target)
		fmt.Fprintf(&b, "SELECT created, key FROM (SELECT created, key FROM jobs WHERE state = $%d AND kind = $%d AND target = $%d%s ORDER BY created, key LIMIT $%d) AS s%d",
			n+1, n+2, n+3, conditions, most, i)
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
