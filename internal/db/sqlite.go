package db

// Opening a SQLite file.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

const (
	// sqliteBusyTimeout is how long a statement waits for another process,
	// such as the command line. MTAs wait 300 s for the end of a message.
	sqliteBusyTimeout = 10 * time.Second
	// sqliteReaders bounds the reading connections; each has its own cache.
	sqliteReaders = 4
	// sqliteReaderIdle closes reading connections that are not used.
	sqliteReaderIdle = 5 * time.Minute
	// The page caches, in KiB. Small on purpose: hot pages are in the
	// operating system's cache as well.
	sqliteWriterCache = 4096
	sqliteReaderCache = 1024
	// sqliteCheckpoint is the number of 4 KiB pages in the WAL at which a
	// commit copies them into the database file.
	sqliteCheckpoint = 1000
	// sqliteWALKeep is the size in bytes to which the WAL is cut after it
	// had to grow, for instance during a long read.
	sqliteWALKeep = 16 << 20
	// sqliteTempMemory keeps in memory what is temporary.
	sqliteTempMemory = 2
)

func openSQLite(ctx context.Context, o Options, j *journal, migrations []Migration) (_ *DB, err error) {
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("db: %w", err)
	}
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("db: create %s: %w", path, err)
	}
	told := newTeller(o.Log)
	wdb, err := openTold(writerDSN(path), told)
	if err != nil {
		return nil, fmt.Errorf("db: open %s: %w", path, err)
	}
	wdb.SetMaxOpenConns(1)
	defer func() {
		if err != nil {
			wdb.Close()
			err = explain(path, err)
		}
	}()
	if err := checkWAL(ctx, wdb); err != nil {
		return nil, fmt.Errorf("db: open %s: %w", path, err)
	}
	whole := o.Frozen // a daemon has looked
	if !whole {
		if whole, err = checkPages(ctx, wdb, checkTime); err != nil {
			return nil, fmt.Errorf("db: open %s: %w", path, err)
		}
	}
	if err := migrateSQLite(ctx, wdb, o, slices.Concat([]Migration{positions}, migrations)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	rdb, err := openTold(readerDSN(path), told)
	if err != nil {
		return nil, fmt.Errorf("db: open %s: %w", path, err)
	}
	rdb.SetMaxOpenConns(sqliteReaders)
	rdb.SetMaxIdleConns(sqliteReaders)
	rdb.SetConnMaxIdleTime(sqliteReaderIdle)
	d := &DB{read: rdb, committer: newWriter(wdb, rdb, j, o), journal: j, observer: o.observer, late: func() {}}
	if !whole {
		d.beside(func(ctx context.Context) { checkLate(ctx, path, o.Log) })
	}
	return d, nil
}

// migrateSQLite brings the schema up to date. What has to be sorted for the
// index of a large table goes to a temporary file.
func migrateSQLite(ctx context.Context, db *sql.DB, o Options, migrations []Migration) error {
	if _, err := db.ExecContext(ctx, pragmaSQL("temp_store", 1)); err != nil {
		return err
	}
	if err := migrate(ctx, db, "", sqliteSchema, o, migrations); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, pragmaSQL("temp_store", sqliteTempMemory))
	return err
}

// createFile makes the database file with the mode that SQLite then gives the
// WAL too. An existing file is not opened: closing it would drop the POSIX
// locks that another connection of this process holds on it.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), syncDir(filepath.Dir(path)))
}

func checkWAL(ctx context.Context, db *sql.DB) error {
	var mode string
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system cannot hold a SQLite write-ahead log (journal mode is %q); use a local disk or PostgreSQL", mode)
	}
	return nil
}

func writerDSN(path string) string {
	return sqliteDSN(path, url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"}, // every commit is synced before it is answered
		"_txlock":       {"immediate"},
		"_pragma": {
			pragma("wal_autocheckpoint", sqliteCheckpoint),
			pragma("journal_size_limit", sqliteWALKeep),
			pragma("cache_size", -sqliteWriterCache),
			pragma("mmap_size", 0),
			pragma("temp_store", sqliteTempMemory), // what a savepoint may have to take back would else go to a temporary file
		},
	})
}

func readerDSN(path string) string {
	return sqliteDSN(path, url.Values{
		"_query_only": {"1"},
		"_pragma": {
			pragma("cache_size", -sqliteReaderCache),
			pragma("mmap_size", 0),
		},
	})
}

func sqliteDSN(path string, q url.Values) string {
	if q == nil {
		q = url.Values{}
	}
	q.Set("_busy_timeout", strconv.FormatInt(sqliteBusyTimeout.Milliseconds(), 10))
	q.Set("_foreign_keys", "1")
	q.Set("_dqs", "0") // "x" is a name, never a string: PostgreSQL's reading
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

func pragma(name string, value int) string { return fmt.Sprintf("%s(%d)", name, value) }

func pragmaSQL(name string, value int) string { return fmt.Sprintf("PRAGMA %s = %d", name, value) }
