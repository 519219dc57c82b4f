package app

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/spool"
	"cloakroom/message"
	"cloakroom/milter"
	"cloakroom/policy/forward"
	"cloakroom/sisa"
	"cloakroom/sisa/web"
)

// settings is what the flow takes from a configuration. url is the address of
// the pages that are served: it is fixed at start, whatever a reload says.
func settings(cfg *config.Config, url string, routes *forward.Routes) *flow.Settings {
	return &flow.Settings{
		Routes: routes, Splits: cfg.Submit.SMTP != "",
		Domains:       cfg.Domains,
		Trusted:       cfg.Trusted,
		Verifiers:     cfg.Verifiers,
		Observe:       cfg.Mode == config.ModeObserve,
		AcceptOnError: cfg.Milter.OnError == config.OnErrorAccept,
		DeferWhenLow:  cfg.Store.WhenLow == sisa.LowDefer,
		Policy:        cfg.Policy(),
		Wording:       cfg.Wording(),
		LinkPasswords: cfg.LinkPasswords(),
		PageURL:       func(token string) string { return web.PageURL(url, token) },
	}
}

// NewEngine makes the flow over an open store. current gives the
// configuration in force.
func NewEngine(s *Store, current func() *config.Config, users *Users, log *slog.Logger) (*flow.Engine, error) {
	dir, err := spool.OpenDir(filepath.Join(s.Dir, spoolName))
	if err != nil {
		return nil, err
	}
	url, splits := current().Web.URL, current().Submit.SMTP != ""
	shots, err := newSnapshots(current, s.Brake, func(cfg *config.Config) (*flow.Settings, error) {
		s.Space.SetWatermark(cfg.Store.LowSpace)
		routes, err := Routes(cfg, s.Secret)
		if err != nil {
			return nil, err
		}
		out := settings(cfg, url, routes)
		out.Splits = splits
		out.Vault, err = cfg.Vault.Plans()
		return out, err
	})
	if err != nil {
		return nil, err
	}
	return &flow.Engine{
		Settings: shots.settings,
		Spool:    dir, Blobs: s.Blobs, DB: s.DB, Jobs: s.Jobs,
		LinkKey:   s.Secret.Derive(labelLinks),
		LowSpace:  s.Space.Low,
		Directory: users,
		Now:       time.Now, Log: log,
	}, nil
}

// NewFilterEngine makes the flow for single messages through a pipe, which has
// no way to tell of another envelope: there is one copy, and co-existence is left
// to the MTA.
func NewFilterEngine(s *Store, cfg *config.Config, users *Users, log *slog.Logger) (*flow.Engine, error) {
	engine, err := NewEngine(s, func() *config.Config { return cfg }, users, log)
	if err != nil {
		return nil, err
	}
	only := settings(cfg, cfg.Web.URL, nil)
	only.Splits = false
	if only.Vault, err = cfg.Vault.Plans(); err != nil {
		return nil, err
	}
	slow, err := coasting(only, cfg.Rules)
	if err != nil {
		return nil, err
	}
	engine.Settings = func() *flow.Settings {
		if s.Brake.On() != nil {
			return slow
		}
		return only
	}
	return engine, nil
}

// handler is the flow as the milter sees it.
type handler struct{ engine *flow.Engine }

var (
	_ milter.Handler          = handler{}
	_ milter.RecipientChecker = handler{}
)

func (h handler) Open(ctx context.Context, env *flow.Envelope, head message.Header) (milter.Mail, error) {
	m, err := h.engine.Open(ctx, env, head)
	if m == nil {
		return nil, err
	}
	return m, err
}

func (h handler) CheckRecipient(ctx context.Context, env *flow.Envelope, r flow.Recipient) (*flow.Reply, error) {
	return h.engine.CheckRecipient(ctx, env, r)
}

// blobs is the store as the web sees it.
type blobs struct{ store *Store }

func (b blobs) Open(ctx context.Context, sum [32]byte) (io.ReadSeekCloser, error) {
	f, err := b.store.Blobs.Open(ctx, sum)
	if err != nil {
		return nil, err
	}
	return f, nil
}
