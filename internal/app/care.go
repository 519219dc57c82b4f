package app

// Looking after the store: what the commands about links and the store call.

import (
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"time"

	"cloakroom/internal/config"
	"cloakroom/sisa"
	"cloakroom/sisa/web"
	"cloakroom/vault"
)

// keepRecent is how long the original of a mail is kept in any case: longer
// than copies of it are tried to be sent.
const keepRecent = 14 * 24 * time.Hour

// StoreConfig is the store section of a configuration.
func StoreConfig(cfg *config.Config) sisa.Config { return cfg.Store }

// needs lists what keeps blobs besides mails and their links.
func needs() []sisa.Need { return []sisa.Need{{Name: "vault uploads", SQL: vault.Needed}} }

// Keeper looks after what is stored.
func (s *Store) Keeper(log *slog.Logger) *sisa.Keeper {
	return &sisa.Keeper{DB: s.DB, Blobs: s.Blobs, Needs: needs(), Recent: keepRecent, Forgets: forgetJobs, Now: time.Now, Log: log}
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
