package flow

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Report is what is told of a message when it is done.
type Report struct {
	scanned, decided time.Time
	stored           int64 // bytes that were new to the store
}

// summary logs one line for the message.
func (m *Mail) summary(out *Outcome) {
	now := m.engine.Now()
	var bytes int64
	for _, p := range m.taken {
		bytes += p.Content.Size
	}
	verdict := "mail passes"
	switch {
	case out.Reject != nil:
		verdict = "mail refused"
	case m.settings.Observe && (len(m.taken) > 0 || m.plan.Reject != nil || m.plan.Acts()):
		verdict = "mail would be changed (mode: observe)"
	case out.Body != nil:
		verdict = "attachments linked"
	case len(out.AddRecipients) > 0 || len(out.DeleteRecipients) > 0:
		verdict = "mail forwarded"
	case out.Quarantine != "":
		verdict = "mail held"
	case out.Changed():
		verdict = "header changed"
	}
	args := []any{
		"queue_id", m.env.QueueID, "from", m.env.Sender, "recipients", len(m.env.Recipients), "parts", m.partCount(),
		"bytes", int64(len(m.header.Block())) + m.bodySize(), "linked", len(m.taken), "linked_bytes", bytes,
		"stored_bytes", m.report.stored, "saved_bytes", max(0, bytes-m.report.stored),
	}
	if r := out.Reject; r != nil {
		args = append(args, "code", r.Code, "enhanced", r.Enhanced)
	}
	if rules := m.ruleNames(); len(rules) > 0 {
		args = append(args, "rules", rules)
	}
	if n := m.forwarded(); n > 0 {
		args = append(args, "forwarded", n, "copies", len(m.split.copies))
	}
	if len(m.vaulted) > 0 {
		args = append(args, "vault", len(m.vaulted))
	}
	if why := m.givenUp(); why != "" {
		args = append(args, "given_up", why)
	}
	if err := m.senderKept(); err != nil {
		args = append(args, "sender_kept", err)
	}
	if m.alone != "" {
		args = append(args, "left_alone", m.alone)
	}
	if len(m.kept) > 0 {
		kept := make([]any, 0, len(m.kept))
		for _, p := range slices.Sorted(maps.Keys(m.kept)) {
			kept = append(kept, slog.String(strconv.Itoa(p), m.kept[p]))
		}
		args = append(args, slog.Group("kept", kept...))
	}
	if !m.report.decided.IsZero() {
		args = append(args, "receive_ms", m.report.scanned.Sub(m.start).Milliseconds(),
			"decide_ms", m.report.decided.Sub(m.report.scanned).Milliseconds(),
			"store_ms", now.Sub(m.report.decided).Milliseconds())
	}
	args = append(args, "total_ms", now.Sub(m.start).Milliseconds())
	m.engine.Log.Info(verdict, args...)
}

// partCount counts the leaf parts; 0 for a body that was not looked at.
func (m *Mail) partCount() int {
	if m.tree == nil {
		return 0
	}
	return len(m.leaves())
}

// bodySize is 0 for a body that was not looked at.
func (m *Mail) bodySize() int64 {
	if m.tree == nil {
		return 0
	}
	return m.tree.Size
}

// ruleNames lists the rules that did something.
func (m *Mail) ruleNames() []string {
	names := m.mailRules()
	seen := make(map[string]bool)
	for _, l := range m.linked() {
		for _, r := range l.Rules {
			if !seen[r] {
				seen[r] = true
				names = append(names, r)
			}
		}
	}
	return names
}

// logRuleErrors tells of rules that failed at run time; what they would have
// linked stays in the mail.
func (m *Mail) logRuleErrors() {
	for _, e := range m.plan.Errors {
		m.engine.Log.Warn("rule failed: the attachment stays in the mail", "queue_id", m.env.QueueID, "rule", e.Rule, "err", e)
	}
}
