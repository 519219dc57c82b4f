package forward

// The coexistence section of the configuration.

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// Config is the `coexistence:` list, read from top to bottom: the first route
// whose domain and group a recipient belongs to decides.
type Config []Route

// Route says that the mailboxes of some users of a domain are in another mail
// system, and under which address that system takes their mail.
type Route struct {
	// Domain is the mail domain that both systems share. It must be one of
	// `domains`.
	Domain string `yaml:"domain"`

	// Alternate is the domain under which the other system takes mail for the
	// same local parts: user@domain goes to user@alternate. Its MX (or the MTA's
	// transport) leads to the other system, which must not send it back.
	Alternate string `yaml:"alternate"`

	// Group names the directory group whose members have their mailboxes in the
	// other system.
	Group string `yaml:"group"`

	// Members lists addresses whose mailboxes are in the other system, beside or
	// in place of a group. Upper and lower case are the same.
	Members []string `yaml:"members"`

	// Gateways says how mail from the other system is known. Without it nothing
	// that comes from there counts as ours, and a loop is found only by its
	// marks or by max_received.
	Gateways Gateways `yaml:"gateways"`

	// SRS gives forwarded mail of other people's senders an envelope sender at
	// srs_domain, so that it passes SPF, and sends bounces back to them.
	// Without it the sender stays, and the other system must know our hosts as
	// its inbound gateway.
	SRS bool `yaml:"srs"`

	// SRSDomain is the domain of rewritten senders. Its MX must lead to this
	// MTA, and its SPF record must name the hosts that forward. Default: domain,
	// which is right only while the domain's own MX leads here.
	SRSDomain string `yaml:"srs_domain"`

	// SRSKeyFile is a file with the keys that sign rewritten senders, one a line
	// of at least 16 characters: the first signs, all verify, so a key is
	// replaced by writing the new one above it and taking the old one out after
	// srs_max_age. Without it the key is derived from the secret in `data`.
	SRSKeyFile string `yaml:"srs_key_file"`

	// SRSMaxAge is how long bounces to a rewritten sender are taken, in whole
	// days. Default: 21d.
	SRSMaxAge time.Duration `yaml:"srs_max_age"`

	// LoopReply is the reply code to mail that goes in circles: 550 returns it
	// to its sender at once, 450 lets the other side try again, so that nothing
	// is returned while an administrator mends the configuration. Default: 550.
	LoopReply int `yaml:"loop_reply"`

	// MaxReceived is the number of Received fields from which on a mail is not
	// forwarded any more. Mail systems commonly refuse at 50. Default: 50.
	MaxReceived int `yaml:"max_received"`
}

// Gateways is how mail from the other system is known: its network, and with it
// the listener it comes in by or a header field that only it knows to write.
type Gateways struct {
	// Networks lists where the other system's hosts are. They alone prove
	// nothing: a hosted system sends from the same addresses for everybody.
	Networks []netip.Prefix `yaml:"networks"`

	// Daemon is the name ({daemon_name}) of an MTA listener that the other
	// system alone is told of.
	Daemon string `yaml:"daemon"`

	// Header is a field that the other system is set to add to the mail it sends
	// here. Cloakroom takes it off again.
	Header GatewayHeader `yaml:"header"`
}

// GatewayHeader is a header field that only the other system knows to write.
type GatewayHeader struct {
	// Name of the field, such as X-Acme-Gateway.
	Name string `yaml:"name"`

	// SecretFile is a file with the value of the field, at least 16 characters.
	SecretFile string `yaml:"secret_file"`
}

// Defaults of a route, for keys that are left out (and so zero).
const (
	defaultLoopReply   = 550
	defaultMaxReceived = 50 // hopcount_limit of Postfix, and what Gmail refuses at
	defaultSRSMaxAge   = 21 * day
)

// Limits of the settings.
const (
	minMaxReceived = 10  // mail through a list and two gateways has as many
	maxMaxReceived = 100 // RFC 5321 section 6.3: at least 100 is the limit without other means
	day            = 24 * time.Hour
	minSRSMaxAge   = 5 * day   // MTAs try that long before they bounce (RFC 5321 section 4.5.4.1)
	maxSRSMaxAge   = 365 * day // the stamp wraps at 1,024 days
)

