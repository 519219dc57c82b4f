package sisa

// Legal holds: mails whose files, originals and records nobody may delete.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// Hold keeps a mail for a matter.
type Hold struct {
	Matter string       `json:"matter"`
	Mails  []ledger.Key `json:"mails"`
	At     time.Time    `json:"at"`
	Act
}

// MatterRow is one matter with what it holds.
type MatterRow struct {
	Matter string    `json:"matter"`
	Mails  int64     `json:"mails"`
	Since  time.Time `json:"since"` // its first hold
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
}

// Hold keeps mails for a matter until it is released. Those whose original was
// given up before are only kept as records, and are told.
func (k *Keeper) Hold(ctx context.Context, matter string, keys []ledger.Key, act Act) (held int, retired []ledger.Key, err error) {
	if matter == "" {
		return 0, nil, errors.New("a hold needs the name of its matter")
	}
	for part := range slices.Chunk(keys, changesAtOnce) {
		fact := &Hold{Matter: matter, At: k.Now(), Act: act}
		var gone []ledger.Key
		err := k.DB.Commit(ctx, db.Entry{{Kind: "hold", Data: fact}}, func(ctx context.Context, tx db.Tx) error {
			fact.Mails, gone = nil, nil
			for _, key := range part {
				isRetired, err := hold(ctx, tx, fact, key)
				if err != nil {
					return fmt.Errorf("hold mail %s: %w", key, err)
				}
				if isRetired {
					gone = append(gone, key)
				}
			}
			return nil
		})
		if err != nil {
			return held, retired, err
		}
		held += len(fact.Mails)
		retired = append(retired, gone...)
	}
	return held, retired, nil
}

const insertHold = `INSERT INTO holds (matter, mail, since, actor, reason) VALUES ($1, $2, $3, $4, $5)
	ON CONFLICT (matter, mail) DO NOTHING`

// hold adds one mail, locked so that nobody gives it up at the same moment.
func hold(ctx context.Context, tx db.Tx, fact *Hold, key ledger.Key) (retired bool, err error) {
	if err := ledger.Lock(ctx, tx, key); err != nil {
		return false, err
	}
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM mails WHERE key = $1 AND retired IS NOT NULL`, key[:]).Scan(&n); err != nil {
		return false, err
	}
	res, err := tx.ExecContext(ctx, insertHold, fact.Matter, key[:], fact.At.UnixMilli(), fact.By, fact.Reason)
	if err != nil {
		return false, err
	}
	added, err := res.RowsAffected()
	if added > 0 {
		fact.Mails = append(fact.Mails, key)
	}
	return n > 0, err
}

// Release ends the hold of a matter on mails.
func (k *Keeper) Release(ctx context.Context, matter string, keys []ledger.Key, act Act) (released int, err error) {
	for part := range slices.Chunk(keys, changesAtOnce) {
		fact := &Hold{Matter: matter, At: k.Now(), Act: act}
		err := k.DB.Commit(ctx, db.Entry{{Kind: "release", Data: fact}}, func(ctx context.Context, tx db.Tx) error {
			fact.Mails = nil
			for _, key := range part {
				res, err := tx.ExecContext(ctx, `DELETE FROM holds WHERE matter = $1 AND mail = $2`, matter, key[:])
				if err != nil {
					return fmt.Errorf("release mail %s: %w", key, err)
				}
				if n, err := res.RowsAffected(); err != nil {
					return fmt.Errorf("release mail %s: %w", key, err)
				} else if n > 0 {
					fact.Mails = append(fact.Mails, key)
				}
			}
			return nil
		})
		if err != nil {
			return released, err
		}
		released += len(fact.Mails)
	}
	return released, nil
}

// Matters lists all matters that hold anything.
func (k *Keeper) Matters(ctx context.Context) ([]MatterRow, error) {
	rows, err := k.DB.Read().QueryContext(ctx, `SELECT matter, COUNT(*), MIN(since), MIN(actor), MIN(reason) FROM holds GROUP BY matter ORDER BY matter`)
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	defer rows.Close()
	var out []MatterRow
	for rows.Next() {
		var r MatterRow
		var since int64
		if err := rows.Scan(&r.Matter, &r.Mails, &since, &r.By, &r.Reason); err != nil {
			return nil, fmt.Errorf("list holds: %w", err)
		}
		r.Since = time.UnixMilli(since)
		out = append(out, r)
	}
	return out, rows.Err()
}

// HeldBy lists the mails that a matter holds.
func (k *Keeper) HeldBy(ctx context.Context, matter string) ([]ledger.Key, error) {
	rows, err := k.DB.Read().QueryContext(ctx, `SELECT mail FROM holds WHERE matter = $1 ORDER BY mail`, matter)
	if err != nil {
		return nil, fmt.Errorf("list what %q holds: %w", matter, err)
	}
	defer rows.Close()
	var out []ledger.Key
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("list what %q holds: %w", matter, err)
		}
		out = append(out, ledger.Key(raw))
	}
	return out, rows.Err()
}

// Holders lists the matters that hold a mail.
func Holders(ctx context.Context, q db.Tx, key ledger.Key) ([]string, error) {
	rows, err := q.QueryContext(ctx, `SELECT matter FROM holds WHERE mail = $1 ORDER BY matter`, key[:])
	if err != nil {
		return nil, fmt.Errorf("who holds mail %s: %w", key, err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("who holds mail %s: %w", key, err)
		}
		out = append(out, name)
	}
	return out, rows.Err()
}
