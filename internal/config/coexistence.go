package config

// Co-existence as a whole: routes against domains, directory and submit, and
// the files with secrets that they name, read together with the configuration:
// a reload that cannot read them changes nothing.

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"cloakroom/policy/forward"
)

// maxSecretFile is the size of a file with secrets, in bytes: some lines.
const maxSecretFile = 16 << 10

func (c *checker) coexistence() {
	c.section("", c.cfg.Coexistence)
	for i := range c.cfg.Coexistence {
		r := &c.cfg.Coexistence[i]
		key := fmt.Sprintf("coexistence[%d]", i)
		if domain, err := NormalizeDomain(r.Domain); err == nil && !slices.Contains(c.cfg.Domains, domain) {
			c.fail(key+".domain", "%s is not one of `domains`", r.Domain)
		}
		if alternate, err := NormalizeDomain(r.Alternate); err == nil && slices.Contains(c.cfg.Domains, alternate) {
			c.fail(key+".alternate", "%s is one of `domains`, so its mail would count as ours; take it out there", r.Alternate)
		}
		if r.Group != "" && c.cfg.Directory.File == "" && !c.cfg.Directory.UsesLDAP() {
			c.fail(key+".group", "there is no directory that knows groups; set directory.file or directory.ldap, or list members")
		}
		c.doubtful(key, r)
	}
	if len(c.cfg.Coexistence) > 0 && c.cfg.Submit.SMTP == "" {
		c.warn("submit.smtp", "is not set: mail to users of both systems goes out in one copy, so nothing in it becomes a link, and SRS is left out where recipients are here too")
	}
}

// doubtful warns of a route that works, and will disappoint.
func (c *checker) doubtful(key string, r *forward.Route) {
	g := r.Gateways
	if len(g.Networks) == 0 {
		c.warn(key+".gateways", "nothing tells which mail comes from the other system: what its users send counts as a stranger's, and a loop is found late")
		return
	}
	for _, trusted := range c.cfg.Trusted {
		for i, network := range g.Networks {
			if trusted.IsValid() && network.IsValid() && trusted.Overlaps(network) {
				c.warn(fmt.Sprintf("%s.gateways.networks[%d]", key, i), "%s is in `trusted` too: whoever sends through the other system counts as our user", network)
			}
		}
	}
	if g.Daemon == "" {
		c.warn(key+".gateways.daemon", "a header alone proves its mail only at the end of the message: a loop is refused there, not at RCPT")
	}
}

// secrets reads the files that the routes name.
func (c *checker) secrets() {
	for _, file := range c.cfg.Coexistence.Files() {
		if c.failed(file.Key) {
			continue
		}
		content, err := readSecret(file.Path)
		if err == nil {
			err = file.Check(content)
		}
		if err != nil {
			c.fail(file.Key, "%v", err)
			continue
		}
		if c.cfg.secrets == nil {
			c.cfg.secrets = make(map[string][]byte)
		}
		c.cfg.secrets[file.Path] = content
	}
}

func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %s", strings.TrimPrefix(err.Error(), "open "))
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if len(content) > maxSecretFile {
		return nil, fmt.Errorf("%s is larger than %s, which is no secret", path, FormatSize(maxSecretFile))
	}
	return bytes.TrimSpace(content), nil
}

// alternate checks that a rule forwards to a system that is configured.
func (c *checker) alternate(key, written string) {
	name, err := NormalizeDomain(written)
	if err != nil {
		c.fail(key, "%v", err)
		return
	}
	for _, r := range c.cfg.Coexistence {
		if known, err := NormalizeDomain(r.Alternate); err == nil && known == name {
			return
		}
	}
	c.fail(key, "no route in `coexistence` has the alternate domain %s", written)
}
