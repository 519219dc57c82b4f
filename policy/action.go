package policy

// What a rule says of the mail as a whole, as it is written in the
// configuration, and how it is checked.

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// RejectAction is what a rule says in the reject slot.
type RejectAction struct {
	Never   bool // `reject: false`: later rules do not refuse either
	Options RejectOptions
}

// RejectOptions are the options of `reject: {…}`.
type RejectOptions struct {
	// Code is the SMTP reply: 5xx refuses for good, 4xx for now. Default: 550.
	Code int `yaml:"code"`
	// Enhanced is the enhanced status code (RFC 3463); its first digit is that of
	// the code. Default: `5.7.1`, or `4.7.1` with a 4xx code.
	Enhanced string `yaml:"enhanced"`
	// Text is what the sender reads: one line. Default: `message refused by policy`.
	Text string `yaml:"text"`
}

// QuarantineAction is what a rule says in the quarantine slot.
type QuarantineAction struct {
	Never  bool   // `quarantine: false`
	Reason string // "" names the rule
}

// HeaderAction is what a rule says in the header slot.
type HeaderAction struct {
	Never   bool // `header: false`
	Options HeaderOptions
}

// HeaderOptions are the options of `header: {…}`.
type HeaderOptions struct {
	// Add is a section of fields to add: `X-Name: "value"`.
	Add HeaderFields `yaml:"add"`
	// Remove lists the names of fields to take out, all of a name. It comes before add.
	Remove []string `yaml:"remove"`
}

// HeaderFields are fields in the order they are written.
type HeaderFields []HeaderField

// HeaderField is one field to add.
type HeaderField struct {
	Name  string
	Value string
}

// TagAction is what a rule says in the tag slot.
type TagAction struct {
	Never bool // `tag: false`
	Text  string
}

const (
	defaultRejectCode = 550
	defaultRejectText = "message refused by policy"

	// maxReplyLine is in octets, with code and line end (RFC 5321 section 4.5.3.1.5).
	maxReplyLine = 512
	// maxFieldLine is in octets without the line end (RFC 5322 section 2.1.1).
	maxFieldLine = 998
	// maxReason is in octets; MTAs show it in a column of the queue listing.
	maxReason = 200
	// maxTag is in octets: a subject has to have room beside it.
	maxTag = 100
)

// mistake is something wrong in an action: the key below the rule, and why.
type mistake struct{ key, message string }

func mistakef(key, format string, args ...any) []mistake {
	return []mistake{{key, fmt.Sprintf(format, args...)}}
}

var enhancedCode = regexp.MustCompile(`^[245]\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})$`)

// Resolved fills the defaults in.
func (o RejectOptions) Resolved() RejectOptions {
	if o.Code == 0 {
		o.Code = defaultRejectCode
	}
	if o.Enhanced == "" {
		o.Enhanced = fmt.Sprintf("%d.7.1", o.Code/100)
	}
	if o.Text == "" {
		o.Text = defaultRejectText
	}
	return o
}

func (o RejectOptions) check() []mistake {
	o = o.Resolved()
	switch room := maxReplyLine - len("550 5.7.1 \r\n") - len(o.Enhanced) + len("5.7.1"); {
	case o.Code < 400 || o.Code > 599:
		return mistakef("reject.code", "%d does not refuse: write one from 400 (for now) to 599 (for good)", o.Code)
	case o.Code == 421:
		return mistakef("reject.code", "421 ends the whole SMTP session (RFC 5321 section 3.8): write 450 or 451")
	case !enhancedCode.MatchString(o.Enhanced):
		return mistakef("reject.enhanced", "%q is not an enhanced status code: write one like 5.7.1", o.Enhanced)
	case int(o.Enhanced[0]-'0') != o.Code/100:
		return mistakef("reject.enhanced", "%s does not go with code %d: the first digits must be the same", o.Enhanced, o.Code)
	case !isLine(o.Text):
		return mistakef("reject.text", "must be one line of text, without control characters")
	case len(o.Text) > room:
		return mistakef("reject.text", "has %d bytes; %d fit on the line of an SMTP reply", len(o.Text), room)
	}
	return nil
}

func (a *QuarantineAction) check() []mistake {
	switch {
	case !isLine(a.Reason):
		return mistakef("quarantine", "the reason must be one line of text, without control characters")
	case len(a.Reason) > maxReason:
		return mistakef("quarantine", "the reason has %d bytes; at most %d", len(a.Reason), maxReason)
	}
	return nil
}

func (a *TagAction) check() []mistake {
	switch {
	case a.Never:
		return nil
	case strings.TrimSpace(a.Text) == "":
		return mistakef("tag", "is empty; write what shall stand before the subject, such as '[EXTERNAL]', or false")
	case !isLine(a.Text) || strings.TrimSpace(a.Text) != a.Text:
		return mistakef("tag", "must be one line of text, without control characters or white space around")
	case len(a.Text) > maxTag:
		return mistakef("tag", "has %d bytes; at most %d", len(a.Text), maxTag)
	}
	return nil
}

