package coexist

// One check from its beginning to its end.

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cloakroom/policy"
	"cloakroom/policy/forward"
)

// Settings is what the check takes from the configuration.
type Settings struct {
	Hostname string
	Domains  []string
	Routes   forward.Config
	// Files are the contents of Routes.Files by their paths.
	Files map[string][]byte
	// Submit tells that Cloakroom can send copies itself (submit.smtp).
	Submit bool
	// Observe tells that mail is only looked at (mode: observe).
	Observe bool
	// Users calls yield with each user of the directory until it returns false;
	// nil without a directory.
	Users func(ctx context.Context, yield func(forward.User) bool) error
}

// Options say what DNS and the configuration cannot.
type Options struct {
	// OutboundIPs are the addresses our mail leaves from. Default: those of
	// Settings.Hostname.
	OutboundIPs []netip.Addr
	// OtherIPs are addresses the other system sends from. Default: one of each
	// of its gateways.networks.
	OtherIPs []netip.Addr
	// Selectors are DKIM selectors that must be there, beside the usual ones,
	// which may.
	Selectors []string
	// Now is the time of the sample mails.
	Now time.Time
}

// ErrNoRoute is returned for a domain that no route of the configuration has.
var ErrNoRoute = errors.New("no route of `coexistence` has this domain")

// checker is one check under way.
type checker struct {
	ctx    context.Context
	dns    *Resolver
	set    Settings
	opt    Options
	domain string
	routes []int // places in set.Routes
	decide *forward.Routes

	ourSeen  State        // whether our own addresses are known
	outbound []netip.Addr // that our mail leaves from
	from     []netip.Addr // that the other system's mail leaves from
	fromSure bool         // by its own word or that of the options; else they are a guess
	world    world
	mx       mailRoute // of the domain
	mxSide   Side
	others   map[string]mailRoute // by alternate
	people   people

	leads     map[string]State // by alternate or srs_domain: whether it leads where it must
	spf       map[string]State // by spfKey: whether mail of a side passes
	keys      int              // DKIM keys that can be used
	keyless   *LookupError     // a question about DKIM that DNS did not answer
	rows      []Row
	strictSPF bool // the DMARC policy asks for exactly the same domain
}

// Check compares DNS with the configuration. The error is ErrNoRoute, or tells
// why the configuration cannot be used; whatever DNS says is in the report.
func Check(ctx context.Context, r *Resolver, set Settings, domain string, opt Options) (*Report, error) {
	c := &checker{ctx: ctx, dns: r, set: set, opt: opt, domain: policy.Domain("@" + domain),
		others: make(map[string]mailRoute), leads: make(map[string]State), spf: make(map[string]State)}
	if err := c.begin(); err != nil {
		return nil, err
	}
	c.world.hostname = policy.Domain("@" + set.Hostname)
	if set.Observe {
		c.add(AreaConfig, "mode", Warning, "set mode: enforce", "observe: mail is only looked at; nothing of what follows is done")
	}
	c.ourHosts()
	c.otherHosts()
	c.findPeople()
	c.checkMX()
	c.checkGateways()
	c.checkSPF()
	c.checkDKIM()
	c.checkDMARC()
	c.checkSRS()
	report := &Report{Domain: c.domain, MX: c.mxSide, Rows: c.rows}
	for _, i := range c.routes {
		report.Routes = append(report.Routes, c.flows(i))
	}
	slices.SortStableFunc(report.Rows, func(a, b Row) int { return areaRank(a.Area) - areaRank(b.Area) })
	report.finish()
	return report, nil
}

func areaRank(a Area) int {
	return slices.Index([]Area{AreaConfig, AreaMX, AreaSPF, AreaDMARC, AreaDKIM, AreaSRS}, a)
}

// begin makes the routes ready. Nothing is signed for real, so that keys made
// of nothing do.
func (c *checker) begin() error {
	var known []string
	for i, r := range c.set.Routes {
		switch d := policy.Domain("@" + r.Domain); {
		case d == c.domain:
			c.routes = append(c.routes, i)
		case !slices.Contains(known, d):
			known = append(known, d)
		}
	}
	if len(c.routes) == 0 {
		if known == nil {
			return fmt.Errorf("%s: %w: it has no route at all", c.domain, ErrNoRoute)
		}
		return fmt.Errorf("%s: %w; there are %s", c.domain, ErrNoRoute, strings.Join(known, ", "))
	}
	throwaway := [][]byte{make([]byte, 32)}
	routes, err := forward.New(c.set.Routes, forward.Keys{Marks: throwaway, SRS: throwaway, Files: c.set.Files},
		func(domain string) bool { return slices.Contains(c.set.Domains, domain) })
	c.decide = routes
	return err
}

