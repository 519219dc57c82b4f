package ledger

// Finding the mails that a filter selects, among ten million. A database cannot
// know whether few or many mails have an address, and so whether it is quicker
// to look for them by an index or to look through the newest: it is counted here.

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"cloakroom/internal/db"
)

// FindAtOnce is how many keys stand in one statement.
const FindAtOnce = 500

// Narrow finds by an index the mails among which are all that f selects; Where
// tells which of them. ok is false where no index has to do with f, or where
// there are more than most: then many are among the newest. 0 is any number.
func (f Filter) Narrow(ctx context.Context, q db.Tx, most int) (keys []Key, ok bool, err error) {
	for _, way := range f.ways() {
		text := way.text
		if most > 0 {
			text += " LIMIT " + way.c.Arg(most+1)
		}
		if keys, err = readKeys(ctx, q, text, way.c.Args); err != nil {
			return nil, false, err
		}
		if most == 0 || len(keys) <= most {
			slices.SortFunc(keys, func(a, b Key) int { return slices.Compare(a[:], b[:]) })
			return slices.Compact(keys), true, nil
		}
	}
	return nil, false, nil
}

// ByPartOfName tells that of f's conditions that an index answers the only one is
// about a part of a file's name.
func (f Filter) ByPartOfName() bool {
	return strings.ContainsAny(f.File, "*?") && f.Mail == "" && f.Sender == "" && f.Recipient == "" && f.Address == ""
}

// way is a query that an index answers.
type way struct {
	text string
	c    Conditions
}

// ways are those of f, the one that is likely to find least first.
func (f Filter) ways() []*way {
	var out []*way
	add := func(make func(c *Conditions) string) {
		w := &way{}
		w.text = make(&w.c)
		out = append(out, w)
	}
	if f.Mail != "" {
		add(func(c *Conditions) string { return `SELECT m.key FROM mails m WHERE ` + mailIs(c, f.Mail) })
	}
	if f.Recipient != "" {
		add(func(c *Conditions) string { return keysOfRecipient(c, f.Recipient) })
	}
	if f.Sender != "" {
		add(func(c *Conditions) string { return keysOfSender(c, f.Sender) })
	}
	if f.Address != "" {
		add(func(c *Conditions) string {
			return `SELECT key FROM (` + keysOfSender(c, f.Address) + ` UNION ALL ` + keysOfRecipient(c, f.Address) + `) AS both_ways`
		})
	}
	if f.File != "" {
		add(func(c *Conditions) string {
			return `SELECT fp.mail FROM parts fp WHERE fp.linked = 1 AND ` + fileIs(c, f.File)
		})
	}
	return out
}

// keysOfSender and keysOfRecipient take an address or @domain.
func keysOfSender(c *Conditions, address string) string {
	if address == NullSender {
		address = ""
	}
	local, domain := addressParts(address)
	text := `SELECT m.key AS key FROM mails m WHERE ` + domainOf("LOWER(m.sender)") + ` = LOWER(` + c.Arg(domain) + `)`
	if local == "@" {
		return text
	}
	return text + ` AND LOWER(m.sender) = LOWER(` + c.Arg(address) + `)`
}

func keysOfRecipient(c *Conditions, address string) string {
	local, domain := addressParts(address)
	text := `SELECT rc.mail AS key FROM recipients rc WHERE rc.domain = LOWER(` + c.Arg(domain) + `)`
	if local == "@" {
		return text
	}
	return text + ` AND rc.local = LOWER(` + c.Arg(local) + `)`
}

// Find lists the mails that a filter selects, the oldest first. Mails that were
// forgotten are none.
func Find(ctx context.Context, q db.Tx, f Filter) ([]Key, error) {
	near, ok, err := f.Narrow(ctx, q, 0)
	if err != nil {
		return nil, err
	}
	if !ok {
		return findAll(ctx, q, f)
	}
	var all []dated
	for part := range slices.Chunk(near, FindAtOnce) {
		if all, err = findAmong(ctx, q, f, part, all); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b dated) int { return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.key[:], b.key[:])) })
	var out []Key
	for _, one := range all {
		out = append(out, one.key)
	}
	return out, nil
}

// dated is a mail and when it came, in milliseconds.
type dated struct {
	key Key
	at  int64
}

// findAmong adds to all those of some mails that f selects.
func findAmong(ctx context.Context, q db.Tx, f Filter, keys []Key, all []dated) ([]dated, error) {
	var c Conditions
	c.AndIn("m.key", keys)
	f.Where(&c, "m.received")
	c.And("m.forgotten IS NULL")
	rows, err := q.QueryContext(ctx, `SELECT m.key, m.received FROM mails m WHERE `+c.String(), c.Args...)
	if err != nil {
		return nil, fmt.Errorf("find mails: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		var one dated
		if err := rows.Scan(&raw, &one.at); err != nil {
			return nil, fmt.Errorf("find mails: %w", err)
		}
		copy(one.key[:], raw)
		all = append(all, one)
	}
	return all, rows.Err()
}

// findAll looks through all mails, in the order of time.
func findAll(ctx context.Context, q db.Tx, f Filter) ([]Key, error) {
	var c Conditions
	f.Where(&c, "m.received")
	c.And("m.forgotten IS NULL")
	return readKeys(ctx, q, `SELECT m.key FROM mails m WHERE `+c.String()+` ORDER BY m.received, m.key`, c.Args)
}

func readKeys(ctx context.Context, q db.Tx, text string, args []any) ([]Key, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("find mails: %w", err)
	}
	defer rows.Close()
	var out []Key
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("find mails: %w", err)
		}
		out = append(out, Key(raw))
	}
	return out, rows.Err()
}

// AndIn adds the condition that a column is one of keys.
func (c *Conditions) AndIn(column string, keys []Key) {
	list := make([]string, len(keys))
	for i, key := range keys {
		list[i] = c.Arg(key[:])
	}
	c.And("%s IN (%s)", column, strings.Join(list, ", "))
}
