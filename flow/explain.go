package flow

import (
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
	Reject     *Reply              `json:"reject,omitempty"`     // of the whole mail
	Refused    map[string]*Reply   `json:"refused,omitempty"`    // recipients, as soon as they are named
	Quarantine string              `json:"quarantine,omitempty"` // why it would be held
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
	Rule      string          `json:"rule,omitempty"`
	Before    []ExplainedStep `json:"before,omitempty"`
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
		ex.Decisions = append(ex.Decisions, ExplainedDecision{Part: d.Part, Recipient: d.Recipient, Link: d.Link, Rule: d.Rule,
			Before: explainSteps(d.Trace)})
	}
	m.explainMail(ex, plan)
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
	ex.Changes, ex.NewSize = true, rewrite.Body.Size()
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
