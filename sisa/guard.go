package sisa

// Who may open a link, how often, and whether its sender hears of it.

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cloakroom/internal/db"
	"cloakroom/ledger"
)

// Guard is what stands between a link's address and its files. The zero value
// lets in anyone, any number of times. It is kept with the link, and in the
// journal's line about it.
type Guard struct {
	// ByMail asks for a code that goes to the mailbox of one of Recipients: their
	// addresses in the envelope. With none left nobody is let in.
	ByMail     bool     `json:"by_mail,omitempty"`
	Recipients []string `json:"recipients,omitempty"`
	// Password is what HashPassword made of one that has to be entered, beside
	// the code if there is one; "" asks for none.
	Password string `json:"password,omitempty"`
	// Downloads is how often each file may be fetched, when the link was made; 0
	// is without limit. What is left of it is counted with the files.
	Downloads int `json:"downloads,omitempty"`
	// Notify tells the mail's sender of the first download of each file.
	Notify bool `json:"notify,omitempty"`
	// Fixed tells that an administrator said who may open the link: a mail that
	// comes again does not change it.
	Fixed bool `json:"fixed,omitempty"`
	// Since is when that was said, in milliseconds since 1970: whoever was let in
	// before has to prove himself again. 0 is never.
	Since int64 `json:"since,omitempty"`
}

// ErrGuard says that it is not known who may open a link: so nobody may.
var ErrGuard = errors.New("it is not known who may open the link")

// Access is the guard in words: anyone, recipients, password, or the last two.
func (g *Guard) Access() string {
	switch {
	case g.ByMail && g.Password != "":
		return "recipients and password"
	case g.ByMail:
		return "recipients"
	case g.Password != "":
		return "password"
	}
	return "anyone"
}

// with is g, asking for what o asks too. The number of downloads and the notice
// to the sender stay as they were at first sight.
func (g Guard) with(o Guard) Guard {
	g.ByMail = g.ByMail || o.ByMail
	if g.Password == "" {
		g.Password = o.Password
	}
	g.Recipients = slices.Clone(g.Recipients)
	for _, address := range o.Recipients {
		if !slices.ContainsFunc(g.Recipients, func(r string) bool { return strings.EqualFold(r, address) }) {
			g.Recipients = append(g.Recipients, address)
		}
	}
	slices.Sort(g.Recipients)
	return g
}

// Equal tells whether two guards ask for the same.
func (g *Guard) Equal(o *Guard) bool {
	return g.ByMail == o.ByMail && g.Password == o.Password && g.Downloads == o.Downloads && g.Notify == o.Notify &&
		g.Fixed == o.Fixed && g.Since == o.Since && slices.Equal(g.Recipients, o.Recipients)
}

// guardText is the column of a guard.
func guardText(g *Guard) (string, error) {
	text, err := json.Marshal(g)
	return string(text), err
}

// readGuard reads the column. A link without one was stored by something that
// knows nothing of guards: it stays closed.
func readGuard(text sql.NullString) (g Guard, err error) {
	if !text.Valid {
		return g, ErrGuard
	}
	if err := json.Unmarshal([]byte(text.String), &g); err != nil {
		return Guard{}, fmt.Errorf("%w: %w", ErrGuard, err)
	}
	return g, nil
}

// Guard tells who may open a link. ErrNotFound, ErrGuard.
func (l *Links) Guard(ctx context.Context, id string) (Guard, error) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 32 {
		return Guard{}, ErrNotFound
	}
	return guardOf(ctx, l.db.Read(), raw)
}

// Admission is what people may know of a link's guard: all but its password.
type Admission struct {
	Who        string   `json:"who"`                  // as Guard.Access has it, or nobody
	Recipients []string `json:"recipients,omitempty"` // whose mailbox a code goes to
	Downloads  int      `json:"downloads,omitempty"`  // of each file, when the link was made; 0: without limit
	Left       []Left   `json:"left,omitempty"`
	Notify     bool     `json:"notify,omitempty"` // the sender hears of the first download
	ByAdmin    bool     `json:"by_admin,omitempty"`
}

// Admission tells who may open a link, how often, and who hears of it.
func (l *Links) Admission(ctx context.Context, id string) (Admission, error) {
	g, err := l.Guard(ctx, id)
	if errors.Is(err, ErrGuard) {
		return Admission{Who: "nobody"}, nil
	}
	if err != nil {
		return Admission{}, err
	}
	left, err := l.Left(ctx, id)
	return Admission{Who: g.Access(), Recipients: g.Recipients, Downloads: g.Downloads, Left: left, Notify: g.Notify, ByAdmin: g.Fixed}, err
}

func guardOf(ctx context.Context, q db.Tx, link []byte) (Guard, error) {
	var text sql.NullString
	err := q.QueryRowContext(ctx, `SELECT guard FROM links WHERE id = $1`, link).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return Guard{}, ErrNotFound
	}
	if err != nil {
		return Guard{}, fmt.Errorf("guard of link %x: %w", link, err)
	}
	g, err := readGuard(text)
	if err != nil {
		return Guard{}, fmt.Errorf("guard of link %x: %w", link, err)
	}
	return g, nil
}

