package coexist

// Where mail for a name goes, and whose those hosts are.

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// mailHost is one target of an MX record.
type mailHost struct {
	name       string // without the final dot
	preference uint16
	alias      bool // the name is a CNAME (forbidden: RFC 2181 section 10.3)
	addrs      []netip.Addr
	err        *LookupError // why there are no addresses
}

// mailRoute is where mail for a name goes (RFC 5321 section 5.1).
type mailRoute struct {
	name     string
	null     bool // RFC 7505: takes no mail
	stray    bool // a null MX beside others, which RFC 7505 section 3 forbids
	implicit bool // no MX: the name's own addresses
	hosts    []mailHost
	err      *LookupError // why there are no hosts
}

func (r *Resolver) mailRoute(ctx context.Context, name string) mailRoute {
	out := mailRoute{name: name}
	rrs, _, err := r.lookup(ctx, name, dns.TypeMX)
	if err != nil && err.Failure == NoData {
		out.implicit = true
		host := mailHost{name: name}
		if host.addrs, _, host.err = r.addresses(ctx, name); host.err == nil {
			out.hosts = []mailHost{host}
		} else if out.err = err; !host.err.Answered() {
			out.err = host.err
		}
		return out
	}
	out.err = err
	for _, rr := range rrs {
		mx := rr.(*dns.MX)
		if mx.Mx == "." {
			out.null, out.stray = len(rrs) == 1, len(rrs) > 1
			continue
		}
		host := mailHost{name: strings.ToLower(strings.TrimSuffix(mx.Mx, ".")), preference: mx.Preference}
		host.addrs, host.alias, host.err = r.addresses(ctx, host.name)
		out.hosts = append(out.hosts, host)
	}
	slices.SortStableFunc(out.hosts, func(a, b mailHost) int { return cmp.Compare(a.preference, b.preference) })
	return out
}

// names lists the hosts for people.
func (m mailRoute) names() string {
	switch {
	case m.null:
		return "a null MX: takes no mail (RFC 7505)"
	case m.err != nil:
		return m.err.Error()
	case m.implicit:
		return "no MX; its own address " + m.hosts[0].addrs[0].String()
	}
	var out []string
	for i, h := range m.hosts {
		if i == maxListed {
			out = append(out, fmt.Sprintf("and %d more", len(m.hosts)-i))
			break
		}
		out = append(out, h.name)
	}
	return strings.Join(out, ", ")
}

// maxListed is how many names or networks a row lists.
const maxListed = 6

// provider is a hosted mail system that is known by the names of its hosts.
type provider struct {
	name      string
	mx        []string // domains of its MX hosts
	host      string   // an MX to give in advice
	spf       string   // the SPF record with the networks it sends from
	selectors []string // its usual DKIM selectors
}

func providers() []provider {
	return []provider{
		{"Google", []string{"google.com", "googlemail.com"}, "smtp.google.com", "_spf.google.com", []string{"google"}},
		{"Microsoft", []string{"mail.protection.outlook.com", "mx.microsoft"}, "", "spf.protection.outlook.com", []string{"selector1", "selector2"}},
	}
}

// providerOf finds the hosted system that a mail host belongs to; nil for none
// that is known.
func providerOf(host string) *provider {
	for _, p := range providers() {
		for _, domain := range p.mx {
			if host == domain || strings.HasSuffix(host, "."+domain) {
				return &p
			}
		}
	}
	return nil
}

// world is whose hosts are whose.
type world struct {
	hostname string
	ours     []netip.Addr
	networks []netip.Prefix // of the other system
	hosts    []mailHost     // the alternates' MX, where they are not ours
}

func (w *world) isOurs(h mailHost) bool {
	return h.name == w.hostname || slices.ContainsFunc(h.addrs, func(a netip.Addr) bool { return slices.Contains(w.ours, a) })
}

func (w *world) inNetworks(a netip.Addr) bool {
	return slices.ContainsFunc(w.networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// sideOf tells whose one host is. It is ours before it is anybody else's.
func (w *world) sideOf(h mailHost) Side {
	switch {
	case h.err != nil && !h.err.Answered() && h.name != w.hostname && providerOf(h.name) == nil:
		return Unclear
	case h.err != nil && h.err.Answered():
		return Nowhere
	case w.isOurs(h):
		return Ours
	case providerOf(h.name) != nil, slices.ContainsFunc(h.addrs, w.inNetworks):
		return Other
	}
	for _, o := range w.hosts {
		if o.name == h.name || slices.ContainsFunc(o.addrs, func(a netip.Addr) bool { return slices.Contains(h.addrs, a) }) {
			return Other
		}
	}
	return Third
}

// side tells whose all hosts of a name are.
func (w *world) side(m mailRoute) Side {
	switch {
	case m.err != nil && !m.err.Answered():
		return Unclear
	case m.null || m.err != nil || len(m.hosts) == 0:
		return Nowhere
	}
	found := make(map[Side]bool)
	for _, h := range m.hosts {
		found[w.sideOf(h)] = true
	}
	switch {
	case found[Ours] && (found[Other] || found[Third]):
		return Mixed
	case found[Unclear]:
		return Unclear // any of the others would be a guess
	case found[Ours]:
		return Ours
	case found[Other]:
		return Other
	case found[Third]:
		return Third
	}
	return Nowhere
}

// provider gives the hosted system behind a name; nil for none that is known.
func (m mailRoute) provider() *provider {
	for _, h := range m.hosts {
		if p := providerOf(h.name); p != nil {
			return p
		}
	}
	return nil
}