// DefaultConfig has no routes: one mail system, and nothing to do.
func DefaultConfig() Config { return Config{} }

// Resolve gives the routes with paths that start at folder where they are
// relative.
func (c Config) Resolve(folder string) Config {
	out := slices.Clone(c)
	for i := range out {
		for _, file := range []*string{&out[i].Gateways.Header.SecretFile, &out[i].SRSKeyFile} {
			if *file != "" && !path.IsAbs(*file) {
				*file = path.Join(folder, *file)
			}
		}
	}
	return out
}

// File is a file with a secret that a route names.
type File struct {
	Key   string // of the setting, from the top
	Path  string
	Check func(content []byte) error // tells why its content cannot serve
}

// Files lists the files that the routes name.
func (c Config) Files() []File {
	var out []File
	for i, r := range c {
		if name := r.Gateways.Header.SecretFile; name != "" {
			out = append(out, File{fmt.Sprintf("coexistence[%d].gateways.header.secret_file", i), name, CheckGatewaySecret})
		}
		if r.SRSKeyFile != "" {
			out = append(out, File{fmt.Sprintf("coexistence[%d].srs_key_file", i), r.SRSKeyFile, checkSRSKeys})
		}
	}
	return out
}

// Validate tells every setting that cannot work. Each error begins with its
// key, from the top: `coexistence[0].alternate: …`.
func (c Config) Validate() error {
	var errs []error
	for i, r := range c {
		if err := r.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("coexistence[%d].%w", i, err))
		}
	}
	if errs == nil {
		errs = c.between()
	}
	return errors.Join(errs...)
}

// between tells what cannot work from one route to the other.
func (c Config) between() []error {
	var errs []error
	for i, r := range c {
		alternate, domain := normalDomain(r.Alternate), normalDomain(r.Domain)
		for j, other := range c {
			if normalDomain(other.Domain) == alternate {
				errs = append(errs, fmt.Errorf("coexistence[%d].alternate: %s is the domain of route %d: its mail would come back here", i, alternate, j))
				break
			}
			if j < i && normalDomain(other.Domain) == domain && other.Group == r.Group && r.Group != "" {
				errs = append(errs, fmt.Errorf("coexistence[%d].group: %q of %s is already sent elsewhere by route %d, which always wins", i, r.Group, domain, j))
			}
			if j < i && r.SRS && other.SRS && r.srsDomain() == other.srsDomain() && r.srsMaxAge() != other.srsMaxAge() {
				errs = append(errs, fmt.Errorf("coexistence[%d].srs_max_age: route %d has another for the same srs_domain", i, j))
			}
			if j < i && r.SRS && other.SRS && r.srsDomain() == other.srsDomain() && r.SRSKeyFile != other.SRSKeyFile {
				errs = append(errs, fmt.Errorf("coexistence[%d].srs_key_file: route %d has another for the same srs_domain", i, j))
			}
			if r.SRS && normalDomain(other.Alternate) == r.srsDomain() {
				errs = append(errs, fmt.Errorf("coexistence[%d].srs_domain: %s is an alternate domain: bounces would go to the other system", i, r.srsDomain()))
				break
			}
		}
	}
	return errs
}

// Validate tells the first setting of the route that cannot work; the error
// begins with its key.
func (r Route) Validate() error {
	domain, alternate := normalDomain(r.Domain), normalDomain(r.Alternate)
	switch {
	case r.Domain == "":
		return errors.New("domain: is required: the domain that both mail systems share")
	case domain == "":
		return fmt.Errorf("domain: %q is not a domain name", r.Domain)
	case r.Alternate == "":
		return errors.New("alternate: is required: the domain under which the other system takes the same users' mail")
	case alternate == "":
		return fmt.Errorf("alternate: %q is not a domain name", r.Alternate)
	case alternate == domain:
		return errors.New("alternate: is the domain itself: forwarded mail would come straight back")
	case r.Group == "" && len(r.Members) == 0:
		return errors.New("group: nobody is named; give a group, or members")
	}
	for i, m := range r.Members {
		local, d, ok := split(m)
		if _, _, valid := unquote(local); !ok || !valid {
			return fmt.Errorf("members[%d]: %q is not an address", i, m)
		}
		if d != domain {
			return fmt.Errorf("members[%d]: %s is not in %s", i, m, domain)
		}
	}
	if err := r.Gateways.Validate(); err != nil {
		return fmt.Errorf("gateways.%w", err)
	}
	return r.validateRest()
}