func setGuard(ctx context.Context, tx db.Tx, link ledger.Hash, g *Guard) error {
	text, err := guardText(g)
	if err == nil {
		_, err = tx.ExecContext(ctx, `UPDATE links SET guard = $2 WHERE id = $1`, link[:], text)
	}
	if err != nil {
		return fmt.Errorf("guard of link %s: %w", link, err)
	}
	return nil
}

// Access is who may open a link from now on.
type Access struct {
	ByMail   bool   // its mail's recipients, by a code
	Password string // made by HashPassword; "" asks for none
}

// Guarding is the journal's line about a link that an administrator opened or
// closed.
type Guarding struct {
	Link  ledger.Hash `json:"link"`
	Guard Guard       `json:"guard"`
	At    int64       `json:"at"` // milliseconds since 1970
	Act
}

// Protect says who may open links from now on; whoever was let in before has to
// prove himself again. Addresses of downloads that were given out before work
// for their short time.
func (l *Links) Protect(ctx context.Context, ids []string, a Access, act Act) error {
	for _, id := range ids {
		raw, err := linkID(id)
		if err != nil {
			return err
		}
		fact := &Guarding{Link: raw, At: l.now().UnixMilli(), Act: act}
		err = l.db.Commit(ctx, db.Entry{{Kind: "guard", Data: fact}}, func(ctx context.Context, tx db.Tx) (err error) {
			fact.Guard, err = protect(ctx, tx, raw, a, fact.At)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func protect(ctx context.Context, tx db.Tx, link ledger.Hash, a Access, at int64) (Guard, error) {
	var mail []byte
	err := tx.QueryRowContext(ctx, `SELECT mail FROM links WHERE id = $1`, link[:]).Scan(&mail)
	if errors.Is(err, sql.ErrNoRows) {
		return Guard{}, fmt.Errorf("link %s: %w", link, ErrNotFound)
	}
	if err == nil { // a mail that comes again waits
		err = ledger.Lock(ctx, tx, ledger.Key(mail))
	}
	if err != nil {
		return Guard{}, fmt.Errorf("protect link %s: %w", link, err)
	}
	g, err := guardOf(ctx, tx, link[:])
	if err != nil && !errors.Is(err, ErrGuard) {
		return Guard{}, err
	}
	if a.ByMail && !g.ByMail {
		if g.Recipients, err = recipientsOf(ctx, tx, mail); err != nil {
			return Guard{}, fmt.Errorf("protect link %s: %w", link, err)
		}
	}
	if !a.ByMail {
		g.Recipients = nil
	}
	g.ByMail, g.Password, g.Fixed, g.Since = a.ByMail, a.Password, true, at
	return g, setGuard(ctx, tx, link, &g)
}

// recipientsOf lists whom a mail went to.
func recipientsOf(ctx context.Context, tx db.Tx, mail []byte) ([]string, error) {
	all, err := recordedRecipients(ctx, tx, ledger.Key(mail))
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(r string) bool { return r == "" }), err
}

// strikeGuards takes an address, or all of @domain, out of the guards of a mail's
// links, and out of their list of downloads; all addresses, if it is "".
func strikeGuards(ctx context.Context, tx db.Tx, mail ledger.Key, address string) error {
	rows, err := tx.QueryContext(ctx, `SELECT id, guard FROM links WHERE mail = $1 AND guard <> '{}'`, mail[:])
	if err != nil {
		return fmt.Errorf("guards of mail %s: %w", mail, err)
	}
	defer rows.Close()
	changed := make(map[ledger.Hash]Guard)
	for rows.Next() {
		var id []byte
		var text sql.NullString
		if err := rows.Scan(&id, &text); err != nil {
			return fmt.Errorf("guards of mail %s: %w", mail, err)
		}
		g, err := readGuard(text)
		if err != nil {
			continue // closed, and names nobody that could be read
		}
		n := len(g.Recipients)
		g.Recipients = slices.DeleteFunc(g.Recipients, func(r string) bool { return address == "" || ledger.SameAddress(address, r) })
		if len(g.Recipients) < n {
			changed[ledger.Hash(id)] = g
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fmt.Errorf("guards of mail %s: %w", mail, err)
	}
	for id, g := range changed {
		if err := setGuard(ctx, tx, id, &g); err != nil {
			return err
		}
	}
	return strikeDownloads(ctx, tx, mail, address)
}

// strikeDownloads is strikeGuards for the list of downloads. What is the same
// address is not for SQL to say, which knows upper case of ASCII only.
func strikeDownloads(ctx context.Context, tx db.Tx, mail ledger.Key, address string) error {
	all, err := provenOf(ctx, tx, mail)
	for _, proven := range all {
		if err == nil && ledger.SameAddress(address, proven) {
			_, err = tx.ExecContext(ctx, `UPDATE downloads SET proven = '' WHERE proven = $2 AND link IN (SELECT id FROM links WHERE mail = $1)`, mail[:], proven)
		}
	}
	if err != nil {
		return fmt.Errorf("downloads of mail %s: %w", mail, err)
	}
	return nil
}

// provenOf lists what visitors of a mail's links had to prove, each once.
func provenOf(ctx context.Context, tx db.Tx, mail ledger.Key) (out []string, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT DISTINCT proven FROM downloads WHERE proven <> '' AND link IN (SELECT id FROM links WHERE mail = $1)`, mail[:])
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var proven string
		if err := rows.Scan(&proven); err != nil {
			return nil, err
		}
		out = append(out, proven)
	}
	return out, rows.Err()
}
