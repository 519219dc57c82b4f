package policy

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func decode(t *testing.T, text string) (Config, error) {
	t.Helper()
	var out struct {
		Rules Config `yaml:"rules"`
	}
	err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&out)
	return out.Rules, err
}

func TestLinkForms(t *testing.T) {
	for text, want := range map[string]*LinkAction{
		"link: false": {Keep: true},
		"link: true":  {},
		"link: {}":    {},
		"link: {expires: 90d}": {
			Options: LinkOptions{Expires: 90 * 24 * time.Hour}},
		"link: {expires: 12h, accept_loss: true}": {
			Options: LinkOptions{Expires: 12 * time.Hour, AcceptLoss: true}},
		"link:\n      expires: 15m\n":        {Options: LinkOptions{Expires: 15 * time.Minute}},
		"link:\n      accept_loss: false\n":  {},
		"if: 'true'":                         nil,
		"if: 'size > 1'\n    link: {}":       {},
		"link: &a {expires: 90s}\n":          {Options: LinkOptions{Expires: 90 * time.Second}},
		"link: {expires: \"1d12h\"}":         {Options: LinkOptions{Expires: 36 * time.Hour}},
		"link: {\"accept_loss\": true}":      {Options: LinkOptions{AcceptLoss: true}},
		"link: {expires: 1.5h} # a comment ": {Options: LinkOptions{Expires: 90 * time.Minute}},
	} {
		rules, err := decode(t, "rules:\n  - name: r\n    "+text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if len(rules) != 1 || rules[0].Name != "r" || !reflect.DeepEqual(rules[0].Link, want) {
			t.Errorf("%q: got %+v, want link %+v", text, rules, want)
		}
	}
}

func TestMailActionForms(t *testing.T) {
	for text, want := range map[string]Rule{
		"reject: false": {Reject: &RejectAction{Never: true}},
		"reject: true":  {Reject: &RejectAction{}},
		"reject: {}":    {Reject: &RejectAction{}},
		"reject: {code: 451, enhanced: 4.7.0, text: 'später, bitte'}": {
			Reject: &RejectAction{Options: RejectOptions{Code: 451, Enhanced: "4.7.0", Text: "später, bitte"}}},
		"quarantine: true":              {Quarantine: &QuarantineAction{}},
		"quarantine: false":             {Quarantine: &QuarantineAction{Never: true}},
		"quarantine: looks like a bill": {Quarantine: &QuarantineAction{Reason: "looks like a bill"}},
		"header: false":                 {Header: &HeaderAction{Never: true}},
		"header: {add: {X-B: on, X-A: 5}, remove: [X-C]}": {Header: &HeaderAction{Options: HeaderOptions{
			Add: HeaderFields{{"X-B", "on"}, {"X-A", "5"}}, Remove: []string{"X-C"}}}},
		"header:\n      add:\n        X-One: \"true\"\n": {Header: &HeaderAction{Options: HeaderOptions{Add: HeaderFields{{"X-One", "true"}}}}},
		"tag: '[EXTERNAL]'": {Tag: &TagAction{Text: "[EXTERNAL]"}},
		"tag: false":        {Tag: &TagAction{Never: true}},
	} {
		rules, err := decode(t, "rules:\n  - name: r\n    "+text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		want.Name = "r"
		if len(rules) != 1 || !reflect.DeepEqual(rules[0], want) {
			t.Errorf("%q: got %+v, want %+v", text, rules, want)
		}
		if _, err := Compile(rules); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLinkOptionsByAlias(t *testing.T) {
	rules, err := decode(t, "rules:\n  - {name: a, link: &short {expires: 7d}}\n  - {name: b, link: *short}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := rules[1].Link; got == nil || got.Options.Expires != 7*24*time.Hour {
		t.Errorf("link by alias is %+v", got)
	}
}

func TestRuleMistakesSayWhereAndWhat(t *testing.T) {
	for text, want := range map[string]string{
		"link:":                        "[3:5] link: nothing is said; write `link: {}`",
		"link: null":                   "[3:5] link: nothing is said; write `link: {}`",
		"link: ~":                      "[3:5] link: nothing is said; write `link: {}`",
		"link: yes":                    "[3:11] link: not understood; write `link: {}`",
		"link: 5":                      "[3:11] link: not understood",
		"link: [expires]":              "[3:11] link: not understood",
		"link: {expires: 90x}":         `[3:21] link.expires: "90x" is not a duration: write 90s, 15m, 12h or 90d`,
		"link: {expires: 90}":          `[3:21] link.expires: "90" is not a duration`,
		"link: {expires: 0s}":          "[3:21] link.expires: must be longer than 0",
		"link: {expires: -1h}":         "[3:21] link.expires: must be longer than 0",
		"link: {expires: [1d]}":        "[3:21] link.expires: expected a duration such as 90d",
		"link: {expires: 200000d}":     `link.expires: duration "200000d" is too long`,
		"link: {expire: 90d}":          `[3:12] unknown field "expire"`,
		"link: {accept_loss: perhaps}": "cannot unmarshal",
		"if:\n    link: {}":            "[3:5] if: nothing is said; write a condition",
		"iff: 'true'":                  `[3:5] unknown field "iff"`,
		"vault: assets":                "[3:12] vault: not understood; write `vault: {target: NAME}`",
		"vault: true":                  "[3:12] vault: not understood",
		"vault: {goal: assets}":        `[3:13] unknown field "goal"`,
		"forward: gapps.example.com":   "[3:14] forward: not understood; write `forward: {alternate:",
		"forward: true":                "[3:14] forward: not understood",
		"archive: true":                "[3:5] action `archive` is not built yet",
		"reject: 'no'":                 "[3:13] reject: not understood; write `reject: {}`",
		"reject:":                      "[3:5] reject: nothing is said; write `reject: {}`",
		"reject: {txt: no}":            `[3:14] unknown field "txt"`,
		"reject: {code: five}":         "cannot unmarshal",
		"quarantine: [a]":              "[3:17] quarantine: not understood; write",
		"quarantine: ''":               "[3:17] quarantine: not understood; write",
		"quarantine:":                  "[3:5] quarantine: nothing is said",
		"header: true":                 "[3:13] header: not understood; write `header: {add:",
		"header: {X-A: b}":             `[3:14] unknown field "X-A"`,
		"header: {add: [X-A]}":         "[3:19] header.add: write `{X-Name:",
		"header: {add: {X-A: [b]}}":    "[3:25] header.add.X-A: the value is one text",
		"header: {remove: X-A}":        "[3:22]",
		"header:":                      "[3:5] header: nothing is said",
		"tag: [EXTERNAL]":              "[3:10] tag: what stands in brackets is a list to YAML; write `tag: '[EXTERNAL]'`, with the quotes",
		"tag: true":                    "[3:10] tag: not understood; write",
		"tag:":                         "[3:5] tag: nothing is said",
		"link: {}\n    vault:":         "[4:5] vault: nothing is said",
	} {
		_, err := decode(t, "rules:\n  - name: r\n    "+text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %q", text, err, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "15m": 15 * time.Minute, "12h": 12 * time.Hour, "90d": 2160 * time.Hour,
		"0d": 0, "1d12h30m": 36*time.Hour + 30*time.Minute, "106751d": 106751 * 24 * time.Hour, "-5m": -5 * time.Minute,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "90", "-1d", "+1d", "1.5d", "1d-2h", "1d2d", "106752d", "106751d24h", "99999999999d", "1 d", "week"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}
