package coexist

// Rows about MX records: which topology is seen, and whether the alternate
// leads to the other system.

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

func (c *checker) checkMX() {
	c.domainMX()
	c.hostRows(c.mx)
	seen := map[string]bool{}
	for _, i := range c.routes {
		if _, alternate := c.route(i); !seen[alternate] {
			seen[alternate] = true
			c.alternateMX(alternate)
			c.leads[alternate] = c.rows[len(c.rows)-1].State
			c.hostRows(c.others[alternate])
		}
	}
}

// domainMX tells who is the MX of the shared domain. Both topologies are fine.
func (c *checker) domainMX() {
	what := "MX of " + c.domain
	names := c.mx.names()
	bothWays := fmt.Sprintf("%s. MX 10 %s. (we take all mail first), or to let the other system do so: MX 1 %s", c.domain, c.set.Hostname, c.otherMX())
	switch side := c.mxSide; {
	case side == Unclear:
		c.rows = append(c.rows, notAnswered(AreaMX, what, unanswered(c.mx)))
	case side == Nowhere:
		c.add(AreaMX, what, Wrong, "add: "+bothWays, "%s: nobody outside can send mail to %s", deadEnd(c.mx), c.domain)
	case side == Ours:
		c.add(AreaMX, what, OK, "", "%s: we are the MX; mail for members goes on to the other system", names)
	case side == Other:
		c.add(AreaMX, what, OK, "", "%s: the other system is the MX; it must send what it does not know to us (a catch-all route)", names)
	case side == Mixed:
		c.add(AreaMX, what, Warning, "keep the records of one system: "+bothWays,
			"%s: some are ours and some are not; which system gets a mail first is the sender's choice", names)
	case c.ourSeen == Unknown:
		c.add(AreaMX, what, Unknown, "ask again later, or give --outbound-ip", "%s: whether they are ours is unknown: DNS did not answer for %s", names, c.set.Hostname)
	default:
		c.add(AreaMX, what, Warning, "if these hosts are ours, give their addresses by --outbound-ip; if they are the other system's, list them in gateways.networks; otherwise change to "+bothWays,
			"%s: neither ours (%s) nor, as far as can be told, the other system's", names, c.set.Hostname)
	}
}

// alternateMX tells whether mail for the alternate domain gets to the other
// system. What it forwards to itself goes in circles.
func (c *checker) alternateMX(alternate string) {
	what, m := "MX of "+alternate, c.others[alternate]
	own := c.world
	own.hosts = nil // that its hosts are its hosts proves nothing
	record := fmt.Sprintf("%s. MX 1 %s", alternate, c.otherMX())
	side := own.side(m)
	switch {
	case side == Unclear:
		c.rows = append(c.rows, notAnswered(AreaMX, what, unanswered(m)))
		return
	case side == Nowhere:
		c.add(AreaMX, what, Wrong, "add: "+record+" (unless a transport of the MTA leads there)", "%s: forwarded mail has nowhere to go", deadEnd(m))
	case side == Ours || side == Mixed:
		c.add(AreaMX, what, Wrong, "replace by: "+record, "%s: leads to us (%s), so that forwarded mail comes straight back", m.names(), c.set.Hostname)
	case side == Third && c.ourSeen == Unknown:
		c.add(AreaMX, what, Unknown, "ask again later, or give --outbound-ip", "%s: whether it is ours is unknown: DNS did not answer for %s", m.names(), c.set.Hostname)
	case side == Third && c.mxSide != Other:
		c.add(AreaMX, what, Warning, "see that these are the other system's hosts; if they are not, replace by: "+record,
			"%s: not ours, but not known as the other system's either (gateways.networks, or a hosted system whose names are known)", m.names())
	case c.mxSide == Other && c.mx.provider() != nil && m.provider() != nil && c.mx.provider().name != m.provider().name:
		c.add(AreaMX, what, Wrong, fmt.Sprintf("replace by: %s. MX 1 %s", alternate, providerMX(c.mx.provider(), alternate)),
			"%s is at %s, but the MX of %s is %s", m.names(), m.provider().name, c.domain, c.mx.provider().name)
	default:
		name := "the other system"
		if p := m.provider(); p != nil {
			name = p.name
		}
		c.add(AreaMX, what, OK, "", "%s: %s", m.names(), name)
	}
}

