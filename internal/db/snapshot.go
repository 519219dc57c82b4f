package db

// A copy of a SQLite database at one moment, while others write on.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// ErrNoSnapshot is returned by Snapshot for PostgreSQL, which has its own ways
// of being backed up.
var ErrNoSnapshot = errors.New("only a SQLite database can be copied by us")

// Snapshot writes the database as it is at one moment into a new file, with mode
// 0600, and syncs it. The journal is that far which Positions tells of the copy.
// Mail goes on meanwhile; what is written then stays in the WAL until the end.
func (d *DB) Snapshot(ctx context.Context, path string) error {
	w, ok := d.committer.(*writer)
	if !ok {
		return ErrNoSnapshot
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // VACUUM takes an empty file
	if err != nil {
		return fmt.Errorf("db: copy: %w", err)
	}
	defer f.Close()
	// The readers' connections refuse everything that could write.
	own, err := sql.Open("sqlite", sqliteDSN(w.path, nil))
	if err != nil {
		return fmt.Errorf("db: copy: %w", err)
	}
	defer own.Close()
	if _, err := own.ExecContext(ctx, `VACUUM INTO $1`, path); err != nil {
		return explain(w.path, fmt.Errorf("db: copy: %w", err))
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("db: copy: %w", err)
	}
	return nil
}

// Size is about how many bytes a Snapshot will have at most.
func (d *DB) Size(ctx context.Context) (n int64, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`).Scan(&n)
	return n, err
}

// OpenCopy opens a file that Snapshot made, for reading; whether the file is
// sound is found out first.
func OpenCopy(ctx context.Context, path string) (*sql.DB, error) {
	d, err := sql.Open("sqlite", readerDSN(path)+"&immutable=1")
	if err != nil {
		return nil, fmt.Errorf("db: open %s: %w", path, err)
	}
	return d, nil
}

// CheckCopy looks at the structure of a file that Snapshot made, whole.
func CheckCopy(ctx context.Context, d *sql.DB) error {
	var verdict string
	if err := d.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("check the copy of the database: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, verdict)
	}
	return nil
}
