package config

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// needed are the keys without which nothing is accepted.
const needed = "domains: [acmecorp.test]\nweb: {url: https://files.acmecorp.test}\n"

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	cfg, _, err := Parse("/etc/cloakroom/cloakroom.yaml", []byte(text))
	if err != nil {
		t.Fatalf("not accepted:\n%v\n%s", err, text)
	}
	return cfg
}

// headlines gives what is wrong with a configuration, without excerpts.
func headlines(t *testing.T, text string) []string {
	t.Helper()
	cfg, _, err := Parse("c.yaml", []byte(text))
	if err == nil {
		return nil
	}
	if cfg != nil {
		t.Error("a configuration with mistakes was given out")
	}
	var mistakes *Error
	if !errors.As(err, &mistakes) {
		t.Fatalf("%T is not an *Error: %v", err, err)
	}
	var out []string
	for _, p := range mistakes.Problems {
		out = append(out, p.Headline())
	}
	return out
}

func TestDefaultsFillWhatIsLeftOut(t *testing.T) {
	cfg := mustParse(t, needed)
	want := Default()
	if cfg.Hostname == "" {
		t.Error("no host name")
	}
	want.Hostname, want.Domains, want.Web.URL, want.policy = cfg.Hostname, []string{"acmecorp.test"}, "https://files.acmecorp.test", cfg.policy
	want.wording = cfg.wording
	if !reflect.DeepEqual(*cfg, want) {
		t.Errorf("got  %+v\nwant %+v", *cfg, want)
	}
	if cfg.Policy() == nil {
		t.Error("no compiled rules")
	}
}

func TestSectionsWithEverythingCommentedOutKeepTheirDefaults(t *testing.T) {
	cfg := mustParse(t, needed+"log:\n  #level: debug\nmilter:\nrules:\n")
	if cfg.Log != Default().Log || cfg.Milter != Default().Milter || len(cfg.Rules) != 0 {
		t.Errorf("got %+v", *cfg)
	}
}

func TestValuesAreBroughtIntoOneForm(t *testing.T) {
	cfg := mustParse(t, `
hostname: MX.AcmeCorp.test.
domains: [AcmeCorp.test, Bücher.test, ext.test.]
trusted: [192.0.2.0/24, 198.51.100.7, "2001:db8::/32", "::ffff:203.0.113.9"]
data: ../data
secret_file: keys/secret
milter: {idle_timeout: 1h30m, socket_mode: 0666}
web: {url: https://files.acmecorp.test}
`)
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	check("hostname", cfg.Hostname, "mx.acmecorp.test")
	check("domains", cfg.Domains, []string{"acmecorp.test", "xn--bcher-kva.test", "ext.test"})
	check("trusted", cfg.Trusted, []netip.Prefix{
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.7/32"),
		netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("203.0.113.9/32"),
	})
	check("data", cfg.Data, "/etc/data")
	check("secret_file", cfg.SecretFile, "/etc/cloakroom/keys/secret")
	check("idle_timeout", cfg.Milter.IdleTimeout, 90*time.Minute)
	check("socket_mode", cfg.Milter.SocketMode, "0666")
}

func TestFilesFromOtherSystemsAreRead(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(needed+"rules:\n  - name: r\n    if: |\n      attachment.size > 1 &&\n      direction == 'inbound'\n    link: {}\n", "\n", "\r\n")
	cfg := mustParse(t, text)
	if want := "attachment.size > 1 &&\ndirection == 'inbound'\n"; cfg.Rules[0].If != want {
		t.Errorf("the condition became %q, want %q", cfg.Rules[0].If, want)
	}
}

