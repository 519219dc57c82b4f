package db

// PostgreSQL: plain transactions, repeated where that is safe.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// postgresConns bounds the connections of one node; the server's own
	// default limit is 100 for everybody.
	postgresConns    = 16
	postgresConnLife = 30 * time.Minute // so that a failover is noticed
	// commitAttempts bounds how often a transaction is tried that the server
	// asks to repeat; commitBackoff, doubled each time, is the wait between.
	commitAttempts = 6
	commitBackoff  = 5 * time.Millisecond
)

// durableSession turns on waiting for the WAL where server, database or role
// have turned it off; stronger settings are left alone.
const durableSession = `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`

type postgres struct {
	db      *sql.DB
	journal *journal // nil: none
	now     func() time.Time
	log     *slog.Logger

	observer *observer

	mu     sync.RWMutex // held for reading by every commit
	closed bool
}

func openPostgres(ctx context.Context, o Options, j *journal, migrations []Migration) (_ *DB, err error) {
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("db: database URL: %w", err) // pgx leaves the password out
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, durableSession)
		return err
	}))
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	db.SetMaxOpenConns(postgresConns)
	db.SetMaxIdleConns(postgresConns)
	db.SetConnMaxLifetime(postgresConnLife)
	var fsync string
	if err := db.QueryRowContext(ctx, `SHOW fsync`).Scan(&fsync); err != nil {
		return nil, fmt.Errorf("db: connect to PostgreSQL: %w", err)
	}
	if fsync == "off" {
		o.Log.Warn("PostgreSQL runs with fsync=off: a power failure there loses links to attachments that were taken out of mail")
	}
	if err := migrate(ctx, db, `SELECT pg_advisory_xact_lock($1)`, postgresSchema, o, postgresSteps(migrations)); err != nil {
		return nil, err
	}
	return &DB{read: db, committer: &postgres{db: db, journal: j, now: o.Now, log: o.Log, observer: o.observer}, journal: j, observer: o.observer, late: func() {}}, nil
}

func (p *postgres) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.db.Close()
}

func (p *postgres) commit(ctx context.Context, entry Entry, f func(context.Context, Tx) error) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return ErrClosed
	}
	wait := commitBackoff
	for attempt := 1; ; attempt++ {
		begin := time.Now()
		err := p.once(ctx, entry, f)
		if err == nil {
			p.observer.tell(1, time.Since(begin))
		}
		if err == nil || attempt == commitAttempts || !repeatable(err) {
			return err
		}
		p.log.Debug("transaction is repeated", "attempt", attempt, "error", err)
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return ctx.Err() // the server has rolled back
		}
		wait *= 2
	}
}

func (p *postgres) once(ctx context.Context, entry Entry, f func(context.Context, Tx) error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("db: begin: %w", err)
	}
	defer tx.Rollback() // after Commit it does nothing
	var lines []byte
	inner, more := collecting(ctx)
	err = protect(inner, tx, func(ctx context.Context, tx Tx) error {
		if err := f(ctx, tx); err != nil || p.journal == nil {
			return err
		}
		var err error
		lines, err = appendLines(nil, slices.Concat(entry, *more), p.now())
		return err
	}, p.log)
	if err != nil {
		return err
	}
	if len(lines) > 0 {
		if err := p.journal.append(lines); err != nil {
			p.log.Error("journal cannot be written, mail is deferred", "error", err)
			return err
		}
	}
	err = tx.Commit()
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		return ctx.Err() // rolled back before COMMIT was sent
	}
	return commitError(err)
}

// commitError tells a COMMIT that the server refused from one it may have
// carried out.
func commitError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return fmt.Errorf("db: a statement of this commit failed: %w", err)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && definite(refused.Code) || errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("db: commit: %w", err)
	}
	return fmt.Errorf("db: commit: %w: %w", ErrUnknown, err)
}

// definite tells whether an SQLSTATE in answer to COMMIT means a rollback.
// Class 08 (connection), class 57 (shutdown, cancel) and 40003
// (statement completion unknown) do not.
func definite(code string) bool {
	return !strings.HasPrefix(code, "08") && !strings.HasPrefix(code, "57") && code != "40003"
}

// repeatable tells serialization_failure and deadlock_detected.
func repeatable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}
