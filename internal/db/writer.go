package db

// The group committer: one goroutine owns SQLite's one writing connection and
// makes many callers' commits durable with one sync.

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxBatch bounds the commits in one transaction, so that the first of
	// them does not wait for too many others. Gains flatten out well below.
	maxBatch = 128
	// slowBatch is reported: a disk this slow will not keep up with mail.
	slowBatch = 5 * time.Second
)

// A request's life. Whoever moves it out of queued decides: the writer by
// starting it, the caller by giving up.
const (
	queued int32 = iota
	started
	abandoned
)

type request struct {
	ctx   context.Context
	entry Entry
	f     func(context.Context, Tx) error
	state atomic.Int32
	err   error      // the writer's until done is sent
	done  chan error // buffered: the writer never waits for a caller
}

type writer struct {
	db, read *sql.DB
	path     string
	journal  *journal // nil: none
	now      func() time.Time
	log      *slog.Logger
	observer *observer

	queue    chan *request
	stop     chan struct{} // closed by close: no new requests
	stopOnce sync.Once
	finished chan struct{} // closed when the goroutine has ended

	conn  *conn  // the goroutine's; nil after a failure, until the next batch
	lines []byte // the batch's journal lines
}

func newWriter(db, read *sql.DB, j *journal, o Options) *writer {
	w := &writer{
		db: db, read: read, path: o.Path, journal: j, now: o.Now, log: o.Log, observer: o.observer,
		queue:    make(chan *request, maxBatch),
		stop:     make(chan struct{}),
		finished: make(chan struct{}),
	}
	go w.loop()
	return w
}

func (w *writer) commit(ctx context.Context, entry Entry, f func(context.Context, Tx) error) error {
	select {
	case <-w.stop:
		return ErrClosed
	default:
	}
	// The caller's cancellation must not reach SQLite: an interrupted
	// statement rolls back the whole transaction, with everyone else's work.
	r := &request{ctx: context.WithoutCancel(ctx), entry: entry, f: f, done: make(chan error, 1)}
	select {
	case w.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.stop:
		return ErrClosed
	}
	cause := ErrClosed
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		cause = ctx.Err()
	case <-w.finished:
	}
	if r.state.CompareAndSwap(queued, abandoned) {
		return cause
	}
	select {
	case err := <-r.done: // the answer came at the same moment
		return err
	default:
		return fmt.Errorf("%w: %w", ErrUnknown, cause)
	}
}

func (w *writer) close() error {
	w.stopOnce.Do(func() { close(w.stop) })
	<-w.finished
	// Readers first: the last connection to go folds the WAL into the file.
	return errors.Join(w.read.Close(), w.db.Close())
}

func (w *writer) loop() {
	defer close(w.finished)
	defer func() { w.dropConn() }()
	batch := make([]*request, 0, maxBatch)
	for {
		batch = w.collect(batch[:0])
		if len(batch) == 0 {
			return
		}
		begin := time.Now()
		w.answer(batch, w.run(batch))
		d := time.Since(begin)
		w.observer.tell(len(batch), d)
		if d > slowBatch {
			w.log.Warn("slow commit: is the disk overloaded?", "duration", d, "commits", len(batch))
		}
		clear(batch)
	}
}

