package coexist

// Rows about DMARC (RFC 7489): the policy, and which mail of the two systems
// is aligned with it.

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"
)

// checkDMARC looks at the policy for the shared domain.
func (c *checker) checkDMARC() {
	what := "policy of " + c.domain
	advice := fmt.Sprintf("_dmarc.%s. TXT \"v=DMARC1; p=quarantine; rua=mailto:postmaster@%s\"", c.domain, c.domain)
	at, records, err := c.dmarcRecords()
	policy := dmarc.PolicyNone
	switch {
	case err != nil:
		c.rows = append(c.rows, notAnswered(AreaDMARC, what, err))
	case len(records) == 0:
		c.add(AreaDMARC, what, Warning, "add: "+advice, "no DMARC record: anybody can write as %s, and large receivers refuse bulk mail without one", c.domain)
	case len(records) > 1:
		c.add(AreaDMARC, what, Wrong, "keep one: "+advice, "%d DMARC records at %s, so that none counts (RFC 7489 section 6.6.3)", len(records), at)
	default:
		if policy = c.dmarcRecord(what, at, records[0], advice); policy != dmarc.PolicyNone {
			c.forged(at)
		}
	}
	c.aligned("mail from us", Ours, policy)
	c.aligned("mail from the other system", Other, policy)
	c.forwarded()
}

// dmarcRecords gives the records for the domain, or else for its
// organizational domain.
func (c *checker) dmarcRecords() (at string, records []string, err *LookupError) {
	names := []string{"_dmarc." + c.domain}
	if org, err := publicsuffix.EffectiveTLDPlusOne(c.domain); err == nil && org != c.domain {
		names = append(names, "_dmarc."+org)
	}
	for _, name := range names {
		txt, err := c.dns.txt(c.ctx, name)
		if err != nil && !err.Answered() {
			return name, nil, err
		}
		records = slices.DeleteFunc(txt, func(t string) bool {
			version, _, _ := strings.Cut(t, ";")
			return strings.Join(strings.Fields(version), "") != "v=DMARC1"
		})
		if len(records) > 0 {
			return name, records, nil
		}
	}
	return names[0], nil, nil
}

// dmarcRecord looks at the one record, and gives the policy that holds.
func (c *checker) dmarcRecord(what, at, text, advice string) dmarc.Policy {
	// Values are the same in upper and lower case (RFC 5234), which the parser
	// does not know.
	_, rest, _ := strings.Cut(text, ";")
	record, err := dmarc.Parse("v=DMARC1;" + strings.ToLower(rest))
	if err != nil {
		c.add(AreaDMARC, what, Wrong, "replace by: "+advice, "%q at %s cannot be read: %s", text, at, strings.TrimPrefix(err.Error(), "dmarc: "))
		return dmarc.PolicyNone
	}
	policy, tag := record.Policy, "p"
	if at != "_dmarc."+c.domain && record.SubdomainPolicy != "" {
		policy, tag = record.SubdomainPolicy, "sp"
	}
	found := fmt.Sprintf("%s=%s", tag, policy)
	if tag == "p" && record.SubdomainPolicy != "" {
		found += fmt.Sprintf(", sp=%s for subdomains", record.SubdomainPolicy)
	}
	if at != "_dmarc."+c.domain {
		found += " from " + at
	}
	c.strictSPF = record.SPFAlignment == dmarc.AlignmentStrict
	found += fmt.Sprintf(", alignment of SPF %s, of DKIM %s", mode(record.SPFAlignment), mode(record.DKIMAlignment))
	if record.DKIMAlignment == dmarc.AlignmentStrict {
		found += fmt.Sprintf(": both systems must sign with d=%s itself", c.domain)
	}
	switch {
	case policy == dmarc.PolicyNone:
		c.add(AreaDMARC, what, Warning, "once the reports show both systems aligned: "+advice, "%s: receivers do nothing against forged mail", found)
	case record.Percent != nil && *record.Percent < 100:
		c.add(AreaDMARC, what, Warning, fmt.Sprintf("take pct=%d out of the TXT record of %s", *record.Percent, at), "%s, for %d%% of the mail only", found, *record.Percent)
	default:
		c.add(AreaDMARC, what, OK, "", "%s", found)
	}
	return policy
}

