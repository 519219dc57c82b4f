package sisa

// How often a file may be fetched, and the first time it is.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// ErrUsedUp says that a file was fetched as often as its link allows.
var ErrUsedUp = errors.New("the file was downloaded as often as the link allows")

// AllParts is the Part of a Download that is the archive of all files.
const AllParts = -1

// spend takes one download of a part, or of all, off what is left. Each row is
// checked and changed by one statement: of two that want the last download one
// gets it, on any number of hosts.
func spend(ctx context.Context, tx db.Tx, link []byte, part int) error {
	text, args := `UPDATE link_parts SET allowance = allowance - 1 WHERE link = $1 AND allowance > 0`, []any{link}
	var want int64 = 1
	if part == AllParts {
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM link_parts WHERE link = $1`, link).Scan(&want); err != nil {
			return fmt.Errorf("count a download of link %x: %w", link, err)
		}
	} else {
		text, args = text+` AND part = $2`, append(args, part)
	}
	res, err := tx.ExecContext(ctx, text, args...)
	if err != nil {
		return fmt.Errorf("count a download of link %x: %w", link, err)
	}
	got, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("count a download of link %x: %w", link, err)
	}
	if got < want {
		return ErrUsedUp // what was taken off comes back: the transaction ends here
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
func first(ctx context.Context, tx db.Tx, link []byte, d *Download) (parts []int, err error) {
	parts, err = untold(ctx, tx, link, d.Part)
	for _, part := range parts {
		if err == nil {
			_, err = tx.ExecContext(ctx, `UPDATE link_parts SET told = $3 WHERE link = $1 AND part = $2`, link, part, d.At.UnixMilli())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("first download of link %x: %w", link, err)
	}
	return parts, nil
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
			fact.Refused = ""
			res, err := tx.ExecContext(ctx, `UPDATE link_parts SET allowance = allowance + $2 WHERE link = $1 AND allowance IS NOT NULL`, raw[:], more)
			if err != nil {
				return fmt.Errorf("more downloads of link %s: %w", id, err)
			}
			if n, err := res.RowsAffected(); err != nil {
				return fmt.Errorf("more downloads of link %s: %w", id, err)
			} else if n == 0 {
				fact.Refused = "has no limit of downloads"
			}
			return nil
		})
		if err != nil {
			return out, err
		}
		out = append(out, *fact)
	}
	return out, nil
}