// otherMX is the MX host of the other system, as a record names it.
func (c *checker) otherMX() string {
	if len(c.routes) == 0 {
		return ""
	}
	_, alternate := c.route(c.routes[0])
	return providerMX(c.provider(), alternate)
}

func providerMX(p *provider, domain string) string {
	switch {
	case p == nil:
		return "(the other system's mail host; for Google: smtp.google.com.)"
	case p.host == "":
		return strings.ReplaceAll(domain, ".", "-") + "." + p.mx[0] + "."
	}
	return p.host + "."
}

// provider is the hosted system that the other one is, as its MX tells; nil
// for none that is known.
func (c *checker) provider() *provider {
	for _, i := range c.routes {
		_, alternate := c.route(i)
		if p := c.others[alternate].provider(); p != nil {
			return p
		}
	}
	return c.mx.provider()
}

func deadEnd(m mailRoute) string {
	if m.err == nil && !m.null {
		return m.names() + ": no host with an address"
	}
	return m.names()
}

// unanswered finds the question about a mail route that got no answer.
func unanswered(m mailRoute) *LookupError {
	if m.err != nil {
		return m.err
	}
	for _, h := range m.hosts {
		if h.err != nil && !h.err.Answered() {
			return h.err
		}
	}
	return &LookupError{Name: m.name, Type: "MX", Failure: Timeout}
}

// hostRows tells what is wrong with single MX hosts.
func (c *checker) hostRows(m mailRoute) {
	if m.stray {
		c.add(AreaMX, "null MX of "+m.name, Warning, fmt.Sprintf("take out: %s. MX 0 .", m.name), "stands beside other MX records, which RFC 7505 forbids: what senders make of it differs")
	}
	six := len(m.hosts) > 0
	for _, h := range m.hosts {
		what := fmt.Sprintf("MX host %s", h.name)
		_, notName := netip.ParseAddr(h.name)
		switch {
		case notName == nil:
			c.add(AreaMX, what, Wrong, fmt.Sprintf("name a host: %s. MX %d (a name with an A record).", m.name, h.preference), "the MX of %s is an address; it must be a name (RFC 5321 section 5.1)", m.name)
		case h.err != nil && h.err.Answered():
			c.add(AreaMX, what, Warning, fmt.Sprintf("add: %s. A (its address), or take it out of the MX of %s", h.name, m.name), "%v: some mail for %s waits before it tries another host", h.err, m.name)
		case h.alias:
			c.add(AreaMX, what, Warning, fmt.Sprintf("replace the CNAME by: %s. A %s", h.name, first(h.addrs)), "is a CNAME, which an MX of %s must not name (RFC 2181 section 10.3)", m.name)
		}
		six = six && h.err == nil && !slices.ContainsFunc(h.addrs, netip.Addr.Is4)
	}
	if six {
		c.add(AreaMX, "IPv4 of "+m.name, Warning, fmt.Sprintf("add: %s. A (an IPv4 address)", m.hosts[0].name), "its mail hosts have IPv6 addresses only; many senders have none")
	}
}

func first(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "(its address)"
	}
	return addrs[0].String()
}

