package db

// Which statements the program runs: with log.level: debug each is told once,
// the first time it is run on SQLite. An administrator can give it to EXPLAIN QUERY PLAN.

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"log/slog"
	"sync"
)

// maxTold bounds the statements that are remembered as told: some are put
// together at run time.
const maxTold = 2000

// teller logs statements. Parameters are not told: they are of mail.
type teller struct {
	log  *slog.Logger
	mu   sync.Mutex
	told map[string]bool
}

// openTold opens a SQLite database whose statements t tells; nil: nobody does.
func openTold(dsn string, t *teller) (*sql.DB, error) {
	plain, err := sql.Open("sqlite", dsn)
	if err != nil || t == nil {
		return plain, err
	}
	defer plain.Close() // it has no connection yet
	return sql.OpenDB(&toldConnector{plain.Driver(), dsn, t}), nil
}

// newTeller returns nil where nobody would read it.
func newTeller(log *slog.Logger) *teller {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return nil
	}
	return &teller{log: log, told: make(map[string]bool)}
}

func (t *teller) tell(text string) {
	t.mu.Lock()
	known := t.told[text] || len(t.told) >= maxTold
	if !known {
		t.told[text] = true
	}
	t.mu.Unlock()
	if !known {
		t.log.Debug("statement", "sql", text)
	}
}

type toldConnector struct {
	driver driver.Driver
	dsn    string
	t      *teller
}

func (c *toldConnector) Driver() driver.Driver { return c.driver }

func (c *toldConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(fullConn)
	if !ok {
		return conn, nil
	}
	return &toldConn{full, c.t}, nil
}

// fullConn is what SQLite's connections can do.
type fullConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.QueryerContext
	driver.ExecerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type toldConn struct {
	fullConn
	t *teller
}

func (c *toldConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	c.t.tell(text)
	return c.fullConn.PrepareContext(ctx, text)
}

func (c *toldConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.t.tell(text)
	return c.fullConn.QueryContext(ctx, text, args)
}

func (c *toldConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	c.t.tell(text)
	return c.fullConn.ExecContext(ctx, text, args)
}
