// Package sisa is single-instance storage for attachments: which blobs are
// referred to, and who may fetch what until when. One mail has one link.
package sisa

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
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
CREATE TABLE downloads (
	link BYTEA NOT NULL,
	part INTEGER NOT NULL,
	at BIGINT NOT NULL,
	client TEXT NOT NULL,
	agent TEXT NOT NULL
);
CREATE INDEX downloads_link ON downloads (link);
`}}

// Grant is a link as the mail path makes it: only here its token is known.
type Grant struct {
	ID         ledger.Hash `json:"id"` // SHA-256 of the token
	Mail       ledger.Key  `json:"mail"`
	Generation uint32      `json:"generation"`
	Created    time.Time   `json:"created"`
	Expires    time.Time   `json:"expires,omitzero"`

	Token string `json:"-"`
}

// Offer makes the grant of a generation; it is stored nowhere yet.
func Offer(key []byte, mail ledger.Key, generation uint32, created, expires time.Time) Grant {
	token := Token(key, mail, generation)
	g := Grant{Mail: mail, Generation: generation, Created: created, Expires: expires, Token: token}
	id, _ := hex.DecodeString(TokenID(token))
	copy(g.ID[:], id)
	return g
}

// Issue stores the link of a mail. The link the mail has already is given
// again, with its own expiry, unless it was revoked or has expired: then the
// next generation is made.
func Issue(ctx context.Context, tx db.Tx, key []byte, mail ledger.Key, now, expires time.Time) (Grant, error) {
	var generation uint32
	var created int64
	var until, revoked sql.NullInt64
	err := tx.QueryRowContext(ctx, `SELECT generation, created, expires, revoked FROM links WHERE mail = $1
		ORDER BY generation DESC LIMIT 1`, mail[:]).Scan(&generation, &created, &until, &revoked)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return Grant{}, fmt.Errorf("look for the link of mail %s: %w", mail, err)
	case !revoked.Valid && (!until.Valid || until.Int64 > now.UnixMilli()):
		return Offer(key, mail, generation, time.UnixMilli(created), fromMillis(until)), nil
	default:
		generation++
	}
	g := Offer(key, mail, generation, now, expires)
	_, err = tx.ExecContext(ctx, `INSERT INTO links (id, mail, generation, created, expires) VALUES ($1, $2, $3, $4, $5)`,
		g.ID[:], mail[:], generation, now.UnixMilli(), toMillis(expires))
	if err != nil {
		return Grant{}, fmt.Errorf("store the link of mail %s: %w", mail, err)
	}
	return g, nil
}

// Use notes that a blob is referred to: its age for garbage collection starts
// anew.
func Use(ctx context.Context, tx db.Tx, sum [32]byte, size int64, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO blobs (sha256, size, created, used) VALUES ($1, $2, $3, $3)
		ON CONFLICT (sha256) DO UPDATE SET used = excluded.used`, sum[:], size, now.UnixMilli())
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
