// Package sisa is single-instance storage for attachments: which blobs are
// referred to, and who may fetch what until when. One mail has one link.
package sisa

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// Migrations make the tables of this package; ledger's come first.
var Migrations = []db.Migration{{Name: "sisa-1", SQL: `
CREATE TABLE blobs (
	sha256 BYTEA PRIMARY KEY,
	size BIGINT NOT NULL,
	created BIGINT NOT NULL,
	used BIGINT NOT NULL
);
CREATE TABLE links (
	id BYTEA PRIMARY KEY,
	mail BYTEA NOT NULL REFERENCES mails (key),
	generation INTEGER NOT NULL,
	created BIGINT NOT NULL,
	expires BIGINT,
	revoked BIGINT,
	UNIQUE (mail, generation)
);
CREATE INDEX links_created ON links (created);
CREATE TABLE link_parts (
	link BYTEA NOT NULL REFERENCES links (id),
	part INTEGER NOT NULL,
	PRIMARY KEY (link, part)
);
CREATE TABLE downloads (
	link BYTEA NOT NULL,
	part INTEGER NOT NULL,
	at BIGINT NOT NULL,
	client TEXT NOT NULL,
	agent TEXT NOT NULL
);
CREATE INDEX downloads_link ON downloads (link);
`}, {Name: "sisa-2", SQL: `
CREATE TABLE holds (
	matter TEXT NOT NULL,
	mail BYTEA NOT NULL REFERENCES mails (key),
	since BIGINT NOT NULL,
	actor TEXT NOT NULL,
	reason TEXT NOT NULL,
	PRIMARY KEY (matter, mail)
);
CREATE INDEX holds_mail ON holds (mail);
CREATE INDEX downloads_at ON downloads (at);
`}, {Name: "sisa-3", SQL: `
ALTER TABLE links ADD COLUMN guard TEXT;
UPDATE links SET guard = '{}';
ALTER TABLE link_parts ADD COLUMN allowance BIGINT;
ALTER TABLE link_parts ADD COLUMN told BIGINT;
ALTER TABLE downloads ADD COLUMN proven TEXT NOT NULL DEFAULT '';
`}, {Name: "sisa-4", SQL: `
CREATE INDEX links_revoked ON links (created) WHERE revoked IS NOT NULL;
CREATE INDEX links_expires ON links (created, expires) WHERE revoked IS NULL AND expires IS NOT NULL;
`}}

// Grant is a link as the mail path makes it: only here its token is known.
type Grant struct {
	ID         ledger.Hash `json:"id"` // SHA-256 of the token
	Mail       ledger.Key  `json:"mail"`
	Generation uint32      `json:"generation"`
	Parts      []int       `json:"parts"` // what it opens, in order
	Created    time.Time   `json:"created"`
	Expires    time.Time   `json:"expires,omitzero"`
	Guard      Guard       `json:"guard,omitzero"`

	Token string `json:"-"`
}

// Wish is the link that a mail wants.
type Wish struct {
	Mail  ledger.Key
	Parts []int         // in order
	Life  time.Duration // 0 is forever
	Now   time.Time
	Guard Guard
	Fresh bool // the mail's record was made in this transaction: it has no link yet
}

func (w Wish) expires() time.Time {
	if w.Life == 0 {
		return time.Time{}
	}
	return w.Now.Add(w.Life)
}

// Offer makes the grant of a generation; it is stored nowhere yet.
func Offer(key []byte, w Wish, generation uint32) Grant {
	token := Token(key, w.Mail, generation)
	g := Grant{Mail: w.Mail, Generation: generation, Parts: w.Parts, Created: w.Now, Expires: w.expires(), Guard: w.Guard, Token: token}
	id, _ := hex.DecodeString(TokenID(token))
	copy(g.ID[:], id)
	return g
}

// Issue stores the link of a mail. The link the mail has already is given
// again, with the expiry it has, if it opens the same parts; when it was
// revoked, has expired or opens others, the next generation is made. A link
// is prolonged, never shortened: to forever if that is wished now, and by the
// whole life when less than half of it is left. In the same way it asks for
// more than before where that is wished now, never for less, unless an
// administrator said who may open it.
func Issue(ctx context.Context, tx db.Tx, key []byte, w Wish) (Grant, error) {
	var old Grant
	live := false
	if !w.Fresh {
		var err error
		if old, live, err = latest(ctx, tx, key, w); err != nil {
			return Grant{}, fmt.Errorf("look for the link of mail %s: %w", w.Mail, err)
		}
	}
	if live && slices.Equal(old.Parts, w.Parts) {
		return prolong(ctx, tx, old, w)
	}
	generation := uint32(0)
	if old.Token != "" {
		generation = old.Generation + 1
	}
	g := Offer(key, w, generation)
	if asks := old.Guard; asks.Fixed && asks.Access() != (&Guard{}).Access() {
		g.Guard = asks.with(w.Guard) // and so do the links after it
		g.Guard.Downloads, g.Guard.Notify = w.Guard.Downloads, w.Guard.Notify
	}
	if err := insert(ctx, tx, &g); err != nil {
		return Grant{}, fmt.Errorf("store the link of mail %s: %w", w.Mail, err)
	}
	return g, nil
}

