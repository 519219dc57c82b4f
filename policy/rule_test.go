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
		"link:":                           "[3:5] link: nothing is said; write `link: {}`",
		"link: null":                      "[3:5] link: nothing is said; write `link: {}`",
		"link: ~":                         "[3:5] link: nothing is said; write `link: {}`",
		"link: yes":                       "[3:11] link: not understood; write `link: {}`",
		"link: 5":                         "[3:11] link: not understood",
		"link: [expires]":                 "[3:11] link: not understood",
		"link: {expires: 90x}":            `[3:21] link.expires: "90x" is not a duration: write 90s, 15m, 12h or 90d`,
		"link: {expires: 90}":             `[3:21] link.expires: "90" is not a duration`,
		"link: {expires: 0s}":             "[3:21] link.expires: must be longer than 0",
		"link: {expires: -1h}":            "[3:21] link.expires: must be longer than 0",
		"link: {expires: [1d]}":           "[3:21] link.expires: expected a duration such as 90d",
		"link: {expires: 200000d}":        `link.expires: duration "200000d" is too long`,
		"link: {expire: 90d}":             `[3:12] unknown field "expire"`,
		"link: {accept_loss: perhaps}":    "cannot unmarshal",
		"if:\n    link: {}":               "[3:5] if: nothing is said; write a condition",
		"iff: 'true'":                     `[3:5] unknown field "iff"`,
		"vault: {target: assets}":         "[3:5] action `vault` is not built yet",
		"archive: true":                   "[3:5] action `archive` is not built yet",
		"forward: {to: x}":                "[3:5] action `forward` is not built yet",
		"reject: 'no'":                    "[3:5] action `reject` is not built yet",
		"quarantine: true":                "[3:5] action `quarantine` is not built yet",
		"header: {X-A: b}":                "[3:5] action `header` is not built yet",
		"tag: spam":                       "[3:5] action `tag` is not built yet",
		"link: {}\n    vault: {space: x}": "[4:5] action `vault` is not built yet",
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
