package sisa

// How often a file may be fetched, and the first time it is.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// ErrUsedUp says that a file was fetched as often as its link allows.
var ErrUsedUp = errors.New("the file was downloaded as often as the link allows")

// AllParts is the Part of a Download that is the archive of all files.
const AllParts = -1

// Left is how often a part of a link can still be fetched.
type Left struct {
	Part int   `json:"part"`
	Left int64 `json:"left"`
}

// spend takes one download off what is left of the parts that d fetches, but for
// those that the same visitor has already, and tells what is left of them. The
// link's row is locked; still each row is checked and changed by one statement:
// of two that want the last download one gets it, on any number of hosts.
func spend(ctx context.Context, tx db.Tx, link []byte, d *Download) ([]Left, error) {
	before, err := allowances(ctx, tx, link)
	if err != nil {
		return nil, err
	}
	var left []Left
	for _, one := range before {
		if d.Part != AllParts && d.Part != one.Part || slices.Contains(d.Again, one.Part) {
			continue
		}
		res, err := tx.ExecContext(ctx, `UPDATE link_parts SET allowance = allowance - 1 WHERE link = $1 AND part = $2 AND allowance > 0`, link, one.Part)
		if err != nil {
			return nil, fmt.Errorf("count a download of link %x: %w", link, err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return nil, fmt.Errorf("count a download of link %x: %w", link, err)
		}
		if n == 0 {
			return nil, ErrUsedUp // what was taken off comes back: the transaction ends here
		}
		left = append(left, Left{one.Part, one.Left - 1})
	}
	return left, nil
}

// allowances lists what is left of the parts of a link that has a limit.
func allowances(ctx context.Context, q db.Tx, link []byte) (left []Left, err error) {
	rows, err := q.QueryContext(ctx, `SELECT part, allowance FROM link_parts WHERE link = $1 AND allowance IS NOT NULL ORDER BY part`, link)
	if err != nil {
		return nil, fmt.Errorf("downloads left of link %x: %w", link, err)
	}
	defer rows.Close()
	for rows.Next() {
		var l Left
		if err := rows.Scan(&l.Part, &l.Left); err != nil {
			return nil, fmt.Errorf("downloads left of link %x: %w", link, err)
		}
		left = append(left, l)
	}
	return left, rows.Err()
}

// Left lists what is left of each part of a link; none where it has no limit.
func (l *Links) Left(ctx context.Context, id string) ([]Left, error) {
	raw, err := linkID(id)
	if err != nil {
		return nil, err
	}
	return allowances(ctx, l.db.Read(), raw[:])
}

// putAllowances writes what is left.
func putAllowances(ctx context.Context, tx db.Tx, link []byte, left []Left) error {
	for _, l := range left {
		if _, err := tx.ExecContext(ctx, `UPDATE link_parts SET allowance = $3 WHERE link = $1 AND part = $2`, link, l.Part, l.Left); err != nil {
			return fmt.Errorf("downloads left of link %x: %w", link, err)
		}
	}
	return nil
}

// FirstDownload says that files of a link were fetched for the first time.
type FirstDownload struct {
	Link   ledger.Hash
	Mail   ledger.Key
	Parts  []int // in order
	At     time.Time
	Proven string // see Download
}

// first lists the parts of a download that nobody fetched before, and notes that
// they were.
func first(ctx context.Context, tx db.Tx, link []byte, d *Download) ([]int, error) {
	parts, err := untold(ctx, tx, link, d.Part)
	if err == nil {
		err = tell(ctx, tx, link, parts, d.At)
	}
	if err != nil {
		return nil, fmt.Errorf("first download of link %x: %w", link, err)
	}
	return parts, nil
}

// tell notes that the sender hears of the first download of parts.
func tell(ctx context.Context, tx db.Tx, link []byte, parts []int, at time.Time) error {
	for _, part := range parts {
		if _, err := tx.ExecContext(ctx, `UPDATE link_parts SET told = $3 WHERE link = $1 AND part = $2`, link, part, at.UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

func untold(ctx context.Context, tx db.Tx, link []byte, part int) (parts []int, err error) {
	text, args := `SELECT part FROM link_parts WHERE link = $1 AND told IS NULL`, []any{link}
	if part != AllParts {
		text, args = text+` AND part = $2`, append(args, part)
	}
	rows, err := tx.QueryContext(ctx, text+` ORDER BY part FOR UPDATE`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p int
		if err := rows.Scan(&p); err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, rows.Err()
}

// Allowance is the journal's line about more downloads of a link's files.
type Allowance struct {
	Link ledger.Hash `json:"link"`
	More int         `json:"more"` // of each file
	At   time.Time   `json:"at"`
	Act

	Left []Left `json:"left,omitempty"` // after it
	// Refused says why nothing changed; "" when it did.
	Refused string `json:"refused,omitempty"`
}

// Allow lets each file of links be fetched more often. Links without a limit
// stay so.
func (l *Links) Allow(ctx context.Context, ids []string, more int, act Act) ([]Allowance, error) {
	var out []Allowance
	for _, id := range ids {
		raw, err := linkID(id)
		if err != nil {
			return out, err
		}
		fact := &Allowance{Link: raw, More: more, At: l.now(), Act: act}
		err = l.db.Commit(ctx, db.Entry{{Kind: "allow", Data: fact}}, func(ctx context.Context, tx db.Tx) error {
			fact.Refused, fact.Left = "", nil
			if err := lockLink(ctx, tx, raw[:]); err != nil {
				return err
			}
			left, err := allowances(ctx, tx, raw[:])
			if err != nil {
				return err
			}
			if len(left) == 0 {
				fact.Refused = "has no limit of downloads"
				return nil
			}
			for i := range left {
				left[i].Left += int64(more)
			}
			fact.Left = left
			return putAllowances(ctx, tx, raw[:], left)
		})
		if err != nil {
			return out, err
		}
		out = append(out, *fact)
	}
	return out, nil
}
