// Package app puts the program together: it opens what a configuration names
// and runs the daemon, and it is what the commands call.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/backup"
	"cloakroom/internal/config"
	"cloakroom/internal/db"
	"cloakroom/internal/diskspace"
	"cloakroom/internal/jobs"
	"cloakroom/internal/secret"
	"cloakroom/ledger"
	"cloakroom/ledger/audit"
	"cloakroom/ledger/hours"
	"cloakroom/ledger/tally"
	"cloakroom/sisa"
	"cloakroom/sisa/blob"
	"cloakroom/vault"
)

// Labels of the keys derived from the one secret. Changing one invalidates
// what was made with it.
const (
	labelLinks    = "sisa link tokens v1"
	labelDownload = "sisa download addresses v1"
	labelMarks    = "co-existence marks v1"
	labelSRS      = "co-existence senders v1"
)

// Migrations make the whole schema, in order.
func Migrations() []db.Migration {
	return slices.Concat(ledger.Migrations, sisa.Migrations, jobs.Tables, vault.Migrations, jobs.Indexes, hours.Migrations, audit.Migrations, tally.Migrations)
}

// Store is an open data directory.
type Store struct {
	Dir    string
	Brake  *Brake // has mail pass untouched
	DB     *db.DB
	Blobs  *blob.Local
	Links  *sisa.Links
	Jobs   *jobs.Store
	Secret *secret.Secret
	// Space watches the disks that are written to while mail comes in.
	Space *diskspace.Watch
}

// OpenBeside opens the data directory of cfg for a command; with create it is
// made when it is missing. While a daemon works there, its schema stays as
// it is.
func OpenBeside(ctx context.Context, cfg *config.Config, create bool, log *slog.Logger) (*Store, error) {
	lock, err := db.Lock(cfg.Data)
	if err == nil {
		defer lock.Unlock()
	}
	return openStore(ctx, cfg, create, errors.Is(err, db.ErrLocked), log)
}

// HasStore tells whether anything was ever stored in the data directory of cfg.
func HasStore(cfg *config.Config) bool {
	_, err := os.Stat(filepath.Join(cfg.Data, databaseName))
	return !errors.Is(err, fs.ErrNotExist)
}

// What is in the data directory, besides the secret and the lock.
const (
	databaseName = "cloakroom.db"
	blobsName    = "blobs"
	journalName  = "journal"
	spoolName    = "spool"
)

// openStore opens the data directory; a frozen schema is not changed.
func openStore(ctx context.Context, cfg *config.Config, create, frozen bool, log *slog.Logger) (*Store, error) {
	if _, err := os.Stat(filepath.Join(cfg.Data, backup.UnfinishedName)); err == nil {
		return nil, fmt.Errorf("a backup is being restored into %s, or that was cut off: run 'cloakroom restore' again", cfg.Data)
	}
	return openData(ctx, cfg, create, frozen, log)
}