func (c *checker) add(area Area, what string, state State, fix, found string, args ...any) {
	if len(args) > 0 {
		found = fmt.Sprintf(found, args...)
	}
	c.rows = append(c.rows, Row{Area: area, What: what, State: state, Found: found, Fix: fix})
}

// route gives a route and its alternate domain in the form of comparison.
func (c *checker) route(i int) (r *forward.Route, alternate string) {
	r = &c.set.Routes[i]
	return r, policy.Domain("@" + r.Alternate)
}

// srsDomain is where a route's rewritten senders are; "" without srs.
func (c *checker) srsDomain(i int) string {
	if s := c.decide.SRS(i); s != nil {
		return s.Domain()
	}
	return ""
}

// ourHosts finds the addresses of this MTA: those its mail leaves from, and
// those it may be reached at.
func (c *checker) ourHosts() {
	const what = "our own addresses"
	addrs, _, err := c.dns.addresses(c.ctx, c.set.Hostname)
	for _, a := range addrs {
		if a.IsGlobalUnicast() && !a.IsPrivate() {
			c.world.ours = append(c.world.ours, a)
		}
	}
	c.ourSeen = OK
	switch {
	case len(c.opt.OutboundIPs) > 0:
		c.outbound = c.opt.OutboundIPs
		c.world.ours = append(c.world.ours, c.outbound...)
		c.add(AreaConfig, what, OK, "", "%s, as given", list(c.outbound))
	case err != nil && !err.Answered():
		c.ourSeen = Unknown
		c.rows = append(c.rows, notAnswered(AreaConfig, what, err))
	case err != nil:
		c.ourSeen = Warning
		c.add(AreaConfig, what, Warning, fmt.Sprintf("give --outbound-ip, or add: %s. A (this host's public address)", c.set.Hostname),
			"%v: whether SPF lets our mail pass is not checked", err)
	case len(c.world.ours) == 0:
		c.ourSeen = Warning
		c.add(AreaConfig, what, Warning, "give --outbound-ip: the address that others see", "%s is %s, which no other host sees", c.set.Hostname, list(addrs))
	default:
		c.outbound = c.world.ours
		c.add(AreaConfig, what, OK, "", "%s: %s", c.set.Hostname, list(c.outbound))
	}
}

// otherHosts finds what is known of the other system: where its mail goes to,
// and where it comes from.
func (c *checker) otherHosts() {
	c.mx = c.dns.mailRoute(c.ctx, c.domain)
	for _, i := range c.routes {
		r, alternate := c.route(i)
		c.world.networks = append(c.world.networks, r.Gateways.Networks...)
		m := c.dns.mailRoute(c.ctx, alternate)
		c.others[alternate] = m
		for _, h := range m.hosts {
			if h.err == nil && !c.world.isOurs(h) {
				c.world.hosts = append(c.world.hosts, h)
			}
		}
	}
	c.mxSide = c.world.side(c.mx)
	if c.from = c.opt.OtherIPs; len(c.from) > 0 {
		c.fromSure = true
		return
	}
	c.sampleNetworks()
}

// sampleNetworks takes an address out of each of gateways.networks: one that
// the other system says it sends from, where it says so. A network may well be
// wider than that.
func (c *checker) sampleNetworks() {
	c.fromSure = true
	for _, i := range c.routes {
		r, alternate := c.route(i)
		said, _ := c.sendsFrom(alternate)
		for _, n := range r.Gateways.Networks {
			a := sampleOf(n)
			if said == nil || said.unknown != nil {
				c.fromSure = false
			} else if a = common(n, said.networks); !a.IsValid() {
				continue // the row about gateways tells it
			}
			if len(c.from) < maxSamples && !slices.Contains(c.from, a) {
				c.from = append(c.from, a)
			}
		}
	}
}

// common is an address that is both in n and in one of the networks; the zero
// Addr if there is none.
func common(n netip.Prefix, networks []netip.Prefix) netip.Addr {
	for _, m := range networks {
		switch {
		case !n.Overlaps(m):
		case m.Bits() > n.Bits():
			return sampleOf(m)
		default:
			return sampleOf(n)
		}
	}
	return netip.Addr{}
}

// maxSamples is for how many networks SPF is evaluated.
const maxSamples = 16

// sampleOf is a host's address in a network: the first behind the network's own.
func sampleOf(n netip.Prefix) netip.Addr {
	a := n.Masked().Addr()
	if next := a.Next(); n.Bits() < a.BitLen() && n.Contains(next) {
		return next
	}
	return a
}

// list writes values for people, the first few of them.
func list[T fmt.Stringer](values []T) string {
	var out []string
	for i, v := range values {
		if i == maxListed {
			out = append(out, fmt.Sprintf("and %d more", len(values)-i))
			break
		}
		out = append(out, v.String())
	}
	return strings.Join(out, ", ")
}
