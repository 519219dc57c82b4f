package sisa

// What the daemon does about the store now and then.

import (
	"context"
	"fmt"
	"time"

	"cloakroom/internal/db"
)

const (
	// firstCare is how long after its start the daemon first collects: one that
	// is restarted every day does it too.
	firstCare = 10 * time.Minute
	// purgeEvery is how often old downloads are deleted where collecting is off.
	purgeEvery = 24 * time.Hour
)

// Run collects again and again until ctx ends, and deletes old downloads from
// the log.
func (k *Keeper) Run(ctx context.Context, cfg Config) {
	if err := k.settle(ctx); err != nil && ctx.Err() == nil {
		k.log().Error("files that a collection had set aside could not be looked at", "err", err)
	}
	every := cfg.GC.Every
	if every == 0 {
		every = purgeEvery
	}
	timer := time.NewTimer(min(firstCare, every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if cfg.GC.Every > 0 {
			k.collectNow(ctx, cfg.GC.Grace)
		}
		if n, err := k.PurgeDownloads(ctx, k.Now().Add(-cfg.KeepDownloads)); err != nil && ctx.Err() == nil {
			k.log().Error("old downloads could not be deleted from the log", "err", err)
		} else if n > 0 {
			k.log().Info("old downloads deleted from the log", "downloads", n)
		}
		timer.Reset(every)
	}
}

func (k *Keeper) collectNow(ctx context.Context, grace time.Duration) {
	begin := k.Now()
	r, err := k.Collect(ctx, GCOptions{Grace: grace})
	if err != nil && ctx.Err() == nil {
		k.log().Error("garbage collection failed: it goes on next time", "err", err)
		return
	}
	k.log().Info("garbage collected", "mails", r.Retired, "blobs", r.Blobs, "bytes", r.Bytes, "adopted", r.Adopted,
		"seconds", int(k.Now().Sub(begin).Seconds()))
}

// purgeStep is how long a stretch of the log one commit deletes: mail waits for
// no more than that.
const purgeStep = 24 * time.Hour

// Purge is the journal's line about downloads that were deleted from the log.
type Purge struct {
	Before int64 `json:"before"` // milliseconds since 1970, UTC
}

const purgeDownloads = `DELETE FROM downloads WHERE at < $1 AND NOT ` + downloadHeldHere

// PurgeDownloads deletes what the log of downloads has from before a time, and
// tells how much that was. The log of mails under a legal hold stays.
func (k *Keeper) PurgeDownloads(ctx context.Context, before time.Time) (purged int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return purged, err
		}
		var oldest int64
		err := k.DB.Read().QueryRowContext(ctx, `SELECT COALESCE(MIN(at), $1) FROM downloads d WHERE at < $1 AND NOT `+downloadHeld,
			before.UnixMilli()).Scan(&oldest)
		if err != nil {
			return purged, fmt.Errorf("purge downloads: %w", err)
		}
		if oldest >= before.UnixMilli() {
			return purged, nil
		}
		end := min(oldest+purgeStep.Milliseconds(), before.UnixMilli())
		var n int64
		err = k.DB.Commit(context.WithoutCancel(ctx), db.Entry{{Kind: "purge", Data: Purge{end}}}, func(ctx context.Context, tx db.Tx) error {
			res, err := tx.ExecContext(ctx, purgeDownloads, end)
			if err == nil {
				n, err = res.RowsAffected()
			}
			return err
		})
		if err != nil {
			return purged, fmt.Errorf("purge downloads: %w", err)
		}
		purged += n
	}
}

// That a download is of a mail under a legal hold.
const (
	downloadHeld     = `EXISTS (SELECT 1 FROM links pl JOIN holds ph ON ph.mail = pl.mail WHERE pl.id = d.link)`
	downloadHeldHere = `EXISTS (SELECT 1 FROM links pl JOIN holds ph ON ph.mail = pl.mail WHERE pl.id = downloads.link)`
)