func TestMistakesAreReportedAtTheirPlace(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // beginnings of the headlines, in order
	}{
		{"required keys", "", []string{
			"c.yaml: domains: is required",
			"c.yaml: web.url: required"}},
		{"required key in a section that is there", "domains: [acmecorp.test]\nweb:\n  listen: 127.0.0.1:80\n", []string{
			"c.yaml:2:1: web.url: required"}},
		{"unknown key with a near one", needed + "modus: observe\n", []string{
			"c.yaml:3:1: modus: unknown key; did you mean mode?"}},
		{"unknown key without", needed + "log: {file: x}\n", []string{
			"c.yaml:3:7: log.file: unknown key; there are level, format"}},
		{"key in the wrong case", needed + "Mode: observe\n", []string{
			"c.yaml:3:1: Mode: unknown key; did you mean mode?"}},
		{"key given twice", needed + "mode: observe\nmode: enforce\n", []string{
			"c.yaml:4:1: mode: given twice; the first is on line 3"}},
		{"key given twice in flow style", needed + "log: {level: info, level: warn}\n", []string{
			"c.yaml:3:20: log.level: given twice; the first is on line 3"}},
		{"second document", needed + "---\nmode: observe\n", []string{
			"c.yaml:3:1: a second YAML document begins here"}},
		{"text instead of a mapping", "observe\n", []string{
			"c.yaml:1:1: text where `key: value` lines are expected"}},
		{"list instead of a mapping", "- a\n", []string{
			"c.yaml:1:1: a list where `key: value` lines are expected"}},
		{"text instead of a list", needed + "trusted: 10.0.0.0/8\n", []string{
			"c.yaml:3:10: trusted: is a list, not text"}},
		{"list instead of text", needed + "data: [a]\n", []string{
			"c.yaml:3:7: data: is one value, not a list"}},
		{"no value", needed + "mode:\n", []string{
			"c.yaml:3:1: mode: has no value; remove the key"}},
		{"a list emptied by leaving its value out", needed + "trusted:\n", []string{
			"c.yaml:3:1: trusted: has no value"}},
		{"number without unit", needed + "milter:\n  idle_timeout: 90\n", []string{
			`c.yaml:4:17: milter.idle_timeout: "90" is not a duration; write a number with its unit`}},
		{"not a number", needed + "milter: {max_connections: many}\n", []string{
			`c.yaml:3:27: milter.max_connections: "many" is not a whole number`}},
		{"from a section's own check", needed + "milter:\n  listen: nowhere\n", []string{
			"c.yaml:4:11: milter.listen: "}},
		{"empty data", needed + `data: ""` + "\n", []string{
			"c.yaml:3:7: data: is empty"}},
		{"domains", "domains: ['@acmecorp.test', '*.acmecorp.test', a_b.test, 192.0.2.1, '', acme corp.test]\nweb: {url: https://f.test}\n", []string{
			`c.yaml:1:11: domains[0]: "@acmecorp.test" is not a domain; write what follows the @`,
			`c.yaml:1:29: domains[1]: "*.acmecorp.test" is not a domain; there are no wildcards`,
			`c.yaml:1:48: domains[2]: "a_b.test" is not a domain name`,
			`c.yaml:1:58: domains[3]: "192.0.2.1" is an address`,
			`c.yaml:1:69: domains[4]: "" is not a domain name`,
			`c.yaml:1:73: domains[5]: "acme corp.test" is not a domain name`}},
		{"networks", needed + "trusted: [10.0.0.1/8, '::ffff:10.0.0.0/104', fe80::1%eth0, 10/8]\n", []string{
			`c.yaml:3:11: trusted[0]: "10.0.0.1/8" has bits behind its prefix length; write 10.0.0.0/8`,
			`c.yaml:3:23: trusted[1]: write an IPv4 network in its own form`,
			`c.yaml:3:46: trusted[2]: "fe80::1%eth0" is not a network`,
			`c.yaml:3:60: trusted[3]: "10/8" is not a network`}},
		{"YAML that has no use here", needed + "data: &d /x\nsecret_file: *d\nmode: !!str observe\n<<: {}\n", []string{
			"c.yaml:3:7: data: a value that begins with & is a YAML anchor",
			"c.yaml:4:14: secret_file: a value that begins with * is a YAML alias",
			"c.yaml:5:7: mode: a value that begins with ! is a YAML tag",
			"c.yaml:6:1: a key is one plain word"}},
		{"tabs", "web:\n\turl: x\n", []string{
			"c.yaml:2:1: not valid YAML: found character '\t' that cannot start any token; indent with spaces"}},
		{"bytes that are not text", "domains: [\xff]\n", []string{"c.yaml:1:11: not UTF-8 text"}},
		{"NUL", "mode: \x00\n", []string{"c.yaml:1:7: contains a NUL byte"}},
		{"a rule that was not read is not compiled", needed + "rules:\n  - name: r\n    link: {}\n    nam: x\n", []string{
			"c.yaml:6:5: rules[0].nam: unknown key; did you mean name?"}},
		{"unknown link option", needed + "rules:\n  - name: r\n    link: {expire: 5d}\n", []string{
			"c.yaml:5:12: rules[0].link.expire: unknown key; did you mean expires?"}},
		{"bad duration in a rule", needed + "rules:\n  - name: r\n    link:\n      expires: 90\n", []string{
			"c.yaml:6:16: rules[0].link.expires: "}},
		{"two rules of one name", needed + "rules:\n  - {name: r, link: {}}\n  - {name: r, link: false}\n", []string{
			"c.yaml:5:12: rules[1].name: "}},
		{"a rule's mistakes beside others", "mode: x\nrules:\n  - name: r\n    if: nothing\n    link: {}\ndomains: 5\nweb: {url: https://f.test}\n", []string{
			"c.yaml:1:7: mode: ",
			"c.yaml:4:9: rules[0].if: undeclared reference to 'nothing'",
			"c.yaml:6:10: domains: is a list, not a number"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := headlines(t, test.text)
			for i, want := range test.want {
				if i >= len(got) || !strings.HasPrefix(got[i], want) {
					t.Fatalf("mistakes:\n%s\nwant number %d to begin\n%s", strings.Join(got, "\n"), i+1, want)
				}
			}
			if len(got) > len(test.want) {
				t.Errorf("more mistakes than expected:\n%s", strings.Join(got, "\n"))
			}
		})
	}
}

