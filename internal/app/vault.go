package app

// The vault's targets as the configuration has them.

import (
	"fmt"
	"log/slog"
	"time"

	"cloakroom/internal/config"
	"cloakroom/internal/jobs"
	"cloakroom/vault"
	"cloakroom/vault/dir"
	"cloakroom/vault/ftps"
	"cloakroom/vault/sftp"
)

// vaultRetry is how uploads are repeated: sooner than mail is, as the servers
// are our own, and people look for their files.
func vaultRetry(cfg *config.Config) jobs.Retry {
	r := jobs.DefaultRetry()
	r.Job.Min, r.Target.Min = 2*time.Second, 2*time.Second
	r.Target.Max = 2 * time.Minute
	r.MaxAge = cfg.Vault.RetryFor
	return r
}

// Outlet makes the destination of one target. Nothing is connected before it is
// used.
func Outlet(t config.VaultTarget, log *slog.Logger) (*vault.Outlet, error) {
	var d vault.Destination
	var err error
	switch {
	case t.SFTP != nil:
		d, err = sftp.New(*t.SFTP, log)
	case t.FTPS != nil:
		d, err = ftps.New(*t.FTPS)
	default:
		d, err = dir.New(*t.Dir)
	}
	if err != nil {
		return nil, err
	}
	return vault.NewOutlet(d, t.TargetConfig), nil
}

// newVault makes the worker of all targets; nil where there are none.
func newVault(s *Store, cfg *config.Config, log *slog.Logger) (*vault.Worker, error) {
	if len(cfg.Vault.Targets) == 0 {
		return nil, nil
	}
	w := &vault.Worker{DB: s.DB, Jobs: s.Jobs, Blobs: s.Blobs, Targets: make(map[string]*vault.Outlet), Now: time.Now, Log: log}
	for name, t := range cfg.Vault.Targets {
		o, err := Outlet(t, log)
		if err != nil {
			return nil, fmt.Errorf("vault.targets.%s: %w", name, err)
		}
		w.Targets[name] = o
	}
	return w, nil
}
