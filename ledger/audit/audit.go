// Package audit remembers what administrators did: who, by which door, what, to
// what, and how it ended. Rows are added; the database refuses to change or delete
// them. The journal has them too.
package audit

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// Migrations make the table of this package. An act has a row from before it
// began, step 0, and one from its end, step 1: what has no end was cut off.
var Migrations = []db.Migration{{Name: "audit-1", SQL: `
CREATE TABLE audit (
	id BYTEA NOT NULL,
	step INTEGER NOT NULL,
	at BIGINT NOT NULL,
	actor TEXT NOT NULL,
	door TEXT NOT NULL,
	action TEXT NOT NULL,
	object TEXT NOT NULL,
	outcome TEXT NOT NULL,
	PRIMARY KEY (id, step)
);
CREATE INDEX audit_at ON audit (step, at);
`}, {Name: "audit-2", SQL: `
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
	BEGIN SELECT RAISE(ABORT, 'rows of the audit are never changed'); END;
CREATE TRIGGER audit_undeleted BEFORE DELETE ON audit
	BEGIN SELECT RAISE(ABORT, 'rows of the audit are never deleted'); END;
`, Postgres: `
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'rows of the audit are never changed or deleted'; END $$;
CREATE TRIGGER audit_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
	FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
`}, {Name: "audit-3", SQL: `
CREATE TABLE audit_mails (
	mail BYTEA NOT NULL,
	id BYTEA NOT NULL,
	PRIMARY KEY (mail, id)
);
CREATE TRIGGER audit_mails_unchanged BEFORE UPDATE ON audit_mails
	BEGIN SELECT RAISE(ABORT, 'rows of the audit are never changed'); END;
CREATE TRIGGER audit_mails_undeleted BEFORE DELETE ON audit_mails
	BEGIN SELECT RAISE(ABORT, 'rows of the audit are never deleted'); END;
`, Postgres: `
CREATE TABLE audit_mails (
	mail BYTEA NOT NULL,
	id BYTEA NOT NULL,
	PRIMARY KEY (mail, id)
);
CREATE TRIGGER audit_mails_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_mails
	FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
`}}

// Doors by which administrators come.
const (
	Dashboard = "dashboard"
	Command   = "command"
)

// maxText bounds the texts of a row, in bytes.
const maxText = 2000

// idBytes is the length of an act's id: none is ever given twice.
const idBytes = 16

// Act is something that an administrator did.
type Act struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Door    string    `json:"door"`
	Action  string    `json:"action"` // such as "drop jobs"
	Object  string    `json:"object"` // to what
	Outcome string    `json:"outcome,omitempty"`
	Ended   time.Time `json:"ended,omitzero"` // zero: it was cut off, or is under way
	// Mails are those that it is about, for Do; lists do not have them, but find
	// acts by them.
	Mails []ledger.Key `json:"-"`
}

// Do does something and remembers it. What cannot be remembered is not done. The
// id finds the act again, also beside an error.
func Do(ctx context.Context, d *db.DB, a Act, now func() time.Time, f func(context.Context) (outcome string, err error)) (id string, err error) {
	raw := make([]byte, idBytes)
	rand.Read(raw) // never fails
	a.ID, a.At = hex.EncodeToString(raw), now()
	a.Actor, a.Object = clean(a.Actor), clean(a.Object)
	if err := add(ctx, d, raw, 0, a); err != nil {
		return "", fmt.Errorf("nothing was done, as it could not be written down: %w", err)
	}
	for some := range slices.Chunk(a.Mails, mailsAtOnce) {
		if err := addMails(ctx, d, Mails{a.ID, some}); err != nil {
			return "", fmt.Errorf("nothing was done, as it could not be written down: %w", err)
		}
	}
	outcome, err := f(ctx)
	if err != nil {
		outcome = strings.TrimSpace(outcome + " failed: " + err.Error())
	}
	a.Ended, a.Outcome = now(), clean(outcome)
	// Whoever asked may have left meanwhile: how it ended is written all the same.
	if lost := add(context.WithoutCancel(ctx), d, raw, 1, a); lost != nil {
		err = errors.Join(err, fmt.Errorf("it was done, but how it ended could not be written down: %w", lost))
	}
	return a.ID, err
}

func add(ctx context.Context, d *db.DB, id []byte, step int, a Act) error {
	at := a.At
	if step > 0 {
		at = a.Ended
	}
	return d.Commit(ctx, db.Entry{{Kind: fact, Data: a}}, func(ctx context.Context, tx db.Tx) error {
		return insert(ctx, tx, id, step, at, a, "")
	})
}

// The kinds of this package's lines in the journal.
const (
	fact     = "audit"
	mailFact = "audit-mails"
)

// mailsAtOnce bounds how long other commits wait for this one.
const mailsAtOnce = 1000

// Mails is the journal's line about mails that an act is about.
type Mails struct {
	Act   string       `json:"act"`
	Mails []ledger.Key `json:"mails"`
}

