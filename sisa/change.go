package sisa

// Revoking and extending links.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// changesAtOnce is how many links one commit changes: few enough that mail
// does not wait for it.
const changesAtOnce = 64

// Act is who did something, and why; it goes into the journal.
type Act struct {
	By     string `json:"by"` // as the operating system knows them
	Reason string `json:"reason,omitempty"`
}

// Revocation is the journal's line about links that were revoked.
type Revocation struct {
	Links []ledger.Hash `json:"links"`
	At    time.Time     `json:"at"`
	Act
}

// Revoke ends links at once, and tells how many were not revoked before. What
// they led to stays for the time of grace.
func (l *Links) Revoke(ctx context.Context, ids []string, act Act) (revoked int, err error) {
	for part := range slices.Chunk(ids, changesAtOnce) {
		fact := &Revocation{At: l.now(), Act: act}
		err := l.db.Commit(ctx, db.Entry{{Kind: "revoke", Data: fact}}, func(ctx context.Context, tx db.Tx) error {
			fact.Links = nil
			for _, id := range part {
				raw, err := linkID(id)
				if err != nil {
					return err
				}
				res, err := tx.ExecContext(ctx, `UPDATE links SET revoked = $2 WHERE id = $1 AND revoked IS NULL`, raw[:], fact.At.UnixMilli())
				if err != nil {
					return fmt.Errorf("revoke link %s: %w", id, err)
				}
				if n, err := res.RowsAffected(); err != nil {
					return fmt.Errorf("revoke link %s: %w", id, err)
				} else if n > 0 {
					fact.Links = append(fact.Links, raw)
				}
			}
			return nil
		})
		if err != nil {
			return revoked, err
		}
		revoked += len(fact.Links)
	}
	return revoked, nil
}

func linkID(id string) (h ledger.Hash, err error) {
	if err := h.UnmarshalText([]byte(id)); err != nil {
		return h, fmt.Errorf("link id %q is not 64 hex digits", id)
	}
	return h, nil
}

// Term is a new end of links.
type Term struct {
	By      time.Duration // longer by this, from the old end or, if that is past, from now
	Until   time.Time     // or until then
	Forever bool          // or never
}

// apply gives the new end of a link: zero is never. longer is false when the
// link lasts as long already.
func (t Term) apply(old, now time.Time) (end time.Time, longer bool) {
	switch {
	case old.IsZero():
		return old, false
	case t.Forever:
		return time.Time{}, true
	case t.By > 0 && old.Before(now):
		return now.Add(t.By), true
	case t.By > 0:
		return old.Add(t.By), true
	}
	return t.Until, t.Until.After(old)
}

// Extension is what became of one link that was to be extended, and the
// journal's line about it.
type Extension struct {
	Link    ledger.Hash `json:"link"`
	Expires time.Time   `json:"expires,omitzero"` // zero: never
	At      time.Time   `json:"at"`
	Act

	// Refused says why the link stays as it is; "" when it was extended.
	Refused string `json:"refused,omitempty"`
}

// Extend makes links end later. Those that expired work again, as long as their
// files are kept; those that were revoked stay so.
func (l *Links) Extend(ctx context.Context, ids []string, term Term, act Act) ([]Extension, error) {
	var out []Extension
	for _, id := range ids {
		raw, err := linkID(id)
		if err != nil {
			return out, err
		}
		fact := &Extension{Link: raw, At: l.now(), Act: act}
		err = l.db.Commit(ctx, db.Entry{{Kind: "extend", Data: fact}}, func(ctx context.Context, tx db.Tx) (err error) {
			fact.Refused, fact.Expires, err = extend(ctx, tx, raw, term, fact.At)
			return err
		})
		if err != nil {
			return out, err
		}
		out = append(out, *fact)
	}
	return out, nil
}

func extend(ctx context.Context, tx db.Tx, id ledger.Hash, term Term, now time.Time) (refused string, end time.Time, err error) {
	var mail []byte
	err = tx.QueryRowContext(ctx, `SELECT mail FROM links WHERE id = $1`, id[:]).Scan(&mail)
	if errors.Is(err, sql.ErrNoRows) {
		return "no such link", end, nil
	}
	// With the record locked nobody gives up the files meanwhile.
	if err == nil {
		err = ledger.Lock(ctx, tx, ledger.Key(mail))
	}
	var expires, revoked, retired sql.NullInt64
	if err == nil {
		err = tx.QueryRowContext(ctx, `SELECT l.expires, l.revoked, m.retired FROM links l JOIN mails m ON m.key = l.mail WHERE l.id = $1`,
			id[:]).Scan(&expires, &revoked, &retired)
	}
	if err != nil {
		return "", end, fmt.Errorf("extend link %s: %w", id, err)
	}
	old := fromMillis(expires)
	end, longer := term.apply(old, now)
	switch {
	case revoked.Valid:
		return "revoked", old, nil
	case retired.Valid:
		return "its files were deleted on " + fromMillis(retired).Format(time.DateOnly), old, nil
	case !longer:
		return "lasts as long already", old, nil
	}
	if _, err := tx.ExecContext(ctx, `UPDATE links SET expires = $2 WHERE id = $1`, id[:], toMillis(end)); err != nil {
		return "", end, fmt.Errorf("extend link %s: %w", id, err)
	}
	return "", end, nil
}

// Token gives the secret part of a link's URL again.
func (r *Row) Token(key []byte) (string, error) {
	token := Token(key, r.Mail, r.Generation)
	if TokenID(token) != r.ID {
		return "", fmt.Errorf("link %s was made with another secret", r.ID)
	}
	return token, nil
}
