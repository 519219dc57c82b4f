package sisa

// Deletion on demand: a mail is forgotten with its links, its downloads and all
// bytes that nobody else needs.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/sisa/blob"
)

// HeldError says which matters keep a mail from being deleted.
type HeldError struct {
	Mail    ledger.Key
	Matters []string
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("mail %s is under legal hold (%s): release it first", e.Mail, strings.Join(e.Matters, ", "))
}

// Oblivion is the journal's line about a mail that was forgotten: what replays
// the journal must not bring it back. It names nobody.
type Oblivion struct {
	Mail ledger.Key `json:"mail"`
	At   time.Time  `json:"at"`
	// Recipients are the places of those who were taken out of the record, which
	// else stays; nil when all of it was forgotten.
	Recipients []int `json:"recipients,omitempty"`
	Act
}

// Forgotten is what became of a mail's bytes.
type Forgotten struct {
	Deleted int   `json:"deleted"` // blobs
	Bytes   int64 `json:"bytes"`   // of these
	Kept    int   `json:"kept"`    // blobs that others need too
}

// Forget deletes everything of a mail. Its links are unknown from then on, for
// good; the same mail, when it comes again, gets another. HeldError, and
// ledger.ErrNotFound.
func (k *Keeper) Forget(ctx context.Context, key ledger.Key, act Act) (f Forgotten, err error) {
	fact := &Oblivion{Mail: key, At: k.Now(), Act: act}
	var refs []blob.Ref
	err = k.DB.Commit(context.WithoutCancel(ctx), db.Entry{{Kind: "forget", Data: fact}}, func(ctx context.Context, tx db.Tx) (err error) {
		if err := lockFree(ctx, tx, key); err != nil {
			return err
		}
		if refs, err = bytesOf(ctx, tx, key); err != nil {
			return err
		}
		return forget(ctx, tx, key, fact.At, k.Forgets)
	})
	if err != nil {
		return f, err
	}
	for part := range slices.Chunk(refs, collectAtOnce) {
		gone, err := k.collect(ctx, part, math.MaxInt64) // at any age
		if err != nil {
			return f, fmt.Errorf("mail %s is forgotten; its files go with the next garbage collection: %w", key, err)
		}
		f.Deleted += len(gone)
		f.Kept += len(part) - len(gone)
		for _, ref := range gone {
			f.Bytes += ref.Size
		}
	}
	return f, nil
}

// ForgetAgain forgets mails that were forgotten before, in a database that was
// restored from an older backup: whatever holds them there, that is over. Those
// that it does not have, or has forgotten, are passed over. It tells how many were
// forgotten; their files go with the next garbage collection.
func (k *Keeper) ForgetAgain(ctx context.Context, keys []ledger.Key, act Act) (forgotten int, err error) {
	for part := range slices.Chunk(keys, changesAtOnce) {
		facts := make([]*Oblivion, len(part))
		n := 0
		err := k.DB.Commit(context.WithoutCancel(ctx), nil, func(ctx context.Context, tx db.Tx) error {
			n = 0
			for i, key := range part {
				facts[i] = &Oblivion{Mail: key, At: k.Now(), Act: act}
				m, err := ledger.Get(ctx, tx, key)
				if errors.Is(err, ledger.ErrNotFound) || err == nil && !m.Forgotten.IsZero() {
					continue
				}
				if err == nil {
					err = forget(ctx, tx, key, facts[i].At, k.Forgets)
				}
				if err != nil {
					return err
				}
				db.Also(ctx, db.Fact{Kind: "forget", Data: facts[i]})
				n++
			}
			return nil
		})
		if err != nil {
			return forgotten, err
		}
		forgotten += n
	}
	return forgotten, nil
}

// forget empties all that is kept about a mail in the database.
func forget(ctx context.Context, tx db.Tx, key ledger.Key, at time.Time, others func(context.Context, db.Tx, ledger.Key) error) error {
	for _, text := range []string{
		`DELETE FROM downloads WHERE link IN (SELECT id FROM links WHERE mail = $1)`,
		`DELETE FROM link_parts WHERE link IN (SELECT id FROM links WHERE mail = $1)`,
	} {
		if _, err := tx.ExecContext(ctx, text, key[:]); err != nil {
			return fmt.Errorf("forget mail %s: %w", key, err)
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE links SET revoked = COALESCE(revoked, $2) WHERE mail = $1`, key[:], at.UnixMilli()); err != nil {
		return fmt.Errorf("forget mail %s: %w", key, err)
	}
	if err := strikeGuards(ctx, tx, key, ""); err != nil {
		return err
	}
	if others != nil {
		if err := others(ctx, tx, key); err != nil {
			return err
		}
	}
	return ledger.Forget(ctx, tx, key, at)
}

// lockFree locks the record of a mail that no matter holds.
func lockFree(ctx context.Context, tx db.Tx, key ledger.Key) error {
	if err := ledger.Lock(ctx, tx, key); err != nil {
		return err
	}
	matters, err := Holders(ctx, tx, key)
	if err == nil && len(matters) > 0 {
		err = &HeldError{key, matters}
	}
	return err
}

// bytesOf lists the blobs that a record refers to and that are there, by hash.
func bytesOf(ctx context.Context, tx db.Tx, key ledger.Key) ([]blob.Ref, error) {
	rows, err := tx.QueryContext(ctx, `SELECT b.sha256, b.size FROM blobs b
		WHERE b.sha256 IN (SELECT sha256 FROM parts WHERE mail = $1) OR b.sha256 IN (SELECT skeleton_blob FROM mails WHERE key = $1)
		ORDER BY b.sha256`, key[:])
	if err != nil {
		return nil, fmt.Errorf("files of mail %s: %w", key, err)
	}
	defer rows.Close()
	var out []blob.Ref
	for rows.Next() {
		var raw []byte
		var ref blob.Ref
		if err := rows.Scan(&raw, &ref.Size); err != nil {
			return nil, fmt.Errorf("files of mail %s: %w", key, err)
		}
		copy(ref.SHA256[:], raw)
		out = append(out, ref)
	}
	return out, rows.Err()
}

// Strike takes an address out of the record of a mail that others got too, and
// reports whether it was there. HeldError.
func (k *Keeper) Strike(ctx context.Context, key ledger.Key, address string, act Act) (struck bool, err error) {
	fact := &Oblivion{Mail: key, At: k.Now(), Act: act}
	err = k.DB.Commit(ctx, db.Entry{{Kind: "strike", Data: fact}}, func(ctx context.Context, tx db.Tx) (err error) {
		if err := lockFree(ctx, tx, key); err != nil {
			return err
		}
		if fact.Recipients, err = ledger.Strike(ctx, tx, key, address); err != nil {
			return err
		}
		return strikeGuards(ctx, tx, key, address)
	})
	return len(fact.Recipients) > 0, err
}
