package mtasetup

// deploy/postfix/*.example and the set-up say the same.

import (
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// examplePlan is for what the examples are about: Debian's Postfix, and two mail
// systems that share a domain.
func examplePlan() *Plan {
	set := Settings{Listen: "inet:127.0.0.1:8891", Submit: "127.0.0.1:10026", Routes: []Route{{Domain: "example.com", Alternate: "gapps.example.com",
		Daemon: "gapps-in", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, SRSDomain: "srs.example.com"}}}
	jailed := smtpd("smtp", nil)
	jailed.Chroot = "y"
	m := machine("3.7.11", map[string]string{"virtual_alias_maps": "hash:/etc/postfix/virtual", "smtpd_tls_chain_files": "/etc/postfix/chain.pem"}, jailed,
		MasterService{Name: "cleanup", Type: "unix", Chroot: "y", Program: "cleanup", Overrides: map[string]string{}})
	for _, name := range []string{"cleanup_replace_stray_cr_lf", "relay_domains", "relay_recipient_maps", "transport_maps"} {
		m.Main[name], m.Expanded[name] = "", ""
	}
	m.Main["default_database_type"], m.Expanded["default_database_type"] = "hash", "hash"
	return Postfix(set, m, Options{})
}

func exampleText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/postfix/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// services joins the lines of master.cf to one for each service.
func services(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		joined := strings.Join(strings.Fields(line), " ")
		switch {
		case joined == "" || joined[0] == '#':
		case line[0] == ' ':
			out[len(out)-1] += " " + joined
		default:
			out = append(out, joined)
		}
	}
	slices.Sort(out)
	return out
}

// parameters are lines of main.cf, commented out or not.
func parameters(text string, commented bool) map[string]string {
	mark := ""
	if commented {
		mark = "#"
	}
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^`+mark+`([a-z_]+) = (.*)$`).FindAllStringSubmatch(text, -1) {
		out[m[1]] = m[2]
	}
	return out
}

func TestExamplesSayWhatTheSetupDoes(t *testing.T) {
	plan := examplePlan()
	if got, want := services(exampleText(t, "master.cf.example")), services(plan.MasterText()); !slices.Equal(got, want) {
		t.Errorf("master.cf.example has\n%s\nthe set-up writes\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	main := plan.MainText()
	wanted := parameters(main, false)
	delete(wanted, "relay_domains") // of co-existence, in master.cf.example
	if got := parameters(exampleText(t, "main.cf.example"), false); !maps.Equal(got, wanted) {
		t.Errorf("main.cf.example has %v, the set-up writes %v", got, wanted)
	}
	example, later := parameters(exampleText(t, "master.cf.example"), true), parameters(main, true)
	maps.Copy(later, parameters(main, false))
	for _, name := range []string{"virtual_alias_maps", "relay_domains", "relay_recipient_maps"} {
		if example[name] == "" || example[name] != later[name] {
			t.Errorf("%s: master.cf.example has %q, the set-up writes %q", name, example[name], later[name])
		}
	}
	times := remarks(plan, Info)
	for name, value := range parameters(exampleText(t, "main.cf.example"), true) {
		if strings.HasSuffix(name, "_timeout") && !strings.Contains(times, name+" = "+value) {
			t.Errorf("main.cf.example tells of %s = %s, the set-up of\n%s", name, value, times)
		}
	}
}
