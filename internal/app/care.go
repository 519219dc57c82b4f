package app

// Looking after the store: what the commands about links and the store call.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"time"

	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/sisa"
	"cloakroom/sisa/web"
)

// keepRecent is how long the original of a mail is kept in any case: longer
// than copies of it are tried to be sent.
const keepRecent = 14 * 24 * time.Hour

// StoreConfig is the store section of a configuration.
func StoreConfig(*config.Config) sisa.Config { return sisa.DefaultConfig() }

// needs lists what keeps blobs besides mails and their links.
func needs() []sisa.Need { return nil }

// Keeper looks after what is stored.
func (s *Store) Keeper(log *slog.Logger) *sisa.Keeper {
	return &sisa.Keeper{DB: s.DB, Blobs: s.Blobs, Needs: needs(), Recent: keepRecent, Now: time.Now, Log: log}
}

// Actor is who runs this process, for the journal. It is to be asked before
// BecomeOwner. Who came by sudo is named by it.
func Actor() string {
	name := fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); os.Geteuid() == 0 && by != "" && by != name {
		name = fmt.Sprintf("%s (sudo to %s)", strings.ToValidUTF8(by, "\uFFFD"), name)
	}
	return name
}

// LinkURL is the address of a link: who knows it can fetch the files.
func (s *Store) LinkURL(cfg *config.Config, r *sisa.Row) (string, error) {
	token, err := r.Token(s.Secret.Derive(labelLinks))
	if err != nil {
		return "", err
	}
	return web.PageURL(cfg.Web.URL, token), nil
}

// copiesUnderWay is the condition that copies of the mail with the key $1, in
// hex, have yet to be sent.
const copiesUnderWay = `SELECT COUNT(*) FROM jobs WHERE state IN ('waiting', 'running', 'held') AND kind = 'copy'
	AND key LIKE 'copy-' || SUBSTR(CAST($1 AS TEXT), 1, 16) || '-%'`

// Forgetting says what to forget.
type Forgetting struct {
	Keys    []ledger.Key
	Address string // in mails that others got too, only this recipient is struck; "" forgets all of every mail
	Whole   bool   // forget those mails wholly too
	Act     sisa.Act
}

// ForgetResult is what became of each mail.
type ForgetResult struct {
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
			_, err = k.Strike(ctx, key, f.Address, f.Act)
		} else {
			err = s.forgetOne(ctx, k, key, f.Act, r)
		}
		var held *sisa.HeldError
		switch {
		case errors.As(err, &held), errors.Is(err, errCopies):
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

// errCopies says that a mail is still needed.
var errCopies = errors.New("copies of it are still being sent: try again later, or drop them from the queue")

func (s *Store) forgetOne(ctx context.Context, k *sisa.Keeper, key ledger.Key, act sisa.Act, r *ForgetResult) error {
	var n int
	if err := s.DB.Read().QueryRowContext(ctx, copiesUnderWay, key.String()).Scan(&n); err != nil {
		return fmt.Errorf("copies of mail %s: %w", key, err)
	}
	if n > 0 {
		return errCopies
	}
	files, err := k.Forget(ctx, key, act)
	r.Files.Deleted += files.Deleted
	r.Files.Bytes += files.Bytes
	r.Files.Kept += files.Kept
	return err
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

// OthersGot tells whether a mail has recipients besides an address, which did not
// send it.
func OthersGot(m *ledger.Mail, address string) bool {
	if strings.EqualFold(m.Sender, address) {
		return false
	}
	for _, r := range m.Recipients {
		if r != "" && !strings.EqualFold(r, address) {
			return true
		}
	}
	return false
}
