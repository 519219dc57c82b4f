package sisa

// The log of downloads: lists of it, and its end.

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"cloakroom/ledger"
)

// DownloadRow is one download as an administrator sees it.
type DownloadRow struct {
	At     time.Time  `json:"at"`
	LinkID string     `json:"link"`
	Mail   ledger.Key `json:"mail"`
	Sender string     `json:"sender"`
	Part   int        `json:"part"` // below zero: all files at once
	Name   string     `json:"name,omitempty"`
	Client string     `json:"client,omitempty"`
	Agent  string     `json:"agent,omitempty"`
	Proven string     `json:"proven,omitempty"` // by the visitor: an address, or "password"
}

// DownloadLog lists downloads through the links that f selects, newest first;
// the times of f.Mails are those of the downloads.
func (l *Links) DownloadLog(ctx context.Context, f Filter) ([]DownloadRow, error) {
	var c ledger.Conditions
	times := ledger.Filter{Before: f.Mails.Before, Since: f.Mails.Since}
	f.Mails.Before, f.Mails.Since = time.Time{}, time.Time{}
	if err := f.where(&c, l.now()); err != nil {
		return nil, err
	}
	times.Where(&c, "d.at")
	text := `SELECT d.at, d.link, l.mail, m.sender, d.part, COALESCE(p.name, ''), d.client, d.agent, d.proven FROM downloads d
		JOIN links l ON l.id = d.link JOIN mails m ON m.key = l.mail LEFT JOIN parts p ON p.mail = l.mail AND p.part = d.part
		WHERE ` + c.String() + ` ORDER BY d.at DESC`
	if f.Limit > 0 {
		text += " LIMIT " + c.Arg(f.Limit)
	}
	rows, err := l.db.Read().QueryContext(ctx, text, c.Args...)
	if err != nil {
		return nil, fmt.Errorf("list downloads: %w", err)
	}
	defer rows.Close()
	var out []DownloadRow
	for rows.Next() {
		var r DownloadRow
		var at int64
		var link, mail []byte
		if err := rows.Scan(&at, &link, &mail, &r.Sender, &r.Part, &r.Name, &r.Client, &r.Agent, &r.Proven); err != nil {
			return nil, fmt.Errorf("list downloads: %w", err)
		}
		r.At, r.LinkID = time.UnixMilli(at), hex.EncodeToString(link)
		copy(r.Mail[:], mail)
		out = append(out, r)
	}
	return out, rows.Err()
}
