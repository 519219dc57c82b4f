package app

// A lost database made anew from its journal.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"cloakroom/internal/config"
	"cloakroom/internal/db"
	"cloakroom/internal/diskspace"
	"cloakroom/internal/secret"
	"cloakroom/message"
	"cloakroom/sisa"
)

// rebuiltName is the file in which a database grows until it is whole.
const rebuiltName = databaseName + ".rebuild"

// besideDatabase are the endings of the files that belong to a SQLite database.
var besideDatabase = []string{"-wal", "-shm", "-journal"}

// RebuildOptions says how a database is made anew.
type RebuildOptions struct {
	Actor string
	// Anew moves a database that is there out of the way.
	Anew bool
	// SkipDamaged passes over lines that cannot be read, and missing segments.
	SkipDamaged bool
	// OtherSecret takes a journal of which the secret is lost.
	OtherSecret bool
	// Progress is told of bytes of the journal, now and then, if set.
	Progress func(done, all int64)
}

// Rebuilt tells what a database was made of.
type Rebuilt struct {
	Lines   map[string]int64 `json:"lines"`             // of the journal, by kind
	Unknown map[string]int64 `json:"unknown,omitempty"` // passed over: kinds that nobody knows
	Damaged int              `json:"damaged"`           // lines passed over
	Details string           `json:"damage,omitempty"`  // where those are
	Lost    []string         `json:"lost_segments"`
	Rows    []TableRows      `json:"rows"`
	Aside   string           `json:"moved_aside,omitempty"` // where the database that was there is
	// Store is what of the files is missing, and what nothing names.
	Store *sisa.Verification `json:"store"`
}

// TableRows is how much a database has of something.
type TableRows struct {
	What string `json:"what"`
	Rows int64  `json:"rows"`
}

// ErrHasDatabase is returned by Rebuild where there is nothing to do.
var ErrHasDatabase = errors.New("there is a database")

// Rebuild makes the database of a data folder anew from its journal. No daemon may
// run there. Until all of it is done, nothing is changed.
func Rebuild(ctx context.Context, cfg *config.Config, o RebuildOptions, log *slog.Logger) (_ *Rebuilt, err error) {
	lock, err := lockData(cfg.Data)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	key, there, err := readyToRebuild(cfg, o.Anew)
	if err != nil {
		return nil, err
	}
	temp := filepath.Join(cfg.Data, rebuiltName)
	if err := removeDatabase(temp); err != nil {
		return nil, err
	}
	done, err := growDatabase(ctx, cfg, temp, key.Derive(labelLinks), o, log)
	if err != nil {
		return nil, errors.Join(err, removeDatabase(temp))
	}
	path, aside := filepath.Join(cfg.Data, databaseName), ""
	if there {
		aside = path + ".before-" + time.Now().UTC().Format("20060102T150405Z")
	}
	if err := replaceDatabase(temp, path, aside); err != nil {
		return nil, err
	}
	r := &Rebuilt{Lines: done.Lines, Unknown: done.Unknown, Damaged: done.Bad, Lost: append([]string{}, done.Lost...), Aside: aside}
	if done.Passed != nil {
		r.Details = done.Passed.Error()
	}
	return r, lookAtRebuilt(ctx, cfg, o.Actor, r, log)
}

