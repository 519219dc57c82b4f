package sisa

// What keeps a blob from being collected.

import (
	"context"
	"fmt"
	"strings"

	"cloakroom/internal/db"
	"cloakroom/sisa/blob"
)

// Need is a reason to keep a blob.
type Need struct {
	Name string // for people: "vault uploads"
	// SQL is a condition that is true while the blob with the SHA-256 $1, its
	// only parameter, is needed: EXISTS (SELECT …). What it reads must be
	// written in a transaction that also calls Use for the blob, or that keeps
	// the record of a mail locked which needs it.
	SQL string
}

// ownNeeds are those of mails whose original was not given up: their links need
// every linked part, the way back every part that was cut out, and the rest of
// the mail. A link whose mail was retired has ended long before.
var ownNeeds = []Need{
	{"mails", `EXISTS (SELECT 1 FROM parts np JOIN mails nm ON nm.key = np.mail
		WHERE np.sha256 = $1 AND (np.linked = 1 OR np.cut = 1) AND nm.retired IS NULL)`},
	{"originals", `EXISTS (SELECT 1 FROM mails nm WHERE nm.skeleton_blob = $1 AND nm.retired IS NULL)`},
}

// needs is the list of all of them.
type needs []Need

func allNeeds(more []Need) needs { return append(append(needs{}, ownNeeds...), more...) }

// any is the condition that one of them holds for the blob in column.
func (n needs) any(column string) string {
	var parts []string
	for _, one := range n {
		parts = append(parts, "("+strings.ReplaceAll(one.SQL, "$1", column)+")")
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// of lists the names of those that hold for a blob.
func (n needs) of(ctx context.Context, q db.Tx, sum [32]byte) ([]string, error) {
	var names []string
	for _, one := range n {
		var holds int
		err := q.QueryRowContext(ctx, `SELECT CASE WHEN `+one.SQL+` THEN 1 ELSE 0 END`, sum[:]).Scan(&holds)
		if err != nil {
			return nil, fmt.Errorf("who needs blob %x (%s): %w", sum, one.Name, err)
		}
		if holds != 0 {
			names = append(names, one.Name)
		}
	}
	return names, nil
}

// held tells whether any of them holds for a blob.
func (n needs) held(ctx context.Context, q db.Tx, sum [32]byte) (bool, error) {
	var holds int
	if err := q.QueryRowContext(ctx, `SELECT CASE WHEN `+n.any("$1")+` THEN 1 ELSE 0 END`, sum[:]).Scan(&holds); err != nil {
		return false, fmt.Errorf("who needs blob %x: %w", sum, err)
	}
	return holds != 0, nil
}

// Stored lists every blob that a database names, by hash: those with a row, and
// those that mails need whose row was lost.
func Stored(ctx context.Context, q db.Tx) ([]blob.Ref, error) {
	rows, err := q.QueryContext(ctx, `SELECT sha256, MAX(size) FROM (
		SELECT sha256, size FROM blobs
		UNION ALL SELECT p.sha256, p.size FROM parts p JOIN mails m ON m.key = p.mail WHERE (p.linked = 1 OR p.cut = 1) AND m.retired IS NULL
		UNION ALL SELECT skeleton_blob, skeleton_stored FROM mails WHERE skeleton_blob IS NOT NULL AND retired IS NULL
		) named GROUP BY sha256 ORDER BY sha256`)
	if err != nil {
		return nil, fmt.Errorf("list what is stored: %w", err)
	}
	defer rows.Close()
	var out []blob.Ref
	for rows.Next() {
		var raw []byte
		var ref blob.Ref
		if err := rows.Scan(&raw, &ref.Size); err != nil {
			return nil, fmt.Errorf("list what is stored: %w", err)
		}
		copy(ref.SHA256[:], raw)
		out = append(out, ref)
	}
	return out, rows.Err()
}
