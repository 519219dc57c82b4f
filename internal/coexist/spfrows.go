package coexist

// Rows about SPF: may each of the two systems send for each of the domains.

import (
	"fmt"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"
)

// checkSPF looks at the record of the shared domain, which both systems send
// for, of the domains of rewritten senders, which only we send for, and of the
// alternates, which the other system may send for.
func (c *checker) checkSPF() {
	c.spfDomain(c.domain, Wrong, true, true)
	done := map[string]bool{c.domain: true}
	for _, i := range c.routes {
		if d := c.srsDomain(i); d != "" && !done[d] {
			done[d] = true
			c.spfDomain(d, Wrong, true, false)
		}
	}
	for _, i := range c.routes {
		if _, alternate := c.route(i); !done[alternate] {
			done[alternate] = true
			c.spfDomain(alternate, Warning, false, true)
		}
	}
}

func spfKey(side Side, domain string) string { return string(side) + " " + domain }

// spfDomain looks at one record. missing is how bad its absence is; ours and
// theirs say who must pass.
func (c *checker) spfDomain(domain string, missing State, ours, theirs bool) {
	what := "SPF of " + domain
	settle := func(s State) {
		c.spf[spfKey(Ours, domain)], c.spf[spfKey(Other, domain)] = s, s
	}
	records, err := c.dns.spfRecords(c.ctx, domain)
	switch {
	case err != nil:
		settle(Unknown)
		c.rows = append(c.rows, notAnswered(AreaSPF, what, err))
		return
	case len(records) == 0:
		settle(missing)
		c.add(AreaSPF, what, missing, fmt.Sprintf("add: %s. TXT %q", domain, "v=spf1 "+c.spfTerms(ours, theirs)+" ~all"), "no SPF record")
		return
	case len(records) > 1:
		settle(Wrong)
		c.add(AreaSPF, what, Wrong, fmt.Sprintf("join them to one: %s. TXT %q", domain, joined(records)), "%d SPF records, so that none counts (RFC 7208 section 4.5)", len(records))
		return
	}
	c.spfRecord(domain, what, records[0])
	if ours {
		c.spfPath(domain, "from us", Ours, c.outbound, records[0])
	}
	if theirs {
		c.spfPath(domain, "from the other system", Other, c.from, records[0])
	}
}

// spfRecord looks at the record as a whole: does it evaluate, what does it
// cost, and what does it say of strangers.
func (c *checker) spfRecord(domain, what, record string) {
	result, why := c.dns.spfResult(c.ctx, spfNobody, domain)
	lookups, void := c.dns.spfCost(c.ctx, domain)
	cost := fmt.Sprintf("%d of %d DNS lookups", lookups, spfLookupLimit)
	names := c.dns.networksOf(c.ctx, domain)
	tighter := fmt.Sprintf("%s. TXT %q", domain, closed(record))
	switch {
	case result == spf.TempError && names.unknown != nil:
		c.rows = append(c.rows, notAnswered(AreaSPF, what, names.unknown))
	case result == spf.TempError:
		c.add(AreaSPF, what, Unknown, "ask again later, or another server (--resolver)", "unknown: DNS did not answer: %v", why)
	case lookups > spfLookupLimit:
		c.add(AreaSPF, what, Wrong, fmt.Sprintf("take terms out of the TXT record of %s, or write ip4: and ip6: in place of a, mx and include:, until it costs at most %d", domain, spfLookupLimit),
			"%s: over the limit, so that receivers stop with permerror (RFC 7208 section 4.6.4)", cost)
	case void > spfVoidLimit:
		c.add(AreaSPF, what, Wrong, fmt.Sprintf("take the names that do not exist out of the TXT record of %s", domain),
			"%d lookups have no answer, %d are allowed: receivers stop with permerror (RFC 7208 section 4.6.4)", void, spfVoidLimit)
	case result == spf.PermError && len(names.problems) > 0:
		c.add(AreaSPF, what, Wrong, fmt.Sprintf("mend or take out of the TXT record of %s: %s", domain, names.problems[0]), "permerror: %s", strings.Join(names.problems, "; "))
	case result == spf.PermError:
		c.add(AreaSPF, what, Wrong, fmt.Sprintf("mend the TXT record of %s: %q", domain, record), "permerror: %v in %q", why, record)
	case result == spf.Pass:
		c.add(AreaSPF, what, Wrong, "replace by: "+tighter, "%q lets everybody pass", record)
	case result == spf.Neutral:
		c.add(AreaSPF, what, Warning, "replace by: "+tighter, "%q says nothing of strangers (neutral): it keeps nobody from using the domain", record)
	case lookups >= spfLookupWarn:
		c.add(AreaSPF, what, Warning, fmt.Sprintf("take a term out of the TXT record of %s, or write ip4: and ip6: in place of a and mx, before an include grows", domain), "%s: close to the limit", cost)
	default:
		c.add(AreaSPF, what, OK, "", "%s, strangers get %s", cost, result)
	}
}

