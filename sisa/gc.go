package sisa

// Garbage collection: first the originals of mails are given up whose links
// have ended, then the blobs that nothing needs any more.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/sisa/blob"
)

const (
	// collectAtOnce is how many mails or blobs one transaction ends: files are
	// moved within it, and mail that comes in waits for it.
	collectAtOnce = 16
	// collectPage is how many candidates are read at a time.
	collectPage = 512
)

// GCOptions says what a collection may take.
type GCOptions struct {
	Grace  time.Duration // since the last link ended, and since a blob was last used
	DryRun bool          // only tell
	// Progress is called now and then, if set, with the blobs looked at so far.
	Progress func(looked int64)
}

// GCResult is what a collection did, or would do.
type GCResult struct {
	DryRun       bool  `json:"dry_run,omitempty"`
	Retired      int64 `json:"retired"` // mails whose original was given up
	Blobs        int64 `json:"blobs"`   // deleted
	Bytes        int64 `json:"bytes"`   // of these
	Adopted      int64 `json:"adopted"` // files without a row: their time of grace begins
	AdoptedBytes int64 `json:"adopted_bytes"`
}

// Collect looks at everything once. Interrupted, it can be begun again.
func (k *Keeper) Collect(ctx context.Context, o GCOptions) (GCResult, error) {
	r := GCResult{DryRun: o.DryRun}
	if !o.DryRun {
		if err := k.settle(ctx); err != nil {
			return r, err
		}
	}
	if err := k.retireAll(ctx, o, &r); err != nil {
		return r, err
	}
	if err := k.adopt(ctx, o, &r); err != nil {
		return r, err
	}
	return r, k.collectAll(ctx, o, &r)
}

// dead is the condition that nobody needs the original of the mail m: $1 is
// when its links must have ended, $2 when it must have come last.
const dead = `m.retired IS NULL AND COALESCE(m.seen, m.received) <= $2
	AND NOT EXISTS (SELECT 1 FROM links dl WHERE dl.mail = m.key
		AND (dl.revoked IS NULL OR dl.revoked > $1) AND (dl.expires IS NULL OR dl.expires > $1))
	AND NOT EXISTS (SELECT 1 FROM holds dh WHERE dh.mail = m.key)`

func (k *Keeper) deadBounds(o GCOptions) (ended, came int64) {
	now := k.Now()
	return now.Add(-o.Grace).UnixMilli(), now.Add(-max(o.Grace, k.Recent)).UnixMilli()
}

// Retirement is the journal's line about originals that were given up.
type Retirement struct {
	Mails []ledger.Key `json:"mails"`
	At    time.Time    `json:"at"`
}

func (k *Keeper) retireAll(ctx context.Context, o GCOptions, r *GCResult) error {
	ended, came := k.deadBounds(o)
	after := []byte{}
	for {
		keys, last, err := k.deadMails(ctx, ended, came, after)
		if err != nil || last == nil {
			return err
		}
		after = last
		if o.DryRun {
			r.Retired += int64(len(keys))
			continue
		}
		for part := range slices.Chunk(keys, collectAtOnce) {
			if err := ctx.Err(); err != nil {
				return err
			}
			fact := &Retirement{At: k.Now()}
			err := k.DB.Commit(context.WithoutCancel(ctx), db.Entry{{Kind: "retire", Data: fact}}, func(ctx context.Context, tx db.Tx) error {
				fact.Mails = nil
				return retire(ctx, tx, part, ended, came, fact)
			})
			if err != nil {
				return err
			}
			r.Retired += int64(len(fact.Mails))
		}
	}
}

// deadMails reads the next page of mails, and which of these nobody needs. A page
// is of all mails, so that no statement looks for a dead one for minutes: as long
// as one reads, SQLite's log of changes grows.
func (k *Keeper) deadMails(ctx context.Context, ended, came int64, after []byte) (keys []ledger.Key, last []byte, err error) {
	rows, err := k.DB.Read().QueryContext(ctx, `SELECT m.key, CASE WHEN `+dead+` THEN 1 ELSE 0 END FROM mails m WHERE m.key > $3 ORDER BY m.key LIMIT $4`,
		ended, came, after, collectPage)
	if err != nil {
		return nil, nil, fmt.Errorf("find mails without links: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		var isDead int
		if err := rows.Scan(&raw, &isDead); err != nil {
			return nil, nil, fmt.Errorf("find mails without links: %w", err)
		}
		last = raw
		if isDead == 1 {
			keys = append(keys, ledger.Key(raw))
		}
	}
	return keys, last, rows.Err()
}

// retire gives up the originals of those that are still dead once they are
// locked: the lock and the look are two statements, as the second must see what
// was committed while the first waited.
func retire(ctx context.Context, tx db.Tx, keys []ledger.Key, ended, came int64, fact *Retirement) error {
	for _, key := range keys {
		if err := ledger.Lock(ctx, tx, key); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM mails m WHERE m.key = $3 AND `+dead, ended, came, key[:]).Scan(&n); err != nil {
			return fmt.Errorf("look again at mail %s: %w", key, err)
		}
		if n == 0 {
			continue
		}
		if err := ledger.Retire(ctx, tx, key, fact.At); err != nil {
			return err
		}
		fact.Mails = append(fact.Mails, key)
	}
	return nil
}

// adopt gives a row to files that have none: a mail was not committed after all,
// or a deletion was lost in a power failure. Only what has a row can be locked,
// so that no mail begins to use it while it goes.
func (k *Keeper) adopt(ctx context.Context, o GCOptions, r *GCResult) error {
	return k.Blobs.Walk(ctx, func(ref blob.Ref) error {
		known, err := k.known(ctx, k.DB.Read(), ref.SHA256)
		if err != nil || known {
			return err
		}
		r.Adopted++
		r.AdoptedBytes += ref.Size
		if o.DryRun {
			return nil
		}
		return k.DB.Commit(context.WithoutCancel(ctx), nil, func(ctx context.Context, tx db.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO blobs (sha256, size, created, used) VALUES ($1, $2, $3, $3) ON CONFLICT (sha256) DO NOTHING`,
				ref.SHA256[:], ref.Size, k.Now().UnixMilli())
			if err != nil {
				return fmt.Errorf("adopt blob %x: %w", ref.SHA256, err)
			}
			return nil
		})
	})
}

