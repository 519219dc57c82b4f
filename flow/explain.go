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

// ExplainedStep is a rule that was asked before and did not match.
type ExplainedStep struct {
	Rule string `json:"rule"`
	Why  string `json:"why"`
}

// Explain decides a message of which the whole body was written, and says
// why. untouched is what Open would have said.
func (m *Mail) Explain() (*Explanation, error) {
	ex := &Explanation{Ours: m.ours, Passes: m.untouchable()}
	for _, r := range m.recipients {
		ex.Recipients = append(ex.Recipients, ExplainedAddress{r.Address, r.Direction})
	}
	if err := m.understand(); err != nil {
		return nil, err
	}
	ex.BodySize = m.tree.Size
	m.decide()
	plan := m.settings.Policy.Explain(m.facts(m.tree))
	if ex.Passes != "" {
		m.leave(ex.Passes)
	}
	if len(m.taken) > 0 {
		if err := m.explainRewrite(ex); err != nil {
			return nil, err
		}
	}
	ex.Alone = m.alone
	for _, d := range plan.Decisions {
		e := ExplainedDecision{Part: d.Part, Recipient: d.Recipient, Link: d.Link, Rule: d.Rule}
		for _, s := range d.Trace {
			e.Before = append(e.Before, ExplainedStep(s))
		}
		ex.Decisions = append(ex.Decisions, e)
	}
	m.tree.Root.Walk(func(p *message.Part) { ex.Parts = append(ex.Parts, m.explainPart(p)) })
	return ex, nil
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
