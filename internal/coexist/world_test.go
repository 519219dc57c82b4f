package coexist

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/testserver"
	"cloakroom/policy/forward"
)

var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// rsaRecord is a DKIM record with a key of so many bits, the same one for a
// whole run.
var rsaRecord = func() func(bits int) string {
	var mu sync.Mutex
	made := map[int]string{}
	return func(bits int) string {
		mu.Lock()
		defer mu.Unlock()
		if made[bits] == "" {
			key, err := rsa.GenerateKey(rand.Reader, bits)
			if err != nil {
				panic(err)
			}
			der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
			if err != nil {
				panic(err)
			}
			made[bits] = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
		}
		return made[bits]
	}
}()

// txt is a TXT record, cut into strings of 200 octets.
func txt(name, text string) string {
	var parts []string
	for ; len(text) > 200; text = text[200:] {
		parts = append(parts, fmt.Sprintf("%q", text[:200]))
	}
	return fmt.Sprintf("%s TXT %s", name, strings.Join(append(parts, fmt.Sprintf("%q", text)), " "))
}

const (
	ed25519Record = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	ourSPF        = "v=spf1 ip4:203.0.113.25 include:_spf.google.com ~all"
)

// rightZone has everything right. The other system is at a host named as
// Google's are, and is the MX of the shared domain or, with weAreMX, not.
func rightZone(weAreMX bool) []string {
	mx := "acmecorp.test. MX 1 smtp.google.com."
	if weAreMX {
		mx = "acmecorp.test. MX 10 mx.acmecorp.test."
	}
	return []string{
		mx,
		"gapps.acmecorp.test. MX 1 smtp.google.com.",
		"srs.acmecorp.test. MX 10 mx.acmecorp.test.",
		"mx.acmecorp.test. A 203.0.113.25",
		"smtp.google.com. A 198.51.100.26",
		"smtp.google.com. AAAA 2001:db8:6::26",
		txt("_spf.google.com.", "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8:5::/48 ~all"),
		txt("acmecorp.test.", ourSPF),
		txt("acmecorp.test.", "some-verification=1234"),
		txt("gapps.acmecorp.test.", "v=spf1 include:_spf.google.com ~all"),
		txt("srs.acmecorp.test.", "v=spf1 ip4:203.0.113.25 -all"),
		txt("_dmarc.acmecorp.test.", "v=DMARC1; p=reject; aspf=s; rua=mailto:dmarc@acmecorp.test"),
		txt("google._domainkey.acmecorp.test.", rsaRecord(2048)),
		txt("mail._domainkey.acmecorp.test.", ed25519Record),
	}
}

func rightRoute() forward.Route {
	return forward.Route{Domain: "acmecorp.test", Alternate: "gapps.acmecorp.test", Group: "gapps",
		Gateways: forward.Gateways{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:5::/48")}, Daemon: "gapps-in"},
		SRS:      true, SRSDomain: "srs.acmecorp.test"}
}

func rightSettings() Settings {
	return Settings{Hostname: "mx.acmecorp.test", Domains: []string{"acmecorp.test"}, Routes: forward.Config{rightRoute()}, Submit: true,
		Users: users(
			forward.User{Address: "postmaster@ext.test", Groups: []string{"gapps"}},
			forward.User{Address: "bob@acmecorp.test", Groups: []string{"research"}},
			forward.User{Address: "boss@acmecorp.test", Groups: []string{"gapps"}, Aliases: []string{"ceo@acmecorp.test"}},
			forward.User{Address: "eve@acmecorp.test", Groups: []string{"gapps"}},
		)}
}

func users(all ...forward.User) func(context.Context, func(forward.User) bool) error {
	return func(_ context.Context, yield func(forward.User) bool) error {
		for _, u := range all {
			if !yield(u) {
				break
			}
		}
		return nil
	}
}

// change is what a case makes different from what is right.
type change struct {
	weAreMX  bool
	drop     []string // records that begin so are left out
	add      []string
	faults   map[string]testserver.DNSFault
	settings func(*Settings)
	options  Options
}

func (c change) zone(t *testing.T) string {
	t.Helper()
	zone := rightZone(c.weAreMX)
	for _, prefix := range c.drop {
		n := len(zone)
		zone = slices.DeleteFunc(zone, func(line string) bool { return strings.HasPrefix(line, prefix) })
		if len(zone) == n {
			t.Fatalf("no record begins with %q", prefix)
		}
	}
	return strings.Join(append(zone, c.add...), "\n") + "\n"
}

func startDNS(t *testing.T, zone string, faults map[string]testserver.DNSFault) *Resolver {
	t.Helper()
	server, err := testserver.StartDNS(zone, faults)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	r, err := NewResolver(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c change) check(t *testing.T) *Report {
	t.Helper()
	set := rightSettings()
	if c.settings != nil {
		c.settings(&set)
	}
	c.options.Now = monday
	report, err := Check(t.Context(), startDNS(t, c.zone(t), c.faults), set, "acmecorp.test", c.options)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// troubles lists what is not ok: rows by what they are about, flows by number.
func troubles(r *Report) []string {
	var out []string
	for _, row := range r.Rows {
		if row.State != OK {
			out = append(out, fmt.Sprintf("%s: %s", row.What, row.State))
		}
	}
	for _, route := range r.Routes {
		for _, f := range route.Flows {
			if f.State != OK {
				out = append(out, fmt.Sprintf("flow %d: %s", f.Number, f.State))
			}
		}
	}
	return out
}

func rowOf(t *testing.T, r *Report, what string) Row {
	t.Helper()
	for _, row := range r.Rows {
		if row.What == what {
			return row
		}
	}
	t.Fatalf("no row %q", what)
	return Row{}
}

func failing(context.Context, func(forward.User) bool) error { return errors.New("server is away") }

// weakRecord is a key of 768 bits, which crypto/rsa does not make any more.
const weakRecord = "v=DKIM1; k=rsa; p=MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhAMKq9bI+QaJGy4YrbULmUCJUwi8jhCj2LnI4z9P4eOpZqMNAjNAQJUUNodvYQW5R+talMzQ7aGgMSJ306C6mL7fePfmqfAdgSfwHiK2X4MVQvMom5tGMvmr+XTc8JEXAlwIDAQAB"
