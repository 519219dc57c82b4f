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
	brake   *Brake
	last    atomic.Pointer[snapshot]
}

type snapshot struct {
	of       *config.Config
	settings *flow.Settings
	coasting *flow.Settings // during a pause
}

// newSnapshots makes the first one, whose error is the caller's to tell.
func newSnapshots(current func() *config.Config, brake *Brake, make func(*config.Config) (*flow.Settings, error)) (*snapshots, error) {
	s := &snapshots{current: current, make: make, brake: brake}
	first, err := s.shoot(current())
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	s.last.Store(first)
	return s, nil
}

func (s *snapshots) shoot(cfg *config.Config) (*snapshot, error) {
	made, err := s.make(cfg)
	if err != nil {
		return nil, err
	}
	slow, err := coasting(made, cfg.Rules)
	return &snapshot{cfg, made, slow}, err
}

// settings are those of the configuration in force, or the last that could be
// made: a reload checks what it takes into force, so that is not expected to
// differ. During a pause little of them is left.
func (s *snapshots) settings() *flow.Settings {
	last, cfg := s.last.Load(), s.current()
	if last.of != cfg {
		if next, err := s.shoot(cfg); err == nil {
			s.last.Store(next)
			last = next
		}
	}
	if s.brake.On() != nil {
		return last.coasting
	}
	return last.settings
}
