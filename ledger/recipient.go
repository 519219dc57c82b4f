package ledger

// Who got what, by address: the record of a mail has its recipients in one text,
// which no index finds one of.

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cloakroom/internal/db"
)

// domainOf and localOf are an address's parts in SQL, on both databases: what
// stands behind the last @, and before it. Without an @ all of it is the domain.
func domainOf(column string) string {
	return "SUBSTR(" + column + ", LENGTH(" + withAt(column) + ") + 1)"
}

func localOf(column string) string { return withAt(column) }

// withAt is the local part with its @: all that is not one is trimmed from the end.
func withAt(column string) string { return "RTRIM(" + column + ", REPLACE(" + column + ", '@', ''))" }

// addressParts is the same of a text: the local part has its @.
func addressParts(address string) (local, domain string) {
	at := strings.LastIndexByte(address, '@') + 1
	return address[:at], address[at:]
}

// asRecorded is an address as it comes back from the record, which is JSON: each
// byte that is no text is one character there.
func asRecorded(address string) string { return clean(string([]rune(address))) }

// recipientsAtOnce are stored by one statement.
const recipientsAtOnce = 100

// addRecipients makes the recipients of a mail found by their addresses.
func addRecipients(ctx context.Context, tx db.Tx, key Key, list []string) error {
	var known []string
	for _, r := range list {
		if r != "" {
			known = append(known, asRecorded(r))
		}
	}
	slices.Sort(known) // all nodes lock the rows in one order
	for part := range slices.Chunk(slices.Compact(known), recipientsAtOnce) {
		c := Conditions{}
		mail := c.Arg(key[:])
		rows := make([]string, len(part))
		for i, r := range part {
			local, domain := addressParts(r)
			rows[i] = fmt.Sprintf("(LOWER(%s), LOWER(%s), %s)", c.Arg(domain), c.Arg(local), mail)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO recipients (domain, local, mail) VALUES `+strings.Join(rows, ", ")+` ON CONFLICT DO NOTHING`, c.Args...)
		if err != nil {
			return fmt.Errorf("recipients of mail %s: %w", key, err)
		}
	}
	return nil
}

// dropRecipients has a mail not found any more by addresses that are in before
// and not in after.
func dropRecipients(ctx context.Context, tx db.Tx, key Key, before, after []string) error {
	for _, r := range before {
		if r == "" || slices.ContainsFunc(after, func(other string) bool { return strings.EqualFold(other, r) }) {
			continue
		}
		local, domain := addressParts(asRecorded(r))
		_, err := tx.ExecContext(ctx, `DELETE FROM recipients WHERE domain = LOWER($1) AND local = LOWER($2) AND mail = $3`, domain, local, key[:])
		if err != nil {
			return fmt.Errorf("recipients of mail %s: %w", key, err)
		}
	}
	return nil
}
