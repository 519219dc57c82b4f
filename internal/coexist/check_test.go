package coexist

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"cloakroom/internal/testserver"
	"cloakroom/policy/forward"
)

func TestRightSetupsAreOK(t *testing.T) {
	for name, c := range map[string]change{
		"the other system is the MX":  {},
		"we are the MX":               {weAreMX: true},
		"addresses given":             {options: Options{OutboundIPs: []netip.Addr{netip.MustParseAddr("203.0.113.25")}, OtherIPs: []netip.Addr{netip.MustParseAddr("192.0.2.77")}}},
		"every answer needs TCP":      {faults: map[string]testserver.DNSFault{"*": testserver.DNSNeedTCP}},
		"a server that knows no EDNS": {faults: map[string]testserver.DNSFault{"*": testserver.DNSNoEDNS}},
		"a key that does not fit in UDP": {drop: []string{"google._domainkey"},
			add: []string{txt("google._domainkey.acmecorp.test.", rsaRecord(2048)+"; n="+strings.Repeat("long notes ", 120))}},
		"the group of another route": {settings: func(s *Settings) {
			other := rightRoute()
			other.Group, other.Members = "", []string{"carl@acmecorp.test"}
			s.Routes = append(s.Routes, other)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.check(t)
			if got := troubles(r); len(got) > 0 || r.State != OK {
				t.Errorf("%s: %q", r.State, got)
			}
			if want := map[bool]Side{false: Other, true: Ours}[c.weAreMX]; r.MX != want {
				t.Errorf("the MX is %s, want %s", r.MX, want)
			}
			for _, row := range r.Rows {
				if row.Found == "" || row.Fix != "" {
					t.Errorf("%s: found %q, fix %q", row.What, row.Found, row.Fix)
				}
			}
		})
	}
}

