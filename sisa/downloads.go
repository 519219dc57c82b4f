package sisa

// The log of downloads: lists of it, and its end.

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
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

const downloadColumns = `SELECT d.at, d.link, l.mail, m.sender, d.part, COALESCE(p.name, ''), d.client, d.agent, d.proven FROM `

// DownloadLog lists downloads through the links that f selects, newest first;
// the times of f.Mails are those of the downloads.
func (l *Links) DownloadLog(ctx context.Context, f Filter) ([]DownloadRow, error) {
	near, few, err := l.near(ctx, &f)
	if err != nil {
		return nil, fmt.Errorf("list downloads: %w", err)
	}
	if !few {
		from := `downloads d CROSS JOIN links l CROSS JOIN mails m`
		if f.ID != "" {
			from = `links l CROSS JOIN mails m CROSS JOIN downloads d`
		}
		return l.downloads(ctx, f, from, nil)
	}
	var out []DownloadRow
	for part := range slices.Chunk(near, ledger.FindAtOnce) {
		found, err := l.downloads(ctx, f, `mails m CROSS JOIN links l CROSS JOIN downloads d`, part)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.SortStableFunc(out, func(a, b DownloadRow) int { return b.At.Compare(a.At) })
	if f.Limit > 0 {
		out = out[:min(len(out), f.Limit)]
	}
	return out, nil
}

// downloads lists those of f, of some mails or of all, found in the order of from.
func (l *Links) downloads(ctx context.Context, f Filter, from string, mails []ledger.Key) ([]DownloadRow, error) {
	var c ledger.Conditions
	times := ledger.Filter{Before: f.Mails.Before, Since: f.Mails.Since}
	f.Mails.Before, f.Mails.Since = time.Time{}, time.Time{}
	if mails != nil {
		c.AndIn("m.key", mails)
	}
	if err := f.where(&c, l.now()); err != nil {
		return nil, err
	}
	times.Where(&c, "d.at")
	text := downloadColumns + from + ` LEFT JOIN parts p ON p.mail = l.mail AND p.part = d.part
		WHERE l.id = d.link AND m.key = l.mail AND ` + c.String() + ` ORDER BY d.at DESC` + limited(&c, f.Limit)
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