func (k *Keeper) collectAll(ctx context.Context, o GCOptions, r *GCResult) error {
	used := k.Now().Add(-o.Grace).UnixMilli()
	after := []byte{}
	var looked int64
	for {
		page, last, n, err := k.unneeded(ctx, used, after)
		if err != nil || n == 0 {
			return err
		}
		after = last
		if looked += int64(n); o.Progress != nil {
			o.Progress(looked)
		}
		for part := range slices.Chunk(page, collectAtOnce) {
			if err := ctx.Err(); err != nil {
				return err
			}
			gone := part
			if !o.DryRun {
				if gone, err = k.collect(ctx, part, used); err != nil {
					return err
				}
			}
			for _, ref := range gone {
				r.Blobs++
				r.Bytes += ref.Size
			}
		}
	}
}

// unneeded reads the next page of rows, and which of these nothing needs.
func (k *Keeper) unneeded(ctx context.Context, used int64, after []byte) (page []blob.Ref, last []byte, n int, err error) {
	rows, err := k.DB.Read().QueryContext(ctx, `SELECT b.sha256, b.size, CASE WHEN b.used > $1 OR `+allNeeds(k.Needs).any("b.sha256")+`
		THEN 1 ELSE 0 END FROM blobs b WHERE b.sha256 > $2 ORDER BY b.sha256 LIMIT $3`, used, after, collectPage)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("find blobs that nothing needs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		var ref blob.Ref
		var needed int
		if err := rows.Scan(&raw, &ref.Size, &needed); err != nil {
			return nil, nil, 0, fmt.Errorf("find blobs that nothing needs: %w", err)
		}
		copy(ref.SHA256[:], raw)
		last = raw
		n++
		if needed == 0 {
			page = append(page, ref)
		}
	}
	return page, last, n, rows.Err()
}

// Collection is the journal's line about blobs that were deleted.
type Collection struct {
	Blobs []ledger.Hash `json:"blobs"`
	At    time.Time     `json:"at"`
}

// collect deletes the blobs that are still unneeded once their rows are locked,
// in the order of their hashes as mails lock them too. Their files are only set
// aside until the commit is known to have happened: whoever waits for a row sees
// the file gone, and puts it again; and a transaction that was lost with its
// connection, its locks with it, has deleted nothing.
func (k *Keeper) collect(ctx context.Context, refs []blob.Ref, used int64) (gone []blob.Ref, err error) {
	ctx = context.WithoutCancel(ctx) // a commit that is left alone may go on
	fact := &Collection{At: k.Now()}
	all := allNeeds(k.Needs)
	err = k.DB.Commit(ctx, db.Entry{{Kind: "collect", Data: fact}}, func(ctx context.Context, tx db.Tx) error {
		gone, fact.Blobs = nil, nil
		for _, ref := range refs {
			free, err := lockUnneeded(ctx, tx, all, ref.SHA256, used)
			if err != nil || !free {
				if err != nil {
					return err
				}
				continue
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM blobs WHERE sha256 = $1`, ref.SHA256[:]); err != nil {
				return fmt.Errorf("delete blob %x: %w", ref.SHA256, err)
			}
			if err := k.Blobs.SetAside(ctx, ref.SHA256); err != nil {
				return err
			}
			gone = append(gone, ref)
			fact.Blobs = append(fact.Blobs, ref.SHA256)
		}
		return nil
	})
	if err != nil {
		for _, ref := range refs {
			err = errors.Join(err, k.settleOne(ctx, ref.SHA256))
		}
		return nil, err
	}
	for _, ref := range gone {
		if err := k.Blobs.Drop(ctx, ref.SHA256); err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// lockUnneeded locks the row of a blob and tells whether it may go.
func lockUnneeded(ctx context.Context, tx db.Tx, all needs, sum [32]byte, used int64) (bool, error) {
	rows, err := tx.QueryContext(ctx, `SELECT used FROM blobs WHERE sha256 = $1 FOR UPDATE`, sum[:])
	if err != nil {
		return false, fmt.Errorf("lock blob %x: %w", sum, err)
	}
	young := true // or gone
	for rows.Next() {
		var at int64
		if err := rows.Scan(&at); err != nil {
			rows.Close()
			return false, fmt.Errorf("lock blob %x: %w", sum, err)
		}
		young = at > used
	}
	rows.Close()
	if err := rows.Err(); err != nil || young {
		return false, err
	}
	needed, err := all.held(ctx, tx, sum)
	return !needed, err
}