func mode(m dmarc.AlignmentMode) string {
	if m == dmarc.AlignmentStrict {
		return "strict"
	}
	return "relaxed"
}

// aligned tells whether what a system sends for the domain passes DMARC. Its
// envelope sender and its From have the same domain, which is aligned in
// either mode.
func (c *checker) aligned(what string, side Side, policy dmarc.Policy) {
	passes := c.spf[spfKey(side, c.domain)]
	see := fmt.Sprintf("see SPF of %s; sign with DKIM, d=%s", c.domain, c.domain)
	switch {
	case passes == OK && c.keys > 0:
		c.add(AreaDMARC, what, OK, "", "aligned by SPF; by DKIM too where it is signed with d=%s", c.domain)
	case passes == OK:
		c.add(AreaDMARC, what, OK, "", "aligned by SPF alone: what others forward fails DMARC, as no DKIM key was found")
	case passes == Unknown:
		c.add(AreaDMARC, what, Unknown, "ask again later", "unknown: DNS did not answer about SPF of %s", c.domain)
	case passes == Warning:
		c.add(AreaDMARC, what, Warning, see, "not checked, as SPF of %s was not", c.domain)
	case c.keys > 0:
		c.add(AreaDMARC, what, Warning, see, "not aligned by SPF; it rests on DKIM signatures with d=%s alone", c.domain)
	case policy == dmarc.PolicyNone:
		c.add(AreaDMARC, what, Warning, see, "not aligned: no SPF pass, no DKIM key found")
	default:
		c.add(AreaDMARC, what, Wrong, see, "not aligned: no SPF pass, no DKIM key found, and the policy is %s", policy)
	}
}

// forged tells whether a stranger's mail with a forged From of ours passes DMARC
// at the other system when we forward it: SPF passes for the rewritten sender,
// and a domain below the shared one aligns unless the policy is strict.
func (c *checker) forged(at string) {
	org, err := publicsuffix.EffectiveTLDPlusOne(c.domain)
	if err != nil {
		return
	}
	for _, i := range c.routes {
		d := c.srsDomain(i)
		if theirs, err := publicsuffix.EffectiveTLDPlusOne(d); d == "" || err != nil || theirs != org || c.strictSPF && d != c.domain {
			continue
		}
		c.add(AreaDMARC, "forged senders of "+c.domain+" that we forward", Warning,
			fmt.Sprintf("add aspf=s to the TXT record of %s, with an srs_domain other than %s; or take an srs_domain of another organisation", at, c.domain),
			"rewritten to %s they pass SPF, which aligns with %s: the other system's DMARC check lets them in; have Cloakroom refuse them before (see the example policy about spoofed senders)", d, c.domain)
		return
	}
}

// forwarded says what DMARC of the senders means for what we forward.
func (c *checker) forwarded() {
	const what = "forwarded mail of strangers"
	var without []string
	for _, i := range c.routes {
		if c.decide.SRS(i) == nil {
			without = append(without, fmt.Sprintf("coexistence[%d]", i))
		}
	}
	const rests = "under a sender's p=reject its DKIM signature must survive, so that header and body must leave as they came"
	switch {
	case len(without) == 0:
		c.add(AreaDMARC, what, OK, "", "SRS makes SPF pass, for a domain that is not the sender's: it does not align; %s", rests)
	case c.mxSide == Other:
		c.add(AreaDMARC, what, OK, "", "srs is off; the other system is the MX, so that little of it comes by here; %s", rests)
	default:
		c.add(AreaDMARC, what, Warning, fmt.Sprintf("set %s.srs: true, or list our addresses as inbound gateway of the other system", strings.Join(without, " and ")),
			"srs is off: it fails SPF at the other system; %s", rests)
	}
}