// openData is openStore also where a restore is under way: the restore's own.
func openData(ctx context.Context, cfg *config.Config, create, frozen bool, log *slog.Logger) (*Store, error) {
	path := filepath.Join(cfg.Data, databaseName)
	st, err := os.Stat(path)
	exists := err == nil && !emptied(st, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if !exists && !create {
		return nil, fmt.Errorf("no database at %s: nothing was ever stored here, or data: names another directory", path)
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if !exists {
		if err := refuseLostDatabase(cfg.Data, path); err != nil {
			return nil, err
		}
	}
	s := &Store{Dir: cfg.Data, Brake: NewBrake(cfg.Data), Space: watchSpace(cfg, log)}
	if s.Secret, err = openSecret(cfg, !exists); err != nil {
		return nil, err
	}
	config.GiveLogKey(log, LogKey(s.Secret))
	if s.Blobs, err = blob.OpenLocal(filepath.Join(cfg.Data, blobsName)); err != nil {
		return nil, err
	}
	s.DB, err = db.Open(ctx, db.Options{Path: path, Journal: filepath.Join(cfg.Data, journalName), Frozen: frozen, Log: log}, Migrations()...)
	if err != nil {
		return nil, err
	}
	if !frozen {
		if err := catchUp(ctx, s.DB, s.Secret.Derive(labelLinks), log); err != nil {
			return nil, errors.Join(err, s.DB.Close())
		}
	}
	s.Links = sisa.NewLinks(s.DB, time.Now)
	queue := jobs.Options{Node: cfg.Hostname, Retry: map[string]jobs.Retry{flow.JobCopy: flow.CopyRetry(), flow.JobReceipt: flow.ReceiptRetry(), vault.JobKind: vaultRetry(cfg)}, Log: log}
	if s.Jobs, err = jobs.New(ctx, s.DB, queue); err != nil {
		return nil, errors.Join(err, s.DB.Close())
	}
	return s, nil
}

// watchSpace watches the data directory and those in it that may be mounted from
// elsewhere.
func watchSpace(cfg *config.Config, log *slog.Logger) *diskspace.Watch {
	return diskspace.New(cfg.Store.LowSpace, log, cfg.Data, filepath.Join(cfg.Data, blobsName),
		filepath.Join(cfg.Data, journalName), filepath.Join(cfg.Data, spoolName))
}

// LogKey is the key of the hashes in logs with log.addresses: hashed.
func LogKey(s *secret.Secret) []byte { return s.Derive(config.AddressLabel) }

// OpenSecret reads the secret that is there; none is made.
func OpenSecret(cfg *config.Config) (*secret.Secret, error) { return openSecret(cfg, false) }

func openSecret(cfg *config.Config, create bool) (*secret.Secret, error) {
	if cfg.SecretFile != "" {
		return secret.OpenFile(cfg.SecretFile)
	}
	return secret.Open(cfg.Data, create)
}

// emptied tells whether nothing is in the database: a start that was cut short
// left it so, or an accident did. With a log beside it that has all of it, it
// only looks so.
func emptied(st fs.FileInfo, path string) bool {
	if st.Size() > 0 {
		return false
	}
	wal, err := os.Stat(path + "-wal")
	return err != nil || wal.Size() == 0
}

// refuseLostDatabase finds out that there was a database before. An empty one
// in its place would forget every link, and a new secret would end them.
func refuseLostDatabase(dir, path string) error {
	segments, err := filepath.Glob(filepath.Join(dir, "journal", "*.jsonl"))
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if len(segments) > 0 {
		return fmt.Errorf("%s is missing or empty, but %s has a journal: make the database anew from it with 'cloakroom store rebuild', restore the backup with 'cloakroom restore', or give an empty data directory", path, dir)
	}
	return nil
}

// Close closes what OpenStore opened.
func (s *Store) Close() error { return s.DB.Close() }

// Stats is what `store stats` tells.
type Stats struct {
	ledger.Stats
	Store sisa.StoreStats `json:"store"`
	// Saved is what single instance saves: bytes of attachments that came,
	// less the bytes of the blobs that keep them.
	Saved int64 `json:"saved"`
	Disk  Disk  `json:"disk"`
}

// Disk is the room on the disk of the data directory, in bytes.
type Disk struct {
	Free int64 `json:"free"`
	Size int64 `json:"size"`
	// LowSpace is the free space below which no links are made.
	LowSpace int64 `json:"low_space"`
	// Low says why none are made now; "" where they are.
	Low string `json:"low,omitempty"`
}

// Stats reads the sums of the store.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	mails, err := ledger.Count(ctx, s.DB.Read())
	if err != nil {
		return Stats{}, err
	}
	kept, err := s.Links.Stats(ctx)
	if err != nil {
		return Stats{}, err
	}
	room, err := diskspace.Of(s.Dir)
	if err != nil {
		return Stats{}, err
	}
	return Stats{Stats: mails, Store: kept, Saved: mails.Received - kept.Bytes,
		Disk: Disk{Free: room.Free, Size: room.Size, LowSpace: s.Space.Watermark(), Low: s.Space.Low()}}, nil
}
