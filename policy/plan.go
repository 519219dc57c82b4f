package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Plan is what the rules decided for one mail.
type Plan struct {
	// Decisions, attachment by attachment, each with one for every recipient in
	// the order of the facts.
	Decisions []Decision

	// Reject refuses the mail for all its recipients; nil does not. Nothing else
	// in the plan then counts.
	Reject *Reject
	// Quarantine is why the mail is held in the MTA's queue; "" does not.
	Quarantine     string
	QuarantineRule string
	// Headers are the fields to remove and then to add. What the mail does not
	// have is not to be removed.
	Headers []HeaderChange
	// Tag goes before the subject, with a space; "" when there is none to add or
	// the subject has it already. It may hold characters beyond ASCII.
	Tag     string
	TagRule string

	// Failed tells that a rule about the mail as a whole failed and its fate
	// depends on it: it is to be refused for the time being (4xx). Rules about
	// links do not count.
	Failed bool
	// NeedsBody, from DecideHeaders, tells that the plan depends on the body.
	NeedsBody bool
	// MailDecisions tells how reject, quarantine, header and tag were decided.
	// Only from Explain.
	MailDecisions []MailDecision

	// Errors of rules at run time. Where a rule about links failed the
	// attachment stays in the mail.
	Errors []RuleError

	outside []bool // by recipient: not ours
}

// Decision is the fate of one attachment for one recipient.
type Decision struct {
	Part      int // the attachment's part index
	Recipient string
	Link      bool
	Options   LinkOptions
	Rule      string // the rule that decided; "" when none spoke
	Failed    bool   // the rule failed; Plan.Errors tells how
	Leaves    bool   // the rule links, but not in mail that goes on to a co-existing system
	Trace     []Step // only from Explain: the rules asked before, in order
}

// Step is a rule that was asked and did not match.
type Step struct {
	Rule string
	Why  string // the term that does not hold, and the facts it looked at
}

// RuleError is a rule that failed at run time.
type RuleError struct {
	Slot      Slot
	Rule      string // "" when the whole plan was cut short
	Recipient string // "" when the failing term is the same for all recipients
	Part      int    // -1 when it is the same for all attachments
	Term      string // of the condition
	Err       error
}

func (e RuleError) Error() string {
	if e.Rule == "" {
		return e.Err.Error()
	}
	var where strings.Builder
	if e.Recipient != "" {
		fmt.Fprintf(&where, " for %s", e.Recipient)
	}
	if e.Part >= 0 {
		fmt.Fprintf(&where, " at part %d", e.Part)
	}
	if e.Slot != "" && e.Slot != SlotLink {
		fmt.Fprintf(&where, " to decide %s", e.Slot)
	}
	if e.Term != "" {
		fmt.Fprintf(&where, ": %s", e.Term)
	}
	return fmt.Sprintf("rule %q failed%s: %v", e.Rule, where.String(), e.Err)
}

func (e RuleError) Unwrap() error { return e.Err }

// Linked is an attachment that becomes a link for every recipient.
type Linked struct {
	Part    int
	Options LinkOptions // the strictest of the rules' options
	Rules   []string    // those that said so, in order of the recipients
	// AllOutside tells that no recipient of the mail is ours.
	AllOutside bool
}

// Lifetime is how long the link works; 0 is forever. Our own users keep their
// links, as the stored file is the only copy, unless the rules accept its loss.
func (l Linked) Lifetime() time.Duration {
	if l.AllOutside || l.Options.AcceptLoss {
		return l.Options.Expires
	}
	return 0
}

// Among is the plan as it is for some of the recipients, who get a message of
// their own. keep tells of an index in the facts' list whether he is one.
func (p *Plan) Among(keep func(recipient int) bool) *Plan {
	out := *p
	out.Decisions, out.outside = nil, nil
	for i, o := range p.outside {
		if keep(i) {
			out.outside = append(out.outside, o)
		}
	}
	for decisions := range p.byPart() {
		for i, d := range decisions {
			if keep(i) {
				out.Decisions = append(out.Decisions, d)
			}
		}
	}
	return &out
}

// LinksFor tells whether any attachment would be a link for a recipient.
func (p *Plan) LinksFor(recipient int) bool {
	for decisions := range p.byPart() {
		if recipient < len(decisions) && decisions[recipient].Link {
			return true
		}
	}
	return false
}

