package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/db"
)

// ErrNotFound is returned for a mail that has no record.
var ErrNotFound = errors.New("no record of such a mail")

// Migrations make the tables of this package.
var Migrations = []db.Migration{{Name: "ledger-1", SQL: `
CREATE TABLE mails (
	key BYTEA PRIMARY KEY,
	queue_id TEXT NOT NULL,
	message_id TEXT NOT NULL,
	subject TEXT NOT NULL,
	sender TEXT NOT NULL,
	recipients TEXT NOT NULL,
	auth_user TEXT NOT NULL,
	client TEXT NOT NULL,
	received BIGINT NOT NULL,
	size BIGINT NOT NULL,
	digest BYTEA NOT NULL,
	skeleton BYTEA,
	skeleton_blob BYTEA,
	skeleton_stored BIGINT NOT NULL,
	skeleton_header BIGINT NOT NULL
);
CREATE INDEX mails_received ON mails (received);
CREATE INDEX mails_queue_id ON mails (queue_id);
CREATE INDEX mails_message_id ON mails (message_id);
CREATE INDEX mails_skeleton_blob ON mails (skeleton_blob);
CREATE TABLE parts (
	mail BYTEA NOT NULL REFERENCES mails (key),
	part INTEGER NOT NULL,
	name TEXT NOT NULL,
	type TEXT NOT NULL,
	sniffed TEXT NOT NULL,
	size BIGINT NOT NULL,
	sha256 BYTEA NOT NULL,
	span_start BIGINT NOT NULL,
	span_end BIGINT NOT NULL,
	layout TEXT NOT NULL,
	cut INTEGER NOT NULL,
	linked INTEGER NOT NULL,
	rule TEXT NOT NULL,
	PRIMARY KEY (mail, part)
);
CREATE INDEX parts_sha256 ON parts (sha256);
`}, {Name: "ledger-2", SQL: `
ALTER TABLE mails ADD COLUMN seen BIGINT;
ALTER TABLE mails ADD COLUMN retired BIGINT;
ALTER TABLE mails ADD COLUMN forgotten BIGINT;
ALTER TABLE mails ADD COLUMN header_sum BYTEA;
CREATE INDEX mails_sender ON mails (LOWER(sender));
`}, {Name: "ledger-3", SQL: `
CREATE TABLE recipients (
	domain TEXT NOT NULL,
	local TEXT NOT NULL,
	mail BYTEA NOT NULL,
	PRIMARY KEY (domain, local, mail)
) WITHOUT ROWID;
INSERT INTO recipients (domain, local, mail) SELECT DISTINCT ` + domainOf("LOWER(r.value)") + `, ` + localOf("LOWER(r.value)") + `, m.key
	FROM mails m, json_each(m.recipients) AS r WHERE r.value <> '' ORDER BY 1, 2, 3;
DROP INDEX mails_sender;
CREATE INDEX mails_sender ON mails ((` + domainOf("LOWER(sender)") + `), LOWER(sender));
CREATE INDEX parts_name ON parts (LOWER(name), mail) WHERE linked = 1;
`}}

// Put records m, or finds that it is recorded. What was fixed at first sight
// stays; parts that are linked only now are marked so. A record without its
// original (given up, forgotten, or never kept) is written anew. It reports whether there was a
// record. It waits for whoever has locked the record, and keeps it locked.
func Put(ctx context.Context, tx db.Tx, m *Mail) (existed bool, err error) {
	inserted, err := putMail(ctx, tx, m, insertMail)
	if err != nil {
		return false, err
	}
	if !inserted {
		alive, err := seen(ctx, tx, m)
		if err != nil {
			return true, err
		}
		if alive {
			return true, markLinked(ctx, tx, m)
		}
		if err := revive(ctx, tx, m); err != nil {
			return true, err
		}
	}
	for parts := range slices.Chunk(m.Parts, len(insertParts)) {
		if err := putParts(ctx, tx, m.Key, parts); err != nil {
			return !inserted, err
		}
	}
	return !inserted, addRecipients(ctx, tx, m.Key, m.Recipients)
}

