package policytest

import (
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const vaultCase = `
cases:
  - name: copies
    inline: x
    envelope: {to: [bob@acmecorp.test]}
    want:
      expires: 90d
      vault: [bob@acmecorp.test a by path/x.pdf, bob@acmecorp.test a a rule, bob@acmecorp.test b]
      forward: {boss@acmecorp.test: boss@gapps.acmecorp.test}
`

func TestCopiesAreComparedByPathOrRuleOrNeither(t *testing.T) {
	fsys := fstest.MapFS{"c.yaml": {Data: []byte(vaultCase)}}
	cases, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	right := Result{Expires: 90 * 24 * time.Hour, Forward: map[string]string{"boss@acmecorp.test": "boss@gapps.acmecorp.test"}, Vault: []Copy{
		{"bob@acmecorp.test", "b", "2026/z.pdf", "another"}, {"bob@acmecorp.test", "a", "2026/y.pdf", "a rule"}, {"bob@acmecorp.test", "a", "by path/x.pdf", "any"}}}
	for _, c := range []struct {
		name   string
		change func(*Result)
		differ string
	}{
		{"all right", func(*Result) {}, ""},
		{"a copy too many", func(r *Result) { r.Vault = append(r.Vault, Copy{"eve@acmecorp.test", "b", "p", "r"}) }, "vault"},
		{"a copy twice", func(r *Result) { r.Vault = append(r.Vault, r.Vault[1]) }, "vault"},
		{"a copy too few", func(r *Result) { r.Vault = r.Vault[1:] }, "vault"},
		{"by another rule", func(r *Result) { r.Vault[1].Rule = "other" }, "vault"},
		{"never ends", func(r *Result) { r.Expires = 0 }, "expires"},
		{"goes nowhere", func(r *Result) { r.Forward = nil }, "forward"},
	} {
		got := right
		got.Vault = append([]Copy{}, right.Vault...)
		c.change(&got)
		report := Run(fsys, cases, func(Envelope, io.Reader) (Result, error) { return got, nil })
		var differ []string
		for _, d := range report.Outcomes[0].Differences {
			differ = append(differ, d.What)
		}
		want := []string{c.differ}
		if c.differ == "" {
			want = nil
		}
		if !reflect.DeepEqual(differ, want) {
			t.Errorf("%s: differs in %v, want %v", c.name, report.Outcomes[0].Differences, want)
		}
	}
}

func TestLoadRefusesWantsThatCannotBeMeant(t *testing.T) {
	for text, want := range map[string]string{"expires: soon": "want.expires: ", "vault: [assets]": `want.vault: "assets" is not OWNER TARGET`} {
		_, err := Load(fstest.MapFS{"c.yaml": {Data: []byte("cases:\n  - name: n\n    inline: x\n    envelope: {to: [a@ext.test]}\n    want: {" + text + "}\n")}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
