package jobs

// The store: how jobs come in, and whose clock counts.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"cloakroom/internal/db"
)

// Options of a Store.
type Options struct {
	// Node names this process among all that work on the database, the same
	// after a restart: its leases are freed then. Two processes with one name
	// take each other's jobs away; the fence keeps that harmless, but work is
	// done twice.
	Node   string
	Retry  map[string]Retry // by kind; DefaultRetry for the others
	Random func() float64   // from [0, 1); nil: math/rand
	Log    *slog.Logger     // nil: slog.Default
}

// Store keeps jobs in a database. It is safe for concurrent use.
type Store struct {
	db    *db.DB
	opt   Options
	clock string // SQL: the database's time in milliseconds
	add   string // SQL: enqueue with that clock

	mu      sync.Mutex
	waiters map[chan struct{}]bool // of this process's pools
	turn    uint                   // which target is served first
	targets sync.Map               // [2]string{kind, target} of those seen committed; they are never deleted
}

// clocks are the time in milliseconds since 1970 as an SQL expression, constant
// within a statement so that an index can be searched for it: SQLite's, then
// PostgreSQL's.
var clocks = []string{
	`CAST(unixepoch('subsec') * 1000 AS BIGINT)`,
	`CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)`,
}

// New returns the jobs of d, which must have been opened with Migrations.
func New(ctx context.Context, d *db.DB, o Options) (*Store, error) {
	if o.Node == "" || len(o.Node) > maxName {
		return nil, fmt.Errorf("jobs: %q cannot name a node", o.Node)
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{db: d, opt: o, waiters: map[chan struct{}]bool{}}
	var errs []error
	for _, clock := range clocks {
		var ms int64
		err := d.Read().QueryRowContext(ctx, `SELECT `+clock).Scan(&ms)
		if err == nil {
			s.clock = clock
			s.add = s.sql(insertJob)
			return s, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("jobs: ask the database for the time: %w", errors.Join(errs...))
}

// sql puts the database's clock into a statement in the place of {now}.
func (s *Store) sql(text string) string { return strings.ReplaceAll(text, "{now}", s.clock) }

func (s *Store) retry(kind string) Retry {
	if r, ok := s.opt.Retry[kind]; ok {
		return r
	}
	return DefaultRetry()
}

// insertJob runs in the mail path. It has VALUES: for rows of a SELECT, SQLite
// would copy each page before it changes.
const insertJob = `INSERT INTO jobs (key, kind, target, owner, payload, state, attempts, lease_until, node, fence, last_error,
	created, since, updated, not_before, due, label, sha256, size)
	VALUES ($1, $2, $3, $4, $5, 'waiting', 0, 0, '', 0, '', {now}, {now}, {now}, COALESCE($6, {now}), COALESCE($6, {now}), $7, $8, $9)
	ON CONFLICT (key) DO NOTHING`

// Enqueue adds a job in the caller's transaction. A job with the same key that
// is there already, in whatever state, stays as it is: a mail that comes twice
// is worked once. After the commit the caller calls Wake.
func (s *Store) Enqueue(ctx context.Context, tx db.Tx, j Job) error {
	if err := j.check(); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	if len(j.Payload) == 0 {
		j.Payload = []byte("null")
	}
	var notBefore any // now
	if !j.NotBefore.IsZero() {
		notBefore = j.NotBefore.UnixMilli()
	}
	_, err := tx.ExecContext(ctx, s.add,
		j.Key, j.Kind, j.Target, clean(j.Owner, maxName), []byte(j.Payload), notBefore, j.Label, j.Blob.value(), j.Size)
	if err != nil {
		return fmt.Errorf("enqueue job %s: %w", j.Key, err)
	}
	if err := s.addTarget(ctx, tx, j.Kind, j.Target); err != nil {
		return fmt.Errorf("enqueue job %s: %w", j.Key, err)
	}
	return nil
}

// Wake tells this process's workers to look for work now. Others find it when
// they next poll.
func (s *Store) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.waiters {
		select {
		case c <- struct{}{}:
		default: // it has been told and not looked yet
		}
	}
}

// listen returns a channel that Wake fills, and how to give it back.
func (s *Store) listen() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters[c] = true
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiters, c)
	}
}

// columns are the fields of a Job, in the order that scan reads them.
const columns = `key, kind, target, owner, payload, state, attempts, not_before, lease_until, node, fence, last_error,
	created, since, updated, due, label, sha256, size, sent`

// Get reads one job. ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) (*Job, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT `+columns+` FROM jobs WHERE key = $1`, key)
	found, err := scan(rows, err)
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", key, err)
	}
	if len(found) == 0 {
		return nil, ErrNotFound
	}
	return &found[0], nil
}

// Between reads the jobs whose keys lie between two, with these.
func Between(ctx context.Context, q db.Tx, from, to string) ([]Job, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+columns+` FROM jobs WHERE key BETWEEN $1 AND $2`, from, to)
	found, err := scan(rows, err)
	if err != nil {
		return nil, fmt.Errorf("read jobs %s to %s: %w", from, to, err)
	}
	return found, nil
}

// scan reads jobs to the end of rows and closes them.
func scan(rows *sql.Rows, err error) ([]Job, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Job
	for rows.Next() {
		var j Job
		var payload, blob []byte
		var notBefore, lease, created, since, updated, due int64
		err := rows.Scan(&j.Key, &j.Kind, &j.Target, &j.Owner, &payload, &j.State, &j.Attempts, &notBefore, &lease, &j.Node,
			&j.Fence, &j.LastError, &created, &since, &updated, &due, &j.Label, &blob, &j.Size, &j.Sent)
		if err != nil {
			return nil, err
		}
		j.Payload, j.Blob, j.Due = payload, blob, time.UnixMilli(due)
		j.NotBefore, j.Created = time.UnixMilli(notBefore), time.UnixMilli(created)
		j.Since, j.Updated = time.UnixMilli(since), time.UnixMilli(updated)
		if lease != 0 {
			j.LeaseUntil = time.UnixMilli(lease)
		}
		out = append(out, j)
	}
	return out, rows.Err()
}