// spfPath tells whether the mail of one system passes.
func (c *checker) spfPath(domain, from string, side Side, addrs []netip.Addr, record string) {
	what, key := fmt.Sprintf("SPF of %s %s", domain, from), spfKey(side, domain)
	if len(addrs) == 0 {
		c.spf[key] = Unknown
		if side == Ours {
			c.spf[key] = c.ourSeen
			if c.ourSeen == Unknown {
				c.add(AreaSPF, what, Unknown, "ask again later, or give --outbound-ip", "unknown: DNS did not answer for %s", c.set.Hostname)
				return
			}
			c.add(AreaSPF, what, Warning, "give --outbound-ip", "not checked: no address of ours is known")
			return
		}
		c.spfPathByName(domain, from, record)
		return
	}
	c.spf[key] = OK
	for _, a := range addrs {
		result, why := c.dns.spfResult(c.ctx, a, domain)
		switch {
		case result == spf.Pass:
			continue
		case result == spf.TempError:
			c.spf[key] = Unknown
			c.add(AreaSPF, what, Unknown, "ask again later, or another server (--resolver)", "unknown: DNS did not answer: %v", why)
			return
		}
		state := Wrong
		found := fmt.Sprintf("%s: %s, want pass", a, result)
		if side == Other && (domain != c.domain || !c.fromSure) {
			state = Warning // users there rarely write as the alternate
		}
		c.spf[key] = state
		fix := fmt.Sprintf("replace by: %s. TXT %q", domain, with(record, c.spfTerms(side == Ours, side == Other)))
		if result == spf.PermError {
			fix = fmt.Sprintf("mend the TXT record first, see SPF of %s", domain)
		}
		if side == Other && !c.fromSure {
			found += "; it stands for its network in gateways.networks"
			fix = "give --other-ip, or " + fix
		}
		c.add(AreaSPF, what, state, fix, "%s", found)
		return
	}
	c.add(AreaSPF, what, OK, "", "pass for %s", list(addrs))
}

// spfPathByName stands in where no address of the other system is known: a
// hosted one says itself which record to include.
func (c *checker) spfPathByName(domain, from, record string) {
	what, key := fmt.Sprintf("SPF of %s %s", domain, from), spfKey(Other, domain)
	p := c.provider()
	if p == nil {
		c.spf[key] = Warning
		c.add(AreaSPF, what, Warning, "give --other-ip, or set gateways.networks", "not checked: no address the other system sends from is known")
		return
	}
	networks := c.dns.networksOf(c.ctx, p.spf)
	if networks.unknown != nil {
		c.spf[key] = Unknown
		c.rows = append(c.rows, notAnswered(AreaSPF, what, networks.unknown))
		return
	}
	var addrs []netip.Addr
	for _, n := range networks.networks {
		if len(addrs) < maxSamples {
			addrs = append(addrs, sampleOf(n))
		}
	}
	if len(addrs) == 0 {
		c.spf[key] = Warning
		c.add(AreaSPF, what, Warning, "give --other-ip, or set gateways.networks", "not checked: the SPF record of %s names no network", p.spf)
		return
	}
	c.fromSure = true
	c.spfPath(domain, from, Other, addrs, record)
}

// spfTerms are the terms that let the two systems pass.
func (c *checker) spfTerms(ours, theirs bool) string {
	var terms []string
	if ours {
		for _, a := range c.outbound {
			terms = append(terms, ipTerm(netip.PrefixFrom(a, a.BitLen())))
		}
		if len(c.outbound) == 0 {
			terms = append(terms, "a:"+c.set.Hostname)
		}
	}
	if theirs {
		if p := c.provider(); p != nil {
			terms = append(terms, "include:"+p.spf)
		} else {
			for _, n := range c.world.networks {
				terms = append(terms, ipTerm(n))
			}
			for _, a := range c.opt.OtherIPs {
				if !contains(c.world.networks, a) {
					terms = append(terms, ipTerm(netip.PrefixFrom(a, a.BitLen())))
				}
			}
		}
	}
	return strings.Join(terms, " ")
}

func ipTerm(n netip.Prefix) string {
	term := "ip4:"
	if n.Addr().Is6() {
		term = "ip6:"
	}
	if n.IsSingleIP() {
		return term + n.Addr().String()
	}
	return term + n.String()
}

// with puts terms at the front of a record, where nothing decides before them.
func with(record, terms string) string {
	version, rest, _ := strings.Cut(record, " ")
	return strings.TrimSpace(version + " " + terms + " " + rest)
}

// closed is a record that ends in ~all.
func closed(record string) string {
	var out []string
	for _, term := range strings.Fields(record) {
		name := strings.ToLower(strings.TrimLeft(term, "+-~?"))
		if name == "all" || name == "ip4:0.0.0.0/0" || name == "ip6:::/0" {
			continue
		}
		out = append(out, term)
	}
	return strings.Join(append(out, "~all"), " ")
}

// joined is several records as one, each term once.
func joined(records []string) string {
	seen, out := map[string]bool{}, []string{"v=spf1"}
	for _, r := range records {
		for _, term := range strings.Fields(r)[1:] {
			if name := strings.TrimLeft(term, "+-~?"); !strings.EqualFold(name, "all") && !seen[term] {
				seen[term] = true
				out = append(out, term)
			}
		}
	}
	return strings.Join(append(out, "~all"), " ")
}
