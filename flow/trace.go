package flow

// Tracing: the way a mail would take, without one.

import (
	"context"

	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/policy/forward"
)

// Trace tells where a mail would go, and the replies its sender would get.
type Trace struct {
	Sender     string            `json:"sender"`
	Ours       bool              `json:"sender_is_ours"`
	Proof      string            `json:"proof"` // why, or why not
	Gateways   map[string]string `json:"from_gateway,omitempty"`
	Recipients []TracedRecipient `json:"recipients"`
	End        *Reply            `json:"end_of_message,omitempty"` // a refusal there; nil accepts
}

// TracedRecipient is the way of one recipient's mail.
type TracedRecipient struct {
	Address   string           `json:"address"`
	Known     bool             `json:"known"` // to the directory
	Groups    []string         `json:"groups,omitempty"`
	Direction policy.Direction `json:"direction"`
	Rcpt      *Reply           `json:"rcpt,omitempty"` // a refusal at RCPT; nil accepts
	Way       string           `json:"way"`
	Reason    string           `json:"reason"`
	To        string           `json:"to,omitempty"`     // the address in its place; "" when it is named twice
	Sender    string           `json:"sender,omitempty"` // the envelope sender it goes on with
	Copy      bool             `json:"copy"`             // by a message of its own
}

// Trace decides the way of a mail with this envelope and header. Whoever is
// refused at RCPT has no part in what becomes of the others.
func (e *Engine) Trace(ctx context.Context, env *Envelope, h message.Header) (*Trace, error) {
	out := &Trace{}
	taken := *env
	taken.Recipients = nil
	for _, r := range env.Recipients {
		reply, err := e.CheckRecipient(ctx, &taken, r)
		if err != nil {
			return nil, err
		}
		out.Recipients = append(out.Recipients, TracedRecipient{Rcpt: reply})
		if reply == nil {
			taken.Recipients = append(taken.Recipients, r)
		}
	}
	all, err := e.traced(ctx, env, h)
	if err != nil {
		return nil, err
	}
	m, err := e.traced(ctx, &taken, h)
	if err != nil {
		return nil, err
	}
	out.Sender, out.Ours, out.Proof, out.Gateways = env.Sender, all.ours, all.proof(), all.arrival.By
	next := 0 // of those who are taken
	for i := range out.Recipients {
		t := &out.Recipients[i]
		all.describe(t, i)
		if t.Rcpt != nil {
			continue
		}
		if reply := m.trace(t, next); reply != nil && out.End == nil && !m.settings.Observe {
			out.End = reply
		}
		next++
	}
	return out, nil
}

// traced is a mail at the end of its header.
func (e *Engine) traced(ctx context.Context, env *Envelope, h message.Header) (*Mail, error) {
	m, err := e.begin(ctx, env, h)
	if err == nil {
		err = m.onward(true)
	}
	if err != nil {
		return nil, err
	}
	m.split = m.divide(nobody)
	return m, nil
}

// describe tells who a recipient is, and which system has his mailbox.
func (m *Mail) describe(t *TracedRecipient, i int) {
	r := &m.recipients[i]
	t.Address, t.Groups, t.Direction = r.Address, r.Groups, r.Direction
	t.Way, t.Reason = forward.Elsewhere.String(), "not in a shared domain"
	_, t.Known = m.groups[r.Local+"@"+r.Domain]
	if len(m.ways) > 0 {
		t.Way, t.Reason = m.ways[i].Kind.String(), m.ways[i].Reason
	}
}

// trace tells how a recipient's mail goes on; the reply refuses it.
func (m *Mail) trace(t *TracedRecipient, i int) *Reply {
	if len(m.ways) > 0 && (m.ways[i].Kind == forward.Loop || m.ways[i].Kind == forward.Refuse) {
		r := m.ways[i].Reply
		return &Reply{Code: r.Code, Enhanced: r.Enhanced, Text: r.Text}
	}
	t.To, _ = m.destination(i)
	t.Sender, t.Copy = m.split.sender, !m.split.stays(i)
	if t.Copy {
		t.Sender = m.senderFor(i)
	}
	return nil
}

// proof says why the sender counts as ours, or why not.
func (m *Mail) proof() string {
	switch s := m.settings; {
	case m.env.Sender == "":
		return "the null sender is nobody's"
	case !s.isOurs(policy.Domain(m.env.Sender)):
		return "its domain is not one of domains"
	case m.env.AuthUser != "":
		return "authenticated as " + m.env.AuthUser
	case m.arrival.Proven():
		return "it came by the gateway of another system"
	case m.env.Client.IsValid() && s.trusts(m.env.Client):
		return "the client is in trusted"
	}
	return "not authenticated, and the client is neither in trusted nor a proven gateway: MAIL FROM alone proves nothing"
}