// readyToRebuild looks whether it can be done.
func readyToRebuild(cfg *config.Config, anew bool) (key *secret.Secret, there bool, err error) {
	path := filepath.Join(cfg.Data, databaseName)
	switch st, err := os.Stat(path); {
	case err == nil:
		there = !emptied(st, path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, false, fmt.Errorf("data folder: %w", err)
	}
	if there && !anew {
		return nil, there, fmt.Errorf("%w: %s. What the journal has and it does not is added to it at each start", ErrHasDatabase, path)
	}
	var size int64
	segments, err := filepath.Glob(filepath.Join(cfg.Data, journalName, "*.jsonl"))
	for _, segment := range segments {
		if st, err := os.Stat(segment); err == nil {
			size += st.Size()
		}
	}
	if err != nil || size == 0 {
		return nil, there, fmt.Errorf("there is no journal in %s: %w", filepath.Join(cfg.Data, journalName), errors.Join(err, fs.ErrNotExist))
	}
	room, err := diskspace.Of(cfg.Data)
	if err == nil && room.Free < size { // a database is about as large as its journal
		err = fmt.Errorf("the disk of %s has %s free; the database may take %s", cfg.Data, message.FormatSize(room.Free), message.FormatSize(size))
	}
	if err != nil {
		return nil, there, err
	}
	key, err = openSecret(cfg, false)
	return key, there, err
}

// growDatabase makes a new database from the journal, and syncs it.
func growDatabase(ctx context.Context, cfg *config.Config, temp string, linkKey []byte, o RebuildOptions, log *slog.Logger) (db.Replayed, error) {
	d, err := db.Open(ctx, db.Options{Path: temp, Journal: filepath.Join(cfg.Data, journalName), Log: log}, Migrations()...)
	if err != nil {
		return db.Replayed{}, err
	}
	apply := withSecret(linkKey)
	if o.OtherSecret {
		apply = replayLine
	}
	done, err := d.CatchUp(ctx, db.Replay{Apply: apply, Strict: !o.SkipDamaged, New: true, Progress: o.Progress})
	if err = errors.Join(err, d.Close()); err != nil {
		return done, err
	}
	return done, syncFile(temp)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// removeDatabase removes a database that nobody uses.
func removeDatabase(path string) error {
	for _, ending := range append([]string{""}, besideDatabase...) {
		if err := os.Remove(path + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// replaceDatabase puts a new database in the place of the one that is there, which
// is moved aside, or, with aside "", is empty. The database itself goes first:
// where this is cut short there is none, and nothing starts without.
func replaceDatabase(temp, path, aside string) error {
	for _, ending := range append([]string{""}, besideDatabase...) {
		var err error
		if aside != "" {
			err = os.Rename(path+ending, aside+ending)
		} else {
			err = os.Remove(path + ending)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("move the old database out of the way: %w", err)
		}
		if err := syncFolder(filepath.Dir(path)); err != nil {
			return err
		}
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("put the new database in its place: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// what is counted of a rebuilt database.
var rebuiltRows = []struct{ what, from string }{
	{"mails", "mails"},
	{"mails forgotten", "mails WHERE forgotten IS NOT NULL"},
	{"links", "links"},
	{"links revoked", "links WHERE revoked IS NOT NULL"},
	{"downloads", "downloads"},
	{"legal holds", "holds"},
	{"jobs waiting, held or failed", "jobs WHERE state <> 'done'"},
	{"jobs done", "jobs WHERE state = 'done'"},
	{"uploads made", "uploaded"},
	{"audit lines", "audit"},
}

// lookAtRebuilt opens the database, counts what it has, and compares it with the
// files.
func lookAtRebuilt(ctx context.Context, cfg *config.Config, actor string, r *Rebuilt, log *slog.Logger) error {
	s, err := openStore(ctx, cfg, false, false, log)
	if err != nil {
		return err
	}
	for _, t := range rebuiltRows {
		one := TableRows{What: t.what}
		if err := s.DB.Read().QueryRowContext(ctx, `SELECT COUNT(*) FROM `+t.from).Scan(&one.Rows); err != nil {
			return errors.Join(fmt.Errorf("count %s: %w", t.what, err), s.Close())
		}
		r.Rows = append(r.Rows, one)
	}
	r.Store, err = s.Keeper(log).Verify(ctx, sisa.VerifyOptions{Names: true})
	if err == nil {
		err = s.Audited(ctx, actor, "rebuild the database", "", func(context.Context) (string, error) {
			return fmt.Sprintf("%d lines of the journal, %d damaged, %d segments lost", total(r.Lines), r.Damaged, len(r.Lost)), nil
		})
	}
	return errors.Join(err, s.Close())
}
