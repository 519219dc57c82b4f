package tally

// Writing down what was counted, in batches.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/db"
)

const (
	// flushEvery is how much of the counting a crash loses.
	flushEvery = 10 * time.Second
	// quitTime is what the last flush may take.
	quitTime = 5 * time.Second
)

// Run writes down what was counted until ctx ends, and once more then.
func (c *Counter) Run(ctx context.Context, d *db.DB, log *slog.Logger) {
	beat := time.NewTicker(flushEvery)
	defer beat.Stop()
	failing := false
	flush := func(ctx context.Context) {
		err := c.Flush(ctx, d, time.Now())
		if (err != nil) != failing && ctx.Err() == nil {
			if failing = err != nil; failing {
				log.Warn("what rules do could not be counted: it is tried again, and mail goes on", "err", err)
			}
		}
	}
	for {
		select {
		case <-beat.C:
			flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTime)
			defer cancel()
			flush(last)
			return
		}
	}
}

// Flush writes down what was counted. After an error it is there to be written
// at the next; where the outcome of the commit is not known that may count twice.
// It is not for several goroutines at once.
func (c *Counter) Flush(ctx context.Context, d *db.DB, now time.Time) error {
	p := c.take()
	today := dayOf(now)
	if len(p.rows)+len(p.people)+len(p.contents) == 0 && c.purged == today {
		return nil
	}
	if err := c.load(ctx, d); err != nil {
		c.giveBack(p)
		return err
	}
	var done batch
	err := d.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		done = batch{tx: tx, known: maps.Clone(c.people), contents: c.contents}
		return errors.Join(done.compare(ctx, p.contents, p.rows), done.addPeople(ctx, p.people), done.purge(ctx, c.purged, today, now))
	})
	if err != nil {
		c.giveBack(p)
		return fmt.Errorf("write the tally: %w", err)
	}
	c.people, c.contents = done.known, done.contents
	if c.purged != today {
		c.purged, c.loaded = today, false // days went
		clear(c.people)
	}
	return nil
}

// load finds out how much is there already.
func (c *Counter) load(ctx context.Context, d *db.DB) error {
	if c.loaded {
		return nil
	}
	err := d.Read().QueryRowContext(ctx, `SELECT COUNT(*) FROM tally_contents`).Scan(&c.contents)
	if err != nil {
		return fmt.Errorf("read the tally: %w", err)
	}
	c.loaded = true
	return nil
}

// batch is one transaction; it may be begun again.
type batch struct {
	tx       db.Tx
	known    map[personKey]int64
	contents int64
}

const addRow = `INSERT INTO tally (day, observed, action, rule, detail, direction, mails, parts, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
	ON CONFLICT (day, observed, action, rule, detail, direction) DO UPDATE SET mails = tally.mails + excluded.mails,
	parts = tally.parts + excluded.parts, bytes = tally.bytes + excluded.bytes`

// compare tells which files came before, and adds that to the rows.
func (b *batch) compare(ctx context.Context, contents map[contentKey]sums, rows map[key]sums) error {
	all := maps.Clone(rows)
	add := func(day int64, action string, n sums) {
		k := key{day, true, action, "", "", ""}
		all[k] = all[k].plus(n)
	}
	byKey := func(x, y contentKey) int { return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(x.sum, y.sum)) }
	for _, k := range slices.SortedFunc(maps.Keys(contents), byKey) {
		seen := contents[k]
		once := sums{0, 1, seen.bytes / seen.parts}
		known, err := b.remember(ctx, k)
		if err != nil {
			return err
		}
		again := sums{0, seen.parts - 1, seen.bytes - once.bytes}
		switch known {
		case contentKnown:
			again = again.plus(once)
		case contentUnknown:
			add(k.day, Uncompared, once)
		}
		if again.parts > 0 {
			add(k.day, Repeated, again)
		}
	}
	byRow := func(x, y key) int {
		return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(flag(x.observed), flag(y.observed)), strings.Compare(x.action, y.action),
			strings.Compare(x.rule, y.rule), strings.Compare(x.detail, y.detail), strings.Compare(x.direction, y.direction))
	}
	for _, k := range slices.SortedFunc(maps.Keys(all), byRow) { // all nodes lock the rows in one order
		n := all[k]
		if _, err := b.tx.ExecContext(ctx, addRow, k.day, flag(k.observed), k.action, k.rule, k.detail, k.direction, n.mails, n.parts, n.bytes); err != nil {
			return err
		}
	}
	return nil
}