func TestConditionsAreBlamedWhereTheyStand(t *testing.T) {
	tests := []struct{ name, value, caret string }{ // caret: the source from the place on
		{"plain", "attachment.size > 1 && wrong", "wrong"},
		{"plain over lines", "attachment.size > 1 &&\n      direction == 'x' &&\n      wrong", "wrong"},
		{"single quotes", `'direction == ''in'' && wrong'`, "wrong'"},
		{"double quotes", `"direction == \"in\u0041\x41\" && wrong"`, `wrong"`},
		{"double quotes over lines", "\"direction == \\\"in\\\" && \\\n      wrong\"", `wrong"`},
		{"escaped line ends", `"direction == 'x' &&\nwrong"`, `wrong"`},
		{"literal block", "|\n      direction == 'x' &&\n          wrong\n", "wrong"},
		{"literal block, other indentation", "|2-\n      direction == 'x' &&\n        wrong\n", "wrong"},
		{"folded block", ">-\n\n      direction == 'x' &&\n\n      wrong\n", "wrong"},
		{"characters beyond ASCII", "direction == 'äöü😀' && wrong", "wrong"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := needed + "rules:\n  - name: r\n    if: " + test.value + "\n    link: {}\n"
			_, _, err := Parse("c.yaml", []byte(text))
			var mistakes *Error
			if !errors.As(err, &mistakes) || len(mistakes.Problems) != 1 {
				t.Fatalf("want one mistake, got %v", err)
			}
			p := mistakes.Problems[0]
			line := []rune(strings.Split(text, "\n")[p.Line-1])
			if got := string(line[p.Column-1:]); got != test.caret || p.Key != "rules[0].if" {
				t.Errorf("blamed at %q (%s), want %q", got, p.Headline(), test.caret)
			}
		})
	}
}

func TestAnExpressionThatEndsTooEarlyIsBlamedAtItsEnd(t *testing.T) {
	got := headlines(t, needed+"rules:\n  - name: r\n    if: attachment.size > # 5\n    link: {}\n")
	if len(got) != 1 || !strings.HasPrefix(got[0], "c.yaml:5:26: rules[0].if: ") || !strings.Contains(got[0], "YAML ends the expression at ` #`") {
		t.Errorf("got %q", got)
	}
}

func TestAnExcerptShowsTheLineAndACaret(t *testing.T) {
	long := strings.Repeat("x", 200)
	_, _, err := Parse("c.yaml", []byte("# \x1b[31m\nmode: "+long+"\n"))
	var mistakes *Error
	if !errors.As(err, &mistakes) {
		t.Fatal(err)
	}
	want := "  1 | # ?[31m\n  2 | mode: " + long[:excerptWidth-len("mode: ")] + "\n    |       ^\n"
	if got := mistakes.Problems[0].Excerpt; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}

	source := newSource("c.yaml", strings.Repeat("y", 150)+"z")
	excerpt := source.excerpt(place{1, 151})
	lines := strings.Split(excerpt, "\n")
	if at := strings.Index(lines[1], "^"); at < 0 || lines[0][at] != 'z' {
		t.Errorf("the caret is not under the place far right:\n%s", excerpt)
	}
}

func TestDoubtsAreWarningsAndNoErrors(t *testing.T) {
	_, warnings, err := Parse("c.yaml", []byte(`
domains: [acmecorp.test, ACMECORP.test]
trusted: [0.0.0.0/0, "::/0", 10.0.0.0/8]
web: {url: http://files.acmecorp.test}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"c.yaml:2:26: warning: domains[1]: acmecorp.test is listed twice",
		"c.yaml:3:11: warning: trusted[0]: 0.0.0.0/0 lets strangers send as your users",
		"c.yaml:3:22: warning: trusted[1]: ::/0 lets strangers send as your users",
		"c.yaml:4:12: warning: web.url: ",
		"c.yaml: warning: rules: there are no rules",
	}
	if len(warnings) != len(want) {
		t.Fatalf("got %d warnings, want %d: %v", len(warnings), len(want), warnings)
	}
	for i, w := range warnings {
		if !strings.HasPrefix(w.String(), want[i]) {
			t.Errorf("warning %d is %q, want it to begin %q", i, w, want[i])
		}
	}
}

func FuzzParse(f *testing.F) {
	example, err := Example()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example))
	for _, text := range []string{"", "a", "- a", "a: [", "a: |\n b", "? a\n: b", "a: 'b\n\n c'", "rules:\n- if: \"\\\n\\x4\n", "domains: [{a: b}]", "web: &a [*a]", "1: 2", "a: !!x {<<: b}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, _, err := Parse("c.yaml", []byte(text))
		var mistakes *Error
		switch {
		case err == nil && cfg == nil, err != nil && cfg != nil:
			t.Fatalf("got %v and %v", cfg, err)
		case err != nil && !errors.As(err, &mistakes):
			t.Fatalf("%v is not an *Error", err)
		}
	})
}
