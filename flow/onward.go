package flow

// Co-existence: which mail came from another mail system, what becomes of each
// recipient, and the envelope that follows from it.

import (
	"slices"
	"strings"

	"cloakroom/message"
	"cloakroom/policy"
	"cloakroom/policy/forward"
)

// arrive finds out which other system a mail came from. While its header is not
// known, only the listener it came in by can prove that.
func (m *Mail) arrive(headerKnown bool) {
	routes := m.settings.Routes
	if !headerKnown {
		m.arrival = routes.Arrival(m.env.Client, m.env.Daemon, nil)
		m.pending = routes.Pending(m.env.Client)
		return
	}
	m.arrival = routes.Arrival(m.env.Client, m.env.Daemon, m.header.Values)
}

// onward decides for every recipient which system has his mailbox.
func (m *Mail) onward(headerKnown bool) error {
	routes := m.settings.Routes
	if routes.Len() == 0 {
		return nil
	}
	f := &forward.Facts{
		Sender: m.env.Sender, Arrival: m.arrival, Now: m.env.Received,
		Marks: routes.ReadMarks(m.header.Values(forward.MarkHeader)), Received: len(m.header.Values("Received")),
		Member: func(group, address string) bool { return slices.Contains(m.groups[address], group) },
	}
	var said []policy.Forwarding
	if m.settings.Policy.Forwards() {
		var err error
		if said, err = m.settings.Policy.DecideForwards(m.facts(nil), headerKnown); err != nil {
			m.engine.Log.Error("rule about forwarding failed", "queue_id", m.env.QueueID, "err", err)
			return errRuleFailed
		}
		f.Rules = make([]forward.Rule, len(said))
		for i, s := range said {
			f.Rules[i] = forward.Rule{Name: s.Rule, Stay: s.Stay, Alternate: s.Alternate}
		}
	}
	m.ways = routes.Decide(m.env.RecipientAddresses(), f)
	for i := range m.ways {
		if said != nil && said[i].Unknown { // only the header will tell
			m.ways[i] = forward.Decision{Recipient: m.ways[i].Recipient, Route: -1, Sender: m.env.Sender}
		}
		r := &m.recipients[i]
		r.Leaves = m.ways[i].Kind == forward.Forward || routes.IsAlternate(r.Domain)
	}
	return nil
}

// loop is the refusal of the first recipient that must not be forwarded; nil
// when there is none. One transaction has one answer at its end: a recipient
// refused there takes the others with him, and the sender is told of all.
func (m *Mail) loop() *Reply {
	for i := range m.ways {
		w := &m.ways[i]
		if w.Kind != forward.Loop && w.Kind != forward.Refuse {
			continue
		}
		if w.Kind == forward.Loop && !m.env.Probe {
			m.engine.Loops.Add(1)
		}
		m.engine.Log.Warn("recipient refused", "queue_id", m.env.QueueID, "from", m.env.Sender, "recipient", w.Recipient,
			"kind", w.Kind.String(), "reason", w.Reason, "code", w.Reply.Code, "observe", m.settings.Observe)
		if !m.settings.Observe {
			return &Reply{Code: w.Reply.Code, Enhanced: w.Reply.Enhanced, Text: w.Reply.Text}
		}
	}
	return nil
}

// travels tells whether the envelope changes for any recipient.
func (m *Mail) travels() bool {
	return slices.ContainsFunc(m.ways, func(w forward.Decision) bool { return w.Kind == forward.Forward || w.Kind == forward.Return })
}

// strip takes off the fields that prove a gateway: they hold its secret.
func (m *Mail) strip(out *Outcome) {
	for _, name := range m.arrival.Strip {
		if slices.ContainsFunc(m.plan.Headers, func(c policy.HeaderChange) bool { return c.Remove && strings.EqualFold(c.Name, name) }) {
			continue // a rule takes it off already
		}
		out.Header = append(out.Header, removed(m.header, name)...)
	}
}

// removed are the edits that delete all fields of a name. From the last to the
// first: deleting one renumbers those behind it.
func removed(h message.Header, name string) []message.HeaderEdit {
	var out []message.HeaderEdit
	for i := len(h.Values(name)); i > 0; i-- {
		out = append(out, message.HeaderEdit{Index: i, Name: name})
	}
	return out
}

// envelope adds to the outcome what becomes of the recipients of this
// transaction: those in it, and those who get a copy of their own.
func (m *Mail) envelope(out *Outcome) *Outcome {
	if m.settings.Observe || out.Reject != nil || len(m.ways) == 0 && len(m.split.copies) == 0 {
		return out
	}
	if m.split.sender != m.env.Sender {
		out.Sender = &m.split.sender
	}
	for i, r := range m.env.Recipients {
		to, goes := m.destination(i)
		if !goes && m.split.stays(i) {
			continue
		}
		out.DeleteRecipients = append(out.DeleteRecipients, r.Address)
		if m.split.stays(i) && to != "" {
			out.AddRecipients = append(out.AddRecipients, Recipient{Address: to, Args: statusArgs(r.Args)})
		}
	}
	out.Header = append(out.Header, m.marks(slices.DeleteFunc(m.indexes(), func(i int) bool { return !m.split.stays(i) }))...)
	return out
}

// destination is where a recipient's mail goes; goes is false where that is the
// address it came with, and "" is a duplicate of another recipient.
func (m *Mail) destination(i int) (to string, goes bool) {
	if len(m.ways) == 0 {
		return m.env.Recipients[i].Address, false
	}
	switch w := &m.ways[i]; {
	case w.Kind != forward.Forward && w.Kind != forward.Return:
		return w.Recipient, false
	case w.Duplicate:
		return "", true
	default:
		return w.To, true
	}
}

// sender is the envelope sender that a recipient's copy goes out with.
func (m *Mail) senderFor(i int) string {
	if len(m.ways) == 0 || m.ways[i].Kind != forward.Forward {
		return m.env.Sender
	}
	return m.ways[i].Sender
}

// marks are the fields by which the mail is known if it comes back, for some of
// its recipients.
func (m *Mail) marks(recipients []int) []message.HeaderEdit {
	if len(m.ways) == 0 || len(recipients) == 0 {
		return nil
	}
	here := make([]forward.Decision, len(recipients))
	for at, i := range recipients {
		here[at] = m.ways[i]
	}
	key := m.identity()
	var out []message.HeaderEdit
	for _, v := range m.settings.Routes.Stamp(here, key[:]) {
		out = append(out, message.HeaderEdit{Top: true, Name: forward.MarkHeader, Value: v})
	}
	return out
}

// statusArgs are the ESMTP parameters of RCPT that go with a recipient whose
// address is exchanged: those of delivery status notifications (RFC 3461).
func statusArgs(args []string) []string {
	var out []string
	for _, a := range args {
		if strings.EqualFold(name(a), "NOTIFY") || strings.EqualFold(name(a), "ORCPT") {
			out = append(out, a)
		}
	}
	return out
}

// checkOnward refuses a recipient at once whom a listener proves to go in
// circles, or whose address is a wrong rewritten sender.
func (m *Mail) checkOnward() (*Reply, error) {
	if err := m.onward(false); err != nil {
		return nil, err
	}
	return m.loop(), nil
}
