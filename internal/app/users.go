package app

import (
	"context"
	"fmt"
	"log/slog"

	"cloakroom/flow"
	"cloakroom/policy/directory"
)

// Users is the directory that a configuration names: a file, an LDAP server
// behind a cache, or nobody.
type Users struct {
	source directory.Source // nil: nobody is known
	file   *directory.File  // of these one at most
	ldap   *directory.LDAP
}

var _ flow.Directory = (*Users)(nil)

// OpenUsers opens the directory. An LDAP server need not answer yet.
func OpenUsers(cfg directory.Config, log *slog.Logger) (*Users, error) {
	u := new(Users)
	var err error
	switch {
	case cfg.File != "":
		if u.file, err = directory.OpenFile(cfg.File, cfg.Subaddress, log); err != nil {
			return nil, fmt.Errorf("directory.file: %w", err)
		}
		u.source = u.file
	case cfg.UsesLDAP():
		if u.ldap, err = directory.OpenLDAP(cfg.LDAP, cfg.Subaddress, log); err != nil {
			return nil, fmt.Errorf("directory: %w", err)
		}
		u.source = directory.NewCached(u.ldap, cfg.Cache, log)
	}
	return u, nil
}

// Lookup implements flow.Directory.
func (u *Users) Lookup(ctx context.Context, addresses []string) (map[string]*directory.User, error) {
	if u.source == nil {
		return nil, nil
	}
	return u.source.Lookup(ctx, addresses)
}

// Reload reads a file of users again; on an error the users read before stay.
func (u *Users) Reload() error {
	if u.file == nil {
		return nil
	}
	return u.file.Reload()
}

// Close ends what OpenUsers began.
func (u *Users) Close() {
	if u.ldap != nil {
		u.ldap.Close()
	}
}