func TestEachBrokenThingIsFoundAndSaysWhatToChange(t *testing.T) {
	includes := func(n int) (lines []string) {
		record := "v=spf1 ip4:203.0.113.25 include:_spf.google.com"
		for i := range n {
			record += fmt.Sprintf(" include:_s%d.ext.test", i)
			lines = append(lines, txt(fmt.Sprintf("_s%d.ext.test.", i), fmt.Sprintf("v=spf1 ip4:198.51.100.%d -all", 100+i)))
		}
		return append(lines, txt("acmecorp.test.", record+" ~all"))
	}
	spf := `acmecorp.test. TXT "v=spf1`
	for _, test := range []struct {
		name     string
		change   change
		what     string // the row that tells it
		fix      string // part of its advice
		found    string // part of what it found
		troubles []string
	}{
		{"alternate's MX leads to us", change{drop: []string{"gapps.acmecorp.test. MX"}, add: []string{"gapps.acmecorp.test. MX 10 mx.acmecorp.test."}},
			"MX of gapps.acmecorp.test", "gapps.acmecorp.test. MX 1 smtp.google.com.", "straight back",
			[]string{"MX of gapps.acmecorp.test: wrong", "flow 5: wrong", "flow 9: wrong"}},
		{"alternate's second MX leads to us, by another name", change{weAreMX: true, add: []string{"gapps.acmecorp.test. MX 20 backup.acmecorp.test.", "backup.acmecorp.test. A 203.0.113.25"}},
			"MX of gapps.acmecorp.test", "gapps.acmecorp.test. MX 1 smtp.google.com.", "leads to us",
			[]string{"MX of gapps.acmecorp.test: wrong", "flow 2: wrong", "flow 5: wrong", "flow 9: wrong", "flow 12: wrong"}},
		{"alternate does not exist", change{weAreMX: true, drop: []string{"gapps.acmecorp.test."}},
			"MX of gapps.acmecorp.test", "add: gapps.acmecorp.test. MX 1 ", "no such name",
			[]string{"MX of gapps.acmecorp.test: wrong", "SPF of gapps.acmecorp.test: warning", "flow 2: wrong", "flow 5: wrong", "flow 9: wrong", "flow 12: wrong"}},
		{"alternate takes no mail", change{drop: []string{"gapps.acmecorp.test. MX"}, add: []string{"gapps.acmecorp.test. MX 0 ."}},
			"MX of gapps.acmecorp.test", "gapps.acmecorp.test. MX 1 smtp.google.com.", "null MX",
			[]string{"MX of gapps.acmecorp.test: wrong", "flow 5: wrong", "flow 9: wrong"}},
		{"alternate is at another provider than the domain", change{drop: []string{"gapps.acmecorp.test. MX"},
			add: []string{"gapps.acmecorp.test. MX 1 gapps-acmecorp-test.mail.protection.outlook.com.", "gapps-acmecorp-test.mail.protection.outlook.com. A 192.0.2.99",
				txt("spf.protection.outlook.com.", "v=spf1 ip4:192.0.2.0/25 -all")}},
			"MX of gapps.acmecorp.test", "gapps.acmecorp.test. MX 1 smtp.google.com.", "is at Microsoft",
			[]string{"MX of gapps.acmecorp.test: wrong", "flow 5: wrong", "flow 9: wrong"}},
		{"alternate leads to a stranger", change{weAreMX: true, drop: []string{"gapps.acmecorp.test. MX"}, add: []string{"gapps.acmecorp.test. MX 1 mail.ext.test.", "mail.ext.test. A 198.51.100.200"}},
			"MX of gapps.acmecorp.test", "gapps.acmecorp.test. MX 1 ", "not known as the other system's",
			[]string{"MX of gapps.acmecorp.test: warning", "flow 2: warning", "flow 5: warning", "flow 9: warning", "flow 12: warning"}},
		{"domain takes no mail", change{drop: []string{"acmecorp.test. MX"}, add: []string{"acmecorp.test. MX 0 ."}},
			"MX of acmecorp.test", "acmecorp.test. MX 10 mx.acmecorp.test.", "null MX",
			[]string{"MX of acmecorp.test: wrong", "flow 1: wrong", "flow 2: wrong", "flow 9: wrong", "flow 10: wrong", "flow 12: wrong"}},
		{"domain has no MX and no address", change{drop: []string{"acmecorp.test. MX"}},
			"MX of acmecorp.test", "acmecorp.test. MX 10 mx.acmecorp.test.", "no such record",
			[]string{"MX of acmecorp.test: wrong", "flow 1: wrong", "flow 2: wrong", "flow 9: wrong", "flow 10: wrong", "flow 12: wrong"}},
		{"both systems are MX", change{add: []string{"acmecorp.test. MX 20 mx.acmecorp.test."}},
			"MX of acmecorp.test", "keep the records of one system: acmecorp.test. MX 10 mx.acmecorp.test.", "sender's choice",
			[]string{"MX of acmecorp.test: warning", "flow 1: warning", "flow 2: warning", "flow 9: warning", "flow 10: warning", "flow 12: warning"}},
		{"a filter stands before both", change{drop: []string{"acmecorp.test. MX"}, add: []string{"acmecorp.test. MX 1 filter.ext.test.", "filter.ext.test. A 198.51.100.200"}},
			"MX of acmecorp.test", "--outbound-ip", "neither ours",
			[]string{"MX of acmecorp.test: warning", "flow 1: warning", "flow 2: warning", "flow 9: warning", "flow 10: warning", "flow 12: warning"}},
		{"an MX names a CNAME", change{weAreMX: true, drop: []string{"acmecorp.test. MX"}, add: []string{"acmecorp.test. MX 1 mail.acmecorp.test.", "mail.acmecorp.test. CNAME mx.acmecorp.test."}},
			"MX host mail.acmecorp.test", "mail.acmecorp.test. A 203.0.113.25", "CNAME",
			[]string{"MX host mail.acmecorp.test: warning"}},
		{"an MX names a host without address", change{weAreMX: true, add: []string{"acmecorp.test. MX 5 old.acmecorp.test."}},
			"MX host old.acmecorp.test", "old.acmecorp.test. A ", "no such name",
			[]string{"MX host old.acmecorp.test: warning"}},
		{"an MX is an address", change{weAreMX: true, add: []string{"acmecorp.test. MX 5 203.0.113.25."}},
			"MX host 203.0.113.25", "acmecorp.test. MX 5 ", "must be a name",
			[]string{"MX host 203.0.113.25: wrong"}},
		{"the MX has IPv6 only", change{weAreMX: true, drop: []string{"mx.acmecorp.test. A"}, add: []string{"mx.acmecorp.test. AAAA 2001:db8::25"},
			options: Options{OutboundIPs: []netip.Addr{netip.MustParseAddr("203.0.113.25")}}},
			"IPv4 of acmecorp.test", "mx.acmecorp.test. A ", "IPv6 addresses only",
			[]string{"IPv4 of acmecorp.test: warning", "IPv4 of srs.acmecorp.test: warning"}},
		{"no SPF record", change{drop: []string{spf}},
			"SPF of acmecorp.test", `acmecorp.test. TXT "v=spf1 ip4:203.0.113.25 include:_spf.google.com ~all"`, "no SPF record",
			[]string{"SPF of acmecorp.test: wrong", "mail from us: warning", "mail from the other system: warning", "flow 5: wrong", "flow 7: wrong", "flow 8: wrong"}},
		{"two SPF records", change{add: []string{txt("acmecorp.test.", "v=spf1 a:www.acmecorp.test -all")}},
			"SPF of acmecorp.test", `acmecorp.test. TXT "v=spf1 ip4:203.0.113.25 include:_spf.google.com a:www.acmecorp.test ~all"`, "2 SPF records",
			[]string{"SPF of acmecorp.test: wrong", "mail from us: warning", "mail from the other system: warning", "flow 5: wrong", "flow 7: wrong", "flow 8: wrong"}},
		{"SPF lacks the other system", change{drop: []string{spf}, add: []string{txt("acmecorp.test.", "v=spf1 ip4:203.0.113.25 -all")}},
			"SPF of acmecorp.test from the other system", `acmecorp.test. TXT "v=spf1 include:_spf.google.com ip4:203.0.113.25 -all"`, "192.0.2.1: fail",
			[]string{"SPF of acmecorp.test from the other system: wrong", "mail from the other system: warning", "flow 7: wrong"}},
		{"SPF lacks us", change{drop: []string{spf}, add: []string{txt("acmecorp.test.", "v=spf1 include:_spf.google.com ~all")}},
			"SPF of acmecorp.test from us", `acmecorp.test. TXT "v=spf1 ip4:203.0.113.25 include:_spf.google.com ~all"`, "203.0.113.25: softfail",
			[]string{"SPF of acmecorp.test from us: wrong", "mail from us: warning", "flow 5: wrong", "flow 8: wrong"}},
		{"SPF needs too many lookups", change{drop: []string{spf}, add: includes(10)},
			"SPF of acmecorp.test", "until it costs at most 10", "11 of 10 DNS lookups",
			[]string{"SPF of acmecorp.test: wrong"}},
		{"SPF is at the limit", change{drop: []string{spf}, add: includes(9)},
			"SPF of acmecorp.test", "before an include grows", "10 of 10 DNS lookups",
			[]string{"SPF of acmecorp.test: warning"}},
		{"SPF is below the limit", change{drop: []string{spf}, add: includes(6)}, "", "", "", nil},
		{"SPF is close to the limit", change{drop: []string{spf}, add: includes(7)},
			"SPF of acmecorp.test", "before an include grows", "8 of 10 DNS lookups",
			[]string{"SPF of acmecorp.test: warning"}},
		{"SPF looks up names that do not exist", change{drop: []string{spf}, add: []string{txt("acmecorp.test.", "v=spf1 ip4:203.0.113.25 include:_spf.google.com a:a.ext.test a:b.ext.test mx:c.ext.test ~all")}},
			"SPF of acmecorp.test", "names that do not exist", "3 lookups have no answer",
			[]string{"SPF of acmecorp.test: wrong"}},
		{"SPF includes what is not there", change{drop: []string{spf}, add: []string{txt("acmecorp.test.", "v=spf1 ip4:203.0.113.25 include:_spf.google.com include:_spf.ext.test ~all")}},
			"SPF of acmecorp.test", "_spf.ext.test has no SPF record", "permerror",
			[]string{"SPF of acmecorp.test: wrong"}},
		{"SPF has a slip", change{drop: []string{spf}, add: []string{txt("acmecorp.test.", "v=spf1 ip4:203.0.113.25 include:_spf.google.com ipv4:192.0.2.1 ~all")}},
			"SPF of acmecorp.test", "mend the TXT record of acmecorp.test", "ipv4:192.0.2.1",
			[]string{"SPF of acmecorp.test: wrong"}},
		{"SPF lets everybody pass", change{drop: []string{spf}, add: []string{txt("acmecorp.test.", "v=spf1 ip4:203.0.113.25 include:_spf.google.com +all")}},
			"SPF of acmecorp.test", `acmecorp.test. TXT "` + ourSPF + `"`, "everybody",
			[]string{"SPF of acmecorp.test: wrong"}},
		{"SPF says nothing of strangers", change{drop: []string{spf}, add: []string{txt("acmecorp.test.", "v=spf1 ip4:203.0.113.25 include:_spf.google.com ?all")}},
			"SPF of acmecorp.test", `acmecorp.test. TXT "` + ourSPF + `"`, "neutral",
			[]string{"SPF of acmecorp.test: warning"}},
		{"srs_domain has no SPF record", change{weAreMX: true, drop: []string{"srs.acmecorp.test. TXT"}},
			"SPF of srs.acmecorp.test", `srs.acmecorp.test. TXT "v=spf1 ip4:203.0.113.25 ~all"`, "no SPF record",
			[]string{"SPF of srs.acmecorp.test: wrong", "flow 2: wrong"}},
		{"srs_domain has no MX", change{drop: []string{"srs.acmecorp.test. MX"}},
			"MX of srs.acmecorp.test", "srs.acmecorp.test. MX 10 mx.acmecorp.test.", "lost",
			[]string{"MX of srs.acmecorp.test: wrong", "flow 11: wrong"}},
		{"srs_domain leads to the other system", change{drop: []string{"srs.acmecorp.test. MX"}, add: []string{"srs.acmecorp.test. MX 1 smtp.google.com."}},
			"MX of srs.acmecorp.test", "srs.acmecorp.test. MX 10 mx.acmecorp.test.", "cannot read them",
			[]string{"MX of srs.acmecorp.test: wrong", "flow 11: wrong"}},
		{"srs_domain is the domain, whose MX is the other system", change{settings: func(s *Settings) { s.Routes[0].SRSDomain = "" }},
			"MX of acmecorp.test", "srs.acmecorp.test. MX 10 mx.acmecorp.test.", "only by the other system's catch-all",
			[]string{"MX of acmecorp.test: warning", "forged senders of acmecorp.test that we forward: warning", "flow 11: warning"}},
		{"rewritten senders align under a relaxed policy", change{drop: []string{"_dmarc"}, add: []string{txt("_dmarc.acmecorp.test.", "v=DMARC1; p=reject")}},
			"forged senders of acmecorp.test that we forward", "add aspf=s to the TXT record of _dmarc.acmecorp.test", "rewritten to srs.acmecorp.test they pass SPF",
			[]string{"forged senders of acmecorp.test that we forward: warning"}},
		{"no DMARC record", change{drop: []string{"_dmarc"}},
			"policy of acmecorp.test", `_dmarc.acmecorp.test. TXT "v=DMARC1; p=quarantine`, "no DMARC record",
			[]string{"policy of acmecorp.test: warning"}},
		{"DMARC only watches", change{drop: []string{"_dmarc"}, add: []string{txt("_dmarc.acmecorp.test.", "v=DMARC1; p=none; adkim=s")}},
			"policy of acmecorp.test", `_dmarc.acmecorp.test. TXT "v=DMARC1; p=quarantine`, "p=none, alignment of SPF relaxed, of DKIM strict",
			[]string{"policy of acmecorp.test: warning"}},
		{"two DMARC records", change{add: []string{txt("_dmarc.acmecorp.test.", "v=DMARC1; p=none")}},
			"policy of acmecorp.test", `_dmarc.acmecorp.test. TXT "v=DMARC1; p=quarantine`, "2 DMARC records",
			[]string{"policy of acmecorp.test: wrong"}},
		{"DMARC without a policy", change{drop: []string{"_dmarc"}, add: []string{txt("_dmarc.acmecorp.test.", "v=DMARC1; rua=mailto:x@acmecorp.test")}},
			"policy of acmecorp.test", `_dmarc.acmecorp.test. TXT "v=DMARC1; p=quarantine`, "cannot be read",
			[]string{"policy of acmecorp.test: wrong"}},
		{"a DKIM key is revoked", change{drop: []string{"google._domainkey"}, add: []string{txt("google._domainkey.acmecorp.test.", "v=DKIM1; k=rsa; p=")}},
			"selector google", "google._domainkey.acmecorp.test. TXT", "revoked",
			[]string{"selector google: warning", "keys of both systems: warning"}},
		{"the DKIM key asked for is revoked", change{add: []string{txt("mx1._domainkey.acmecorp.test.", "v=DKIM1; p=;")}, options: Options{Selectors: []string{"mx1"}}},
			"selector mx1", "mx1._domainkey.acmecorp.test. TXT", "revoked",
			[]string{"selector mx1: wrong"}},
		{"the DKIM key asked for is not there", change{options: Options{Selectors: []string{"mx1"}}},
			"selector mx1", "add: mx1._domainkey.acmecorp.test. TXT", "no such name",
			[]string{"selector mx1: wrong"}},
		{"a DKIM key is weak", change{drop: []string{"google._domainkey"}, add: []string{txt("google._domainkey.acmecorp.test.", weakRecord)}, options: Options{Selectors: []string{"google"}}},
			"selector google", "google._domainkey.acmecorp.test. TXT", "rsa, 768 bits",
			[]string{"selector google: wrong", "keys of both systems: warning"}},
		{"a DKIM key is short", change{drop: []string{"google._domainkey"}, add: []string{txt("google._domainkey.acmecorp.test.", rsaRecord(1024))}},
			"selector google", "2048 bits: google._domainkey.acmecorp.test. TXT", "rsa, 1024 bits",
			[]string{"selector google: warning"}},
		{"a DKIM key is cut off", change{drop: []string{"mail._domainkey"}, add: []string{txt("mail._domainkey.acmecorp.test.", rsaRecord(2048)[:198])}},
			"selector mail", "mail._domainkey.acmecorp.test. TXT", "cannot be read",
			[]string{"selector mail: warning", "keys of both systems: warning"}},
		{"no DKIM key, and SPF lacks us", change{drop: []string{"google._domainkey", "mail._domainkey", spf},
			add: []string{txt("acmecorp.test.", "v=spf1 include:_spf.google.com ~all"), txt("*._domainkey.acmecorp.test.", "none")}},
			"mail from us", "see SPF of acmecorp.test", "the policy is reject",
			[]string{"SPF of acmecorp.test from us: wrong", "mail from us: wrong", "keys of both systems: warning", "flow 5: wrong", "flow 8: wrong"}},
		{"no gateways, same MX", change{settings: func(s *Settings) { s.Routes[0].Gateways = forward.Gateways{} }},
			"gateways of gapps.acmecorp.test", "coexistence[0].gateways.networks: [192.0.2.0/24, 2001:db8:5::/48]", "catch-all route cannot be told",
			[]string{"gateways of gapps.acmecorp.test: warning", "flow 1: warning", "flow 4: warning", "flow 12: warning"}},
		{"gateways lack a network", change{settings: func(s *Settings) { s.Routes[0].Gateways.Networks = s.Routes[0].Gateways.Networks[:1] }},
			"gateways of gapps.acmecorp.test", "add to coexistence[0].gateways.networks: 2001:db8:5::/48", "lacks 1 networks that the SPF record of _spf.google.com names",
			[]string{"gateways of gapps.acmecorp.test: warning"}},
		{"gateways hold our own address", change{settings: func(s *Settings) {
			s.Routes[0].Gateways.Networks = append(s.Routes[0].Gateways.Networks, netip.MustParsePrefix("203.0.113.0/24"))
		}, options: Options{OtherIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
			"gateways of gapps.acmecorp.test", "coexistence[0].gateways.networks", "our own addresses",
			[]string{"gateways of gapps.acmecorp.test: wrong"}},
		{"the other system sends from elsewhere", change{options: Options{OtherIPs: []netip.Addr{netip.MustParseAddr("198.51.100.99")}}},
			"gateways of gapps.acmecorp.test", "add to coexistence[0].gateways.networks: 198.51.100.99", "would not be known",
			[]string{"gateways of gapps.acmecorp.test: wrong", "SPF of acmecorp.test from the other system: wrong", "SPF of gapps.acmecorp.test from the other system: warning",
				"mail from the other system: warning", "flow 1: warning", "flow 4: warning", "flow 7: wrong", "flow 12: warning"}},
		{"srs is off where we are the MX", change{weAreMX: true, settings: func(s *Settings) { s.Routes[0].SRS, s.Routes[0].SRSDomain = false, "" }},
			"forwarded mail of strangers", "coexistence[0].srs: true", "srs is off",
			[]string{"forwarded mail of strangers: warning", "flow 2: warning"}},
		{"nobody is in the group", change{settings: func(s *Settings) { s.Routes[0].Group = "gaps" }},
			"mailboxes behind gapps.acmecorp.test", "into the group gaps", "no user of acmecorp.test is in the group gaps",
			[]string{"mailboxes behind gapps.acmecorp.test: wrong"}},
		{"hostname is not in DNS", change{drop: []string{"mx.acmecorp.test."}, options: Options{}},
			"our own addresses", "mx.acmecorp.test. A ", "no such name",
			[]string{"our own addresses: warning", "MX host mx.acmecorp.test: warning", "MX of srs.acmecorp.test: wrong", "SPF of acmecorp.test from us: warning", "SPF of srs.acmecorp.test from us: warning",
				"mail from us: warning", "flow 5: warning", "flow 8: warning", "flow 11: wrong"}},
		{"hostname has a private address", change{drop: []string{"mx.acmecorp.test. A"}, add: []string{"mx.acmecorp.test. A 10.0.0.25"}},
			"our own addresses", "--outbound-ip", "10.0.0.25, which no other host sees",
			[]string{"our own addresses: warning", "SPF of acmecorp.test from us: warning", "SPF of srs.acmecorp.test from us: warning", "mail from us: warning", "flow 5: warning", "flow 8: warning"}},
		{"without submit.smtp", change{settings: func(s *Settings) { s.Submit = false }}, "", "", "", []string{"flow 9: warning"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.change.check(t)
			sameSet(t, troubles(r), test.troubles)
			if test.what == "" {
				return
			}
			found := false
			for _, row := range r.Rows {
				found = found || row.What == test.what && strings.Contains(row.Fix, test.fix) && strings.Contains(row.Found, test.found)
			}
			if row := rowOf(t, r, test.what); !found {
				t.Errorf("%s: found %q, fix %q; want %q, %q", test.what, row.Found, row.Fix, test.found, test.fix)
			}
		})
	}
}

func sameSet(t *testing.T, got, want []string) {
	t.Helper()
	has := func(all []string, s string) bool {
		for _, x := range all {
			if x == s {
				return true
			}
		}
		return false
	}
	for _, g := range got {
		if !has(want, g) {
			t.Errorf("not expected: %s", g)
		}
	}
	for _, w := range want {
		if !has(got, w) {
			t.Errorf("missing: %s", w)
		}
	}
}

func TestUnansweredQuestionsAreUnknownNeverWrong(t *testing.T) {
	for _, test := range []struct {
		name     string
		fault    testserver.DNSFault
		at       string
		weAreMX  bool
		troubles []string
	}{
		{"SERVFAIL for the domain", testserver.DNSServFail, "acmecorp.test.", false,
			[]string{"MX of acmecorp.test: unknown", "SPF of acmecorp.test: unknown", "mail from us: unknown", "mail from the other system: unknown",
				"flow 1: unknown", "flow 2: unknown", "flow 5: unknown", "flow 7: unknown", "flow 8: unknown", "flow 9: unknown", "flow 10: unknown", "flow 12: unknown"}},
		{"REFUSED for the alternate", testserver.DNSRefused, "gapps.acmecorp.test.", true,
			[]string{"MX of gapps.acmecorp.test: unknown", "gateways of gapps.acmecorp.test: unknown", "SPF of gapps.acmecorp.test: unknown",
				"flow 2: unknown", "flow 5: unknown", "flow 9: unknown", "flow 12: unknown"}},
		{"SERVFAIL for an include", testserver.DNSServFail, "_spf.google.com.", false,
			[]string{"gateways of gapps.acmecorp.test: unknown", "SPF of acmecorp.test: unknown", "SPF of acmecorp.test from the other system: unknown",
				"SPF of gapps.acmecorp.test: unknown", "SPF of gapps.acmecorp.test from the other system: unknown", "mail from the other system: unknown", "flow 7: unknown"}},
		{"SERVFAIL for our host", testserver.DNSServFail, "mx.acmecorp.test.", false,
			[]string{"our own addresses: unknown", "SPF of acmecorp.test from us: unknown", "SPF of srs.acmecorp.test from us: unknown", "mail from us: unknown", "flow 5: unknown", "flow 8: unknown"}},
		{"SERVFAIL for our host, and our MX has another name", testserver.DNSServFail, "mx.acmecorp.test.", false,
			[]string{"our own addresses: unknown", "SPF of acmecorp.test from us: unknown", "SPF of srs.acmecorp.test from us: unknown", "mail from us: unknown", "flow 5: unknown", "flow 8: unknown",
				"MX of acmecorp.test: unknown", "MX of srs.acmecorp.test: unknown", "flow 1: unknown", "flow 2: unknown", "flow 9: unknown", "flow 10: unknown", "flow 11: unknown", "flow 12: unknown"}},
		{"SERVFAIL for DMARC", testserver.DNSServFail, "_dmarc.acmecorp.test.", false, []string{"policy of acmecorp.test: unknown"}},
		{"SERVFAIL for a DKIM key", testserver.DNSServFail, "google._domainkey.acmecorp.test.", false,
			[]string{"selector google: unknown", "keys of both systems: warning"}},
		{"SERVFAIL for srs_domain", testserver.DNSServFail, "srs.acmecorp.test.", true,
			[]string{"MX of srs.acmecorp.test: unknown", "SPF of srs.acmecorp.test: unknown", "flow 2: unknown", "flow 11: unknown"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := change{weAreMX: test.weAreMX, faults: map[string]testserver.DNSFault{test.at: test.fault}}
			if strings.HasSuffix(test.name, "another name") {
				c.drop = []string{"acmecorp.test. MX", "srs.acmecorp.test. MX"}
				c.add = []string{"acmecorp.test. MX 1 in.acmecorp.test.", "srs.acmecorp.test. MX 1 in.acmecorp.test.", "in.acmecorp.test. A 203.0.113.26"}
			}
			r := c.check(t)
			sameSet(t, troubles(r), test.troubles)
			if r.State != Unknown {
				t.Errorf("the whole is %s", r.State)
			}
			for _, row := range r.Rows {
				if row.State == Unknown && (!strings.Contains(row.Found, "unknown: DNS did not answer") && !strings.Contains(row.Found, "DNS did not answer for") || row.Fix == "") {
					t.Errorf("%s: %q, fix %q", row.What, row.Found, row.Fix)
				}
			}
		})
	}
}

func TestDirectoryThatFailsIsUnknown(t *testing.T) {
	r := change{settings: func(s *Settings) { s.Users = failing }}.check(t)
	sameSet(t, troubles(r), []string{"mailboxes behind gapps.acmecorp.test: unknown"})
	if row := rowOf(t, r, "mailboxes behind gapps.acmecorp.test"); !strings.Contains(row.Found, "server is away") {
		t.Errorf("found %q", row.Found)
	}
}

func TestDomainWithoutRouteIsAnError(t *testing.T) {
	r := startDNS(t, "", nil)
	for domain, want := range map[string]string{"gapps.acmecorp.test": "there are acmecorp.test", "ext.test": "ext.test: no route"} {
		_, err := Check(t.Context(), r, rightSettings(), domain, Options{Now: monday})
		if !errors.Is(err, ErrNoRoute) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", domain, err)
		}
	}
	if _, err := Check(t.Context(), r, Settings{}, "acmecorp.test", Options{Now: monday}); !errors.Is(err, ErrNoRoute) {
		t.Errorf("without routes: %v", err)
	}
}
