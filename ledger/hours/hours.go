// Package hours keeps what was counted in each hour: sums of mail, bytes,
// failures, without a word about anybody. They outlive restarts, and the nodes
// of a fleet add up.
package hours

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cloakroom/internal/db"
)

// Migrations make the table of this package. The hour is its begin in
// milliseconds; 0 has the sum since the first start.
var Migrations = []db.Migration{{Name: "hours-1", SQL: `
CREATE TABLE hours (
	hour BIGINT NOT NULL,
	name TEXT NOT NULL,
	node TEXT NOT NULL,
	value BIGINT NOT NULL,
	PRIMARY KEY (hour, name, node)
);
`}}

// everybody is the node of what is the same for all of a fleet.
const everybody = ""

// ever is the hour of the sums since the first start.
const ever = 0

func begin(t time.Time) int64 { return t.UTC().Truncate(time.Hour).UnixMilli() }

const insert = `INSERT INTO hours (hour, name, node, value) VALUES ($1, $2, $3, $4) ON CONFLICT (hour, name, node) DO UPDATE SET value = `

// Add adds to the counters of a node, in the hour of a time and since ever.
func Add(ctx context.Context, tx db.Tx, node string, at time.Time, counts map[string]int64) error {
	for _, name := range slices.Sorted(maps.Keys(counts)) { // all nodes lock the rows in one order
		if counts[name] == 0 {
			continue
		}
		for _, hour := range []int64{ever, begin(at)} {
			if _, err := tx.ExecContext(ctx, insert+`hours.value + excluded.value`, hour, name, node, counts[name]); err != nil {
				return fmt.Errorf("count %s: %w", name, err)
			}
		}
	}
	return nil
}

// Raise notes how high something stood, if that is the highest of the hour.
func Raise(ctx context.Context, tx db.Tx, at time.Time, levels map[string]int64) error {
	return put(ctx, tx, at, levels, `excluded.value WHERE excluded.value > hours.value`)
}

// Set notes how high something stands; the last of the hour counts.
func Set(ctx context.Context, tx db.Tx, at time.Time, levels map[string]int64) error {
	return put(ctx, tx, at, levels, `excluded.value`)
}

func put(ctx context.Context, tx db.Tx, at time.Time, levels map[string]int64, how string) error {
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		if _, err := tx.ExecContext(ctx, insert+how, begin(at), name, everybody, levels[name]); err != nil {
			return fmt.Errorf("note %s: %w", name, err)
		}
	}
	return nil
}

// Hour is what was counted in one hour, by name, of all nodes.
type Hour struct {
	Begin  time.Time
	Values map[string]int64
}

// Since reads the hours from the one of a time on, the oldest first. An hour in
// which nothing was counted is left out.
func Since(ctx context.Context, q db.Tx, from time.Time) ([]Hour, error) {
	rows, err := q.QueryContext(ctx, `SELECT hour, name, CAST(SUM(value) AS BIGINT) FROM hours WHERE hour >= $1 AND hour > 0
		GROUP BY hour, name ORDER BY hour`, begin(from))
	if err != nil {
		return nil, fmt.Errorf("read hours: %w", err)
	}
	defer rows.Close()
	var out []Hour
	for rows.Next() {
		var hour, value int64
		var name string
		if err := rows.Scan(&hour, &name, &value); err != nil {
			return nil, fmt.Errorf("read hours: %w", err)
		}
		at := time.UnixMilli(hour)
		if n := len(out); n == 0 || !out[n-1].Begin.Equal(at) {
			out = append(out, Hour{Begin: at, Values: map[string]int64{}})
		}
		out[len(out)-1].Values[name] = value
	}
	return out, rows.Err()
}

// Ever reads the sums since the first start.
func Ever(ctx context.Context, q db.Tx) (map[string]int64, error) {
	rows, err := q.QueryContext(ctx, `SELECT name, CAST(SUM(value) AS BIGINT) FROM hours WHERE hour = $1 GROUP BY name`, ever)
	if err != nil {
		return nil, fmt.Errorf("read sums: %w", err)
	}
	defer rows.Close()
	out := make(map[string]int64)
	for rows.Next() {
		var name string
		var value int64
		if err := rows.Scan(&name, &value); err != nil {
			return nil, fmt.Errorf("read sums: %w", err)
		}
		out[name] = value
	}
	return out, rows.Err()
}

// Purge deletes the hours before a time, and tells how many rows that were. The
// sums stay.
func Purge(ctx context.Context, d *db.DB, before time.Time) (int64, error) {
	var n int64
	err := d.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM hours WHERE hour > 0 AND hour < $1`, begin(before))
		if err == nil {
			n, err = res.RowsAffected()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("purge hours: %w", err)
	}
	return n, nil
}
