// Package config reads the one configuration file: strict YAML into the
// structs that the sections' own packages declare, with every mistake reported
// at its place, and the documentation of all keys made from the same structs.
//
// A section's package declares its Config with plain Go types, its defaults and
// its Validate; this package composes them, and is imported by none of them.
package config

import (
	"net/netip"
	"path/filepath"

	"cloakroom/admin"
	"cloakroom/flow"
	"cloakroom/internal/submit"
	"cloakroom/message"
	"cloakroom/milter"
	"cloakroom/policy"
	"cloakroom/policy/directory"
	"cloakroom/policy/forward"
	"cloakroom/sisa"
	"cloakroom/sisa/web"
)

// DefaultPath is where the configuration is looked for when nobody says otherwise.
const DefaultPath = "/etc/cloakroom/cloakroom.yaml"

// What `mode` can be.
const (
	ModeEnforce = "enforce"
	ModeObserve = "observe"
)

// What `milter.on_error` can be.
const (
	OnErrorTempfail = "tempfail"
	OnErrorAccept   = "accept"
)

// What `log.addresses` can be.
const (
	AddressesPlain  = "plain"
	AddressesHashed = "hashed"
)

// Config is the whole configuration, defaults filled in, paths absolute and
// domains in their ASCII form. It is a snapshot: nothing changes it after
// Parse has returned it, so that any number of goroutines may read it.
type Config struct {
	// Hostname is this host's name in what Cloakroom writes: logs, message ids
	// and the greeting when it sends mail itself. Default: the machine's own
	// host name.
	Hostname string `yaml:"hostname"`

	// Domains lists the mail domains that are ours. They decide the direction
	// of a mail (outbound, inbound, local) and whose attachments are kept.
	// Subdomains are not included: list each.
	Domains []string `yaml:"domains"`

	// Trusted lists the networks whose hosts submit mail for our users without
	// authentication. A sender in one of our domains counts as ours only when
	// authenticated or from such a network.
	Trusted []netip.Prefix `yaml:"trusted"`

	// Verifiers lists the authserv-ids (RFC 8601) of our own DKIM and SPF
	// verifiers: only their Authentication-Results count in rules. They must
	// remove fields of their id that come from outside, and stand before
	// Cloakroom in the MTA's list of milters.
	Verifiers []string `yaml:"verifiers"`

	// Data is the folder for everything that must survive a restart: database,
	// attachments, journal and the secret key.
	Data string `yaml:"data"`

	// SecretFile is a file with the key that all links and marks are derived
	// from, for several hosts that serve the same links. Without it the key is
	// made once, at data/secret. A relative path starts at the folder of this file.
	SecretFile string `yaml:"secret_file"`

	// Mode is enforce, or observe to log what would be done to each mail and
	// change nothing.
	Mode string `yaml:"mode"`

	// Log says what is logged and how.
	Log Log `yaml:"log"`

	// Milter is the side the MTA talks to.
	Milter Milter `yaml:"milter"`

	// Web is what recipients of links reach.
	Web web.Config `yaml:"web"`

	// Admin is what administrators reach: health, metrics and the dashboard.
	Admin admin.Config `yaml:"admin"`

	// Notice says how the block with the links looks that takes an attachment's
	// place.
	Notice flow.NoticeConfig `yaml:"notice"`

	// Store says how long what is stored stays.
	Store sisa.Config `yaml:"store"`

	// Directory says where users, their groups and departments are found, for
	// rules that ask for them.
	Directory directory.Config `yaml:"directory"`

	// Submit says how Cloakroom sends mail itself: copies for some of a mail's
	// recipients, where one transaction cannot serve all of them.
	Submit submit.Config `yaml:"submit"`

	// Vault has the places where copies of attachments are kept.
	Vault Vault `yaml:"vault"`

	// Coexistence lists the domains that are shared with another mail system,
	// and whose mailboxes are there. The first route that a recipient's domain
	// and group fit decides.
	Coexistence forward.Config `yaml:"coexistence"`

	// Rules say what happens to which attachment, from top to bottom: for each
	// kind of action the first rule that speaks decides.
	Rules []policy.Rule `yaml:"rules"`

	policy  *policy.Set       // Rules, compiled
	secrets map[string][]byte // the files that Coexistence names, read
	wording *message.Wording  // Notice, its files read

	passwords map[string]string // the hashes in the files that Rules name
}

// LinkPasswords gives the hashes of passwords in the files that rules name, by
// their paths there.
func (c *Config) LinkPasswords() map[string]string { return c.passwords }

// Wording gives the texts of the notice.
func (c *Config) Wording() *message.Wording { return c.wording }

// CoexistenceFiles gives the content of the files that Coexistence names, by
// their paths in it.
func (c *Config) CoexistenceFiles() map[string][]byte { return c.secrets }

// Policy gives the compiled rules.
func (c *Config) Policy() *policy.Set { return c.policy }

// Log is the section about logging.
type Log struct {
	// Level is the least severe level that is logged: debug, info, warn or error.
	Level string `yaml:"level"`

	// Format is text for people or json for machines.
	Format string `yaml:"format"`

	// Addresses is plain, or hashed to keep people out of the log: mail addresses,
	// places in a vault and whatever an error quotes are replaced by hashes under
	// a key from the secret. `cloakroom log hash ADDRESS` tells an address' hash.
	Addresses string `yaml:"addresses"`
}

// Milter is the section about the MTA's side. on_error stands in it for the
// admin, who decides both together; it is the message flow that obeys it.
type Milter struct {
	milter.Config `yaml:",inline"`

	// OnError is what the MTA is told when a mail cannot be handled: tempfail
	// (the sender tries again later) or accept (the mail passes unchanged,
	// where nothing but links is at stake).
	OnError string `yaml:"on_error"`
}

// Default gives the configuration of an empty file, before the host name and
// the file's folder are filled in.
func Default() Config {
	return Config{
		Trusted: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.0/8"),
			netip.MustParsePrefix("::1/128"),
		},
		Verifiers:   []string{},
		Data:        "/var/lib/cloakroom",
		Mode:        ModeEnforce,
		Log:         Log{Level: "info", Format: "text", Addresses: AddressesPlain},
		Milter:      Milter{Config: milter.DefaultConfig(), OnError: OnErrorTempfail},
		Web:         web.DefaultConfig(),
		Admin:       admin.DefaultConfig(),
		Notice:      flow.DefaultNoticeConfig(),
		Store:       sisa.DefaultConfig(),
		Directory:   directory.DefaultConfig(),
		Submit:      submit.DefaultConfig(),
		Vault:       DefaultVault(),
		Coexistence: forward.DefaultConfig(),
	}
}

// resolve makes the top-level paths absolute: relative ones start at the
// folder of the configuration file, whatever the daemon's working folder is.
func (c *Config) resolve(folder string) {
	c.Directory = c.Directory.Resolve(folder)
	c.Web = c.Web.Resolve(folder)
	c.Admin = c.Admin.Resolve(folder)
	c.Submit = c.Submit.Resolve(folder)
	c.Notice = c.Notice.Resolve(folder)
	c.Vault = c.Vault.resolve(folder)
	c.Coexistence = c.Coexistence.Resolve(folder)
	c.resolveRules(folder)
	for _, path := range []*string{&c.Data, &c.SecretFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
}
