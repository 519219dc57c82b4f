package app

// Deletion on demand, over all that is kept about a mail.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"cloakroom/flow"
	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/sisa"
	"cloakroom/vault"
)

// What the queue has about the copies of a mail: a copy's key begins with the
// first 16 digits of its mail's key in hex: it matches $3, and lies between $1 and
// $2, where an index finds it.
const (
	copiesOf       = `kind = '` + flow.JobCopy + `' AND key BETWEEN $1 AND $2 AND key LIKE $3`
	copiesUnderWay = `SELECT COUNT(*) FROM jobs WHERE ` + copiesOf + ` AND state IN ('waiting', 'running', 'held')`
	forgetCopies   = `DELETE FROM jobs WHERE ` + copiesOf
	forgetReceipts = `DELETE FROM jobs WHERE kind = '` + flow.JobReceipt + `' AND key BETWEEN $1 AND $2 AND key LIKE $3`
)

// jobRange are the arguments of these.
func jobRange(kind string, key ledger.Key) []any {
	begin := kind + "-" + key.String()[:16] + "-"
	return []any{begin, begin + "g", begin + "%"} // g is behind every hex digit
}

// errUnderWay says that a mail is still needed.
var errUnderWay = errors.New("copies of it are still being sent or uploaded: try again later, or drop them from the queue")

// errNotThere says that a mail has nothing of an address any more.
var errNotThere = errors.New("the address is not among its recipients")

// forgetJobs deletes what the queue and the vault's list tell of a mail. Uploads
// that wait are dropped; files that are in a vault stay there.
func forgetJobs(ctx context.Context, tx db.Tx, key ledger.Key) error {
	uploads, err := vault.UnderWay(ctx, tx, key)
	if err != nil {
		return err
	}
	var copies int
	if err := tx.QueryRowContext(ctx, copiesUnderWay, jobRange(flow.JobCopy, key)...).Scan(&copies); err != nil {
		return fmt.Errorf("copies of mail %s: %w", key, err)
	}
	if uploads+copies > 0 {
		return errUnderWay
	}
	return forgetAllJobs(ctx, tx, key)
}

// forgetAllJobs is forgetJobs whatever is under way.
func forgetAllJobs(ctx context.Context, tx db.Tx, key ledger.Key) error {
	for kind, text := range map[string]string{flow.JobCopy: forgetCopies, flow.JobReceipt: forgetReceipts} {
		if _, err := tx.ExecContext(ctx, text, jobRange(kind, key)...); err != nil {
			return fmt.Errorf("copies of mail %s: %w", key, err)
		}
	}
	return vault.ForgetMail(ctx, tx, key)
}

// Forgetting says what to forget.
type Forgetting struct {
	Keys    []ledger.Key
	Address string // in mails that others got too, only this recipient is struck; "" forgets all of every mail
	Whole   bool   // forget those mails wholly too
	Act     sisa.Act
}

// ForgetResult is what became of each mail.
type ForgetResult struct {
	DryRun    bool           `json:"dry_run,omitempty"` // nothing was done; files are not counted
	Forgotten []ledger.Key   `json:"forgotten"`
	Struck    []ledger.Key   `json:"struck"` // the address was taken out of these
	Refused   []RefusedMail  `json:"refused"`
	Files     sisa.Forgotten `json:"files"`
}

// RefusedMail is a mail that stays as it is, and why.
type RefusedMail struct {
	Mail   ledger.Key `json:"mail"`
	Reason string     `json:"reason"`
}

// Forget deletes mails on demand. What cannot be deleted is told; an error means
// that the rest was not tried.
func (s *Store) Forget(ctx context.Context, f Forgetting, log *slog.Logger) (*ForgetResult, error) {
	k := s.Keeper(log)
	r := &ForgetResult{Forgotten: []ledger.Key{}, Struck: []ledger.Key{}, Refused: []RefusedMail{}}
	for _, key := range f.Keys {
		only, err := s.strikeOnly(ctx, key, f)
		if err != nil {
			return r, err
		}
		if only {
			var struck bool
			if struck, err = k.Strike(ctx, key, f.Address, f.Act); err == nil && !struck {
				err = errNotThere
			}
		} else {
			var files sisa.Forgotten
			files, err = k.Forget(ctx, key, f.Act)
			r.Files.Deleted += files.Deleted
			r.Files.Bytes += files.Bytes
			r.Files.Kept += files.Kept
		}
		var held *sisa.HeldError
		switch {
		case errors.As(err, &held), errors.Is(err, errUnderWay), errors.Is(err, errNotThere):
			r.Refused = append(r.Refused, RefusedMail{key, err.Error()})
		case err != nil:
			return r, err
		case only:
			r.Struck = append(r.Struck, key)
		default:
			r.Forgotten = append(r.Forgotten, key)
		}
	}
	return r, nil
}

// WouldForget tells what Forget would do, as far as that can be seen before.
func (s *Store) WouldForget(ctx context.Context, f Forgetting) (*ForgetResult, error) {
	r := &ForgetResult{DryRun: true, Forgotten: []ledger.Key{}, Struck: []ledger.Key{}, Refused: []RefusedMail{}}
	for _, key := range f.Keys {
		matters, err := sisa.Holders(ctx, s.DB.Read(), key)
		if err != nil {
			return r, err
		}
		only, err := s.strikeOnly(ctx, key, f)
		switch {
		case err != nil:
			return r, err
		case len(matters) > 0:
			r.Refused = append(r.Refused, RefusedMail{key, (&sisa.HeldError{Mail: key, Matters: matters}).Error()})
		case only:
			r.Struck = append(r.Struck, key)
		default:
			r.Forgotten = append(r.Forgotten, key)
		}
	}
	return r, nil
}

// strikeOnly tells whether a mail stays but for the address: others got it too.
func (s *Store) strikeOnly(ctx context.Context, key ledger.Key, f Forgetting) (bool, error) {
	if f.Address == "" || f.Whole {
		return false, nil
	}
	m, err := ledger.Get(ctx, s.DB.Read(), key)
	if err != nil {
		return false, err
	}
	return OthersGot(m, f.Address), nil
}

// OthersGot tells whether a mail has recipients besides an address (or @domain),
// which did not send it.
func OthersGot(m *ledger.Mail, address string) bool {
	if ledger.SameAddress(address, m.Sender) {
		return false
	}
	for _, r := range m.Recipients {
		if r != "" && !ledger.SameAddress(address, r) {
			return true
		}
	}
	return false
}