// collect waits for one request and takes along what queued meanwhile. It
// returns none when the writer was told to stop and the queue is empty.
func (w *writer) collect(batch []*request) []*request {
	select {
	case r := <-w.queue:
		batch = append(batch, r)
	default:
		select {
		case r := <-w.queue:
			batch = append(batch, r)
		case <-w.stop:
		}
	}
	for len(batch) < maxBatch {
		select {
		case r := <-w.queue:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// answer tells every caller. Even one whose own function failed is told only
// now: it may have decided on what it saw of the others' uncommitted work.
func (w *writer) answer(batch []*request, batchErr error) {
	for _, r := range batch {
		err := r.err
		if batchErr != nil {
			err = batchErr
			if r.err != nil {
				err = fmt.Errorf("%w (and before that: %w)", batchErr, r.err)
			}
		}
		r.done <- explain(w.path, err)
	}
}

// run makes a batch durable. Its error concerns every request of the batch;
// what concerns only one is in that request's err.
func (w *writer) run(batch []*request) error {
	if err := w.begin(); err != nil {
		return fmt.Errorf("db: begin: %w", err)
	}
	w.lines = w.lines[:0]
	succeeded := 0
	for _, r := range batch {
		if !r.state.CompareAndSwap(queued, started) {
			continue
		}
		if err := w.runOne(r, len(batch) == 1); err != nil {
			w.dropConn()
			return fmt.Errorf("db: transaction: %w", err)
		}
		if r.err == nil {
			succeeded++
		}
	}
	if succeeded == 0 {
		return w.rollback()
	}
	if w.journal != nil && len(w.lines) > 0 {
		if err := w.journal.appendAt(w.lines, w.note); err != nil {
			w.log.Error("journal cannot be written, mail is deferred", "error", err)
			return errors.Join(err, w.rollback())
		}
	}
	if err := w.conn.exec("COMMIT"); err != nil {
		w.dropConn()
		return fmt.Errorf("db: commit: %w: %w", ErrUnknown, err)
	}
	if w.journal != nil && len(w.lines) > 0 {
		w.journal.settled()
	}
	if cap(w.lines) > maxKeptLines {
		w.lines = nil
	}
	return nil
}

// note writes down, in the transaction under way, how far the journal will be
// with it.
func (w *writer) note(segment string, end int64) error {
	s, err := w.conn.prepare(putPosition)
	if err == nil {
		_, err = s.ExecContext(context.Background(), segment, end)
	}
	return err
}

// maxKeptLines is the size in bytes of the largest journal buffer that is
// kept for the next batch.
const maxKeptLines = 1 << 20

// runOne runs a request in its savepoint, or without one where it has the
// transaction to itself: SQLite then need not copy each page before it changes.
// The error it returns means that the whole transaction is lost.
func (w *writer) runOne(r *request, alone bool) error {
	savepoint := w.conn.exec
	if alone {
		savepoint = func(string) error { return nil }
	}
	if err := savepoint("SAVEPOINT one"); err != nil {
		return err
	}
	mark := len(w.lines)
	tx := &writerTx{conn: w.conn}
	ctx, more := collecting(r.ctx)
	r.err = protect(ctx, tx, func(ctx context.Context, _ Tx) error {
		if err := r.f(ctx, tx); err != nil {
			return err
		}
		if tx.failed != nil {
			return fmt.Errorf("db: a statement of this commit failed: %w", tx.failed)
		}
		if w.journal == nil {
			return nil
		}
		var err error
		w.lines, err = appendLines(w.lines, slices.Concat(r.entry, *more), w.now())
		return err
	}, w.log)
	tx.end()
	if r.err == nil {
		return savepoint("RELEASE one")
	}
	w.lines = w.lines[:mark]
	if err := savepoint("ROLLBACK TO one"); err != nil {
		return errors.Join(r.err, err)
	}
	return savepoint("RELEASE one")
}

func (w *writer) begin() error {
	if w.conn == nil {
		c, err := w.db.Conn(context.Background())
		if err != nil {
			return err
		}
		w.conn = &conn{Conn: c, stmts: make(map[string]*sql.Stmt)}
	}
	if err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		w.dropConn()
		return err
	}
	return nil
}

func (w *writer) rollback() error {
	if err := w.conn.exec("ROLLBACK"); err != nil {
		w.dropConn()
		return fmt.Errorf("db: rollback: %w", err)
	}
	return nil
}

// dropConn closes the connection, with whatever transaction it still has.
func (w *writer) dropConn() {
	if w.conn == nil {
		return
	}
	w.conn.forget()
	w.conn.Raw(func(any) error { return driver.ErrBadConn })
	w.conn.Close()
	w.conn = nil
}
