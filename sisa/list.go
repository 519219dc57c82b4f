package sisa

// Lists of links and of their downloads, among ten million. A filter by id, mail,
// address or file that few mails have is answered from their side; everything else by
// looking through the newest until the list is full. CROSS JOIN keeps SQLite to
// the order in which the tables are named.

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cloakroom/ledger"
)

// newest are how many links are looked at first for a filter by a part of a file's
// name: an index can only be read from end to end for that, and what many files
// are called is soon found without it.
var newest = []int{5_000, 50_000}

// fewMails is up to how many mails of a filter are looked at one by one: beyond
// that as many are among the newest that looking there is as quick.
const fewMails = 20_000

// List returns links, newest first.
func (l *Links) List(ctx context.Context, f Filter) ([]Row, error) {
	if f.Limit > 0 && f.Mails.ByPartOfName() {
		for _, n := range newest {
			since, err := l.newestSince(ctx, n)
			if err != nil {
				return nil, err
			}
			rows, err := l.inOrder(ctx, f, since)
			if err != nil || since == 0 || len(rows) == f.Limit {
				return rows, err
			}
		}
	}
	near, few, err := l.near(ctx, &f)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	if !few {
		return l.inOrder(ctx, f, 0)
	}
	var all []placed
	for part := range slices.Chunk(near, ledger.FindAtOnce) {
		if all, err = l.placed(ctx, f, part, all); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Or(cmp.Compare(b.created, a.created), slices.Compare(a.id, b.id)) })
	if f.Limit > 0 {
		all = all[:min(len(all), f.Limit)]
	}
	var out []Row
	for part := range slices.Chunk(all, ledger.FindAtOnce) {
		var c ledger.Conditions
		ids := make([]string, len(part))
		for i, one := range part {
			ids[i] = c.Arg(one.id)
		}
		c.And("l.id IN (%s)", strings.Join(ids, ", "))
		rows, err := l.rows(ctx, `SELECT `+rowColumns+joined+c.String(), &c)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID)) })
		out = append(out, rows...)
	}
	return out, nil
}

// joined is the begin of a list's conditions.
const joined = ` FROM links l CROSS JOIN mails m WHERE m.key = l.mail AND `

// inOrder looks through the links that were made since a time, the newest first.
func (l *Links) inOrder(ctx context.Context, f Filter, since int64) ([]Row, error) {
	var c ledger.Conditions
	if err := f.where(&c, l.now()); err != nil {
		return nil, err
	}
	if since > 0 {
		c.And("l.created >= %s", c.Arg(since))
	}
	order := ` ORDER BY l.created DESC, l.id`
	if f.ID != "" {
		order = ` ORDER BY l.id`
	}
	return l.rows(ctx, `SELECT `+rowColumns+joined+c.String()+order+limited(&c, f.Limit), &c)
}

// newestSince is when the oldest of the newest links was made, 0 if there are fewer.
func (l *Links) newestSince(ctx context.Context, newest int) (int64, error) {
	var at int64
	err := l.db.Read().QueryRowContext(ctx, `SELECT created FROM links ORDER BY created DESC LIMIT 1 OFFSET $1`, newest).Scan(&at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // there are fewer
		return 0, fmt.Errorf("list links: %w", err)
	}
	return at, nil
}

// near finds the mails of a filter, if they are few.
func (l *Links) near(ctx context.Context, f *Filter) (keys []ledger.Key, few bool, err error) {
	if f.ID != "" {
		return nil, false, nil
	}
	most := fewMails
	if f.Limit == 0 {
		most = 0
	}
	return f.Mails.Narrow(ctx, l.db.Read(), most)
}

// limited hides the number from SQLite's planner: for one or two rows it would read
// all links and sort, in place of going along the index.
func limited(c *ledger.Conditions, limit int) string {
	if limit <= 0 {
		return ""
	}
	return " LIMIT 0 + " + c.Arg(limit)
}

// placed is a link and its place in a list.
type placed struct {
	id      []byte
	created int64
}

// placed adds to all the links of some mails that f selects.
func (l *Links) placed(ctx context.Context, f Filter, mails []ledger.Key, all []placed) ([]placed, error) {
	var c ledger.Conditions
	c.AndIn("m.key", mails)
	if err := f.where(&c, l.now()); err != nil {
		return nil, err
	}
	rows, err := l.db.Read().QueryContext(ctx, `SELECT l.id, l.created FROM mails m CROSS JOIN links l WHERE l.mail = m.key AND `+c.String(), c.Args...)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var one placed
		if err := rows.Scan(&one.id, &one.created); err != nil {
			return nil, fmt.Errorf("list links: %w", err)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

func (l *Links) rows(ctx context.Context, text string, c *ledger.Conditions) ([]Row, error) {
	rows, err := l.db.Read().QueryContext(ctx, text, c.Args...)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	defer rows.Close()
	var out []Row
	for rows.Next() {
		r, err := scanRow(rows, l.now())
		if err != nil {
			return nil, fmt.Errorf("list links: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}
