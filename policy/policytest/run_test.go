package policytest

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"cloakroom/policy"
)

const caseFile = `
cases:
  - name: large files become links
    message: mails/large.eml
    envelope: {from: amy@acmecorp.test, to: [bob@ext.test], user: amy, client: 192.0.2.7, helo: h, host: n, daemon: d, tls: TLSv1.3}
    want:
      linked: [b.pdf, a.pdf]
      kept: []
      headers: {add: {X-Seen: "yes"}, remove: [X-Spoof]}
      tag: "[OUT]"
  - name: programs are refused
    inline: |
      Subject: x

      body
    envelope: {from: "", to: [bob@acmecorp.test, sue@acmecorp.test]}
    want: {reject: 550}
`

func folder(cases string) fstest.MapFS {
	return fstest.MapFS{
		"a/cases.yaml":      {Data: []byte(cases)},
		"a/mails/large.eml": {Data: []byte("Subject: large\n\nbody\n")},
		"readme.txt":        {Data: []byte("not a case")},
	}
}

func TestRunComparesWhatIsWanted(t *testing.T) {
	fsys := folder(caseFile)
	cases, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	right := func(env Envelope, message io.Reader) (Result, error) {
		text, err := io.ReadAll(message)
		switch string(text) {
		case "Subject: large\n\nbody\n":
			want := Envelope{"amy@acmecorp.test", []string{"bob@ext.test"}, "amy", "192.0.2.7", "h", "n", "d", "TLSv1.3"}
			if !reflect.DeepEqual(env, want) {
				t.Errorf("envelope %+v", env)
			}
			return Result{Linked: []string{"a.pdf", "b.pdf"}, Headers: Headers{map[string]string{"x-seen": "yes"}, []string{"x-spoof"}}, Tag: "[OUT]"}, err
		case "Subject: x\n\nbody\n":
			return Result{Kept: []string{"not asked for"}, Reject: 550}, err
		}
		t.Errorf("message %q", text)
		return Result{}, err
	}
	report := Run(fsys, cases, right)
	if report.Cases != 2 || report.Failed != 0 {
		t.Errorf("report %+v", report)
	}

	report = Run(fsys, cases, func(_ Envelope, message io.Reader) (Result, error) {
		if text, _ := io.ReadAll(message); strings.Contains(string(text), "large") {
			return Result{Linked: []string{"a.pdf"}, Kept: []string{"b\x1b.pdf"}, Reject: 451, Refused: map[string]int{"bob@ext.test": 550},
				Quarantine: "odd", Tag: "[IN]", Headers: Headers{Add: map[string]string{"X-Seen": "no"}}, Fails: true}, nil
		}
		return Result{}, errors.New("cannot be read")
	})
	var b strings.Builder
	if err := report.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `FAIL  a/cases.yaml: large files become links
      linked:
      - "a.pdf", "b.pdf"
      + "a.pdf"
      kept:
      - none
      + "b\x1b.pdf"
      reject:
      - none
      + 451
      refused:
      - none
      + "bob@ext.test 550"
      quarantine:
      - none
      + "odd"
      headers:
      - "+x-seen: yes", "-x-spoof"
      + "+x-seen: no"
      tag:
      - "[OUT]"
      + "[IN]"
      fails:
      - false
      + true
FAIL  a/cases.yaml: programs are refused
      cannot be read
2 cases, 2 failed
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// TestRunWithRules takes the place of the flow: rules decide on the envelope.
func TestRunWithRules(t *testing.T) {
	set, err := policy.Compile([]policy.Rule{{Name: "outside", If: "recipient.domain != 'acmecorp.test'", Tag: &policy.TagAction{Text: "[OUT]"}},
		{Name: "bounces", If: "from == ''", Reject: &policy.RejectAction{}}})
	if err != nil {
		t.Fatal(err)
	}
	fsys := folder(strings.ReplaceAll(strings.ReplaceAll(caseFile, "linked: [b.pdf, a.pdf]", ""), `headers: {add: {X-Seen: "yes"}, remove: [X-Spoof]}`, ""))
	cases, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	report := Run(fsys, cases, func(env Envelope, _ io.Reader) (Result, error) {
		f := &policy.Facts{From: env.From}
		for _, to := range env.To {
			f.Recipients = append(f.Recipients, policy.Recipient{Address: to, Domain: policy.Domain(to)})
		}
		plan := set.Decide(f)
		r := Result{Tag: plan.Tag}
		if plan.Reject != nil {
			r.Reject = plan.Reject.Code
		}
		return r, nil
	})
	if report.Failed != 0 {
		t.Errorf("report %+v", report)
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	envelope := "\n    envelope: {to: [bob@ext.test]}\n"
	for text, want := range map[string]string{
		"":                                 "no cases there",
		"cases:\n  - inline: x" + envelope: "a/cases.yaml: cases[0]: name: missing",
		"cases:\n  - name: n" + envelope:   `cases[0]: "n": give either message`,
		"cases:\n  - name: n\n    message: x\n    inline: y" + envelope:                           `cases[0]: "n": give either message`,
		"cases:\n  - name: n\n    message: ../../etc/passwd" + envelope:                           "is not below the folder",
		"cases:\n  - name: n\n    inline: y\n":                                                    "envelope.to: missing",
		"cases:\n  - name: n\n    inline: y" + envelope + "    want: {reject: 250}\n":             "want.reject: 250 does not refuse",
		"cases:\n  - name: n\n    inline: y" + envelope + "    want: {linkd: [x]}\n":              `unknown field "linkd"`,
		"cases:\n  - name: n\n    inline: y" + envelope + "  - name: n\n    inline: y" + envelope: `cases[1]: name: there is a case "n" above`,
		"case:\n":  `unknown field "case"`,
		"cases: [": "a/cases.yaml: ",
	} {
		if _, err := Load(folder(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error is %v, want %q", text, err, want)
		}
	}
}

func TestAMissingMessageIsAFailedCase(t *testing.T) {
	fsys := folder(strings.ReplaceAll(caseFile, "large.eml", "gone.eml"))
	cases, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	report := Run(fsys, cases[:1], func(Envelope, io.Reader) (Result, error) { return Result{}, nil })
	if report.Failed != 1 || !strings.Contains(report.Outcomes[0].Error, "gone.eml") {
		t.Errorf("report %+v", report)
	}
}
