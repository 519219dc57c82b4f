package db

// The writing connection's prepared statements, and the view of it that a
// commit function gets.

import (
	"context"
	"database/sql"
	"errors"
)

// maxStatements bounds the prepared statements kept. The program has fewer
// texts than that; the bound is for texts that are put together at run time.
const maxStatements = 256

// conn is a connection with its prepared statements. Statements run with the
// background context: see writer.commit.
type conn struct {
	*sql.Conn
	stmts map[string]*sql.Stmt // by the text as the caller wrote it
}

// prepare returns the prepared form of a statement that returns no rows.
// Queries are not kept: a statement has one cursor, and the second use of the
// same text inside the loop over the first would move it.
func (c *conn) prepare(text string) (*sql.Stmt, error) {
	if s := c.stmts[text]; s != nil {
		return s, nil
	}
	if len(c.stmts) >= maxStatements {
		c.forget()
	}
	s, err := c.PrepareContext(context.Background(), sqliteQuery(text))
	if err != nil {
		return nil, err
	}
	c.stmts[text] = s
	return s, nil
}

func (c *conn) forget() {
	for _, s := range c.stmts {
		s.Close()
	}
	clear(c.stmts)
}

func (c *conn) exec(text string) error {
	s, err := c.prepare(text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background())
	return err
}

// writerTx is the Tx of one request. A failed statement is remembered:
// PostgreSQL would not commit either.
type writerTx struct {
	conn   *conn
	rows   []*sql.Rows
	failed error
	ended  bool
}

var errTxEnded = errors.New("db: transaction used after its commit function returned")

func (t *writerTx) ExecContext(_ context.Context, text string, args ...any) (sql.Result, error) {
	if t.ended {
		return nil, errTxEnded
	}
	s, err := t.conn.prepare(text)
	if err != nil {
		return nil, t.fail(err)
	}
	res, err := s.ExecContext(context.Background(), args...)
	return res, t.fail(err)
}

func (t *writerTx) QueryContext(_ context.Context, text string, args ...any) (*sql.Rows, error) {
	if t.ended {
		return nil, errTxEnded
	}
	rows, err := t.conn.QueryContext(context.Background(), sqliteQuery(text), args...)
	if err != nil {
		return nil, t.fail(err)
	}
	t.rows = append(t.rows, rows)
	return rows, nil
}

func (t *writerTx) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if t.ended {
		// There is no way to make a *sql.Row but by a query.
		ended, cancel := context.WithCancelCause(ctx)
		cancel(errTxEnded)
		return t.conn.QueryRowContext(ended, text, args...)
	}
	row := t.conn.QueryRowContext(context.Background(), sqliteQuery(text), args...)
	t.fail(row.Err())
	return row
}

func (t *writerTx) fail(err error) error {
	if err != nil && t.failed == nil {
		t.failed = err
	}
	return err
}

// end closes the rows a function left open: an open read would keep the
// connection from ever seeing newer data.
func (t *writerTx) end() {
	t.ended = true
	for _, r := range t.rows {
		r.Close()
	}
}
