package policy

// Deciding the slots of the mail as a whole.

import (
	"errors"
	"slices"
	"strings"
)

// mail decides every mail slot and writes the outcome into the plan. Before the
// end of the mail, what depends on more than is known sets NeedsBody instead.
func (e *evaluation) mail(p *Plan, trace bool) {
	for slot := range mailSlots {
		if !e.set.acting[slot] && !trace {
			continue
		}
		v, r := e.forAll(slot, p, trace)
		switch v {
		case yes:
			p.carry(slot, r, e.facts)
		case failed:
			p.Failed = true
		case unknown:
			p.NeedsBody = true
		}
		// A mail that is refused has no further fate, and one that may be
		// refused later must not be put off for what another rule failed on.
		if slot == rejectSlot && (v == yes && !trace || v == unknown) {
			return
		}
	}
}

// forAll decides a slot for each recipient. All must have the same fate for the
// mail to have it; then the topmost of their rules speaks for it.
func (e *evaluation) forAll(slot int, p *Plan, trace bool) (verdict, *rule) {
	if len(e.set.speaking[slot]) == 0 {
		return no, nil
	}
	result, speaker := verdict(notAsked), (*rule)(nil)
	var told []MailDecision
	for i := range e.facts.Recipients {
		e.stand(i, 0)
		var steps *[]Step
		if trace {
			steps = new([]Step)
		}
		v, r := e.speaker(slot, steps)
		if v == failed {
			if err, isNew := e.report(mailSlots[slot], r); isNew {
				p.Errors = append(p.Errors, err)
			}
		}
		switch {
		case i == 0:
			result, speaker = v, r
		case result == yes && v == yes:
			speaker = e.topmost(speaker, r)
		default:
			result = and(result, v)
		}
		if trace {
			d := MailDecision{Slot: mailSlots[slot], Recipient: e.facts.Recipients[i].Address, Acts: v == yes, Failed: v == failed, Trace: *steps}
			if r != nil {
				d.Rule = r.name
			}
			told = append(told, d)
		} else if result == no {
			break
		}
	}
	p.MailDecisions = append(p.MailDecisions, merged(told)...)
	if result == notAsked {
		return no, nil // nobody to send to
	}
	return result, speaker
}

func (e *evaluation) topmost(a, b *rule) *rule {
	for i := range e.set.rules {
		if r := &e.set.rules[i]; r == a || r == b {
			return r
		}
	}
	return a
}

// merged makes one decision of those of all recipients when they are the same.
func merged(told []MailDecision) []MailDecision {
	for _, d := range told {
		if d.Acts != told[0].Acts || d.Failed != told[0].Failed || d.Rule != told[0].Rule || !slices.Equal(d.Trace, told[0].Trace) {
			return told
		}
	}
	if len(told) > 1 {
		told = told[:1]
		told[0].Recipient = ""
	}
	return told
}

// speaker finds the first rule that speaks in the slot for the recipient at whom
// the evaluation stands: yes when it acts, no when it says no or none speaks.
func (e *evaluation) speaker(slot int, steps *[]Step) (verdict, *rule) {
	open := false // whether an earlier rule may yet say no
	for _, s := range e.set.speaking[slot] {
		r := &e.set.rules[s.rule]
		switch v := e.holds(s.rule); {
		case v == no:
			if steps != nil {
				*steps = append(*steps, Step{Rule: r.name, Why: e.whyNowhere(r)})
			}
		case v == yes && !s.acts:
			return no, r
		case v == unknown && !s.acts:
			open = true
		case v == unknown || open:
			return unknown, nil
		default:
			return v, r
		}
	}
	return no, nil
}

// someAttachment is what a rule's terms about attachments come to, taken over
// all of them.
type someAttachment struct {
	verdict verdict
	at      int // where it holds or failed
}

// holds tells whether the rule's condition holds for the recipient at whom the
// evaluation stands and, where it looks at attachments, at least one of them.
func (e *evaluation) holds(index int) verdict {
	r := &e.set.rules[index]
	result := yes
	for _, o := range r.operands {
		if o.scope&perAttachment == 0 {
			if result = and(result, e.operand(o)); result == no {
				return no
			}
		}
	}
	if !r.attachments {
		return result
	}
	if e.some == nil {
		e.some = make([]someAttachment, len(e.set.rules))
	}
	known := &e.some[index]
	if known.verdict == notAsked || r.pairs {
		*known = e.overAttachments(r)
	}
	if known.verdict == failed {
		e.stand(e.recipient, known.at)
	}
	return and(result, known.verdict)
}

// overAttachments looks for an attachment for which the rule's terms hold. One
// that does makes those harmless on which a term fails.
func (e *evaluation) overAttachments(r *rule) someAttachment {
	result := someAttachment{verdict: no}
	if e.stage < atEnd { // there may be none, so only no is certain
		if e.terms(r) != no {
			result.verdict = unknown
		}
		return result
	}
	for i := range e.attachments {
		if e.tries++; e.tries > maxTries {
			return someAttachment{verdict: failed, at: i}
		}
		e.stand(e.recipient, i)
		switch v := e.terms(r); {
		case v == yes:
			return someAttachment{verdict: yes, at: i}
		case v == failed && result.verdict == no:
			result = someAttachment{verdict: failed, at: i}
		}
	}
	return result
}

// terms are the operands that look at the attachment.
func (e *evaluation) terms(r *rule) verdict {
	result := yes
	for _, o := range r.operands {
		if o.scope&perAttachment != 0 {
			if result = and(result, e.operand(o)); result == no {
				return no // before an operand that has to look inside
			}
		}
	}
	return result
}

var errTooMuch = errors.New("too many recipients and attachments to look at in one mail")

// carry writes into the plan what the rule says in a slot.
func (p *Plan) carry(slot int, r *rule, f *Facts) {
	switch slot {
	case rejectSlot:
		p.Reject = r.reject
	case quarantineSlot:
		p.Quarantine, p.QuarantineRule = *r.quarantine, r.name
	case headerSlot:
		for _, c := range *r.headers {
			if !c.Remove || f.Header != nil && len(f.Header(c.Name)) > 0 {
				p.Headers = append(p.Headers, c)
			}
		}
	case tagSlot:
		if !strings.Contains(strings.ToLower(f.Subject), strings.ToLower(*r.tag)) {
			p.Tag, p.TagRule = *r.tag, r.name
		}
	}
}
