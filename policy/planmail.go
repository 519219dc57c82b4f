package policy

// What the rules decided for the mail as a whole.

import (
	"fmt"
	"strings"
)

// Reject is an SMTP reply that refuses a mail or a recipient.
type Reject struct {
	Code     int    // 4xx or 5xx
	Enhanced string // RFC 3463, of the class of Code
	Text     string // one line of UTF-8
	Rule     string // the rule that said so
}

// HeaderChange removes all header fields of a name, or adds one.
type HeaderChange struct {
	Name   string
	Value  string // one line of UTF-8, to be encoded (RFC 2047) where it is not ASCII; "" when Remove
	Remove bool
	Rule   string // the rule that said so
}

// MailDecision is what one slot of the mail came to for a recipient.
type MailDecision struct {
	Slot      Slot
	Recipient string // "" when it is the same for all recipients
	Acts      bool   // for this recipient; the mail follows when all recipients agree
	Rule      string // the rule that decided; "" when none spoke
	Failed    bool   // the rule failed; Plan.Errors tells how
	Trace     []Step // the rules asked before, in order
}

// Acts tells whether anything is to be done to the mail as a whole.
func (p *Plan) Acts() bool {
	return p.Reject != nil || p.Quarantine != "" || len(p.Headers) > 0 || p.Tag != ""
}

// writeMail tells what becomes of the mail, and how each slot came to it.
func (p *Plan) writeMail(b *strings.Builder) {
	if r := p.Reject; r != nil {
		fmt.Fprintf(b, "reject: %d %s %s, rule %q\n", r.Code, r.Enhanced, r.Text, r.Rule)
	}
	if p.Quarantine != "" {
		fmt.Fprintf(b, "quarantine: %s, rule %q\n", p.Quarantine, p.QuarantineRule)
	}
	for _, c := range p.Headers {
		if c.Remove {
			fmt.Fprintf(b, "header: remove %s, rule %q\n", c.Name, c.Rule)
		} else {
			fmt.Fprintf(b, "header: add %s: %s, rule %q\n", c.Name, c.Value, c.Rule)
		}
	}
	if p.Tag != "" {
		fmt.Fprintf(b, "tag: %s, rule %q\n", p.Tag, p.TagRule)
	}
	for _, d := range p.MailDecisions {
		who := "all recipients"
		if d.Recipient != "" {
			who = d.Recipient
		}
		fmt.Fprintf(b, "%s, %s: %s\n", d.Slot, who, d.verdict())
		for _, s := range d.Trace {
			fmt.Fprintf(b, "  not %q: %s\n", s.Rule, s.Why)
		}
	}
}

func (d *MailDecision) verdict() string {
	switch {
	case d.Rule == "":
		return "no, no rule speaks"
	case d.Failed:
		return fmt.Sprintf("rule %q failed", d.Rule)
	case !d.Acts:
		return fmt.Sprintf("no, rule %q says so", d.Rule)
	}
	return fmt.Sprintf("yes, rule %q", d.Rule)
}
