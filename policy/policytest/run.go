package policytest

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"cloakroom/policy"
)

// Result is what becomes of a mail.
type Result struct {
	Linked     []string // names of attachments
	Kept       []string
	Expires    time.Duration // of the link; 0 is never
	Vault      []Copy
	Forward    map[string]string // recipients whose address is exchanged
	Reject     int               // code; 0 when the mail is not refused
	Refused    map[string]int    // recipients refused by themselves, and the code
	Quarantine string            // reason; "" when the mail is not held
	Headers    Headers
	Tag        string
	Fails      bool // a rule failed, and the mail is put off
}

// Copy is one that is kept in the vault.
type Copy struct{ Owner, Target, Path, Rule string }

// Explain says what becomes of a mail that comes in by the envelope.
type Explain func(env Envelope, message io.Reader) (Result, error)

// Outcome is how one case went.
type Outcome struct {
	Case        string       `json:"case"`
	File        string       `json:"file"`
	Passed      bool         `json:"passed"`
	Differences []Difference `json:"differences,omitempty"`
	Error       string       `json:"error,omitempty"` // the mail could not be explained
}

// Difference is something that did not come out as it must.
type Difference struct {
	What string `json:"what"` // the key below want
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Report is how all cases went.
type Report struct {
	Cases    int       `json:"cases"`
	Failed   int       `json:"failed"`
	Outcomes []Outcome `json:"outcomes"`
}

// Run explains the mail of every case and compares. fsys is that of Load.
func Run(fsys fs.FS, cases []Case, explain Explain) Report {
	report := Report{Cases: len(cases)}
	for i := range cases {
		o := run(fsys, &cases[i], explain)
		if !o.Passed {
			report.Failed++
		}
		report.Outcomes = append(report.Outcomes, o)
	}
	return report
}

func run(fsys fs.FS, c *Case, explain Explain) Outcome {
	o := Outcome{Case: c.Name, File: c.File}
	message, err := c.open(fsys)
	if err != nil {
		o.Error = err.Error()
		return o
	}
	defer message.Close()
	result, err := explain(c.Envelope, message)
	if err != nil {
		o.Error = err.Error()
		return o
	}
	o.Differences = c.Want.compare(result)
	o.Passed = len(o.Differences) == 0
	return o
}

// compare lists what differs, in the order of the keys of Want.
func (w *Want) compare(got Result) []Difference {
	var out []Difference
	check := func(what, want, got string) {
		if want != got {
			out = append(out, Difference{what, want, got})
		}
	}
	if w.Linked != nil {
		check("linked", list(*w.Linked), list(got.Linked))
	}
	if w.Kept != nil {
		check("kept", list(*w.Kept), list(got.Kept))
	}
	if w.Expires != "" {
		check("expires", w.expires(), life(got.Expires))
	}
	if w.Vault != nil {
		check("vault", list(*w.Vault), list(w.copies(got.Vault)))
	}
	if w.Forward != nil {
		check("forward", pairs(*w.Forward), pairs(got.Forward))
	}
	check("reject", code(w.Reject), code(got.Reject))
	check("refused", codes(w.Refused), codes(got.Refused))
	check("quarantine", text(w.Quarantine), text(got.Quarantine))
	check("headers", list(w.Headers.fields()), list(got.Headers.fields()))
	check("tag", text(w.Tag), text(got.Tag))
	check("fails", fmt.Sprint(w.Fails), fmt.Sprint(got.Fails))
	return out
}

// expires is the wanted life of a link in the form in which all are compared.
func (w *Want) expires() string {
	d, err := policy.ParseDuration(w.Expires)
	if err != nil { // never; everything else was checked
		return never
	}
	return life(d)
}

func life(d time.Duration) string {
	if d == 0 {
		return never
	}
	return d.String()
}

// copies writes the copies as they are wanted, where one is that; the others
// with their path.
func (w *Want) copies(got []Copy) []string {
	open := slices.Clone(*w.Vault)
	out := make([]string, len(got))
	for i, c := range got {
		prefix := c.Owner + " " + c.Target
		at := slices.IndexFunc(open, func(want string) bool {
			return want == prefix+" "+c.Path || want == prefix+" "+c.Rule
		})
		if at < 0 {
			at = slices.Index(open, prefix)
		}
		if at < 0 {
			out[i] = prefix + " " + c.Path
			continue
		}
		out[i] = open[at]
		open = slices.Delete(open, at, at+1)
	}
	return out
}

func pairs(m map[string]string) string {
	var out []string
	for from, to := range m {
		out = append(out, from+" to "+to)
	}
	return list(out)
}

const nothing = "none"

func list(values []string) string {
	if len(values) == 0 {
		return nothing
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = fmt.Sprintf("%q", v) // names come from mails: safe for a terminal
	}
	slices.Sort(quoted)
	return strings.Join(quoted, ", ")
}

func code(n int) string {
	if n == 0 {
		return nothing
	}
	return fmt.Sprint(n)
}

func codes(refused map[string]int) string {
	var out []string
	for address, n := range refused {
		out = append(out, fmt.Sprintf("%s %d", address, n))
	}
	return list(out)
}

func text(s string) string {
	if s == "" {
		return nothing
	}
	return fmt.Sprintf("%q", s)
}

// WriteText tells the report to a person: a line for each case, what was wanted
// and what came out below those that failed, and the sum.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, o := range r.Outcomes {
		verdict := "ok  "
		if !o.Passed {
			verdict = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %s: %s\n", verdict, o.File, o.Case)
		if o.Error != "" {
			fmt.Fprintf(&b, "      %s\n", o.Error)
		}
		for _, d := range o.Differences {
			fmt.Fprintf(&b, "      %s:\n      - %s\n      + %s\n", d.What, d.Want, d.Got)
		}
	}
	fmt.Fprintf(&b, "%d cases, %d failed\n", r.Cases, r.Failed)
	_, err := io.WriteString(w, b.String())
	return err
}
