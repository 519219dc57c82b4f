package forward

import (
	"net/netip"
	"strings"
	"testing"
)

func TestGatewayNeedsNetworkAndProof(t *testing.T) {
	const name = "X-Acme-Gateway"
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:1::/48")}
	byDaemon := Gateways{Networks: networks, Daemon: "gapps-in"}
	byHeader := Gateways{Networks: networks, Header: GatewayHeader{Name: name, SecretFile: "/etc/gw"}}
	both := Gateways{Networks: networks, Daemon: "gapps-in", Header: byHeader.Header}
	right, wrong := []string{" " + gatewaySecret + "\r\n"}, []string{gatewaySecret[:31] + "x"}

	for _, test := range []struct {
		name     string
		gateways Gateways
		client   string
		daemon   string
		values   []string
		secret   string
		ok       bool
		by       string
		strip    bool
	}{
		{"network and listener", byDaemon, "192.0.2.9", "gapps-in", nil, "", true, "listener gapps-in", false},
		{"network alone", byDaemon, "192.0.2.9", "smtp", nil, "", false, "", false},
		{"no listener known", byDaemon, "192.0.2.9", "", nil, "", false, "", false},
		{"listener alone", byDaemon, "203.0.113.7", "gapps-in", nil, "", false, "", false},
		{"IPv4 in IPv6 form", byDaemon, "::ffff:192.0.2.9", "gapps-in", nil, "", true, "listener gapps-in", false},
		{"IPv6", byDaemon, "2001:db8:1::9", "gapps-in", nil, "", true, "listener gapps-in", false},
		{"no client address", byDaemon, "", "gapps-in", nil, "", false, "", false},
		{"network and header", byHeader, "192.0.2.9", "smtp", right, gatewaySecret, true, "header field " + name, true},
		{"header alone", byHeader, "203.0.113.7", "smtp", right, gatewaySecret, false, "", true},
		{"wrong header", byHeader, "192.0.2.9", "smtp", wrong, gatewaySecret, false, "", true},
		{"empty header", byHeader, "192.0.2.9", "smtp", []string{""}, gatewaySecret, false, "", true},
		{"empty secret and header", byHeader, "192.0.2.9", "smtp", []string{""}, "", false, "", true},
		{"short secret", byHeader, "192.0.2.9", "smtp", []string{"abc"}, "abc", false, "", true},
		{"no header", byHeader, "192.0.2.9", "smtp", nil, gatewaySecret, false, "", false},
		{"no listener is configured", byHeader, "192.0.2.9", "", wrong, gatewaySecret, false, "", true},
		{"a guess before the real one", byHeader, "192.0.2.9", "smtp", append([]string{"guess"}, right...), gatewaySecret, true, "header field " + name, true},
		{"header of both", both, "192.0.2.9", "smtp", right, gatewaySecret, true, "header field " + name, true},
		{"listener of both", both, "192.0.2.9", "gapps-in", wrong, gatewaySecret, true, "listener gapps-in", true},
		{"nothing configured", Gateways{}, "192.0.2.9", "", []string{""}, "", false, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var client netip.Addr
			if test.client != "" {
				client = netip.MustParseAddr(test.client)
			}
			r := Route{Gateways: test.gateways}
			p := FromGateway(&r, client, test.daemon, test.values, []byte(test.secret))
			if p.OK != test.ok || p.By != test.by || (p.Strip != "") != test.strip {
				t.Errorf("%+v, want ok %v by %q, strip %v", p, test.ok, test.by, test.strip)
			}
			if test.strip && p.Strip != name {
				t.Errorf("strips %q", p.Strip)
			}
		})
	}
}

func TestGatewayHeadersLookedAtHaveALimit(t *testing.T) {
	r := Route{Gateways: Gateways{Networks: []netip.Prefix{netip.PrefixFrom(google, 32)}, Header: GatewayHeader{Name: "X-G", SecretFile: "f"}}}
	values := make([]string, maxGatewayValues)
	values[maxGatewayValues-1] = gatewaySecret
	if p := FromGateway(&r, google, "", values, []byte(gatewaySecret)); !p.OK {
		t.Error("the last field within the limit does not count")
	}
	if p := FromGateway(&r, google, "", append([]string{""}, values...), []byte(gatewaySecret)); p.OK || p.Strip != "X-G" {
		t.Errorf("beyond the limit: %+v", p)
	}
}

func TestArrivalAsksEveryRoute(t *testing.T) {
	first, second := testRoute(), testRoute()
	first.Gateways = Gateways{Networks: first.Gateways.Networks, Header: GatewayHeader{Name: "X-Acme-Gateway", SecretFile: "/etc/gw"}}
	second.Alternate, second.Group = "o.acmecorp.test", "office"
	third := second
	third.Domain = "acme.test"
	third.Gateways.Header = GatewayHeader{Name: "x-acme-gateway", SecretFile: "/etc/gw"}
	routes := mustNew(t, Config{first, second, third}, testKeys())

	both := headers(map[string][]string{"X-Acme-Gateway": {gatewaySecret}, "x-acme-gateway": {gatewaySecret}})
	a := routes.Arrival(google, "smtp", both)
	if !a.Proven() || !a.from("gapps.acmecorp.test") || len(a.Strip) != 1 {
		t.Errorf("by header: %+v", a)
	}
	a = routes.Arrival(google, "gapps-in", nil)
	if a.from("gapps.acmecorp.test") || !a.from("o.acmecorp.test") || len(a.Strip) != 0 {
		t.Errorf("by listener, before the header: %+v", a)
	}
	if a := routes.Arrival(someone, "gapps-in", both); a.Proven() || len(a.Strip) != 1 {
		t.Errorf("from a stranger: %+v", a)
	}
}

func TestGatewaySecretIsChecked(t *testing.T) {
	for secret, ok := range map[string]bool{
		gatewaySecret: true, strings.Repeat("a", 16): true,
		"": false, strings.Repeat("a", 15): false, gatewaySecret + "\n": false, "with spaces in it 1": false, "passwörter-mit-16": false,
	} {
		err := CheckGatewaySecret([]byte(secret))
		if (err == nil) != ok {
			t.Errorf("%q: %v", secret, err)
		}
		if err != nil && len(secret) > 3 && strings.Contains(err.Error(), secret) {
			t.Errorf("the error quotes the secret: %v", err)
		}
	}
}
