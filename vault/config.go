package vault

// The settings of a target that do not depend on what kind of server it is.

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"cloakroom/vault/name"
)

// TargetConfig is how files come to a target, whatever its kind.
type TargetConfig struct {
	// Path is the template of a file's path below the target's base folder, such
	// as `{space}/{yyyy}/{mm}/{name}`. A different file of the same name gets
	// a number, the same file again is stored once.
	Path string `yaml:"path"`

	// Parallel is how many files are uploaded at the same time.
	Parallel int `yaml:"parallel"`

	// Bandwidth is the most that is sent in a second, in bytes; 0 is no limit.
	Bandwidth int64 `yaml:"bandwidth"`

	// Delay is how long a file waits after its mail before the first try.
	Delay time.Duration `yaml:"delay"`

	// Sidecar puts a file NAME.json beside each file: who sent it to whom and
	// when, subject, Message-ID and SHA-256.
	Sidecar bool `yaml:"sidecar"`
}

// Limits of the settings.
const (
	maxParallel  = 64
	minBandwidth = 16 << 10 // slower ones never finish a large file
	maxDelay     = 24 * time.Hour
)

// DefaultTarget is what a target does unless told otherwise.
func DefaultTarget() TargetConfig {
	return TargetConfig{Path: "{space}/{yyyy}/{mm}/{name}", Parallel: 4, Delay: 5 * time.Second}
}

// Validate tells every setting that cannot work; each error begins with its key.
func (c TargetConfig) Validate() error {
	var errs []error
	if t, err := name.Parse(c.Path); err != nil {
		errs = append(errs, fmt.Errorf("path: %w", err))
	} else if !t.Uses("name") && !t.Uses("stem") && !t.Uses("hash") {
		errs = append(errs, errors.New("path: every file would have the same name; use {name}"))
	}
	if c.Parallel < 1 || c.Parallel > maxParallel {
		errs = append(errs, fmt.Errorf("parallel: %d is not between 1 and %d", c.Parallel, maxParallel))
	}
	if c.Bandwidth != 0 && c.Bandwidth < minBandwidth {
		errs = append(errs, fmt.Errorf("bandwidth: %d bytes in a second are less than %d; 0 is no limit", c.Bandwidth, minBandwidth))
	}
	if c.Delay < 0 || c.Delay > maxDelay {
		errs = append(errs, fmt.Errorf("delay: %v is not between 0s and %v", c.Delay, maxDelay))
	}
	return errors.Join(errs...)
}

// Plan is what the mail path needs to know of a target.
type Plan struct {
	Path    *name.Template
	Delay   time.Duration
	Sidecar bool

	paths sync.Map // by the template of a space, which rules give: there are few
}

// PathIn is the template of paths with that of a space put in, as a rule has it.
func (p *Plan) PathIn(space string) (*name.Template, error) {
	if known, ok := p.paths.Load(space); ok {
		return known.(*name.Template), nil
	}
	in, err := name.Parse(space)
	if err != nil {
		return nil, fmt.Errorf("space: %w", err)
	}
	path, err := p.Path.In(in)
	if err != nil {
		return nil, err
	}
	p.paths.Store(space, path)
	return path, nil
}

// Plan makes a valid configuration ready.
func (c TargetConfig) Plan() (*Plan, error) {
	t, err := name.Parse(c.Path)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	return &Plan{Path: t, Delay: c.Delay, Sidecar: c.Sidecar}, nil
}