// insert stores a link as it is granted.
func insert(ctx context.Context, tx db.Tx, g *Grant) error {
	guard, err := guardText(&g.Guard)
	if err != nil {
		return err
	}
	if _, err = tx.ExecContext(ctx, `INSERT INTO links (id, mail, generation, created, expires, guard) VALUES ($1, $2, $3, $4, $5, $6)`,
		g.ID[:], g.Mail[:], g.Generation, g.Created.UnixMilli(), toMillis(g.Expires), guard); err != nil {
		return err
	}
	for _, part := range g.Parts {
		if _, err := tx.ExecContext(ctx, `INSERT INTO link_parts (link, part, allowance) VALUES ($1, $2, $3)`, g.ID[:], part, g.allowance()); err != nil {
			return err
		}
	}
	return nil
}

// latest reads the newest link of a mail, if there is one (its Token is ""
// otherwise), and whether it still opens anything.
func latest(ctx context.Context, tx db.Tx, key []byte, w Wish) (g Grant, live bool, err error) {
	var generation uint32
	var created int64
	var until, revoked sql.NullInt64
	var guard sql.NullString
	err = tx.QueryRowContext(ctx, `SELECT generation, created, expires, revoked, guard FROM links WHERE mail = $1
		ORDER BY generation DESC LIMIT 1`, w.Mail[:]).Scan(&generation, &created, &until, &revoked, &guard)
	if errors.Is(err, sql.ErrNoRows) {
		return Grant{}, false, nil
	}
	if err != nil {
		return Grant{}, false, err
	}
	g = Offer(key, w, generation)
	g.Created, g.Expires, g.Parts = time.UnixMilli(created), fromMillis(until), nil
	known := true
	if g.Guard, err = readGuard(guard); err != nil {
		known = false // and so it opens nothing
	}
	rows, err := tx.QueryContext(ctx, `SELECT part FROM link_parts WHERE link = $1 ORDER BY part`, g.ID[:])
	if err != nil {
		return Grant{}, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var part int
		if err := rows.Scan(&part); err != nil {
			return Grant{}, false, err
		}
		g.Parts = append(g.Parts, part)
	}
	return g, known && !revoked.Valid && (!until.Valid || until.Int64 > w.Now.UnixMilli()), rows.Err()
}

// prolong gives a live link again, later in its expiry and with more to ask for
// where w wishes that.
func prolong(ctx context.Context, tx db.Tx, g Grant, w Wish) (Grant, error) {
	if asks := g.Guard.with(w.Guard); !g.Guard.Fixed && !asks.Equal(&g.Guard) {
		g.Guard = asks
		if err := setGuard(ctx, tx, g.ID, &g.Guard); err != nil {
			return Grant{}, err
		}
	}
	if g.Expires.IsZero() || w.Life != 0 && g.Expires.Sub(w.Now) >= w.Life/2 {
		return g, nil
	}
	g.Expires = w.expires()
	if _, err := tx.ExecContext(ctx, `UPDATE links SET expires = $2 WHERE id = $1`, g.ID[:], toMillis(g.Expires)); err != nil {
		return Grant{}, fmt.Errorf("prolong the link of mail %s: %w", w.Mail, err)
	}
	return g, nil
}

// Use notes that a blob is referred to: its age for garbage collection starts
// anew.
func Use(ctx context.Context, tx db.Tx, sum [32]byte, size int64, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO blobs (sha256, size, created, used) VALUES ($1, $2, $3, $3)
		ON CONFLICT (sha256) DO UPDATE SET used = excluded.used
		WHERE excluded.used > blobs.used`, sum[:], size, now.UnixMilli())
	if err != nil {
		return fmt.Errorf("note use of blob %x: %w", sum, err)
	}
	return nil
}

func toMillis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

func fromMillis(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMilli(n.Int64)
}
