package forward

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	monday  = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	keyA    = bytes.Repeat([]byte{0xa1}, 32)
	keyB    = bytes.Repeat([]byte{0xb2}, 32)
	keyC    = bytes.Repeat([]byte{0xc3}, 32)
	google  = netip.MustParseAddr("192.0.2.25")
	someone = netip.MustParseAddr("203.0.113.7")
)

const gatewaySecret = "0123456789abcdef0123456789abcdef"

// testRoute sends the group gapps of acmecorp.test to gapps.acmecorp.test.
func testRoute() Route {
	return Route{
		Domain: "acmecorp.test", Alternate: "gapps.acmecorp.test", Group: "gapps",
		Gateways: Gateways{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Daemon: "gapps-in"},
		SRS:      true, SRSDomain: "srs.acmecorp.test",
	}
}

func testKeys() Keys {
	return Keys{Marks: [][]byte{keyA}, SRS: [][]byte{keyA}, Files: map[string][]byte{"/etc/gw": []byte(gatewaySecret)}}
}

func isOurs(domain string) bool {
	return slices.Contains([]string{"acmecorp.test", "acme.test", "xn--bcher-kva.test"}, domain)
}

func mustNew(t testing.TB, cfg Config, keys Keys) *Routes {
	t.Helper()
	routes, err := New(cfg, keys, isOurs)
	if err != nil {
		t.Fatal(err)
	}
	return routes
}

// members is a directory of one group per address.
type members map[string]string

func (m members) in(group, address string) bool { return m[address] == group }

func headers(fields map[string][]string) func(string) []string {
	return func(name string) []string { return fields[name] }
}
