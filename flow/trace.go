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

// Trace decides the way of a mail with this envelope and header.
func (e *Engine) Trace(ctx context.Context, env *Envelope, h message.Header) (*Trace, error) {
	m, err := e.begin(ctx, env, h)
	if err == nil {
		err = m.onward(true)
	}
	if err != nil {
		return nil, err
	}
	m.split = m.divide(nobody)
	out := &Trace{Sender: env.Sender, Ours: m.ours, Proof: m.proof(), Gateways: m.arrival.By}
	for i, r := range m.recipients {
		t := TracedRecipient{Address: r.Address, Groups: r.Groups, Direction: r.Direction, Way: forward.Elsewhere.String(),
			Reason: "not in a shared domain", To: r.Address, Sender: env.Sender}
		_, t.Known = m.groups[r.Local+"@"+r.Domain]
		if len(m.ways) > 0 {
			w := &m.ways[i]
			t.Way, t.Reason, t.Copy = w.Kind.String(), w.Reason, !m.split.stays(i)
			t.To, _ = m.destination(i)
			t.Sender = m.split.sender
			if t.Copy {
				t.Sender = m.senderFor(i)
			}
			if w.Kind == forward.Loop || w.Kind == forward.Refuse {
				t.To, t.Sender = "", ""
				out.End = &Reply{Code: w.Reply.Code, Enhanced: w.Reply.Enhanced, Text: w.Reply.Text}
			}
		}
		if t.Rcpt, err = e.CheckRecipient(ctx, env, Recipient{Address: r.Address}); err != nil {
			return nil, err
		}
		out.Recipients = append(out.Recipients, t)
	}
	if m.settings.Observe {
		out.End = nil
	}
	return out, nil
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
