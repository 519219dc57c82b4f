package config

// What must hold between and beyond single values: required keys, the
// sections' own Validate, names brought into one form, warnings.

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

type checker struct {
	cfg   *Config
	ps    *problems
	index index
}

func (c *checker) check() {
	c.hostname()
	c.domains()
	c.trusted()
	c.oneOf("mode", c.cfg.Mode, ModeEnforce, ModeObserve)
	c.oneOf("log.level", c.cfg.Log.Level, "debug", "info", "warn", "error")
	c.oneOf("log.format", c.cfg.Log.Format, "text", "json")
	c.oneOf("log.addresses", c.cfg.Log.Addresses, AddressesPlain, AddressesHashed)
	c.oneOf("milter.on_error", c.cfg.Milter.OnError, OnErrorTempfail, OnErrorAccept)
	if c.cfg.Data == "" {
		c.fail("data", "is empty; name the folder that keeps everything, such as /var/lib/cloakroom")
	}
	c.section("milter", c.cfg.Milter.Config)
	c.section("web", c.cfg.Web)
	c.section("admin", c.cfg.Admin)
	c.section("notice", c.cfg.Notice)
	c.section("store", c.cfg.Store)
	c.section("directory", c.cfg.Directory)
	c.section("submit", c.cfg.Submit)
	c.vault()
	c.coexistence()
	c.rules()
}

// fail reports a problem of a key, unless one is known: the first says why,
// what follows from it only confuses.
func (c *checker) fail(key, format string, args ...any) {
	if c.failed(key) {
		return
	}
	c.ps.add(c.index.find(key), key, format, args...)
}

func (c *checker) failed(key string) bool {
	return slices.ContainsFunc(c.ps.errors, func(p Problem) bool {
		return p.Key == key || strings.HasPrefix(p.Key, key+"[")
	})
}

func (c *checker) warn(key, format string, args ...any) {
	c.ps.warn(c.index.find(key), key, format, args...)
}

func (c *checker) oneOf(key, value string, accepted ...string) {
	if !slices.Contains(accepted, value) {
		c.fail(key, "%q is not known; write %s", value, strings.Join(accepted, " or "))
	}
}

func (c *checker) hostname() {
	if c.cfg.Hostname == "" {
		c.cfg.Hostname = machineName()
		return
	}
	name, err := NormalizeDomain(c.cfg.Hostname)
	if err != nil {
		c.fail("hostname", "%v", err)
		return
	}
	c.cfg.Hostname = name
}

// machineName is what the operating system calls this host, as long as that is
// a name others can read in a mail.
func machineName() string {
	name, err := os.Hostname()
	if err == nil {
		name, err = NormalizeDomain(name)
	}
	if err != nil {
		return "localhost"
	}
	return name
}

func (c *checker) domains() {
	if len(c.cfg.Domains) == 0 {
		c.fail("domains", "is required: the mail domains that are yours, such as [example.com]")
	}
	for i, written := range c.cfg.Domains {
		key := fmt.Sprintf("domains[%d]", i)
		name, err := NormalizeDomain(written)
		if err != nil {
			c.fail(key, "%v", err)
			continue
		}
		if slices.Contains(c.cfg.Domains[:i], name) {
			c.warn(key, "%s is listed twice", name)
		}
		c.cfg.Domains[i] = name
	}
}

// The widest networks that one organisation plausibly has to itself, in prefix
// bits: 10.0.0.0/8 (RFC 1918) and fc00::/7 (RFC 4193).
const (
	widestTrusted4 = 8
	widestTrusted6 = 7
)

func (c *checker) trusted() {
	for i, network := range c.cfg.Trusted {
		if !network.IsValid() {
			continue // reported while decoding
		}
		widest := widestTrusted6
		if network.Addr().Is4() {
			widest = widestTrusted4
		}
		if network.Bits() < widest {
			c.warn(fmt.Sprintf("trusted[%d]", i), "%s lets strangers send as your users: whoever is in it needs no authentication", network)
		}
	}
}

// keyPrefix is how a section's errors and warnings begin.
var keyPrefix = regexp.MustCompile(`(?s)^([a-z][a-z0-9_]*(?:[.\[][a-z0-9_\]]+)*): (.+)$`)

// section runs a section's own checks, and gives each of its errors and
// warnings a place. Both begin with the key below the section.
func (c *checker) section(name string, section interface{ Validate() error }) {
	errs := splitErrors(section.Validate())
	for _, err := range errs {
		key, message := splitKey(name, err.Error())
		c.fail(key, "%s", message)
	}
	if doubtful, ok := section.(interface{ Warnings() []string }); ok && len(errs) == 0 {
		for _, text := range doubtful.Warnings() {
			key, message := splitKey(name, text)
			c.warn(key, "%s", message)
		}
	}
}

// splitKey takes `listen: why` of the section milter apart: milter.listen, why.
func splitKey(section, text string) (key, message string) {
	if m := keyPrefix.FindStringSubmatch(text); m != nil {
		return joinPath(section, m[1]), m[2]
	}
	return section, text
}

// notice reads the texts and templates of the notice, once their paths are known.
func (c *checker) notice() {
	if slices.ContainsFunc(c.ps.errors, func(p Problem) bool { return strings.HasPrefix(p.Key, "notice") }) {
		return
	}
	wording, err := c.cfg.Notice.Open()
	for _, err := range splitErrors(err) {
		key, message := splitKey("notice", err.Error())
		c.fail(key, "%s", message)
	}
	c.cfg.wording = wording
}

// webFiles looks at the files that the pages need, once their paths are known.
func (c *checker) webFiles() {
	if slices.ContainsFunc(c.ps.errors, func(p Problem) bool { return strings.HasPrefix(p.Key, "web") }) {
		return
	}
	for _, err := range splitErrors(c.cfg.Web.CheckFiles()) {
		key, message := splitKey("web", err.Error())
		c.fail(key, "%s", message)
	}
}

// adminFiles does the same for the listener of administrators.
func (c *checker) adminFiles() {
	if slices.ContainsFunc(c.ps.errors, func(p Problem) bool { return strings.HasPrefix(p.Key, "admin") }) {
		return
	}
	for _, err := range splitErrors(c.cfg.Admin.CheckFiles()) {
		key, message := splitKey("admin", err.Error())
		c.fail(key, "%s", message)
	}
}
