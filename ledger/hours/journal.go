package hours

// What the journal has of the sums: hours that are over, and how far the sums
// since ever had come then.

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cloakroom/internal/db"
)

// fact is the kind of this package's lines in the journal.
const fact = "hours"

// line is what the journal has of one hour of one node.
type line struct {
	Hour   int64            `json:"hour"` // as in the table
	Node   string           `json:"node"`
	Values map[string]int64 `json:"values"`
}

// Note writes into the journal what a node, and what all of them, have counted in
// the hour of a time, and since ever. A database that is rebuilt has no more than
// was noted.
func Note(ctx context.Context, d *db.DB, node string, at time.Time) error {
	rows, err := d.Read().QueryContext(ctx, `SELECT hour, node, name, value FROM hours WHERE hour IN ($1, $2) AND node IN ($3, $4)
		ORDER BY hour, node, name`, ever, begin(at), node, everybody)
	if err != nil {
		return fmt.Errorf("read hours: %w", err)
	}
	defer rows.Close()
	var lines []line
	for rows.Next() {
		var hour, value int64
		var of, name string
		if err := rows.Scan(&hour, &of, &name, &value); err != nil {
			return fmt.Errorf("read hours: %w", err)
		}
		if n := len(lines); n == 0 || lines[n-1].Hour != hour || lines[n-1].Node != of {
			lines = append(lines, line{hour, of, make(map[string]int64)})
		}
		lines[len(lines)-1].Values[name] = value
	}
	if err := rows.Err(); err != nil || len(lines) == 0 {
		return err
	}
	var entry db.Entry
	for _, l := range lines {
		entry = append(entry, db.Fact{Kind: fact, Data: l})
	}
	if err := d.Commit(ctx, entry, func(context.Context, db.Tx) error { return nil }); err != nil {
		return fmt.Errorf("note hours: %w", err)
	}
	return nil
}

// Replay does again what a line of the journal tells, and reports whether it is
// one of this package. Values only rise: it may be repeated.
func Replay(ctx context.Context, tx db.Tx, r db.Record) (known bool, err error) {
	if r.Kind != fact {
		return false, nil
	}
	var l line
	if err := json.Unmarshal(r.Data, &l); err != nil {
		return true, err
	}
	for name, value := range l.Values {
		if _, err := tx.ExecContext(ctx, insert+`excluded.value WHERE excluded.value > hours.value`, l.Hour, name, l.Node, value); err != nil {
			return true, fmt.Errorf("hour %d: %w", l.Hour, err)
		}
	}
	return true, nil
}