// What is known of a content.
const (
	contentNew = iota
	contentKnown
	contentUnknown // there was no room to remember it
)

func (b *batch) remember(ctx context.Context, k contentKey) (int, error) {
	if b.contents >= maxContents {
		var rows int
		err := b.tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM tally_contents WHERE sum = $1`, k.sum).Scan(&rows)
		if err != nil || rows == 0 {
			return contentUnknown, err
		}
		return contentKnown, nil
	}
	res, err := b.tx.ExecContext(ctx, `INSERT INTO tally_contents (sum, day) VALUES ($1, $2) ON CONFLICT (sum) DO NOTHING`, k.sum, k.day)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	if n == 0 || err != nil {
		return contentKnown, err
	}
	b.contents++
	return contentNew, nil
}

const (
	morePerson = `UPDATE tally_people SET mails = mails + $5, parts = parts + $6, bytes = bytes + $7
		WHERE day = $1 AND observed = $2 AND role = $3 AND who = $4`
	addPerson = `INSERT INTO tally_people (day, observed, role, who, mails, parts, bytes) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (day, observed, role, who) DO UPDATE SET mails = tally_people.mails + excluded.mails,
		parts = tally_people.parts + excluded.parts, bytes = tally_people.bytes + excluded.bytes`
)

// addPeople counts people; whoever is new beyond maxPeople of a day has no row
// of his own.
func (b *batch) addPeople(ctx context.Context, people map[personKey]sums) error {
	byPerson := func(x, y personKey) int {
		return cmp.Or(cmp.Compare(x.day, y.day), cmp.Compare(flag(x.observed), flag(y.observed)), strings.Compare(x.role, y.role), strings.Compare(x.who, y.who))
	}
	for _, k := range slices.SortedFunc(maps.Keys(people), byPerson) {
		n := people[k]
		res, err := b.tx.ExecContext(ctx, morePerson, k.day, flag(k.observed), k.role, k.who, n.mails, n.parts, n.bytes)
		if err != nil {
			return err
		}
		if had, err := res.RowsAffected(); err != nil || had > 0 {
			if err != nil {
				return err
			}
			continue
		}
		group := personKey{k.day, k.observed, k.role, ""}
		if _, ok := b.known[group]; !ok {
			var rows int64
			err := b.tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM tally_people WHERE day = $1 AND observed = $2 AND role = $3`,
				k.day, flag(k.observed), k.role).Scan(&rows)
			if err != nil {
				return err
			}
			b.known[group] = rows
		}
		if b.known[group] >= maxPeople {
			k.who = ""
		} else {
			b.known[group]++
		}
		if _, err := b.tx.ExecContext(ctx, addPerson, k.day, flag(k.observed), k.role, k.who, n.mails, n.parts, n.bytes); err != nil {
			return err
		}
	}
	return nil
}

// purge deletes days that are too old, once a day.
func (b *batch) purge(ctx context.Context, last, today int64, now time.Time) error {
	if last == today {
		return nil
	}
	before := dayOf(now.Add(-keep))
	for _, text := range []string{`DELETE FROM tally WHERE day < $1`, `DELETE FROM tally_people WHERE day < $1`, `DELETE FROM tally_contents WHERE day < $1`} {
		if _, err := b.tx.ExecContext(ctx, text, before); err != nil {
			return err
		}
	}
	return nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
