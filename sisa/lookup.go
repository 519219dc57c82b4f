package sisa

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// Links answers who may fetch what.
type Links struct {
	db  *db.DB
	now func() time.Time

	// Tell, if it is set before first use, sees to it that the sender of a mail
	// hears of a first download; its work is part of the transaction.
	Tell func(ctx context.Context, tx db.Tx, d FirstDownload) error
}

// NewLinks returns the links kept in d.
func NewLinks(d *db.DB, now func() time.Time) *Links { return &Links{db: d, now: now} }

// ByToken returns the link that a token opens. ErrNotFound, ErrExpired, ErrGuard.
func (l *Links) ByToken(ctx context.Context, token string) (Link, error) {
	if !ValidToken(token) {
		return Link{}, ErrNotFound
	}
	return l.ByID(ctx, TokenID(token))
}

// ByID returns a link by its public identity. ErrNotFound, ErrExpired, ErrGuard.
func (l *Links) ByID(ctx context.Context, id string) (Link, error) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 32 {
		return Link{}, ErrNotFound
	}
	var mail []byte
	var created int64
	var expires, revoked sql.NullInt64
	var guard sql.NullString
	link := Link{ID: id}
	err = l.db.Read().QueryRowContext(ctx, `SELECT l.mail, l.created, l.expires, l.revoked, l.guard, m.sender, m.subject
		FROM links l JOIN mails m ON m.key = l.mail WHERE l.id = $1`, raw).
		Scan(&mail, &created, &expires, &revoked, &guard, &link.Sender, &link.Subject)
	if errors.Is(err, sql.ErrNoRows) || err == nil && revoked.Valid {
		return Link{}, ErrNotFound
	}
	if err != nil {
		return Link{}, fmt.Errorf("look up link %s: %w", id, err)
	}
	link.Created, link.Expires = time.UnixMilli(created), fromMillis(expires)
	if expires.Valid && !l.now().Before(link.Expires) {
		return Link{}, ErrExpired
	}
	if link.Guard, err = readGuard(guard); err != nil {
		return Link{}, fmt.Errorf("look up link %s: %w", id, err)
	}
	link.Files, err = l.files(ctx, raw, mail)
	return link, err
}

func (l *Links) files(ctx context.Context, link, mail []byte) ([]File, error) {
	rows, err := l.db.Read().QueryContext(ctx, `SELECT p.part, p.name, p.type, p.size, p.sha256, COALESCE(lp.allowance, 0) FROM link_parts lp
		JOIN parts p ON p.mail = $2 AND p.part = lp.part WHERE lp.link = $1 ORDER BY p.part`, link, mail)
	if err != nil {
		return nil, fmt.Errorf("files of mail %x: %w", mail, err)
	}
	defer rows.Close()
	var out []File
	for rows.Next() {
		var f File
		var sum []byte
		if err := rows.Scan(&f.Part, &f.Name, &f.Type, &f.Size, &sum, &f.Left); err != nil {
			return nil, fmt.Errorf("files of mail %x: %w", mail, err)
		}
		copy(f.SHA256[:], sum)
		out = append(out, f)
	}
	return out, rows.Err()
}

// Downloaded records that somebody fetched a file. ErrUsedUp when that may not
// be: then nothing was recorded.
func (l *Links) Downloaded(ctx context.Context, d Download) error {
	raw, err := hex.DecodeString(d.LinkID)
	if err != nil {
		return fmt.Errorf("record download: link id %q: %w", d.LinkID, err)
	}
	d.Agent = agentText(d.Agent)
	fact := &d
	return l.db.Commit(ctx, db.Entry{{Kind: "download", Data: fact}}, func(ctx context.Context, tx db.Tx) error {
		fact.Left, fact.First = nil, nil
		g, err := guardOf(ctx, tx, raw)
		if err != nil {
			return err
		}
		if err := l.count(ctx, tx, raw, &g, fact); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO downloads (link, part, at, client, agent, proven) VALUES ($1, $2, $3, $4, $5, $6)`,
			raw, d.Part, d.At.UnixMilli(), d.Client, d.Agent, d.Proven)
		if err != nil {
			return fmt.Errorf("record download of link %s: %w", d.LinkID, err)
		}
		return nil
	})
}

// count does what a link's guard says about a download.
func (l *Links) count(ctx context.Context, tx db.Tx, link []byte, g *Guard, d *Download) (err error) {
	tells := g.Notify && l.Tell != nil
	if g.Downloads == 0 && !tells {
		return nil
	}
	if err := lockLink(ctx, tx, link); err != nil {
		return err
	}
	if g.Downloads > 0 {
		if d.Left, err = spend(ctx, tx, link, d); err != nil {
			return err
		}
	}
	if !tells {
		return nil
	}
	if d.First, err = first(ctx, tx, link, d); err != nil || len(d.First) == 0 {
		return err
	}
	told := FirstDownload{Link: ledger.Hash(link), Parts: d.First, At: d.At, Proven: d.Proven}
	var mail []byte
	if err := tx.QueryRowContext(ctx, `SELECT mail FROM links WHERE id = $1`, link).Scan(&mail); err != nil {
		return fmt.Errorf("mail of link %x: %w", link, err)
	}
	copy(told.Mail[:], mail)
	return l.Tell(ctx, tx, told)
}

// lockLink keeps whoever else counts downloads of a link waiting. ErrNotFound.
func lockLink(ctx context.Context, tx db.Tx, link []byte) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM links WHERE id = $1 FOR UPDATE`, link).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("lock link %x: %w", link, err)
	}
	return nil
}

func agentText(agent string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(agent, "\x00", ""), "")
}

// StoreStats sums up what is kept.
type StoreStats struct {
	Blobs int64 `json:"blobs"`
	Bytes int64 `json:"bytes"`
	Links int64 `json:"links"`
}

// Stats reads the sums over all blobs and links.
func (l *Links) Stats(ctx context.Context) (s StoreStats, err error) {
	q := l.db.Read()
	err = q.QueryRowContext(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs`).Scan(&s.Blobs, &s.Bytes)
	if err == nil {
		err = q.QueryRowContext(ctx, `SELECT COUNT(*) FROM links`).Scan(&s.Links)
	}
	if err != nil {
		return s, fmt.Errorf("count blobs: %w", err)
	}
	return s, nil
}

// Downloads lists what was fetched through a link, oldest first.
func (l *Links) Downloads(ctx context.Context, id string) ([]Download, error) {
	raw, err := hex.DecodeString(id)
	if err != nil {
		return nil, fmt.Errorf("downloads of link %q: %w", id, err)
	}
	rows, err := l.db.Read().QueryContext(ctx, `SELECT part, at, client, agent, proven FROM downloads WHERE link = $1 ORDER BY at`, raw)
	if err != nil {
		return nil, fmt.Errorf("downloads of link %s: %w", id, err)
	}
	defer rows.Close()
	var out []Download
	for rows.Next() {
		d := Download{LinkID: id}
		var at int64
		if err := rows.Scan(&d.Part, &at, &d.Client, &d.Agent, &d.Proven); err != nil {
			return nil, fmt.Errorf("downloads of link %s: %w", id, err)
		}
		d.At = time.UnixMilli(at)
		out = append(out, d)
	}
	return out, rows.Err()
}
