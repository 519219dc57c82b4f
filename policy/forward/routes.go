package forward

// The routes made ready: domains in one form, members in sets, keys at hand.

import (
	"errors"
	"fmt"
)

// Keys are the secrets that routes need.
type Keys struct {
	// Marks sign loop marks. The first signs, all verify.
	Marks [][]byte
	// SRS sign rewritten senders where the route names no file. The first signs,
	// all verify.
	SRS [][]byte
	// Files are the contents of Config.Files by their paths, without surrounding
	// space.
	Files map[string][]byte
}

// minKey is the length in octets of the keys of marks and SRS: the output of
// HMAC-SHA-256, and what internal/secret derives.
const minKey = 32

// Routes is a configuration made ready. It is not changed after New, so any
// number of goroutines may use it. The nil Routes has no route.
type Routes struct {
	routes []route
	marker *marker
	srs    map[string]*SRS // by domain
}

// route is a Route with its defaults, its domains as policy.Domain gives them.
type route struct {
	Route
	index   int
	members map[string]bool // by foldKey
	secret  []byte
	srs     *SRS // nil without
}

// New makes a configuration ready. ours tells the domains whose senders are
// never rewritten, as policy.Domain writes them. Errors begin with the key.
func New(cfg Config, keys Keys, ours func(domain string) bool) (*Routes, error) {
	if len(cfg) == 0 {
		return &Routes{}, nil
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	marker, err := newMarker(keys.Marks)
	if err != nil {
		return nil, fmt.Errorf("coexistence: marks: %w", err)
	}
	t := &Routes{routes: make([]route, len(cfg)), marker: marker, srs: make(map[string]*SRS)}
	neverRewritten := func(domain string) bool { return ours(domain) || t.srs[domain] != nil }
	for i, r := range cfg {
		if !ours(normalDomain(r.Domain)) {
			return nil, fmt.Errorf("coexistence[%d].domain: %s is not one of `domains`", i, r.Domain)
		}
		if t.routes[i], err = t.ready(i, r, keys, neverRewritten); err != nil {
			return nil, fmt.Errorf("coexistence[%d].%w", i, err)
		}
	}
	return t, nil
}

func (t *Routes) ready(i int, r Route, keys Keys, ours func(string) bool) (route, error) {
	out := route{Route: r, index: i, members: make(map[string]bool)}
	out.Domain, out.Alternate = normalDomain(r.Domain), normalDomain(r.Alternate)
	out.LoopReply, out.MaxReceived = r.loopReply(), r.maxReceived()
	for _, m := range r.Members {
		local, domain, _ := split(m)
		out.members[foldKey(local, domain)] = true
	}
	if file := r.Gateways.Header.SecretFile; file != "" {
		out.secret = keys.Files[file]
		if err := CheckGatewaySecret(out.secret); err != nil {
			return out, fmt.Errorf("gateways.header.secret_file: %s: %w", file, err)
		}
	}
	if !r.SRS {
		return out, nil
	}
	domain := r.srsDomain()
	if t.srs[domain] == nil {
		signing := keys.SRS
		if r.SRSKeyFile != "" {
			if err := checkSRSKeys(keys.Files[r.SRSKeyFile]); err != nil {
				return out, fmt.Errorf("srs_key_file: %w", err)
			}
			signing = srsKeys(keys.Files[r.SRSKeyFile])
		}
		srs, err := NewSRS(domain, signing, r.srsMaxAge(), ours)
		if err != nil {
			return out, fmt.Errorf("srs: %w", err)
		}
		t.srs[domain] = srs
	}
	out.srs = t.srs[domain]
	return out, nil
}

// Len is the number of routes.
func (t *Routes) Len() int {
	if t == nil {
		return 0
	}
	return len(t.routes)
}

// SRS gives what rewrites the senders of route i; nil where its srs is off.
func (t *Routes) SRS(i int) *SRS { return t.routes[i].srs }

// ErrOtherDomain is returned for an address that a route has no alternate of.
var ErrOtherDomain = errors.New("address is not in the route's domain")

// AlternateOf gives the address of the same mailbox in the other system: the
// local part byte for byte (with its tag, its quotes, its UTF-8), at the
// alternate domain. Domains are compared as policy.Domain writes them.
func (r Route) AlternateOf(address string) (string, error) {
	local, domain, ok := split(address)
	if !ok || domain != normalDomain(r.Domain) {
		return "", fmt.Errorf("%w: %q, %s", ErrOtherDomain, address, r.Domain)
	}
	return local + "@" + normalDomain(r.Alternate), nil
}

// Member tells whether an address is in a group. The address has its local part
// as the envelope wrote it and its domain as policy.Domain writes it. Lookups
// that can fail are made before, and a failed one ends in a temporary error:
// taking "not known" for "no" here would bounce mail.
type Member func(group, address string) bool

// routeOf finds the first route that sends an address elsewhere: the address
// itself is a member, or, for user+tag, user is.
func (t *Routes) routeOf(local, domain string, member Member) *route {
	for i := range t.routes {
		r := &t.routes[i]
		if r.Domain != domain {
			continue
		}
		if r.has(local, member) {
			return r
		}
		if user, ok := untagged(local); ok && r.has(user, member) {
			return r
		}
	}
	return nil
}

// chosen finds the route of a recipient, by the rule that overrules for him, or
// by his membership. A rule's alternate that no route of the domain has counts
// as none.
func (t *Routes) chosen(local, domain string, rule Rule, member Member) *route {
	switch {
	case rule.Stay:
		return nil
	case rule.Alternate == "":
		return t.routeOf(local, domain, member)
	}
	for i := range t.routes {
		if r := &t.routes[i]; r.Domain == domain && r.Alternate == rule.Alternate {
			return r
		}
	}
	return t.routeOf(local, domain, member)
}

func (r *route) has(local string, member Member) bool {
	return r.members[foldKey(local, r.Domain)] ||
		r.Group != "" && member != nil && member(r.Group, local+"@"+r.Domain)
}

// isDomain tells whether a domain is shared by some route.
func (t *Routes) isDomain(domain string) bool {
	for i := range t.routes {
		if t.routes[i].Domain == domain {
			return true
		}
	}
	return false
}

// IsAlternate tells whether a domain, as policy.Domain writes it, is that of a
// co-existing system.
func (t *Routes) IsAlternate(domain string) bool {
	for i := range t.Len() {
		if t.routes[i].Alternate == domain {
			return true
		}
	}
	return false
}

// Group gives the group of route i; "" where its members are listed only.
func (t *Routes) Group(i int) string { return t.routes[i].Group }

// byAlternate finds the first route to an alternate domain.
func (t *Routes) byAlternate(domain string) *route {
	for i := range t.routes {
		if t.routes[i].Alternate == domain {
			return &t.routes[i]
		}
	}
	return nil
}
