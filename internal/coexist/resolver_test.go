package coexist

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"

	"github.com/miekg/dns"
)

const chains = `
real.ext.test. A 192.0.2.1
one.ext.test. CNAME two.ext.test.
two.ext.test. CNAME REAL.ext.test.
a.ext.test. CNAME b.ext.test.
b.ext.test. CNAME a.ext.test.
gone.ext.test. CNAME nowhere.ext.test.
mute.ext.test. CNAME text.ext.test.
text.ext.test. TXT "quote \" backslash \\ octet \001"
below.empty.ext.test. A 192.0.2.2
`

func TestAnswersTellNoSuchNameFromNoSuchRecord(t *testing.T) {
	r := startDNS(t, chains, map[string]testserver.DNSFault{"down.ext.test.": testserver.DNSServFail, "other.ext.test.": testserver.DNSRefused})
	for name, want := range map[string]Failure{
		"real.ext.test": 0, "REAL.ext.test.": 0, "one.ext.test": 0,
		"nowhere.ext.test": NXDomain, "gone.ext.test": NXDomain, "": NXDomain, "x..ext.test": NXDomain, strings.Repeat("x", 64) + ".ext.test": NXDomain,
		"text.ext.test": NoData, "mute.ext.test": NoData, "empty.ext.test": NoData,
		"a.ext.test": Loop, "down.ext.test": ServFail, "other.ext.test": ServFail,
	} {
		rrs, alias, err := r.lookup(t.Context(), name, dns.TypeA)
		switch {
		case want == 0 && (err != nil || len(rrs) != 1):
			t.Errorf("%s: %v, %v", name, rrs, err)
		case want != 0 && (err == nil || err.Failure != want):
			t.Errorf("%s: %v, want %s", name, err, want)
		case err != nil && err.Answered() != (want != ServFail):
			t.Errorf("%s: answered is %v", name, err.Answered())
		}
		if isAlias := slices.Contains([]string{"one.ext.test", "a.ext.test", "gone.ext.test", "mute.ext.test"}, name); alias != isAlias {
			t.Errorf("%s: alias is %v", name, alias)
		}
	}
	if _, _, err := r.addresses(t.Context(), "nowhere.ext.test"); err == nil || err.Type != "A" || err.Name != "nowhere.ext.test" {
		t.Errorf("addresses: %v", err)
	}
	if texts, err := r.txt(t.Context(), "text.ext.test"); err != nil || !slices.Equal(texts, []string{"quote \" backslash \\ octet \x01"}) {
		t.Errorf("%q, %v", texts, err)
	}
}

// A server that is authoritative only gives the first CNAME and no more.
func TestAliasIsFollowedWhereTheServerDoesNot(t *testing.T) {
	full := startDNS(t, chains, nil)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply, err := dns.Exchange(q, full.servers[0])
		if err != nil {
			t.Error(err)
			return
		}
		if len(reply.Answer) > 1 {
			reply.Answer = reply.Answer[:1]
		}
		_ = w.WriteMsg(reply)
	})
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: handler}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	r, err := NewResolver(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	addrs, alias, failed := r.addresses(t.Context(), "one.ext.test")
	if failed != nil || !alias || !slices.Equal(addrs, []netip.Addr{netip.MustParseAddr("192.0.2.1")}) {
		t.Errorf("%v, %v, %v", addrs, alias, failed)
	}
}

func TestNextServerIsAskedWhenOneIsSilentOrFails(t *testing.T) {
	var addrs []string
	for _, fault := range []testserver.DNSFault{testserver.DNSSilent, testserver.DNSServFail, 0} {
		server, err := testserver.StartDNS(chains, map[string]testserver.DNSFault{"*": fault})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Stop)
		addrs = append(addrs, server.Addr)
	}
	r, err := NewResolver(addrs...)
	if err != nil {
		t.Fatal(err)
	}
	r.timeout = 50 * time.Millisecond
	if rrs, _, failed := r.lookup(t.Context(), "real.ext.test", dns.TypeA); failed != nil || len(rrs) != 1 {
		t.Errorf("%v, %v", rrs, failed)
	}
}

func TestSilentServersAreGivenUp(t *testing.T) {
	r := startDNS(t, "", map[string]testserver.DNSFault{"*": testserver.DNSSilent})
	r.timeout = 30 * time.Millisecond
	began := time.Now()
	report, err := Check(t.Context(), r, rightSettings(), "acmecorp.test", Options{Now: monday})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if report.State != Unknown || report.MX != Unclear {
		t.Errorf("%s, MX %s", report.State, report.MX)
	}
	for _, row := range report.Rows {
		if row.State == Wrong || row.State == Warning && row.Area != AreaDKIM {
			t.Errorf("%s: %s, %q", row.What, row.State, row.Found)
		}
	}
	for _, f := range report.Routes[0].Flows {
		if f.State == Wrong {
			t.Errorf("flow %d: %s, %s", f.Number, f.State, f.Fix)
		}
	}
}

func TestEachQuestionIsAskedOnce(t *testing.T) {
	server, err := testserver.StartDNS(chains, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewResolver(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := r.lookup(t.Context(), "real.ext.test", dns.TypeA)
	server.Stop()
	after, _, failed := r.lookup(t.Context(), "Real.Ext.Test.", dns.TypeA)
	if failed != nil || len(before) != 1 || len(after) != 1 {
		t.Errorf("%v, %v, %v", before, after, failed)
	}
}

func TestServersAreRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for content, want := range map[string][]string{
		"nameserver 192.0.2.53\nnameserver 2001:db8::53\n": {"192.0.2.53:53", "[2001:db8::53]:53"},
		"search acmecorp.test\n":                           {"127.0.0.1:53"},
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := SystemResolver(file)
		if err != nil || !slices.Equal(r.servers, want) {
			t.Errorf("%q: %+v, %v", content, r, err)
		}
	}
	if _, err := SystemResolver(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing file is no error")
	}
	for in, want := range map[string]string{"192.0.2.53": "192.0.2.53:53", "192.0.2.53:5353": "192.0.2.53:5353", "[2001:db8::53]": "[2001:db8::53]:53", "2001:db8::53": "[2001:db8::53]:53", "ns.ext.test": "ns.ext.test:53"} {
		if r, err := NewResolver(in); err != nil || r.servers[0] != want {
			t.Errorf("%s: %+v, %v", in, r, err)
		}
	}
	for _, in := range []string{"", ":53", "ns.ext.test:"} {
		if r, err := NewResolver(in); err == nil {
			t.Errorf("%q is taken: %v", in, r.servers)
		}
	}
}
