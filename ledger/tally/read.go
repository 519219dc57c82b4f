package tally

// Reading what was counted.

import (
	"context"
	"fmt"
	"time"

	"cloakroom/internal/db"
)

// Row is what was counted of one action, rule and detail.
type Row struct {
	Observed  bool
	Action    string
	Rule      string
	Detail    string
	Direction string
	Mails     int64
	Parts     int64
	Bytes     int64
}

// Since sums up the days from that of a time on. Days are those of UTC.
func Since(ctx context.Context, q db.Tx, from time.Time) ([]Row, error) {
	rows, err := q.QueryContext(ctx, `SELECT observed, action, rule, detail, direction, CAST(SUM(mails) AS BIGINT), CAST(SUM(parts) AS BIGINT),
		CAST(SUM(bytes) AS BIGINT) FROM tally WHERE day >= $1
		GROUP BY observed, action, rule, detail, direction ORDER BY observed, action, rule, detail, direction`, dayOf(from))
	if err != nil {
		return nil, fmt.Errorf("read the tally: %w", err)
	}
	defer rows.Close()
	var out []Row
	for rows.Next() {
		var r Row
		var observed int
		if err := rows.Scan(&observed, &r.Action, &r.Rule, &r.Detail, &r.Direction, &r.Mails, &r.Parts, &r.Bytes); err != nil {
			return nil, fmt.Errorf("read the tally: %w", err)
		}
		r.Observed = observed != 0
		out = append(out, r)
	}
	return out, rows.Err()
}

// Day is what was counted of one action on one day.
type Day struct {
	Begin               time.Time
	Observed            bool
	Action              string
	Mails, Parts, Bytes int64
}

// Days sums up some actions by day, from that of a time on, the oldest first.
func Days(ctx context.Context, q db.Tx, from time.Time) ([]Day, error) {
	rows, err := q.QueryContext(ctx, `SELECT day, observed, action, CAST(SUM(mails) AS BIGINT), CAST(SUM(parts) AS BIGINT), CAST(SUM(bytes) AS BIGINT)
		FROM tally WHERE day >= $1 GROUP BY day, observed, action ORDER BY day, observed, action`, dayOf(from))
	if err != nil {
		return nil, fmt.Errorf("read the tally: %w", err)
	}
	defer rows.Close()
	var out []Day
	for rows.Next() {
		var d Day
		var begin, observed int64
		if err := rows.Scan(&begin, &observed, &d.Action, &d.Mails, &d.Parts, &d.Bytes); err != nil {
			return nil, fmt.Errorf("read the tally: %w", err)
		}
		d.Begin, d.Observed = time.UnixMilli(begin).UTC(), observed != 0
		out = append(out, d)
	}
	return out, rows.Err()
}

// Person is what was counted of somebody: an address of ours, a domain behind an
// @, or "" for all who had no room of their own.
type Person struct {
	Who   string `json:"who"`
	Mails int64  `json:"mails"`
	Parts int64  `json:"parts"`
	Bytes int64  `json:"bytes"`
}

// Top lists those with the most bytes in a role, from the day of a time on.
func Top(ctx context.Context, q db.Tx, from time.Time, observed bool, role string, n int) ([]Person, error) {
	rows, err := q.QueryContext(ctx, `SELECT who, CAST(SUM(mails) AS BIGINT), CAST(SUM(parts) AS BIGINT), CAST(SUM(bytes) AS BIGINT) AS total
		FROM tally_people WHERE day >= $1 AND observed = $2 AND role = $3 GROUP BY who ORDER BY total DESC, who LIMIT $4`,
		dayOf(from), flag(observed), role, n)
	if err != nil {
		return nil, fmt.Errorf("read the tally: %w", err)
	}
	defer rows.Close()
	out := []Person{}
	for rows.Next() {
		var p Person
		if err := rows.Scan(&p.Who, &p.Mails, &p.Parts, &p.Bytes); err != nil {
			return nil, fmt.Errorf("read the tally: %w", err)
		}
		out = append(out, p)
	}
	return out, rows.Err()
}