func addMails(ctx context.Context, d *db.DB, m Mails) error {
	return d.Commit(ctx, db.Entry{{Kind: mailFact, Data: m}}, func(ctx context.Context, tx db.Tx) error {
		return insertMails(ctx, tx, m)
	})
}

func insertMails(ctx context.Context, tx db.Tx, m Mails) error {
	id, err := hex.DecodeString(m.Act)
	if err != nil {
		return fmt.Errorf("id of an act: %w", err)
	}
	for _, key := range m.Mails {
		_, err := tx.ExecContext(ctx, `INSERT INTO audit_mails (mail, id) VALUES ($1, $2) ON CONFLICT (mail, id) DO NOTHING`, key[:], id)
		if err != nil {
			return err
		}
	}
	return nil
}

func insert(ctx context.Context, tx db.Tx, id []byte, step int, at time.Time, a Act, conflict string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit (id, step, at, actor, door, action, object, outcome)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`+conflict, id, step, at.UnixMilli(), a.Actor, a.Door, a.Action, a.Object, a.Outcome)
	return err
}

// Replay does again what a line of the journal tells, and reports whether the
// line is of this package. It may be repeated.
func Replay(ctx context.Context, tx db.Tx, r db.Record) (known bool, err error) {
	if r.Kind == mailFact {
		var m Mails
		if err := json.Unmarshal(r.Data, &m); err != nil {
			return true, err
		}
		return true, insertMails(ctx, tx, m)
	}
	if r.Kind != fact {
		return false, nil
	}
	var a Act
	if err := json.Unmarshal(r.Data, &a); err != nil {
		return true, err
	}
	id, err := hex.DecodeString(a.ID)
	if err != nil {
		return true, fmt.Errorf("id of an act: %w", err)
	}
	step, at := 0, a.At
	if !a.Ended.IsZero() {
		step, at = 1, a.Ended
	}
	return true, insert(ctx, tx, id, step, at, a, ` ON CONFLICT (id, step) DO NOTHING`)
}

func clean(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + " …"
	}
	return s
}

// Filter selects acts; zero fields select all.
type Filter struct {
	Since, Before time.Time
	Actor         string
	Mails         []ledger.Key // acts about any of these; nil: all
	Limit         int          // 0: all
}

const columns = `SELECT a.id, a.at, a.actor, a.door, a.action, a.object, COALESCE(b.outcome, ''), b.at FROM audit a
	LEFT JOIN audit b ON b.id = a.id AND b.step = 1 WHERE a.step = 0`

// List lists acts, the newest first.
func List(ctx context.Context, q db.Tx, f Filter) ([]Act, error) {
	text, args := columns, []any{}
	and := func(condition string, arg any) {
		args = append(args, arg)
		text += fmt.Sprintf(" AND "+condition, len(args))
	}
	if !f.Since.IsZero() {
		and("a.at >= $%d", f.Since.UnixMilli())
	}
	if !f.Before.IsZero() {
		and("a.at < $%d", f.Before.UnixMilli())
	}
	if f.Actor != "" {
		and("a.actor = $%d", f.Actor)
	}
	if len(f.Mails) > 0 {
		var places []string
		for _, key := range f.Mails {
			args = append(args, key[:])
			places = append(places, fmt.Sprintf("$%d", len(args)))
		}
		text += " AND a.id IN (SELECT id FROM audit_mails WHERE mail IN (" + strings.Join(places, ", ") + "))"
	}
	text += " ORDER BY a.at DESC, a.id"
	if f.Limit > 0 {
		args = append(args, f.Limit)
		text += fmt.Sprintf(" LIMIT $%d", len(args))
	}
	return scan(ctx, q, text, args...)
}

// ErrNotFound is returned for an id that no act has.
var ErrNotFound = errors.New("no such act")

// Get finds an act by its id. ErrNotFound.
func Get(ctx context.Context, q db.Tx, id string) (*Act, error) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != idBytes {
		return nil, ErrNotFound
	}
	found, err := scan(ctx, q, columns+" AND a.id = $1", raw)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrNotFound
	}
	return &found[0], nil
}

func scan(ctx context.Context, q db.Tx, text string, args ...any) ([]Act, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("read audit: %w", err)
	}
	defer rows.Close()
	var out []Act
	for rows.Next() {
		var a Act
		var id []byte
		var at int64
		var ended sql.NullInt64
		if err := rows.Scan(&id, &at, &a.Actor, &a.Door, &a.Action, &a.Object, &a.Outcome, &ended); err != nil {
			return nil, fmt.Errorf("read audit: %w", err)
		}
		a.ID, a.At = hex.EncodeToString(id), time.UnixMilli(at)
		if ended.Valid {
			a.Ended = time.UnixMilli(ended.Int64)
		}
		out = append(out, a)
	}
	return out, rows.Err()
}
