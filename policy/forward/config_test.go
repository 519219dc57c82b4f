package forward

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestConfigFromTheExample(t *testing.T) {
	const text = `
- domain: acmecorp.test
  alternate: gapps.acmecorp.test
  group: gapps
  members: [ceo@acmecorp.test]
  gateways: {daemon: gapps-in, header: {name: X-Acme-Gateway, secret_file: /etc/gw}}
  srs: true
  srs_domain: srs.acmecorp.test
  loop_reply: 450
  max_received: 40
`
	var cfg Config
	if err := yaml.UnmarshalWithOptions([]byte(text), &cfg, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	cfg[0].Gateways.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	routes := mustNew(t, cfg, testKeys())
	r := routes.routes[0]
	if routes.Len() != 1 || r.LoopReply != 450 || r.MaxReceived != 40 || r.srs.Domain() != "srs.acmecorp.test" || r.Gateways.Header.Name != "X-Acme-Gateway" {
		t.Errorf("%+v", r)
	}
}

func TestDefaults(t *testing.T) {
	routes := mustNew(t, Config{{Domain: "acmecorp.test", Alternate: "gapps.acmecorp.test", Group: "gapps", SRS: true}}, testKeys())
	r := routes.routes[0]
	if r.LoopReply != 550 || r.MaxReceived != 50 || r.srs.maxAge != 21 || r.srs.Domain() != "acmecorp.test" {
		t.Errorf("%+v, srs %+v", r.Route, r.srs)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
}

func TestValidateNamesTheKey(t *testing.T) {
	for _, test := range []struct {
		want   string
		change func(*Route)
	}{
		{"domain: is required", func(r *Route) { r.Domain = "" }},
		{"domain: \"a b\" is not", func(r *Route) { r.Domain = "a b" }},
		{"domain: \"*.acmecorp.test\" is not", func(r *Route) { r.Domain = "*.acmecorp.test" }},
		{"alternate: is required", func(r *Route) { r.Alternate = "" }},
		{"alternate: \"x@y.test\" is not", func(r *Route) { r.Alternate = "x@y.test" }},
		{"alternate: is the domain itself", func(r *Route) { r.Alternate = "AcmeCorp.test." }},
		{"group: nobody is named", func(r *Route) { r.Group = "" }},
		{"members[1]: \"bob\" is not an address", func(r *Route) { r.Members = []string{"ceo@acmecorp.test", "bob"} }},
		{"members[0]: bob@ext.test is not in", func(r *Route) { r.Members = []string{"bob@ext.test"} }},
		{"gateways.networks: is required", func(r *Route) { r.Gateways.Networks = nil }},
		{"gateways.networks: prove nothing alone", func(r *Route) { r.Gateways.Daemon = "" }},
		{"gateways.networks[0]: 0.0.0.0/0", func(r *Route) { r.Gateways.Networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }},
		{"gateways.header.name: is required", func(r *Route) { r.Gateways.Header.SecretFile = "/etc/gw" }},
		{"gateways.header.name: \"X Y\"", func(r *Route) { r.Gateways.Header = GatewayHeader{"X Y", "/etc/gw"} }},
		{"gateways.header.name: subject means", func(r *Route) { r.Gateways.Header = GatewayHeader{"subject", "/etc/gw"} }},
		{"gateways.header.name: X-CLOAKROOM-hop means", func(r *Route) { r.Gateways.Header = GatewayHeader{"X-CLOAKROOM-hop", "/etc/gw"} }},
		{"gateways.header.name: Content-Type means", func(r *Route) { r.Gateways.Header = GatewayHeader{"Content-Type", "/etc/gw"} }},
		{"gateways.header.secret_file: is required", func(r *Route) { r.Gateways.Header.Name = "X-G" }},
		{"srs_domain: has no effect", func(r *Route) { r.SRS = false }},
		{"srs_domain: \"-a=b\" is not", func(r *Route) { r.SRSDomain = "-a=b" }},
		{"srs_max_age: has no effect", func(r *Route) { r.SRS, r.SRSDomain, r.SRSMaxAge = false, "", 7*day }},
		{"srs_max_age: write whole days", func(r *Route) { r.SRSMaxAge = 4 * day }},
		{"srs_max_age: write whole days", func(r *Route) { r.SRSMaxAge = 366 * day }},
		{"srs_max_age: write whole days", func(r *Route) { r.SRSMaxAge = 7*day + 1 }},
		{"loop_reply: 250", func(r *Route) { r.LoopReply = 250 }},
		{"max_received: 9 ", func(r *Route) { r.MaxReceived = 9 }},
		{"max_received: 101 ", func(r *Route) { r.MaxReceived = 101 }},
		{"max_received: -1 ", func(r *Route) { r.MaxReceived = -1 }},
	} {
		r := testRoute()
		test.change(&r)
		if err := r.Validate(); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
		if err := (Config{testRoute(), r}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "coexistence[1]."+test.want) {
			t.Errorf("in a list: %v, want %q", err, "coexistence[1]."+test.want)
		}
	}
	if err := testRoute().Validate(); err != nil {
		t.Errorf("a good route is refused: %v", err)
	}
}

func TestValidateLooksAcrossRoutes(t *testing.T) {
	other := testRoute()
	other.Domain = "acme.test"
	for _, test := range []struct {
		want   string
		change func(*Route)
	}{
		{"coexistence[1].alternate: acmecorp.test is the domain of route 0", func(r *Route) { r.Alternate = "ACMECORP.test" }},
		{"coexistence[1].group: \"gapps\" of acmecorp.test is already sent", func(r *Route) { r.Domain, r.Alternate = "acmecorp.test", "o.acmecorp.test" }},
		{"coexistence[1].srs_max_age: route 0 has another", func(r *Route) { r.SRSMaxAge = 30 * day }},
		{"coexistence[1].srs_domain: gapps.acmecorp.test is an alternate domain", func(r *Route) { r.SRSDomain = "gapps.acmecorp.test" }},
	} {
		r := other
		test.change(&r)
		if err := (Config{testRoute(), r}).Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
	if err := (Config{testRoute(), other}).Validate(); err != nil {
		t.Errorf("two domains with one alternate are refused: %v", err)
	}
	bad := testRoute()
	bad.LoopReply = 1
	if err := (Config{bad, bad}).Validate(); err == nil || strings.Count(err.Error(), "loop_reply: ") != 2 {
		t.Errorf("not every mistake is told: %v", err)
	}
}

func TestNewNeedsItsKeys(t *testing.T) {
	withHeader := testRoute()
	withHeader.Gateways.Header = GatewayHeader{"X-G", "/etc/gw"}
	for _, test := range []struct {
		want  string
		route Route
		keys  Keys
	}{
		{"coexistence: marks: no key", testRoute(), Keys{SRS: [][]byte{keyA}}},
		{"coexistence: marks: a key has 16", testRoute(), Keys{Marks: [][]byte{keyA[:16]}, SRS: [][]byte{keyA}}},
		{"coexistence[0].srs: no key", testRoute(), Keys{Marks: [][]byte{keyA}}},
		{"coexistence[0].gateways.header.secret_file: /etc/gw: the secret has 0", withHeader, Keys{Marks: [][]byte{keyA}, SRS: [][]byte{keyA}}},
		{"coexistence[0].domain: ext.test is not one of", Route{Domain: "ext.test", Alternate: "g.ext.test", Group: "g"}, testKeys()},
		{"coexistence[0].loop_reply: ", Route{Domain: "acmecorp.test", Alternate: "g.ext.test", Group: "g", LoopReply: 1}, testKeys()},
	} {
		if _, err := New(Config{test.route}, test.keys, isOurs); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}
