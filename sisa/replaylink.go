package sisa

// Reading the journal back: links, who may open them, and what was fetched.

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// link stores a link as it was given; given again, it may last longer, and ask
// for more.
func (y Replayer) link(ctx context.Context, tx db.Tx, g Grant, _ time.Time) error {
	err := stillNamed(ctx, tx, g.Mail, &g.Guard)
	var guard string
	if err == nil {
		guard, err = guardText(&g.Guard)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO links (id, mail, generation, created, expires, guard) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET expires = excluded.expires, guard = excluded.guard`,
			g.ID[:], g.Mail[:], g.Generation, g.Created.UnixMilli(), toMillis(g.Expires), guard)
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", g.ID, err)
	}
	for _, part := range g.Parts {
		if _, err := tx.ExecContext(ctx, `INSERT INTO link_parts (link, part, allowance) VALUES ($1, $2, $3) ON CONFLICT (link, part) DO NOTHING`,
			g.ID[:], part, g.allowance()); err != nil {
			return fmt.Errorf("link %s: %w", g.ID, err)
		}
	}
	return nil
}

// download tells what was left after it, not how much less: so it may be done
// twice.
func (y Replayer) download(ctx context.Context, tx db.Tx, d Download, _ time.Time) error {
	raw, err := hex.DecodeString(d.LinkID)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO downloads (link, part, at, client, agent, proven) SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS
		(SELECT 1 FROM downloads WHERE link = $1 AND part = $2 AND at = $3 AND client = $4 AND agent = $5)`,
		raw, d.Part, d.At.UnixMilli(), d.Client, agentText(d.Agent), d.Proven)
	if err == nil {
		err = putAllowances(ctx, tx, raw, d.Left)
	}
	if err == nil {
		err = tell(ctx, tx, raw, d.First, d.At)
	}
	return err
}

func (y Replayer) guard(ctx context.Context, tx db.Tx, fact Guarding, _ time.Time) error {
	var mail []byte
	err := tx.QueryRowContext(ctx, `SELECT mail FROM links WHERE id = $1`, fact.Link[:]).Scan(&mail)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // of a mail that the journal does not have any more
	}
	if err == nil {
		err = stillNamed(ctx, tx, ledger.Key(mail), &fact.Guard)
	}
	if err != nil {
		return fmt.Errorf("guard of link %s: %w", fact.Link, err)
	}
	return setGuard(ctx, tx, fact.Link, &fact.Guard)
}

func (y Replayer) allow(ctx context.Context, tx db.Tx, fact Allowance, _ time.Time) error {
	return putAllowances(ctx, tx, fact.Link[:], fact.Left)
}

// recipientsAt are the addresses at some places of a record, as far as it has
// them: the journal's line about a struck address does not name it.
func recipientsAt(ctx context.Context, tx db.Tx, mail ledger.Key, places []int) (out []string, err error) {
	all, err := recordedRecipients(ctx, tx, mail)
	for _, i := range places {
		if i >= 0 && i < len(all) && all[i] != "" {
			out = append(out, all[i])
		}
	}
	return out, err
}

// stillNamed leaves the recipients in a guard that the mail's record names: when
// a journal is read twice, the record may have lost some already.
func stillNamed(ctx context.Context, tx db.Tx, mail ledger.Key, g *Guard) error {
	if len(g.Recipients) == 0 {
		return nil
	}
	all, err := recordedRecipients(ctx, tx, mail)
	g.Recipients = slices.DeleteFunc(g.Recipients, func(r string) bool { return !slices.Contains(all, r) })
	return err
}

func recordedRecipients(ctx context.Context, tx db.Tx, mail ledger.Key) (all []string, err error) {
	var text string
	err = tx.QueryRowContext(ctx, `SELECT recipients FROM mails WHERE key = $1`, mail[:]).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &all)
	}
	if err != nil {
		return nil, fmt.Errorf("recipients of mail %s: %w", mail, err)
	}
	return all, nil
}

// allowance is what is left of each part of a new link.
func (g *Grant) allowance() sql.NullInt64 {
	return sql.NullInt64{Int64: int64(g.Guard.Downloads), Valid: g.Guard.Downloads > 0}
}
