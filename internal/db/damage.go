package db

// A damaged SQLite file is found when it is opened, and named for what it is.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"modernc.org/sqlite"
)

const (
	// checkTime bounds the look at all pages when the database is opened: it is
	// enough for some ten MB, and mail waits for it.
	checkTime = 100 * time.Millisecond
	// lateCheckTime bounds the look at a larger file, beside the work. A local
	// disk gives a few hundred MB in that time; what is beyond is found when it
	// is used.
	lateCheckTime = 3 * time.Second
)

// Result codes of SQLite (sqlite.org/rescode.html); the low byte is the kind.
const (
	sqliteBusy     = 5
	sqliteNoMem    = 7
	sqliteReadOnly = 8
	sqliteIOErr    = 10
	sqliteCorrupt  = 11
	sqliteFull     = 13
	sqliteCantOpen = 14
	sqliteNotADB   = 26
)

// ErrDamaged says that the content of the database file makes no sense.
var ErrDamaged = errors.New("the database is damaged")

// checkPages looks at the structure of the whole file, as far as a time goes;
// whole tells whether that was enough.
func checkPages(ctx context.Context, db *sql.DB, limit time.Duration) (whole bool, err error) {
	short, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var verdict string
	err = db.QueryRowContext(short, `PRAGMA quick_check(1)`).Scan(&verdict)
	switch {
	case err != nil && short.Err() != nil && ctx.Err() == nil:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("check the database: %w", err)
	case verdict != "ok":
		return false, fmt.Errorf("%w: %s", ErrDamaged, strings.Join(strings.Fields(verdict), " "))
	}
	return true, nil
}

// checkLate looks at the pages of a large file while the work goes on, and logs
// what is wrong. It ends with ctx.
func checkLate(ctx context.Context, path string, log *slog.Logger) {
	db, err := sql.Open("sqlite", readerDSN(path))
	if err != nil {
		return // the readers say so as well
	}
	defer db.Close()
	whole, err := checkPages(ctx, db, lateCheckTime)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		log.Error("the database was looked at after the start", "err", explain(path, err))
	case !whole:
		log.Info("the database is too large to be checked whole after the start", "checked_for", lateCheckTime)
	}
}

// Check looks at the structure of all of a SQLite database, as long as ctx
// lasts; an error of ctx says that there was not time enough. PostgreSQL checks
// its own.
func (d *DB) Check(ctx context.Context) error {
	if _, ok := d.committer.(*writer); !ok {
		return nil
	}
	var verdict string
	err := d.read.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("check the database: %w", err)
	case verdict != "ok":
		return fmt.Errorf("%w: %s", ErrDamaged, strings.Join(strings.Fields(verdict), " "))
	}
	return nil
}

// explain says what to do about an error of SQLite that a person has to see to.
func explain(path string, err error) error {
	kind := 0
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		kind = e.Code() & 0xff
	}
	switch {
	case kind == sqliteCorrupt, kind == sqliteNotADB, errors.Is(err, ErrDamaged):
		return fmt.Errorf("%s is damaged; nothing in it was changed: stop the daemon, keep a copy of the data directory, and restore the database from the backup: %w", path, err)
	case kind == sqliteBusy:
		return fmt.Errorf("another program holds %s for longer than %v: %w", path, sqliteBusyTimeout, err)
	}
	return err
}
