package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"cloakroom/internal/coexist"
	"cloakroom/internal/testserver"
)

const coexistenceConfig = `
hostname: mx.acmecorp.test
domains: [acmecorp.test]
data: data
web: {url: "http://127.0.0.1:8080"}
directory: {file: users.yaml}
submit: {smtp: "127.0.0.1:10026"}
coexistence:
  - domain: acmecorp.test
    alternate: gapps.acmecorp.test
    group: gapps
    gateways: {networks: [192.0.2.0/24], daemon: gapps-in}
    srs: true
    srs_domain: srs.acmecorp.test
`

const coexistenceUsers = `
users:
  - {address: bob@acmecorp.test, groups: [research]}
  - {address: boss@acmecorp.test, groups: [gapps]}
`

// goodZone is right; the keys are made for this test.
const goodZone = `
acmecorp.test. MX 1 smtp.google.com.
gapps.acmecorp.test. MX 1 smtp.google.com.
srs.acmecorp.test. MX 10 mx.acmecorp.test.
mx.acmecorp.test. A 203.0.113.25
smtp.google.com. A 198.51.100.26
_spf.google.com. TXT "v=spf1 ip4:192.0.2.0/24 ~all"
acmecorp.test. TXT "v=spf1 ip4:203.0.113.25 include:_spf.google.com ~all"
gapps.acmecorp.test. TXT "v=spf1 include:_spf.google.com ~all"
srs.acmecorp.test. TXT "v=spf1 ip4:203.0.113.25 -all"
_dmarc.acmecorp.test. TXT "v=DMARC1; p=reject; aspf=s"
google._domainkey.acmecorp.test. TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
mail._domainkey.acmecorp.test. TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
`

// coexistenceCheck runs the command against a DNS server with zone.
func coexistenceCheck(t *testing.T, zone string, faults map[string]testserver.DNSFault, flags ...string) (code int, stdout, stderr string) {
	t.Helper()
	server, err := testserver.StartDNS(zone, faults)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	folder := t.TempDir()
	for name, content := range map[string]string{"c.yaml": coexistenceConfig, "users.yaml": coexistenceUsers} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"--config", filepath.Join(folder, "c.yaml"), "coexistence", "check", "--resolver", server.Addr}, flags...)
	var out, errs bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &errs)
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 2 {
		t.Errorf("the check wrote something: %v, %v", entries, err)
	}
	return code, out.String(), errs.String()
}

func TestCoexistenceCheckEndsByTheWorstRow(t *testing.T) {
	warn := strings.Replace(goodZone, "p=reject", "p=none", 1)
	wrong := strings.Replace(goodZone, "gapps.acmecorp.test. MX 1 smtp.google.com.", "gapps.acmecorp.test. MX 1 mx.acmecorp.test.", 1)
	down := map[string]testserver.DNSFault{"_dmarc.acmecorp.test.": testserver.DNSServFail}
	for _, test := range []struct {
		name   string
		zone   string
		faults map[string]testserver.DNSFault
		flags  []string
		code   int
		stdout string
		stderr string
	}{
		{"all is right", goodZone, nil, []string{"acmecorp.test"}, 0, "acmecorp.test: ok (", ""},
		{"in another form of the name", goodZone, nil, []string{"AcmeCorp.TEST."}, 0, "acmecorp.test: ok (", ""},
		{"a warning", warn, nil, []string{"acmecorp.test"}, 0, "acmecorp.test: warning (", ""},
		{"a warning, strictly", warn, nil, []string{"acmecorp.test", "--strict"}, 1, "acmecorp.test: warning (", "acmecorp.test: warnings: 1"},
		{"something wrong", wrong, down, []string{"acmecorp.test"}, 1, "acmecorp.test: wrong (", "acmecorp.test: wrong: 3"},
		{"something unknown", warn, down, []string{"acmecorp.test"}, exitTemporary, "acmecorp.test: unknown (", "hint: ask again later"},
		{"no such route", goodZone, nil, []string{"gapps.acmecorp.test"}, exitConfig, "", "there are acmecorp.test"},
		{"not an address", goodZone, nil, []string{"acmecorp.test", "--outbound-ip", "mx"}, exitUsage, "", `--outbound-ip: "mx" is not an IP address`},
		{"not an address of the other system", goodZone, nil, []string{"acmecorp.test", "--other-ip", "fe80::1%eth0"}, exitUsage, "", "--other-ip"},
		{"no domain", goodZone, nil, nil, exitUsage, "", "accepts 1 arg(s)"},
		{"a selector that is not there", goodZone, nil, []string{"acmecorp.test", "--selector", "mx1"}, 1, "add: mx1._domainkey.acmecorp.test. TXT", "wrong: 1"},
		{"another address of ours", goodZone, nil, []string{"acmecorp.test", "--outbound-ip", "203.0.113.99"}, 1, "ip4:203.0.113.99", "wrong"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := coexistenceCheck(t, test.zone, test.faults, test.flags...)
			if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) || test.stdout == "" && stdout != "" {
				t.Errorf("code %d, want %d\n%s\n%s", code, test.code, stdout, stderr)
			}
		})
	}
}

func TestCoexistenceCheckPrintsATableOf100Columns(t *testing.T) {
	zone := strings.NewReplacer("p=reject", "p=none", "gapps.acmecorp.test. MX 1 smtp.google.com.", "gapps.acmecorp.test. MX 1 mx.acmecorp.test.").Replace(goodZone)
	_, stdout, _ := coexistenceCheck(t, zone, nil, "acmecorp.test")
	for line := range strings.Lines(stdout) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
		if strings.TrimRight(line, " \n") != strings.TrimSuffix(line, "\n") {
			t.Errorf("space at the end of %q", line)
		}
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("colours without a terminal")
	}
	// The rewritten sender of flow 11 has the day in it.
	golden := filepath.Join("testdata", "coexistence_check.golden")
	got := maskSRS(stdout)
	if os.Getenv("UPDATE_SCRIPTS") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (UPDATE_SCRIPTS=1 writes it anew):\n%s", golden, got)
	}
}

// maskSRS takes hash and day out of rewritten senders, keeping their length.
func maskSRS(s string) string {
	const tag, secret = "SRS0=", "HHHHHH=TT"
	out := []byte(s)
	for i := 0; i < len(out); i++ {
		if bytes.HasPrefix(out[i:], []byte(tag)) {
			copy(out[i+len(tag):], secret)
		}
	}
	return string(out)
}

func TestCoexistenceCheckAsJSON(t *testing.T) {
	code, stdout, _ := coexistenceCheck(t, strings.Replace(goodZone, "p=reject", "p=none", 1), nil, "--json", "acmecorp.test")
	var r coexist.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != 0 {
		t.Fatalf("code %d, %v: %s", code, err, stdout)
	}
	if r.Domain != "acmecorp.test" || r.State != coexist.Warning || r.MX != coexist.Other || r.Count(coexist.Warning) != 1 || len(r.Routes) != 1 || len(r.Routes[0].Flows) != 12 {
		t.Errorf("%+v", r)
	}
}
