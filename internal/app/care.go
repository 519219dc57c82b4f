package app

// Looking after the store: what the commands about links and the store call.

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"time"

	"cloakroom/internal/config"
	"cloakroom/message"
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

// AuditedGC collects on somebody's order, which is remembered unless nothing is
// deleted.
func (s *Store) AuditedGC(ctx context.Context, o sisa.GCOptions, actor string, log *slog.Logger) (r sisa.GCResult, err error) {
	if o.DryRun {
		return s.Keeper(log).Collect(ctx, o)
	}
	err = s.Audited(ctx, actor, "collect garbage", "older than "+config.FormatDuration(o.Grace), func(ctx context.Context) (string, error) {
		var err error
		r, err = s.Keeper(log).Collect(ctx, o)
		return fmt.Sprintf("%d files deleted, %s", r.Blobs, message.FormatSize(r.Bytes)), err
	})
	return r, err
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
