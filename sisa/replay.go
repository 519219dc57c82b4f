package sisa

// Reading the journal back: mails with their links, and what was done to them.

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// Replayer does again what the journal tells. Forgets is as the Keeper's, but
// must not refuse: what the journal has was done.
type Replayer struct {
	Forgets func(ctx context.Context, tx db.Tx, key ledger.Key) error
}

// replays are the kinds of lines of this package and of the mails it keeps.
var replays = map[string]func(Replayer, context.Context, db.Tx, db.Record) error{
	"mail":     as(Replayer.mail),
	"link":     as(Replayer.link),
	"download": as(Replayer.download),
	"revoke":   as(Replayer.revoke),
	"extend":   as(Replayer.extend),
	"retire":   as(Replayer.retire),
	"collect":  as(Replayer.collect),
	"hold":     as(Replayer.hold),
	"release":  as(Replayer.release),
	"forget":   as(Replayer.forget),
	"strike":   as(Replayer.strike),
	"purge":    as(Replayer.purge),
	"guard":    as(Replayer.guard),
	"allow":    as(Replayer.allow),
}

// as reads the data of a line for its function.
func as[T any](f func(Replayer, context.Context, db.Tx, T, time.Time) error) func(Replayer, context.Context, db.Tx, db.Record) error {
	return func(y Replayer, ctx context.Context, tx db.Tx, r db.Record) error {
		var data T
		if err := json.Unmarshal(r.Data, &data); err != nil {
			return err
		}
		return f(y, ctx, tx, data, r.Time)
	}
}

// Replay does again what a line tells, and reports whether it is one of ours. It
// may be repeated, as long as what follows is repeated too.
func (y Replayer) Replay(ctx context.Context, tx db.Tx, r db.Record) (known bool, err error) {
	f := replays[r.Kind]
	if f == nil {
		return false, nil
	}
	return true, f(y, ctx, tx, r)
}

func (y Replayer) mail(ctx context.Context, tx db.Tx, m ledger.Mail, at time.Time) error {
	if err := ledger.Replay(ctx, tx, &m); err != nil {
		return err
	}
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Linked || p.Cut {
			if err := Use(ctx, tx, p.SHA256, p.Size, at); err != nil {
				return err
			}
		}
	}
	if s := &m.Skeleton; !s.Blob.IsZero() {
		return Use(ctx, tx, s.Blob, s.Stored, at)
	}
	return nil
}

func (y Replayer) revoke(ctx context.Context, tx db.Tx, fact Revocation, _ time.Time) error {
	for _, id := range fact.Links {
		if _, err := tx.ExecContext(ctx, `UPDATE links SET revoked = COALESCE(revoked, $2) WHERE id = $1`, id[:], fact.At.UnixMilli()); err != nil {
			return fmt.Errorf("link %s: %w", id, err)
		}
	}
	return nil
}

func (y Replayer) extend(ctx context.Context, tx db.Tx, fact Extension, _ time.Time) error {
	if fact.Refused != "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `UPDATE links SET expires = $2 WHERE id = $1`, fact.Link[:], toMillis(fact.Expires)); err != nil {
		return fmt.Errorf("link %s: %w", fact.Link, err)
	}
	return nil
}

func (y Replayer) retire(ctx context.Context, tx db.Tx, fact Retirement, _ time.Time) error {
	for _, key := range fact.Mails {
		if err := ledger.Retire(ctx, tx, key, fact.At); err != nil {
			return err
		}
	}
	return nil
}

func (y Replayer) collect(ctx context.Context, tx db.Tx, fact Collection, _ time.Time) error {
	for _, sum := range fact.Blobs {
		if _, err := tx.ExecContext(ctx, `DELETE FROM blobs WHERE sha256 = $1`, sum[:]); err != nil {
			return fmt.Errorf("blob %s: %w", sum, err)
		}
	}
	return nil
}

func (y Replayer) hold(ctx context.Context, tx db.Tx, fact Hold, _ time.Time) error {
	for _, key := range fact.Mails {
		if _, err := tx.ExecContext(ctx, insertHold, fact.Matter, key[:], fact.At.UnixMilli(), fact.By, fact.Reason); err != nil {
			return fmt.Errorf("hold of mail %s: %w", key, err)
		}
	}
	return nil
}

func (y Replayer) release(ctx context.Context, tx db.Tx, fact Hold, _ time.Time) error {
	for _, key := range fact.Mails {
		if _, err := tx.ExecContext(ctx, `DELETE FROM holds WHERE matter = $1 AND mail = $2`, fact.Matter, key[:]); err != nil {
			return fmt.Errorf("hold of mail %s: %w", key, err)
		}
	}
	return nil
}

func (y Replayer) forget(ctx context.Context, tx db.Tx, fact Oblivion, _ time.Time) error {
	return forget(ctx, tx, fact.Mail, fact.At, y.Forgets)
}

func (y Replayer) strike(ctx context.Context, tx db.Tx, fact Oblivion, _ time.Time) error {
	struck, err := recipientsAt(ctx, tx, fact.Mail, fact.Recipients)
	if err != nil {
		return err
	}
	for _, address := range struck {
		if err := strikeGuards(ctx, tx, fact.Mail, address); err != nil {
			return err
		}
	}
	return ledger.StrikePlaces(ctx, tx, fact.Mail, fact.Recipients)
}

func (y Replayer) purge(ctx context.Context, tx db.Tx, fact Purge, _ time.Time) error {
	_, err := tx.ExecContext(ctx, purgeDownloads, fact.Before)
	return err
}
