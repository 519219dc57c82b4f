package coexist

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"cloakroom/internal/testserver"
	"cloakroom/policy/forward"
)

func TestKeysAreRead(t *testing.T) {
	for text, want := range map[string]dkimKey{
		rsaRecord(2048): {kind: "rsa", bits: 2048},
		weakRecord:      {kind: "rsa", bits: 768},
		ed25519Record:   {kind: "ed25519"},
		" k = ED25519 ; p = 11qYAYKxCrfVS/7TyWQHOg7h cvPapiMlrwIaaPcHURo= ;": {kind: "ed25519"},
		"p=":                              {kind: "rsa", revoked: true},
		"v=DKIM1; t=s:y; p=":              {kind: "rsa", revoked: true, testing: true},
		"v=DKIM1; t=s; k=ed25519; h=; p=": {kind: "ed25519", revoked: true},
	} {
		if got, err := parseKey(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"v=DKIM1; p=????":              "not base64",
		"v=DKIM1; p=AAAA":              "cannot be read as an RSA key",
		"v=DKIM1; k=ed25519; p=AAAA":   "has 3 octets",
		"v=DKIM1; k=dsa; p=AAAA":       "k=dsa",
		"v=DKIM2; p=AAAA":              errNoKey.Error(),
		"v=spf1 include:ext.test -all": errNoKey.Error(),
		"":                             errNoKey.Error(),
	} {
		_, err := parseKey(text)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, errNoKey) != (want == errNoKey.Error()) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestNetworksOfARecordAreCollected(t *testing.T) {
	zone := strings.Join([]string{
		txt("a.test.", "v=spf1 ip4:192.0.2.1 IP4:198.51.100.7/24 -ip4:203.0.113.1 a mx/28 a:host.a.test/30 include:b.test exists:%{i}.x.test ptr redirect=c.test"),
		"a.test. A 192.0.2.2", "a.test. MX 10 host.a.test.", "host.a.test. A 192.0.2.3", "host.a.test. AAAA 2001:db8::3",
		txt("b.test.", "v=spf1 ip6:2001:db8:b::/48 include:a.test include:gone.test ip4:nonsense ?all"),
		txt("c.test.", "V=SPF1 ip4:192.0.2.4"),
	}, "\n") + "\n"
	got := startDNS(t, zone, nil).networksOf(t.Context(), "A.test.")
	var texts []string
	for _, n := range got.networks {
		texts = append(texts, n.String())
	}
	want := []string{"192.0.2.1/32", "198.51.100.0/24", "192.0.2.2/32", "192.0.2.3/32", "2001:db8::3/128", "192.0.2.3/32", "2001:db8::3/128", "2001:db8:b::/48", "192.0.2.4/32"}
	if !slices.Equal(texts, want) {
		t.Errorf("networks %q, want %q", texts, want)
	}
	if fmt.Sprint(got.problems) != "[gone.test has no SPF record b.test: ip4:nonsense is no network]" || got.unknown != nil {
		t.Errorf("problems %q, %v", got.problems, got.unknown)
	}
	down := startDNS(t, zone, map[string]testserver.DNSFault{"c.test.": testserver.DNSServFail}).networksOf(t.Context(), "a.test")
	if down.unknown == nil || down.unknown.Name != "c.test" {
		t.Errorf("unknown is %v", down.unknown)
	}
}

func TestCostIsThatOfTheWholeRecord(t *testing.T) {
	var zone []string
	for i := range 30 {
		zone = append(zone, txt(fmt.Sprintf("n%d.test.", i), fmt.Sprintf("v=spf1 include:n%d.test -all", i+1)))
	}
	zone = append(zone, txt("n30.test.", "v=spf1 -all"),
		txt("plain.test.", "v=spf1 ip4:192.0.2.0/24 -all"),
		txt("six.test.", "v=spf1 a mx include:plain.test exists:x.test ptr redirect=plain.test"), "six.test. A 192.0.2.1", "six.test. MX 1 six.test.", "x.test. TXT here")
	r := startDNS(t, strings.Join(zone, "\n")+"\n", nil)
	for domain, want := range map[string][2]int{"plain.test": {0, 0}, "six.test": {6, 2}, "n20.test": {10, 0}, "n0.test": {30, 0}, "missing.test": {0, 0}} {
		if lookups, void := r.spfCost(t.Context(), domain); lookups != want[0] || void != want[1] {
			t.Errorf("%s: %d lookups, %d void; want %v", domain, lookups, void, want)
		}
	}
}

func TestSamplesAreWhereTheOtherSystemSends(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, test := range []struct{ network, want string }{
		{"192.0.2.0/24", "192.0.2.1"}, {"192.0.2.7/32", "192.0.2.7"}, {"192.0.2.6/31", "192.0.2.7"}, {"2001:db8::/32", "2001:db8::1"}, {"255.255.255.255/32", "255.255.255.255"},
	} {
		if got := sampleOf(prefix(test.network)); got.String() != test.want {
			t.Errorf("%s: %s, want %s", test.network, got, test.want)
		}
	}
	// The network is wider than what the other system sends from.
	r := change{settings: func(s *Settings) {
		s.Routes[0].Gateways.Networks = []netip.Prefix{prefix("192.0.0.0/16"), prefix("2001:db8::/32"), prefix("10.0.0.0/8")}
	}}.check(t)
	sameSet(t, troubles(r), nil)
	if row := rowOf(t, r, "SPF of acmecorp.test from the other system"); row.Found != "pass for 192.0.2.1, 2001:db8:5::1" {
		t.Errorf("%+v", row)
	}
}

// Nothing in DNS says where the other system sends from: a network's first
// address is a guess, and what comes out of it no more than a warning.
func TestGuessedAddressIsNeverWrong(t *testing.T) {
	c := change{drop: []string{"gapps.acmecorp.test. TXT", "gapps.acmecorp.test. MX", `acmecorp.test. TXT "v=spf1`},
		add:     []string{"gapps.acmecorp.test. MX 1 mail.acmecorp.test.", "mail.acmecorp.test. A 192.0.2.25", txt("acmecorp.test.", "v=spf1 ip4:203.0.113.25 ip4:192.0.2.25 -all")},
		weAreMX: true}
	r := c.check(t)
	sameSet(t, troubles(r), []string{"SPF of acmecorp.test from the other system: warning", "SPF of gapps.acmecorp.test: warning",
		"mail from the other system: warning", "flow 7: warning"})
	if row := rowOf(t, r, "SPF of acmecorp.test from the other system"); !strings.HasPrefix(row.Fix, "give --other-ip") {
		t.Errorf("%+v", row)
	}
	c.options.OtherIPs = []netip.Addr{netip.MustParseAddr("192.0.2.25")}
	sameSet(t, troubles(c.check(t)), []string{"SPF of gapps.acmecorp.test: warning"})
}

func TestObserveAndNullMXBesideOthersAreTold(t *testing.T) {
	r := change{add: []string{"gapps.acmecorp.test. MX 0 ."}, settings: func(s *Settings) { s.Observe = true }}.check(t)
	sameSet(t, troubles(r), []string{"mode: warning", "null MX of gapps.acmecorp.test: warning"})
	if row := rowOf(t, r, "null MX of gapps.acmecorp.test"); !strings.Contains(row.Fix, "gapps.acmecorp.test. MX 0 .") {
		t.Errorf("%+v", row)
	}
}

func TestPolicyOfTheOrganizationHoldsForSubdomains(t *testing.T) {
	zone := rightZone(true)
	for i := range zone {
		zone[i] = strings.NewReplacer("acmecorp.test", "mail.acmecorp.test", "_dmarc.acmecorp.test. TXT", "_dmarc.acmecorp.test. TXT").Replace(zone[i])
	}
	zone = append(zone, txt("_dmarc.acmecorp.test.", "v=DMARC1; p=REJECT; aspf=s; sp=Quarantine; pct=50"))
	zone = slices.DeleteFunc(zone, func(line string) bool {
		return strings.HasPrefix(line, "_dmarc.mail") || strings.Contains(line, "rua=")
	})
	set := rightSettings()
	set.Hostname, set.Domains = "mx.mail.acmecorp.test", []string{"mail.acmecorp.test"}
	set.Routes[0].Domain, set.Routes[0].Alternate, set.Routes[0].SRSDomain = "mail.acmecorp.test", "gapps.mail.acmecorp.test", "srs.mail.acmecorp.test"
	set.Users = users(forward.User{Address: "boss@mail.acmecorp.test", Groups: []string{"gapps"}})
	r, err := Check(t.Context(), startDNS(t, strings.Join(zone, "\n")+"\n", nil), set, "mail.acmecorp.test", Options{Now: monday})
	if err != nil {
		t.Fatal(err)
	}
	sameSet(t, troubles(r), []string{"policy of mail.acmecorp.test: warning"})
	if row := rowOf(t, r, "policy of mail.acmecorp.test"); !strings.Contains(row.Found, "sp=quarantine from _dmarc.acmecorp.test") || !strings.Contains(row.Fix, "pct=50") {
		t.Errorf("%+v", row)
	}
}

// One host of the alternate does not resolve at the moment: it may be ours.
func TestAlternateWithAHostThatIsNotKnownIsUnknown(t *testing.T) {
	r := change{add: []string{"gapps.acmecorp.test. MX 20 backup.acmecorp.test."},
		faults: map[string]testserver.DNSFault{"backup.acmecorp.test.": testserver.DNSServFail}}.check(t)
	sameSet(t, troubles(r), []string{"MX of gapps.acmecorp.test: unknown", "flow 5: unknown", "flow 9: unknown"})
}