// checkGateways tells whether mail from the other system will be known.
func (c *checker) checkGateways() {
	for _, i := range c.routes {
		r, alternate := c.route(i)
		g, key := &r.Gateways, fmt.Sprintf("coexistence[%d].gateways", i)
		what := "gateways of " + alternate
		if len(g.Networks) == 0 {
			found := "none: what its users send here counts as a stranger's, and a loop is found one round late"
			if sameHosts(c.mx, c.others[alternate]) {
				found = fmt.Sprintf("none, and the MX of %s is that of %s: mail of the catch-all route cannot be told from any other, and a loop is found one round late", c.domain, alternate)
			}
			c.add(AreaConfig, what, Warning, fmt.Sprintf("set %s.networks: [%s] and %s.daemon or .header", key, c.networkAdvice(), key), found)
			continue
		}
		if slices.ContainsFunc(c.world.ours, func(a netip.Addr) bool { return contains(g.Networks, a) }) {
			c.add(AreaConfig, what, Wrong, "take our own addresses out of "+key+".networks", "%s: has our own addresses (%s) in it", list(g.Networks), list(c.world.ours))
			continue
		}
		var strange []netip.Addr
		for _, a := range c.opt.OtherIPs {
			if !contains(g.Networks, a) {
				strange = append(strange, a)
			}
		}
		if len(strange) > 0 {
			c.add(AreaConfig, what, Wrong, fmt.Sprintf("add to %s.networks: %s", key, list(strange)), "%s: mail from %s would not be known as the other system's", list(g.Networks), list(strange))
			continue
		}
		c.gatewayNetworks(what, key, alternate, g.Networks)
	}
}

// gatewayNetworks compares the networks with what the other system's own SPF
// record says it sends from.
func (c *checker) gatewayNetworks(what, key, alternate string, networks []netip.Prefix) {
	from, source := c.sendsFrom(alternate)
	if from == nil {
		c.add(AreaConfig, what, OK, "", "%s (nothing in DNS to compare them with)", list(networks))
		return
	}
	if from.unknown != nil {
		c.rows = append(c.rows, notAnswered(AreaConfig, what, from.unknown))
		return
	}
	var missing []netip.Prefix
	overlap := false
	for _, n := range from.networks {
		overlap = overlap || slices.ContainsFunc(networks, n.Overlaps)
		if !covered(networks, n) && !slices.Contains(missing, n) {
			missing = append(missing, n)
		}
	}
	switch {
	case len(missing) == 0:
		c.add(AreaConfig, what, OK, "", "%s: holds all that %s names", list(networks), source)
	case !overlap:
		c.add(AreaConfig, what, Warning, fmt.Sprintf("add to %s.networks: %s", key, list(missing)), "%s: has nothing of what %s names", list(networks), source)
	default:
		c.add(AreaConfig, what, Warning, fmt.Sprintf("add to %s.networks: %s", key, list(missing)),
			"%s: lacks %d networks that %s names; what comes from there counts as a stranger's", list(networks), len(missing), source)
	}
}

// sendsFrom gives the networks the other system says it sends from, and where
// it says so; nil where nothing does.
func (c *checker) sendsFrom(alternate string) (*spfNetworks, string) {
	p := c.others[alternate].provider()
	if p == nil && sameHosts(c.mx, c.others[alternate]) {
		p = c.mx.provider()
	}
	source := alternate // a record of its own, which does not let us pass
	if p != nil {
		source = p.spf
	}
	from := c.dns.networksOf(c.ctx, source)
	ours := slices.ContainsFunc(c.world.ours, func(a netip.Addr) bool { return contains(from.networks, a) })
	if from.unknown == nil && (ours || len(from.networks) == 0) {
		return nil, ""
	}
	return from, "the SPF record of " + source
}

// networkAdvice is what gateways.networks should be.
func (c *checker) networkAdvice() string {
	if p := c.provider(); p != nil {
		if n := c.dns.networksOf(c.ctx, p.spf).networks; len(n) > 0 {
			return list(n)
		}
		return "those of " + p.spf
	}
	return "the networks it sends from"
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// covered tells whether one of the networks holds all of n.
func covered(networks []netip.Prefix, n netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(have netip.Prefix) bool { return have.Bits() <= n.Bits() && have.Contains(n.Addr()) })
}

func sameHosts(a, b mailRoute) bool {
	return slices.ContainsFunc(a.hosts, func(h mailHost) bool {
		return slices.ContainsFunc(b.hosts, func(o mailHost) bool {
			return o.name == h.name || slices.ContainsFunc(h.addrs, func(x netip.Addr) bool { return slices.Contains(o.addrs, x) })
		})
	})
}
