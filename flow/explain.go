package flow

import (
	"time"

	"cloakroom/message"
	"cloakroom/policy"
)

// Explanation tells what would become of a message, and why. Nothing is
// written to make one.
type Explanation struct {
	Ours       bool                `json:"sender_is_ours"`
	Recipients []ExplainedAddress  `json:"recipients"`
	Passes     string              `json:"passes,omitempty"` // why it passes at the end of its header already
	Alone      string              `json:"left_alone,omitempty"`
	Parts      []ExplainedPart     `json:"parts"`
	Decisions  []ExplainedDecision `json:"decisions"`
	Slots      []ExplainedSlot     `json:"mail_rules,omitempty"`
	Ways       []ExplainedWay      `json:"forward,omitempty"` // of recipients in shared domains
	Vault      []ExplainedCopy     `json:"vault,omitempty"`
	Expires    time.Duration       `json:"link_expires_ns,omitempty"` // after the mail; 0 is never
	Access     string              `json:"link_access,omitempty"`     // who may open the link; "" where there is none
	Codes      []string            `json:"link_codes,omitempty"`      // to whom codes go
	Downloads  int                 `json:"link_downloads,omitempty"`  // of each file; 0: without limit
	Notify     bool                `json:"link_notify,omitempty"`     // the sender hears of the first download
	Reject     *Reply              `json:"reject,omitempty"`          // of the whole mail
	Refused    map[string]*Reply   `json:"refused,omitempty"`         // recipients, as soon as they are named
	Quarantine string              `json:"quarantine,omitempty"`      // why it would be held
	Add        map[string]string   `json:"add_header,omitempty"`
	Remove     []string            `json:"remove_header,omitempty"`
	Tag        string              `json:"tag,omitempty"`
	Fails      bool                `json:"fails,omitempty"` // a rule about the mail failed: it would be put off
	Errors     []string            `json:"errors,omitempty"`
	Changes    bool                `json:"changes"`
	NewSize    int64               `json:"new_body_size,omitempty"`
	BodySize   int64               `json:"body_size"`
}

// ExplainedAddress is a recipient and the direction of the mail for it.
type ExplainedAddress struct {
	Address   string           `json:"address"`
	Direction policy.Direction `json:"direction"`
}

// ExplainedPart is one part of the tree.
type ExplainedPart struct {
	Index   int      `json:"index"`
	Depth   int      `json:"depth"`
	Type    string   `json:"type"`
	Sniffed string   `json:"sniffed,omitempty"`
	Role    string   `json:"role"`
	Name    string   `json:"name,omitempty"`
	Names   []string `json:"names,omitempty"`
	Size    int64    `json:"size"`
	Keep    string   `json:"keep,omitempty"`
	Fate    string   `json:"fate"` // "link", or why it stays
}

// ExplainedDecision is what the rules said of one part for one recipient.
type ExplainedDecision struct {
	Part      int             `json:"part"`
	Recipient string          `json:"recipient"`
	Link      bool            `json:"link"`
	Leaves    bool            `json:"leaves,omitempty"` // the rule links, but not in mail that goes on to the other system
	Rule      string          `json:"rule,omitempty"`
	Before    []ExplainedStep `json:"before,omitempty"`
}

// ExplainedWay is where a recipient's mail goes where two systems share a domain.
type ExplainedWay struct {
	Recipient string `json:"recipient"`
	Way       string `json:"way"`
	Reason    string `json:"reason"`
	To        string `json:"to,omitempty"`     // the address in its place
	Sender    string `json:"sender,omitempty"` // the envelope sender it goes on with, where that is another
	Copy      bool   `json:"copy,omitempty"`   // by a message of its own
}

// ExplainedCopy is one copy for the vault.
type ExplainedCopy struct {
	Owner  string `json:"owner"`
	Part   int    `json:"part"` // -1 is the mail as a whole
	Inner  int    `json:"inner,omitempty"`
	File   string `json:"file"`
	Size   int64  `json:"size"`
	Target string `json:"target"`
	Path   string `json:"path"`
	Rule   string `json:"rule"`
}

// ExplainedSlot is what the rules said of the mail as a whole for one
// recipient, or for all when it names none.
type ExplainedSlot struct {
	Slot      string          `json:"slot"`
	Recipient string          `json:"recipient,omitempty"`
	Acts      bool            `json:"acts"`
	Rule      string          `json:"rule,omitempty"`
	Failed    bool            `json:"failed,omitempty"`
	Before    []ExplainedStep `json:"before,omitempty"`
}

// ExplainedStep is a rule that was asked before and did not match.
type ExplainedStep struct {
	Rule string `json:"rule"`
	Why  string `json:"why"`
}

