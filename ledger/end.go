package ledger

// How records end: the original is given up, or the whole record forgotten.

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/db"
)

// ErrRetired is returned for the original of a mail that was given up: its
// links had ended, and the time of grace after them.
var ErrRetired = errors.New("the original of the mail was given up")

// Lock keeps every other change of the record away until the transaction ends.
// What is then read about the mail in further statements stays true. ErrNotFound.
func Lock(ctx context.Context, tx db.Tx, key Key) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM mails WHERE key = $1 FOR UPDATE`, key[:]).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("lock mail %s: %w", key, err)
	}
	return nil
}

// Retire gives up the original of a mail: nothing refers to its bytes any more.
// A mail that comes again is recorded anew. The record is locked by the caller.
func Retire(ctx context.Context, tx db.Tx, key Key, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE mails SET retired = $2, skeleton = NULL, skeleton_blob = NULL, skeleton_stored = 0
		WHERE key = $1 AND retired IS NULL`, key[:], now.UnixMilli())
	if err != nil {
		return fmt.Errorf("retire mail %s: %w", key, err)
	}
	return nil
}

// Forget empties a record: who, what and when are gone; the key, a hash, stays,
// so that the mail's links remain unknown. The record is locked by the caller.
func Forget(ctx context.Context, tx db.Tx, key Key, now time.Time) error {
	list, err := recipients(ctx, tx, key)
	if err != nil {
		return err
	}
	if err := dropRecipients(ctx, tx, key, list, nil); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE mails SET queue_id = '', message_id = '', subject = '', sender = '', recipients = '[]',
		auth_user = '', client = '', size = 0, digest = $3, skeleton = NULL, skeleton_blob = NULL, skeleton_stored = 0,
		skeleton_header = 0, header_sum = NULL, retired = COALESCE(retired, $2), forgotten = $2 WHERE key = $1`,
		key[:], now.UnixMilli(), make([]byte, len(Hash{})))
	if err == nil {
		_, err = tx.ExecContext(ctx, `DELETE FROM parts WHERE mail = $1`, key[:])
	}
	if err != nil {
		return fmt.Errorf("forget mail %s: %w", key, err)
	}
	return nil
}

// Forgotten lists the mails whose records were emptied.
func Forgotten(ctx context.Context, q db.Tx) (keys []Key, err error) {
	rows, err := q.QueryContext(ctx, `SELECT key FROM mails WHERE forgotten IS NOT NULL ORDER BY key`)
	if err != nil {
		return nil, fmt.Errorf("list forgotten mails: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("list forgotten mails: %w", err)
		}
		keys = append(keys, Key(raw))
	}
	return keys, rows.Err()
}

// Contents lists the hashes of what a record names: its parts, and the blob of its
// skeleton. It reads the oldest of databases.
func Contents(ctx context.Context, q db.Tx, key Key) (sums [][32]byte, err error) {
	rows, err := q.QueryContext(ctx, `SELECT sha256 FROM parts WHERE mail = $1
		UNION SELECT skeleton_blob FROM mails WHERE key = $1 AND skeleton_blob IS NOT NULL`, key[:])
	if err != nil {
		return nil, fmt.Errorf("contents of mail %s: %w", key, err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		var sum [32]byte
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("contents of mail %s: %w", key, err)
		}
		copy(sum[:], raw)
		sums = append(sums, sum)
	}
	return sums, rows.Err()
}

// Keepers lists the mails that have a file as a part which was taken out of them. It
// reads the oldest of databases.
func Keepers(ctx context.Context, q db.Tx, sum [32]byte) (keys []Key, err error) {
	rows, err := q.QueryContext(ctx, `SELECT DISTINCT mail FROM parts WHERE sha256 = $1 AND (linked = 1 OR cut = 1)`, sum[:])
	if err != nil {
		return nil, fmt.Errorf("mails with file %x: %w", sum, err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return nil, fmt.Errorf("mails with file %x: %w", sum, err)
		}
		keys = append(keys, Key(raw))
	}
	return keys, rows.Err()
}

// SameAddress tells whether an address is the one that is meant, or in the domain
// that is meant by @domain. Case does not matter.
func SameAddress(meant, address string) bool {
	if strings.HasPrefix(meant, "@") && len(address) > len(meant) {
		address = address[len(address)-len(meant):]
	}
	return strings.EqualFold(meant, address)
}

// Strike takes an address, or all of @domain, out of the recipients of a record.
// Their places stay, empty. It tells which places those were. The record is locked
// by the caller.
func Strike(ctx context.Context, tx db.Tx, key Key, address string) (places []int, err error) {
	list, err := recipients(ctx, tx, key)
	if err != nil {
		return nil, err
	}
	left := slices.Clone(list)
	for i, r := range list {
		if r != "" && SameAddress(address, r) {
			left[i] = ""
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return nil, nil
	}
	return places, putRecipients(ctx, tx, key, list, left)
}

// StrikePlaces empties places in the recipients of a record, as Strike told
// them. Those that the record does not have are passed over.
func StrikePlaces(ctx context.Context, tx db.Tx, key Key, places []int) error {
	if len(places) == 0 {
		return nil
	}
	list, err := recipients(ctx, tx, key)
	if err != nil {
		return err
	}
	left := slices.Clone(list)
	for _, i := range places {
		if i >= 0 && i < len(left) {
			left[i] = ""
		}
	}
	return putRecipients(ctx, tx, key, list, left)
}

func recipients(ctx context.Context, tx db.Tx, key Key) (list []string, err error) {
	var text string
	err = tx.QueryRowContext(ctx, `SELECT recipients FROM mails WHERE key = $1`, key[:]).Scan(&text)
	if err == nil {
		err = json.Unmarshal([]byte(text), &list)
	}
	if err != nil {
		return nil, fmt.Errorf("recipients of mail %s: %w", key, err)
	}
	return list, nil
}

// putRecipients writes those that are left of them.
func putRecipients(ctx context.Context, tx db.Tx, key Key, list, left []string) error {
	text, err := json.Marshal(left)
	if err == nil {
		_, err = tx.ExecContext(ctx, `UPDATE mails SET recipients = $2 WHERE key = $1`, key[:], string(text))
	}
	if err != nil {
		return fmt.Errorf("recipients of mail %s: %w", key, err)
	}
	return dropRecipients(ctx, tx, key, list, left)
}
