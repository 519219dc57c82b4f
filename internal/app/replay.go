package app

// The journal read back: what each line does to the database again.

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger/audit"
	"cloakroom/ledger/hours"
	"cloakroom/sisa"
	"cloakroom/vault"
)

// replays are asked one after the other who knows a line.
var replays = []func(ctx context.Context, tx db.Tx, r db.Record) (known bool, err error){
	sisa.Replayer{Forgets: forgetAllJobs}.Replay,
	replayJob,
	vault.Replay,
	audit.Replay,
	hours.Replay,
}

// replayJob also uses the blob that a job needs, as the mail did.
func replayJob(ctx context.Context, tx db.Tx, r db.Record) (known bool, err error) {
	done, err := jobs.Replay(ctx, tx, r)
	if err == nil && len(done.Needs) == sha256.Size {
		err = sisa.Use(ctx, tx, [sha256.Size]byte(done.Needs), done.Size, r.Time)
	}
	return done.Known, err
}

// replayLine does a line of the journal again.
func replayLine(ctx context.Context, tx db.Tx, r db.Record) (known bool, err error) {
	for _, replay := range replays {
		if known, err := replay(ctx, tx, r); known || err != nil {
			return known, err
		}
	}
	return false, nil
}

// ErrOtherSecret says that a journal and a secret do not belong together.
var ErrOtherSecret = errors.New("the journal's links were made with another secret than the one of this data folder")

// withSecret is replayLine that refuses links made with another secret.
func withSecret(key []byte) func(context.Context, db.Tx, db.Record) (bool, error) {
	return func(ctx context.Context, tx db.Tx, r db.Record) (bool, error) {
		if r.Kind == "link" {
			var g sisa.Grant
			if err := json.Unmarshal(r.Data, &g); err != nil {
				return true, err
			}
			if sisa.Offer(key, sisa.Wish{Mail: g.Mail}, g.Generation).ID != g.ID {
				return true, fmt.Errorf("%w: %w", ErrOtherSecret, db.ErrStop)
			}
		}
		return replayLine(ctx, tx, r)
	}
}

// catchUp adds to the database what only its journal has: after a crash in the
// middle of a commit, and where an older database was put in the place of the
// one that the journal is of. What cannot be read does not keep mail waiting, and
// nothing is taken from the journal of another data folder: its jobs would send
// mail once more.
func catchUp(ctx context.Context, d *db.DB, linkKey []byte, log *slog.Logger) error {
	behind, err := d.Behind(ctx)
	if err != nil || behind == 0 {
		return err
	}
	log.Info("the journal has what the database does not: it is added now", "bytes", behind)
	r, err := d.CatchUp(ctx, db.Replay{Apply: withSecret(linkKey)})
	if errors.Is(err, ErrOtherSecret) {
		log.Error("nothing of that is added: the journal is of another data folder, or from before the secret was exchanged. "+
			"Put the journal that belongs to this database in its place, or move the older segments away", "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("add to the database what the journal has: %w", err)
	}
	log.Info("the database has all of the journal again", "lines", total(r.Lines))
	if r.Passed != nil {
		log.Error("lines of the journal were passed over", "lines", r.Bad, "err", r.Passed)
	}
	if len(r.Lost) > 0 {
		log.Error("segments of the journal are missing", "segments", r.Lost)
	}
	if len(r.Unknown) > 0 {
		log.Warn("the journal has lines of kinds that this version does not know", "kinds", r.Unknown)
	}
	return nil
}

func total(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
