package coexist

// Rows about the domains of rewritten senders: bounces to them must come here.

import "fmt"

func (c *checker) checkSRS() {
	for _, i := range c.routes {
		d := c.srsDomain(i)
		if d == "" || c.leads[d] != "" {
			continue
		}
		m := c.mx
		if d != c.domain {
			m = c.dns.mailRoute(c.ctx, d)
		}
		c.srsMX(fmt.Sprintf("coexistence[%d].srs_domain", i), d, m)
		c.leads[d] = c.rows[len(c.rows)-1].State
		if d != c.domain {
			c.hostRows(m)
		}
	}
}

// srsMX tells whether the MX of a domain of rewritten senders leads to us.
func (c *checker) srsMX(key, domain string, m mailRoute) {
	what := "MX of " + domain
	record := fmt.Sprintf("%s. MX 10 %s.", domain, c.set.Hostname)
	switch side := c.world.side(m); {
	case side == Unclear:
		c.rows = append(c.rows, notAnswered(AreaSRS, what, unanswered(m)))
	case side == Ours:
		c.add(AreaSRS, what, OK, "", "%s: bounces come to us", m.names())
	case side == Nowhere:
		c.add(AreaSRS, what, Wrong, "add: "+record, "%s: bounces to rewritten senders are lost, and receivers may refuse such senders", deadEnd(m))
	case domain == c.domain && side != Third:
		c.add(AreaSRS, what, Warning, fmt.Sprintf("set %s: srs.%s and add: srs.%s. MX 10 %s.", key, c.domain, c.domain, c.set.Hostname),
			"%s: bounces to rewritten senders come to us only by the other system's catch-all", m.names())
	case side == Other || side == Mixed:
		c.add(AreaSRS, what, Wrong, "replace by: "+record, "%s: bounces go to the other system, which cannot read them", m.names())
	case c.ourSeen == Unknown:
		c.add(AreaSRS, what, Unknown, "ask again later, or give --outbound-ip", "%s: whether it is ours is unknown: DNS did not answer for %s", m.names(), c.set.Hostname)
	default:
		c.add(AreaSRS, what, Warning, "if these hosts are ours, give their addresses by --outbound-ip; otherwise replace by: "+record,
			"%s: not known as ours (%s); bounces must come to us", m.names(), c.set.Hostname)
	}
}