func (o HeaderOptions) check() []mistake {
	var out []mistake
	if len(o.Add) == 0 && len(o.Remove) == 0 {
		return mistakef("header", "%s", headerForms)
	}
	for i, f := range o.Add {
		key := "header.add." + f.Name
		same := func(g HeaderField) bool { return strings.EqualFold(f.Name, g.Name) }
		switch {
		case fieldNameMistake(f.Name) != "":
			out = append(out, mistake{key, fieldNameMistake(f.Name)})
		case slices.ContainsFunc(o.Add[:i], same):
			out = append(out, mistake{key, "is added twice"})
		case strings.TrimSpace(f.Value) == "":
			out = append(out, mistake{key, "has no value"})
		case !isLine(f.Value) || strings.TrimSpace(f.Value) != f.Value:
			out = append(out, mistake{key, "the value must be one line of text, without control characters or white space around"})
		case len(f.Name)+len(": ")+len(f.Value) > maxFieldLine:
			out = append(out, mistakef(key, "has %d bytes; at most %d fit on a line", len(f.Name)+len(": ")+len(f.Value), maxFieldLine)...)
		}
	}
	for i, name := range o.Remove {
		if message := fieldNameMistake(name); message != "" {
			out = append(out, mistake{fmt.Sprintf("header.remove[%d]", i), message})
		}
	}
	return out
}

// untouchableFields are those whose change would break a signature, a loop
// check, the structure of the body or what RFC 5322 section 3.6 requires.
var untouchableFields = []string{
	"received", "return-path", "dkim-signature", "mime-version",
	"from", "sender", "to", "cc", "date", "message-id",
}

// fieldNameMistake says why rules must not add or remove fields of this name.
func fieldNameMistake(name string) string {
	lower := strings.ToLower(name)
	switch {
	case name == "" || len(name) > maxTag || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == ':' }):
		return fmt.Sprintf("%q is not the name of a header field", name)
	case lower == "subject":
		return "the subject is not for header rules; `tag` puts a word before it"
	case slices.Contains(untouchableFields, lower), strings.HasPrefix(lower, "content-"), strings.HasPrefix(lower, "arc-"), strings.HasPrefix(lower, "resent-"):
		return name + " is a field that the message or its way relies on; rules leave it alone"
	}
	return ""
}

// isLine tells whether s is UTF-8 text without line ends and control characters.
func isLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' })
}

// compiled gives what the rule says in the form of plans.
func (r *Rule) compiled() actions {
	out := actions{link: r.Link, forward: r.Forward, vault: r.Vault}
	if r.Reject != nil && !r.Reject.Never {
		o := r.Reject.Options.Resolved()
		out.reject = &Reject{Code: o.Code, Enhanced: o.Enhanced, Text: o.Text, Rule: r.Name}
	}
	if r.Quarantine != nil && !r.Quarantine.Never {
		reason := r.Quarantine.Reason
		if reason == "" {
			reason = shortened(fmt.Sprintf("held by rule %q", r.Name), maxReason)
		}
		out.quarantine = &reason
	}
	if r.Header != nil && !r.Header.Never {
		var changes []HeaderChange
		for _, name := range r.Header.Options.Remove {
			changes = append(changes, HeaderChange{Name: name, Remove: true, Rule: r.Name})
		}
		for _, f := range r.Header.Options.Add {
			changes = append(changes, HeaderChange{Name: f.Name, Value: f.Value, Rule: r.Name})
		}
		out.headers = &changes
	}
	if r.Tag != nil && !r.Tag.Never {
		out.tag = &r.Tag.Text
	}
	return out
}

// shortened cuts s to at most n bytes, between characters.
func shortened(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func (r *Rule) mistakes() []mistake {
	var out []mistake
	if r.Link == nil && r.Vault == nil && r.Forward == nil && r.Reject == nil && r.Quarantine == nil && r.Header == nil && r.Tag == nil {
		out = mistakef("", "says nothing: give it an action, link, vault, forward, reject, quarantine, header or tag")
	}
	if r.Forward != nil {
		out = append(out, r.Forward.check()...)
	}
	if r.Vault != nil {
		out = append(out, r.Vault.check()...)
	}
	if r.Link != nil {
		out = append(out, r.Link.Options.check()...)
	}
	if r.Reject != nil && !r.Reject.Never {
		out = append(out, r.Reject.Options.check()...)
	}
	if r.Quarantine != nil && !r.Quarantine.Never {
		out = append(out, r.Quarantine.check()...)
	}
	if r.Header != nil && !r.Header.Never {
		out = append(out, r.Header.Options.check()...)
	}
	if r.Tag != nil {
		out = append(out, r.Tag.check()...)
	}
	return out
}
