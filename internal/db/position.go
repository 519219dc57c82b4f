package db

// How far the database has its journal: each commit notes, in its own
// transaction, where its lines end. A database that is older than its journal
// (one from a backup, or from before a crash) is thereby known as such, and what
// it lacks can be added, every line once.

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// positionsStep is the name of the schema step that makes the table.
const positionsStep = "journal-1"

var positions = Migration{Name: positionsStep, SQL: `
CREATE TABLE journal_segments (
	segment TEXT PRIMARY KEY,
	size BIGINT NOT NULL
);
`}

// ErrLeftBehind says that a database is from before a newer version wrote to its
// journal: how much of it the database has is not known.
var ErrLeftBehind = errors.New("the database is older than the journal beside it, and from before it noted how far it has that")

// havingAll notes that a database which was there before the table has all
// segments that are there with it. Only who has the table writes segments with a
// first line of their own: where there is one, this is an old copy. ErrLeftBehind.
func havingAll(ctx context.Context, tx *sql.Tx, journal string) error {
	segments, err := listSegments(journal)
	if err != nil {
		return err
	}
	for _, s := range segments {
		if headed(filepath.Join(journal, s.file)) {
			return fmt.Errorf("%w: make it anew from the journal with 'cloakroom store rebuild --anew', or restore the backup that it is of, journal and all", ErrLeftBehind)
		}
	}
	for _, s := range segments {
		size, err := wholeLines(filepath.Join(journal, s.file), 0)
		if err == nil {
			_, err = tx.ExecContext(ctx, putPosition, s.name(), size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// headed tells whether a segment begins with the line about itself.
func headed(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	line, size, err := readLine(bufio.NewReader(io.LimitReader(f, 4<<10)), nil)
	if err != nil || size == 0 {
		return false
	}
	rec, err := parseLine(line)
	return err == nil && rec.Kind == kindSegment
}

const putPosition = `INSERT INTO journal_segments (segment, size) VALUES ($1, $2)
	ON CONFLICT (segment) DO UPDATE SET size = excluded.size`

// Positions tells how many bytes of each segment of the journal a SQLite
// database has, by the segments' names.
func Positions(ctx context.Context, q Tx) (map[string]int64, error) {
	rows, err := q.QueryContext(ctx, `SELECT segment, size FROM journal_segments`)
	if err != nil {
		return nil, fmt.Errorf("db: read journal_segments: %w", err)
	}
	defer rows.Close()
	out := make(map[string]int64)
	for rows.Next() {
		var name string
		var size int64
		if err := rows.Scan(&name, &size); err != nil {
			return nil, fmt.Errorf("db: read journal_segments: %w", err)
		}
		out[name] = size
	}
	return out, rows.Err()
}