// Replay is Put for a record that the journal tells of. The same line read twice
// is not a mail that came twice.
func Replay(ctx context.Context, tx db.Tx, m *Mail) error {
	var n int
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM mails WHERE key = $1 AND $2 IN (received, seen) AND retired IS NULL
		AND (skeleton_stored > 0 OR CAST($3 AS BIGINT) = 0)`, m.Key[:], m.Received.UnixMilli(), m.Skeleton.Stored).Scan(&n)
	if err != nil {
		return fmt.Errorf("mail %s: %w", m.Key, err)
	}
	if n > 0 {
		return markLinked(ctx, tx, m)
	}
	_, err = Put(ctx, tx, m)
	return err
}

const (
	insertMail = `INSERT INTO mails (key, queue_id, message_id, subject, sender, recipients, auth_user,
		client, received, size, digest, skeleton, skeleton_blob, skeleton_stored, skeleton_header, header_sum)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT (key) DO NOTHING`
	reviveMail = `UPDATE mails SET queue_id = $2, message_id = $3, subject = $4, sender = $5, recipients = $6, auth_user = $7,
		client = $8, received = $9, size = $10, digest = $11, skeleton = $12, skeleton_blob = $13, skeleton_stored = $14,
		skeleton_header = $15, header_sum = $16, seen = NULL, retired = NULL, forgotten = NULL WHERE key = $1`
)

// putMail runs one of the statements above and tells whether it changed a row.
func putMail(ctx context.Context, tx db.Tx, m *Mail, text string) (changed bool, err error) {
	recipients, err := json.Marshal(m.Recipients)
	if err != nil {
		return false, fmt.Errorf("record mail %s: %w", m.Key, err)
	}
	res, err := tx.ExecContext(ctx, text,
		m.Key[:], clean(m.QueueID), clean(m.MessageID), clean(m.Subject), clean(m.Sender), clean(string(recipients)), clean(m.User),
		m.Client, m.Received.UnixMilli(), m.Size, m.Digest[:], m.Skeleton.Inline, nullable(m.Skeleton.Blob), m.Skeleton.Stored,
		m.Skeleton.Header, nullable(m.Skeleton.HeaderSum))
	if err != nil {
		return false, fmt.Errorf("record mail %s: %w", m.Key, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("record mail %s: %w", m.Key, err)
	}
	return n > 0, nil
}

func nullable(h Hash) []byte {
	if h.IsZero() {
		return nil
	}
	return h[:]
}

// seen notes that a mail came again, unless its record has to be written anew:
// its original is gone, or was not kept and is now. The update
// locks the row: who wants to give the original up waits for this commit, and
// then sees what it made.
func seen(ctx context.Context, tx db.Tx, m *Mail) (alive bool, err error) {
	res, err := tx.ExecContext(ctx, `UPDATE mails SET seen = $2 WHERE key = $1 AND retired IS NULL AND (skeleton_stored > 0 OR CAST($3 AS BIGINT) = 0)`,
		m.Key[:], m.Received.UnixMilli(), m.Skeleton.Stored)
	if err != nil {
		return false, fmt.Errorf("record mail %s: %w", m.Key, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("record mail %s: %w", m.Key, err)
	}
	return n > 0, nil
}

// revive writes a record anew whose original was given up.
func revive(ctx context.Context, tx db.Tx, m *Mail) error {
	if _, err := putMail(ctx, tx, m, reviveMail); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM parts WHERE mail = $1`, m.Key[:]); err != nil {
		return fmt.Errorf("record mail %s: %w", m.Key, err)
	}
	return nil
}

func markLinked(ctx context.Context, tx db.Tx, m *Mail) error {
	for _, p := range m.Parts {
		if !p.Linked {
			continue
		}
		_, err := tx.ExecContext(ctx, `UPDATE parts SET linked = 1, rule = $3 WHERE mail = $1 AND part = $2 AND linked = 0`,
			m.Key[:], p.Index, clean(p.Rule))
		if err != nil {
			return fmt.Errorf("record part %d of mail %s: %w", p.Index, m.Key, err)
		}
	}
	return nil
}

// partColumns is how many values a part has in the table.
const partColumns = 13

// insertParts are the statements that insert one part, two, and so on: a statement
// costs more than a row, and most mails have a few parts.
var insertParts = func() (texts [8]string) {
	var rows []string
	for n := range texts {
		values := make([]string, partColumns)
		for i := range values {
			values[i] = fmt.Sprintf("$%d", n*partColumns+i+1)
		}
		rows = append(rows, "("+strings.Join(values, ", ")+")")
		texts[n] = `INSERT INTO parts (mail, part, name, type, sniffed, size, sha256, span_start, span_end,
			layout, cut, linked, rule) VALUES ` + strings.Join(rows, ", ")
	}
	return texts
}()

