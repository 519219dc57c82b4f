package sisa

// What looks after the store: its parts, and how it settles what was interrupted.

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/sisa/blob"
)

// Blobs is what the keeper needs of the blob store.
type Blobs interface {
	blob.Store
	// SetAside takes a blob out of the store; until Drop, TakeBack undoes it.
	SetAside(ctx context.Context, sha [32]byte) error
	TakeBack(ctx context.Context, sha [32]byte) error
	Drop(ctx context.Context, sha [32]byte) error
	// Aside lists what was set aside and neither taken back nor dropped.
	Aside(ctx context.Context) ([][32]byte, error)
	// Quarantine takes a damaged blob out of the store, and keeps it.
	Quarantine(ctx context.Context, sha [32]byte) error
}

var _ Blobs = (*blob.Local)(nil)

// Keeper looks after what is stored: it collects what nobody needs, checks what
// is kept, and ends what an administrator says. Its methods work while mail
// comes in, from several processes at once. All fields are set before
// first use.
type Keeper struct {
	DB    *db.DB
	Blobs Blobs
	Needs []Need // of others than mails and their links
	// Recent is how long the original of a mail is kept in any case since it
	// last came: copies of it may still be on their way.
	Recent time.Duration
	// Forgets deletes what others keep about a mail that is forgotten, in the same
	// transaction; nil: nobody does.
	Forgets func(ctx context.Context, tx db.Tx, key ledger.Key) error
	Now     func() time.Time
	Log     *slog.Logger // nil: slog.Default
}

func (k *Keeper) log() *slog.Logger {
	if k.Log == nil {
		return slog.Default()
	}
	return k.Log
}

// Open gives the bytes of a blob, to build a mail again.
func (k *Keeper) Open(ctx context.Context, sum [32]byte) (io.ReadCloser, error) {
	return k.Blobs.Open(ctx, sum)
}

// settle ends what an interrupted collection left between two places: what the
// database still knows comes back.
func (k *Keeper) settle(ctx context.Context) error {
	left, err := k.Blobs.Aside(ctx)
	if err != nil {
		return err
	}
	for _, sum := range left {
		if err := k.settleOne(ctx, sum); err != nil {
			return err
		}
	}
	return nil
}

// settleOne is harmless beside a collection under way in another process: a
// blob that comes back too early is found by the next one.
func (k *Keeper) settleOne(ctx context.Context, sum [32]byte) error {
	known, err := k.known(ctx, k.DB.Read(), sum)
	if err != nil {
		return err
	}
	if known {
		return k.Blobs.TakeBack(ctx, sum)
	}
	return k.Blobs.Drop(ctx, sum)
}

// known tells whether a blob has its row.
func (k *Keeper) known(ctx context.Context, q db.Tx, sum [32]byte) (bool, error) {
	var n int
	if err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM blobs WHERE sha256 = $1`, sum[:]).Scan(&n); err != nil {
		return false, fmt.Errorf("look up blob %x: %w", sum, err)
	}
	return n > 0, nil
}