// Explain decides a message of which the whole body was written, and says
// why. untouched is what Open would have said.
func (m *Mail) Explain() (*Explanation, error) {
	ex := &Explanation{Ours: m.ours, Passes: m.passes}
	for _, r := range m.recipients {
		ex.Recipients = append(ex.Recipients, ExplainedAddress{r.Address, r.Direction})
	}
	if err := m.understand(); err != nil {
		return nil, err
	}
	ex.BodySize = m.tree.Size
	m.decide()
	plan := m.settings.Policy.Explain(m.facts(m.tree))
	if len(m.taken) > 0 {
		if err := m.explainRewrite(ex); err != nil {
			return nil, err
		}
	}
	ex.Alone = m.alone
	for _, d := range plan.Decisions {
		ex.Decisions = append(ex.Decisions, ExplainedDecision{Part: d.Part, Recipient: d.Recipient, Link: d.Link, Leaves: d.Leaves, Rule: d.Rule,
			Before: explainSteps(d.Trace)})
	}
	m.explainMail(ex, plan)
	m.explainWays(ex)
	if err := m.explainCopies(ex); err != nil {
		ex.Fails = true
		ex.Errors = append(ex.Errors, err.Error())
	}
	m.tree.Root.Walk(func(p *message.Part) { ex.Parts = append(ex.Parts, m.explainPart(p)) })
	return ex, nil
}

// explainMail tells what the rules about the mail as a whole came to.
func (m *Mail) explainMail(ex *Explanation, plan *policy.Plan) {
	for _, d := range plan.MailDecisions {
		ex.Slots = append(ex.Slots, ExplainedSlot{Slot: string(d.Slot), Recipient: d.Recipient, Acts: d.Acts, Rule: d.Rule, Failed: d.Failed,
			Before: explainSteps(d.Trace)})
	}
	if r := plan.Reject; r != nil {
		ex.Reject = &Reply{Code: r.Code, Enhanced: r.Enhanced, Text: r.Text}
	}
	envelope := m.facts(nil)
	for i, r := range m.recipients {
		if reject, err := m.settings.Policy.DecideRecipient(envelope, i); err == nil && reject != nil {
			if ex.Refused == nil {
				ex.Refused = make(map[string]*Reply)
			}
			ex.Refused[r.Address] = &Reply{Code: reject.Code, Enhanced: reject.Enhanced, Text: reject.Text}
		}
	}
	ex.Quarantine, ex.Tag, ex.Fails = plan.Quarantine, plan.Tag, plan.Failed
	for _, c := range plan.Headers {
		if c.Remove {
			ex.Remove = append(ex.Remove, c.Name)
			continue
		}
		if ex.Add == nil {
			ex.Add = make(map[string]string)
		}
		ex.Add[c.Name] = c.Value
	}
	for _, e := range plan.Errors {
		ex.Errors = append(ex.Errors, e.Error())
	}
}

// explainWays tells where co-existence sends the mail of each recipient.
func (m *Mail) explainWays(ex *Explanation) {
	for i := range m.ways {
		w := &m.ways[i]
		one := ExplainedWay{Recipient: w.Recipient, Way: w.Kind.String(), Reason: w.Reason}
		if to, goes := m.destination(i); goes {
			one.To = to
		}
		one.Copy = !m.split.stays(i)
		sender := m.split.sender
		if one.Copy {
			sender = m.senderFor(i)
		}
		if sender != m.env.Sender {
			one.Sender = sender
		}
		ex.Ways = append(ex.Ways, one)
	}
	if refused := m.loop(); refused != nil && ex.Reject == nil {
		ex.Reject = refused
	}
}

// explainCopies tells what would be kept in the vault, and where.
func (m *Mail) explainCopies(ex *Explanation) error {
	if ex.Reject != nil || ex.Fails {
		return nil
	}
	if err := m.chooseCopies(); err != nil {
		return err
	}
	for _, k := range m.vaulted {
		u := &k.upload
		ex.Vault = append(ex.Vault, ExplainedCopy{Owner: u.Owner, Part: u.About.Part, Inner: u.About.Inner, File: u.About.Name, Size: u.Size,
			Target: u.Target, Path: u.Path, Rule: u.About.Rule})
	}
	return nil
}

func explainSteps(trace []policy.Step) []ExplainedStep {
	var out []ExplainedStep
	for _, s := range trace {
		out = append(out, ExplainedStep(s))
	}
	return out
}

func (m *Mail) explainRewrite(ex *Explanation) error {
	// A token as long as a real one gives the right size.
	rewrite, err := m.rewrite(m.offer())
	if refused, ok := err.(*message.CannotRewriteError); ok {
		m.leave(refused.Reason)
		return nil
	}
	if err != nil {
		return err
	}
	w := m.wish()
	ex.Changes, ex.NewSize, ex.Expires = true, rewrite.Body.Size(), w.Life
	ex.Access, ex.Codes, ex.Downloads, ex.Notify = w.Guard.Access(), w.Guard.Recipients, w.Guard.Downloads, w.Guard.Notify
	return nil
}

func (m *Mail) explainPart(p *message.Part) ExplainedPart {
	e := ExplainedPart{Index: p.Index, Depth: p.Depth, Type: p.Type.Text, Role: p.Role.String(), Name: p.Name, Keep: p.Keep}
	if p.IsMultipart() {
		return e
	}
	e.Size, e.Sniffed, e.Names = p.Content.Size, p.Content.Sniffed, p.Names
	e.Fate = "stays: no rule links it"
	if reason, ok := m.kept[p.Index]; ok {
		e.Fate = "stays: " + reason
	}
	if p.Keep != "" {
		e.Fate = "stays: " + p.Keep
	}
	for _, t := range m.taken {
		if t == p {
			e.Fate = "link"
		}
	}
	return e
}
