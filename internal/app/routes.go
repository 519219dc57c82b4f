package app

// The configuration in the form that the flow takes it, made once for each
// configuration and not for each mail.

import (
	"fmt"
	"slices"
	"sync/atomic"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/secret"
	"cloakroom/policy/forward"
)

// Routes makes the co-existence routes of a configuration. secrets derives the
// keys of marks and of senders whose route names no file.
func Routes(cfg *config.Config, secrets *secret.Secret) (*forward.Routes, error) {
	return routes(cfg, secrets.Derive(labelMarks), secrets.Derive(labelSRS))
}

func routes(cfg *config.Config, marks, srs []byte) (*forward.Routes, error) {
	keys := forward.Keys{Marks: [][]byte{marks}, SRS: [][]byte{srs}, Files: cfg.CoexistenceFiles()}
	return forward.New(cfg.Coexistence, keys, func(domain string) bool { return slices.Contains(cfg.Domains, domain) })
}

// snapshots gives the flow's settings for the configuration in force.
type snapshots struct {
	current func() *config.Config
	make    func(*config.Config) (*flow.Settings, error)
	last    atomic.Pointer[snapshot]
}

type snapshot struct {
	of       *config.Config
	settings *flow.Settings
}

// newSnapshots makes the first one, whose error is the caller's to tell.
func newSnapshots(current func() *config.Config, make func(*config.Config) (*flow.Settings, error)) (*snapshots, error) {
	s := &snapshots{current: current, make: make}
	cfg := current()
	settings, err := make(cfg)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	s.last.Store(&snapshot{cfg, settings})
	return s, nil
}

// settings are those of the configuration in force, or the last that could be
// made: a reload checks what it takes into force, so that is not expected to
// differ.
func (s *snapshots) settings() *flow.Settings {
	last, cfg := s.last.Load(), s.current()
	if last.of == cfg {
		return last.settings
	}
	settings, err := s.make(cfg)
	if err != nil {
		return last.settings
	}
	s.last.Store(&snapshot{cfg, settings})
	return settings
}
