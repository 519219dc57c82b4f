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
	"cloakroom/sisa/web"
)

// settings is what the flow takes from a configuration. url is the address of
// the pages that are served: it is fixed at start, whatever a reload says.
func settings(cfg *config.Config, url string) *flow.Settings {
	return &flow.Settings{
		Domains:       cfg.Domains,
		Trusted:       cfg.Trusted,
		Verifiers:     cfg.Verifiers,
		Observe:       cfg.Mode == config.ModeObserve,
		AcceptOnError: cfg.Milter.OnError == config.OnErrorAccept,
		Policy:        cfg.Policy(),
		PageURL:       func(token string) string { return web.PageURL(url, token) },
	}
}

// NewEngine makes the flow over an open store. current gives the
// configuration in force.
func NewEngine(s *Store, current func() *config.Config, users *Users, log *slog.Logger) (*flow.Engine, error) {
	dir, err := spool.OpenDir(filepath.Join(s.Dir, "spool"))
	if err != nil {
		return nil, err
	}
	url := current().Web.URL
	return &flow.Engine{
		Settings: func() *flow.Settings { return settings(current(), url) },
		Spool:    dir, Blobs: s.Blobs, DB: s.DB,
		LinkKey:   s.Secret.Derive(labelLinks),
		Directory: users,
		Now:       time.Now, Log: log,
	}, nil
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
