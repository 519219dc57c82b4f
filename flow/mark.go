package flow

import (
	"mime"
	"slices"
	"strings"

	"cloakroom/message"
)

// marked is the outcome of the rules about the mail as a whole: refused,
// held, or with other header fields. It is empty in observe mode.
func (m *Mail) marked() *Outcome {
	out := new(Outcome)
	if m.settings.Observe {
		return out
	}
	if r := m.plan.Reject; r != nil {
		out.Reject = &Reply{Code: r.Code, Enhanced: r.Enhanced, Text: r.Text}
		return out
	}
	out.Quarantine = m.plan.Quarantine
	for _, c := range m.plan.Headers {
		if !c.Remove {
			out.Header = append(out.Header, message.HeaderEdit{Name: c.Name, Value: encodeWord(c.Value)})
			continue
		}
		out.Header = append(out.Header, removed(m.header, c.Name)...)
	}
	if m.plan.Tag != "" {
		out.Header = append(out.Header, m.tagged())
	}
	m.strip(out)
	return out
}

// tagged puts the tag before the subject, whose own bytes stay.
func (m *Mail) tagged() message.HeaderEdit {
	tag := encodeWord(m.plan.Tag)
	raw, ok := m.header.RawValue("Subject")
	if !ok {
		return message.HeaderEdit{Name: "Subject", Value: tag}
	}
	return message.HeaderEdit{Index: 1, Name: "Subject", Value: tag + " " + raw}
}

// encodeWord writes text for a header field (RFC 2047) where it is not ASCII.
func encodeWord(s string) string { return mime.QEncoding.Encode("utf-8", s) }

// mailRules lists the rules that decided about the mail as a whole.
func (m *Mail) mailRules() []string {
	if m.plan == nil {
		return nil
	}
	var names []string
	add := func(rule string) {
		if rule != "" && !slices.Contains(names, rule) {
			names = append(names, rule)
		}
	}
	if m.plan.Reject != nil {
		add(m.plan.Reject.Rule)
		return names
	}
	add(m.plan.QuarantineRule)
	for _, c := range m.plan.Headers {
		add(c.Rule)
	}
	add(strings.TrimSpace(m.plan.TagRule))
	return names
}
