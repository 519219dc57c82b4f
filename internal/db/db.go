// Package db is the one place where facts become durable: it opens SQLite or
// PostgreSQL, runs one SQL text on both, groups commits, and keeps the
// journal that a lost database is rebuilt from.
//
// SQL texts use $1, $2 … for parameters, BIGINT milliseconds for times, ids
// made by the caller, BYTEA for bytes and ON CONFLICT instead of caught
// errors. What the two databases spell differently is translated in
// dialect.go and nowhere else.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

var (
	// ErrUnknown says that a commit may or may not have happened: the caller
	// left while it was under way, or the database did not answer. A milter
	// answers 4xx; the repeated mail finds its record, or makes it.
	ErrUnknown = errors.New("outcome of the commit is unknown")
	// ErrClosed is returned by Commit once Close was called; nothing was run.
	ErrClosed = errors.New("database is closed")
	// ErrNewer is returned by Open for a database that a newer program wrote.
	ErrNewer = errors.New("database was written by a newer version")
	// ErrOlder is returned by Open with Frozen for a database that lacks a
	// migration.
	ErrOlder = errors.New("database is in use by an older version")
)

// Options says which database to open. Exactly one of Path and URL is set.
type Options struct {
	Path    string // SQLite file; created with mode 0600 when missing
	URL     string // postgres://user@host/database
	Journal string // directory of the journal; "" keeps none
	// Frozen refuses to change the schema: a daemon of another version may be
	// working on it.
	Frozen bool
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: slog.Default

	observer *observer
}

// Tx is what a commit function works with. *sql.DB satisfies it too, so that
// a query can be written once for readers and for commits.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

var _ Tx = (*sql.DB)(nil)

// committer is what differs between the two databases once they are open.
type committer interface {
	commit(ctx context.Context, entry Entry, f func(context.Context, Tx) error) error
	close() error
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	read      *sql.DB
	committer committer
	journal   *journal
	observer  *observer
	late      func() // ends what goes on beside the work, and waits for it
}

// beside runs f until Close ends its context.
func (d *DB) beside(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	d.late = func() { cancel(); <-done }
}

// Open opens the database and brings its schema up to date. Migrations are
// applied in the order given, each once, all that are missing in one
// transaction. A database that knows a migration which is not among them
// gives ErrNewer.
func Open(ctx context.Context, o Options, migrations ...Migration) (*DB, error) {
	if (o.Path == "") == (o.URL == "") {
		return nil, errors.New("db: give either a SQLite file or a PostgreSQL URL")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	var j *journal
	if o.Journal != "" {
		var err error
		if j, err = openJournal(o.Journal, o.Now); err != nil {
			return nil, err
		}
	}
	o.observer = new(observer)
	if o.URL != "" {
		return openPostgres(ctx, o, j, migrations)
	}
	return openSQLite(ctx, o, j, migrations)
}

// Read returns the pool for queries outside a commit. On SQLite it refuses
// to write. Rows a Commit made are visible as soon as it returned.
func (d *DB) Read() *sql.DB { return d.read }

// Commit runs f in a transaction and returns once what it wrote, and entry's
// lines in the journal, are on stable storage. A nil entry writes no line.
// The journal is synced before the transaction commits: a line may therefore
// exist for a transaction that then failed, never the other way round.
//
// An error of f, a panic in f, or a statement that failed in f (even if f
// hides its error) rolls back what f did and nothing else.
//
// f must keep to the rules of both databases:
//   - It may run in another goroutine, and go on there after Commit returned
//     ErrUnknown: what it captured must stay valid and must not be touched by
//     the caller after such an error.
//   - It may run more than once (PostgreSQL repeats it after a serialization
//     failure or a deadlock), each time on a clean slate: set captured results,
//     do not add to them.
//   - It uses tx and the context given, from one goroutine, and does not block
//     on anything else: on SQLite every other commit waits for it.
//   - It must not call Commit on the same DB, nor run BEGIN, COMMIT, ROLLBACK.
//   - Isolation is PostgreSQL's READ COMMITTED; rows that are checked and then
//     relied upon are locked with FOR UPDATE, which SQLite does not need and
//     never sees.
//
// When ctx ends before f was started, its error is returned and f never runs.
// When ctx ends later the error is ErrUnknown, or ctx's own where the
// transaction is known to have been rolled back.
func (d *DB) Commit(ctx context.Context, entry Entry, f func(ctx context.Context, tx Tx) error) error {
	if ctx.Value(inCommit{d}) != nil {
		return errors.New("db: Commit called inside a commit of the same database")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.committer.commit(context.WithValue(ctx, inCommit{d}, true), entry, f)
}

// inCommit marks the context of a commit function.
type inCommit struct{ db *DB }

// Close waits for the commits under way and closes everything. Commits that
// come later get ErrClosed.
func (d *DB) Close() error {
	d.late()
	err := d.committer.close()
	if d.journal != nil {
		err = errors.Join(err, d.journal.close())
	}
	return err
}

// protect calls f and turns a panic into an error: one broken mail must not
// end the process.
func protect(ctx context.Context, tx Tx, f func(context.Context, Tx) error, log *slog.Logger) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic in a commit function", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("db: panic in a commit function: %v", p)
		}
	}()
	return f(ctx, tx)
}