// Links lists the attachments that every recipient's decision links: the mail
// has one body for all of them, and one link with one password.
func (p *Plan) Links() []Linked {
	var out []Linked
	var asked LinkOptions // of the first attachment that has a password
	for decisions := range p.byPart() {
		if len(decisions) < len(p.outside) || slices.ContainsFunc(decisions, func(d Decision) bool { return !d.Link }) {
			continue
		}
		l := Linked{Part: decisions[0].Part, Options: decisions[0].Options, AllOutside: !slices.Contains(p.outside, false)}
		if password, differ := passwordOf(decisions); differ || passwordsDiffer(asked, password) {
			continue
		} else if password.AsksPassword() {
			asked = password
		}
		for _, d := range decisions {
			l.Options = strictest(l.Options, d.Options)
			if !slices.Contains(l.Rules, d.Rule) {
				l.Rules = append(l.Rules, d.Rule)
			}
		}
		out = append(out, l)
	}
	return out
}

// Lifetime is how long the one link to several attachments works, by the
// strictest of their options; 0 is forever.
func (p *Plan) Lifetime(links []Linked) time.Duration {
	return p.Together(links).Lifetime()
}

// KeptPart is an attachment that some recipients' decisions link, and that
// stays in the mail because of the others.
type KeptPart struct {
	Part   int
	Reason string
}

// Kept lists the attachments on which the recipients disagree, and those that
// ask for another password than those before them.
func (p *Plan) Kept() []KeptPart {
	var out []KeptPart
	linked := p.Links()
	for decisions := range p.byPart() {
		var first *Decision
		keep, link := len(p.outside)-len(decisions), 0
		for i := range decisions {
			if decisions[i].Link {
				link++
				continue
			}
			keep++
			if first == nil {
				first = &decisions[i]
			}
		}
		if link > 0 && keep == 0 && !slices.ContainsFunc(linked, func(l Linked) bool { return l.Part == decisions[0].Part }) {
			out = append(out, KeptPart{Part: decisions[0].Part, Reason: "rules ask for different passwords, and the mail has one link"})
		}
		if link == 0 || keep == 0 {
			continue
		}
		out = append(out, KeptPart{Part: decisions[0].Part, Reason: keptReason(first, keep)})
	}
	return out
}

func keptReason(first *Decision, keep int) string {
	if first == nil {
		return "not decided for all recipients"
	}
	reason := fmt.Sprintf("recipient %s: ", first.Recipient)
	switch {
	case first.Rule == "":
		reason += "no rule speaks"
	case first.Failed:
		reason += fmt.Sprintf("rule %q failed", first.Rule)
	case first.Leaves:
		reason += "goes on to the other mail system"
	default:
		reason += fmt.Sprintf("rule %q keeps it", first.Rule)
	}
	if keep > 1 {
		reason += fmt.Sprintf("; and %d more", keep-1)
	}
	return reason
}

// byPart yields the decisions of each attachment.
func (p *Plan) byPart() func(yield func([]Decision) bool) {
	return func(yield func([]Decision) bool) {
		for rest := p.Decisions; len(rest) > 0; {
			n := 1
			for n < len(rest) && n < len(p.outside) && rest[n].Part == rest[0].Part {
				n++
			}
			if !yield(rest[:n:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// String tells the plan to a person, one line for each decision and, when
// there is a trace, one for each rule that did not match.
func (p *Plan) String() string {
	var b strings.Builder
	p.writeMail(&b)
	for _, d := range p.Decisions {
		fmt.Fprintf(&b, "part %d, %s: %s\n", d.Part, d.Recipient, d.verdict())
		for _, s := range d.Trace {
			fmt.Fprintf(&b, "  not %q: %s\n", s.Rule, s.Why)
		}
	}
	for _, e := range p.Errors {
		fmt.Fprintf(&b, "error: %v\n", e)
	}
	return b.String()
}

func (d *Decision) verdict() string {
	switch {
	case d.Rule == "":
		return "stays, no rule speaks"
	case d.Failed:
		return fmt.Sprintf("stays, rule %q failed", d.Rule)
	case d.Leaves:
		return fmt.Sprintf("stays, the mail goes on to the other mail system (rule %q has no forwarded: true)", d.Rule)
	case !d.Link:
		return fmt.Sprintf("stays, rule %q keeps it", d.Rule)
	}
	return fmt.Sprintf("link, rule %q", d.Rule) + d.Options.verdictWords()
}