// putParts inserts as many parts as insertParts knows of, at most.
func putParts(ctx context.Context, tx db.Tx, key Key, parts []Part) error {
	args := make([]any, 0, len(parts)*partColumns)
	for i := range parts {
		p := &parts[i]
		args = append(args, key[:], p.Index, clean(p.Name), clean(p.Type), p.Sniffed, p.Size, p.SHA256[:], p.Start, p.End,
			p.Layout, flag(p.Cut), flag(p.Linked), clean(p.Rule))
	}
	if _, err := tx.ExecContext(ctx, insertParts[len(parts)-1], args...); err != nil {
		return fmt.Errorf("record parts %d to %d of mail %s: %w", parts[0].Index, parts[len(parts)-1].Index, key, err)
	}
	return nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Get reads the record of a mail with its parts. ErrNotFound.
func Get(ctx context.Context, q db.Tx, key Key) (*Mail, error) {
	m := &Mail{Key: key}
	var recipients string
	var received int64
	var retired, forgotten sql.NullInt64
	var digest, blob, headerSum []byte
	err := q.QueryRowContext(ctx, `SELECT queue_id, message_id, subject, sender, recipients, auth_user, client, received,
		size, digest, skeleton, skeleton_blob, skeleton_stored, skeleton_header, header_sum, retired, forgotten
		FROM mails WHERE key = $1`, key[:]).
		Scan(&m.QueueID, &m.MessageID, &m.Subject, &m.Sender, &recipients, &m.User, &m.Client, &received,
			&m.Size, &digest, &m.Skeleton.Inline, &blob, &m.Skeleton.Stored, &m.Skeleton.Header,
			&headerSum, &retired, &forgotten)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read mail %s: %w", key, err)
	}
	if err := json.Unmarshal([]byte(recipients), &m.Recipients); err != nil {
		return nil, fmt.Errorf("read recipients of mail %s: %w", key, err)
	}
	m.Received = time.UnixMilli(received)
	copy(m.Digest[:], digest)
	copy(m.Skeleton.Blob[:], blob)
	copy(m.Skeleton.HeaderSum[:], headerSum)
	if retired.Valid {
		m.Retired = time.UnixMilli(retired.Int64)
	}
	if forgotten.Valid {
		m.Forgotten = time.UnixMilli(forgotten.Int64)
	}
	m.Parts, err = parts(ctx, q, key)
	return m, err
}

func parts(ctx context.Context, q db.Tx, key Key) ([]Part, error) {
	rows, err := q.QueryContext(ctx, `SELECT part, name, type, sniffed, size, sha256, span_start, span_end, layout, cut,
		linked, rule FROM parts WHERE mail = $1 ORDER BY part`, key[:])
	if err != nil {
		return nil, fmt.Errorf("read parts of mail %s: %w", key, err)
	}
	defer rows.Close()
	var out []Part
	for rows.Next() {
		var p Part
		var sum []byte
		var cut, linked int
		if err := rows.Scan(&p.Index, &p.Name, &p.Type, &p.Sniffed, &p.Size, &sum, &p.Start, &p.End, &p.Layout, &cut,
			&linked, &p.Rule); err != nil {
			return nil, fmt.Errorf("read parts of mail %s: %w", key, err)
		}
		copy(p.SHA256[:], sum)
		p.Cut, p.Linked = cut != 0, linked != 0
		out = append(out, p)
	}
	return out, rows.Err()
}

// Stats sums up what came in.
type Stats struct {
	Mails    int64 `json:"mails"`
	Bytes    int64 `json:"bytes"`    // of these mails as they came
	Linked   int64 `json:"linked"`   // attachments that became links
	Received int64 `json:"received"` // decoded bytes of these attachments, every copy counted
	Skeleton int64 `json:"skeleton"` // bytes kept to build the originals again, compressed
}

// Count reads the sums over all records.
func Count(ctx context.Context, q db.Tx) (s Stats, err error) {
	err = q.QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT),
		CAST(COALESCE(SUM(skeleton_stored), 0) AS BIGINT) FROM mails`).
		Scan(&s.Mails, &s.Bytes, &s.Skeleton)
	if err == nil {
		err = q.QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM parts WHERE linked = 1`).
			Scan(&s.Linked, &s.Received)
	}
	if err != nil {
		return s, fmt.Errorf("count mails: %w", err)
	}
	return s, nil
}
