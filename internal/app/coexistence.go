package app

// What the commands about co-existence take from the configuration.

import (
	"context"
	"log/slog"

	"cloakroom/internal/coexist"
	"cloakroom/internal/config"
	"cloakroom/policy/directory"
	"cloakroom/policy/forward"
)

// CheckCoexistence compares DNS with the configuration for one shared domain.
// Nothing is written. The error is coexist.ErrNoRoute for a domain without a
// route.
func CheckCoexistence(ctx context.Context, cfg *config.Config, resolver *coexist.Resolver, domain string, opt coexist.Options) (*coexist.Report, error) {
	users, err := OpenUsers(cfg.Directory, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer users.Close()
	if name, err := config.NormalizeDomain(domain); err == nil {
		domain = name
	}
	set := coexist.Settings{Hostname: cfg.Hostname, Domains: cfg.Domains, Routes: cfg.Coexistence,
		Files: cfg.CoexistenceFiles(), Submit: cfg.Submit.SMTP != "", Observe: cfg.Mode == config.ModeObserve}
	if users.source != nil {
		set.Users = func(ctx context.Context, yield func(forward.User) bool) error {
			return users.All(ctx, func(u *directory.User) bool {
				return yield(forward.User{Address: u.Address, Aliases: u.Aliases, Groups: u.Groups})
			})
		}
	}
	return coexist.Check(ctx, resolver, set, domain, opt)
}