func (r Route) validateRest() error {
	switch {
	case r.SRSDomain != "" && !r.SRS:
		return errors.New("srs_domain: has no effect without srs: true")
	case r.SRSDomain != "" && normalDomain(r.SRSDomain) == "":
		return fmt.Errorf("srs_domain: %q is not a domain name", r.SRSDomain)
	case r.SRSKeyFile != "" && !r.SRS:
		return errors.New("srs_key_file: has no effect without srs: true")
	case r.SRSMaxAge != 0 && !r.SRS:
		return errors.New("srs_max_age: has no effect without srs: true")
	case r.SRSMaxAge != 0 && (r.SRSMaxAge < minSRSMaxAge || r.SRSMaxAge > maxSRSMaxAge || r.SRSMaxAge%day != 0):
		return fmt.Errorf("srs_max_age: write whole days from %dd to %dd", minSRSMaxAge/day, maxSRSMaxAge/day)
	case r.LoopReply != 0 && r.LoopReply != 450 && r.LoopReply != 550:
		return fmt.Errorf("loop_reply: %d is neither 450 nor 550", r.LoopReply)
	case r.MaxReceived != 0 && (r.MaxReceived < minMaxReceived || r.MaxReceived > maxMaxReceived):
		return fmt.Errorf("max_received: %d is not between %d and %d", r.MaxReceived, minMaxReceived, maxMaxReceived)
	}
	return nil
}

// notGatewayHeaders are fields that mean something else to mail systems, and
// that would be lost when the gateway's field is taken off.
var notGatewayHeaders = []string{
	"authentication-results", "bcc", "cc", "date", "delivered-to", "dkim-signature", "from", "message-id",
	"mime-version", "received", "reply-to", "return-path", "sender", "subject", "to", strings.ToLower(MarkHeader),
}

// Validate tells the first setting that cannot work; the error begins with its
// key. Gateways that say nothing are fine.
func (g Gateways) Validate() error {
	named := g.Daemon != "" || g.Header != GatewayHeader{}
	switch {
	case len(g.Networks) == 0 && named:
		return errors.New("networks: is required beside daemon or header: the other system's addresses")
	case len(g.Networks) > 0 && !named:
		return errors.New("networks: prove nothing alone, as a hosted system sends for everybody from them; name a daemon or a header too")
	}
	for i, n := range g.Networks {
		if !n.IsValid() || n.Bits() == 0 {
			return fmt.Errorf("networks[%d]: %s is not a network of the other system", i, n)
		}
	}
	name := g.Header.Name
	switch {
	case g.Header == GatewayHeader{}:
		return nil
	case name == "":
		return errors.New("header.name: is required beside secret_file")
	case !isFieldName(name):
		return fmt.Errorf("header.name: %q is not the name of a header field", name)
	case slices.Contains(notGatewayHeaders, strings.ToLower(name)) || strings.HasPrefix(strings.ToLower(name), "content-"):
		return fmt.Errorf("header.name: %s means something else in mail; choose a name of your own, such as X-Acme-Gateway", name)
	case g.Header.SecretFile == "":
		return errors.New("header.secret_file: is required beside name")
	}
	return nil
}

// isFieldName tells a field name (RFC 5322 section 2.2) that every MTA passes.
func isFieldName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isAlnum(c) && c != '-' && c != '_' {
			return false
		}
	}
	return name != ""
}

func (r Route) loopReply() int {
	if r.LoopReply == 0 {
		return defaultLoopReply
	}
	return r.LoopReply
}

func (r Route) maxReceived() int {
	if r.MaxReceived == 0 {
		return defaultMaxReceived
	}
	return r.MaxReceived
}

func (r Route) srsMaxAge() time.Duration {
	if r.SRSMaxAge == 0 {
		return defaultSRSMaxAge
	}
	return r.SRSMaxAge
}

func (r Route) srsDomain() string {
	if r.SRSDomain == "" {
		return normalDomain(r.Domain)
	}
	return normalDomain(r.SRSDomain)
}
