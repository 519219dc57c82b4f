package config

// The vault as a whole: targets put together from what all have and what their
// kind of server needs, against the rules that name them.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cloakroom/policy"
	"cloakroom/vault"
	"cloakroom/vault/dir"
	"cloakroom/vault/ftps"
	"cloakroom/vault/name"
	"cloakroom/vault/sftp"
)

// Vault is the section about copies of attachments on other servers.
type Vault struct {
	// Targets are the destinations, by the names that rules call them. Each has
	// one of sftp, ftps and dir.
	Targets map[string]VaultTarget `yaml:"targets"`

	// RetryFor is how long an upload that fails for the time being is tried again.
	// After that it stays in the queue as failed, until an administrator decides.
	RetryFor time.Duration `yaml:"retry_for"`
}

// VaultTarget is one destination.
type VaultTarget struct {
	vault.TargetConfig `yaml:",inline"`

	// SFTP is a server such as OpenSSH.
	SFTP *sftp.Config `yaml:"sftp"`

	// FTPS is an FTP server with TLS.
	FTPS *ftps.Config `yaml:"ftps"`

	// Dir is a folder of this machine, on a disk or mounted.
	Dir *dir.Config `yaml:"dir"`
}

// DefaultVault has no targets.
func DefaultVault() Vault {
	return Vault{Targets: map[string]VaultTarget{}, RetryFor: 7 * 24 * time.Hour}
}

// Limits of the settings.
const (
	minRetryFor   = time.Hour
	maxRetryFor   = 365 * 24 * time.Hour
	maxTargetName = 40 // in bytes; it is a column of lists
)

// server is what every kind of destination has.
type server interface {
	Validate() error
	CheckFiles() error
}

// servers lists the kinds that a target names; there should be one.
func (t *VaultTarget) servers() map[string]server {
	out := make(map[string]server)
	if t.SFTP != nil {
		out["sftp"] = *t.SFTP
	}
	if t.FTPS != nil {
		out["ftps"] = *t.FTPS
	}
	if t.Dir != nil {
		out["dir"] = *t.Dir
	}
	return out
}

// resolve gives the section with paths that start at folder where they are relative.
func (v Vault) resolve(folder string) Vault {
	v.Targets = maps.Clone(v.Targets)
	for name, t := range v.Targets {
		if t.SFTP != nil {
			c := t.SFTP.Resolve(folder)
			t.SFTP = &c
		}
		if t.FTPS != nil {
			c := t.FTPS.Resolve(folder)
			t.FTPS = &c
		}
		if t.Dir != nil {
			c := t.Dir.Resolve(folder)
			t.Dir = &c
		}
		v.Targets[name] = t
	}
	return v
}

func (c *checker) vault() {
	v := &c.cfg.Vault
	if v.RetryFor < minRetryFor || v.RetryFor > maxRetryFor {
		c.fail("vault.retry_for", "is not between %s and %s", FormatDuration(minRetryFor), FormatDuration(maxRetryFor))
	}
	for _, name := range slices.Sorted(maps.Keys(v.Targets)) {
		t := v.Targets[name]
		key := joinPath("vault.targets", name)
		if name == "" || len(name) > maxTargetName || strings.ContainsFunc(name, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", r)
		}) {
			c.fail(key, "%q cannot name a target: write letters, digits, _ and -, at most %d", name, maxTargetName)
		}
		c.section(key, t.TargetConfig)
		kinds := t.servers()
		if len(kinds) != 1 {
			c.fail(key, "has %d servers; give it one of sftp, ftps and dir", len(kinds))
		}
		for kind, s := range kinds {
			c.section(joinPath(key, kind), s)
		}
	}
}

// vaultFiles looks at the files that targets name, once their paths are known.
func (c *checker) vaultFiles() {
	for name, t := range c.cfg.Vault.Targets {
		for kind, s := range t.servers() {
			key := joinPath(joinPath("vault.targets", name), kind)
			for _, err := range splitErrors(s.CheckFiles()) {
				k, message := splitKey(key, err.Error())
				c.fail(k, "%s", message)
			}
		}
	}
}

// ruleTarget checks that a rule keeps copies in a target that is configured, and
// that its space fits into the target's path.
func (c *checker) ruleTarget(key string, o policy.VaultOptions) {
	if t, found := c.cfg.Vault.Targets[o.Target]; found {
		path, err := name.Parse(t.Path)
		if err != nil {
			return // told at the target
		}
		space, err := name.Parse(o.SpaceTemplate())
		if err == nil {
			_, err = path.In(space)
		}
		if err != nil {
			c.fail(key+".space", "%v", err)
		}
		return
	}
	known := strings.Join(slices.Sorted(maps.Keys(c.cfg.Vault.Targets)), ", ")
	if known == "" {
		known = "none"
	}
	c.fail(key+".target", "there is no target %q in `vault.targets`; there is %s", o.Target, known)
}

// Plans gives what the mail path needs to know of the targets.
func (v Vault) Plans() (map[string]*vault.Plan, error) {
	out := make(map[string]*vault.Plan)
	for name, t := range v.Targets {
		p, err := t.Plan()
		if err != nil {
			return nil, fmt.Errorf("vault.targets.%s: %w", name, err)
		}
		out[name] = p
	}
	return out, nil
}
