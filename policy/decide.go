package policy

import "fmt"

// Limits on one mail's plan. What is left undecided stays in the mail.
const (
	// maxDecisions is recipients times attachments: 1,000 recipients of 100
	// attachments, some 10 MB of plan.
	maxDecisions = 100_000
	// maxTries is how often rules are asked, decisions times rules: under a
	// second at the measured 0.3 µs for a term.
	maxTries = 2_000_000
)

// CouldMatch tells, when only envelope and header are known, whether anything
// at all could be done to the mail. False is certain: the mail need not be
// looked at further. A condition that fails counts as one that could match, so
// that Decide gets to report it.
func (s *Set) CouldMatch(f *Facts) bool {
	if !s.links && s.acting == [len(mailSlots)]bool{} {
		return false
	}
	p := s.DecideHeaders(f)
	return p.NeedsBody || p.Failed || p.Acts()
}

// DecideHeaders makes the plan when only envelope and header are known. Where
// NeedsBody is false it is the whole plan, and no attachment becomes a link:
// the body need not be looked at. Otherwise only Reject and Failed in it are
// final, and Decide makes the plan at the end of the mail.
func (s *Set) DecideHeaders(f *Facts) *Plan {
	p := s.newPlan(f)
	e := s.evaluation(f, atHeader)
	if e.mail(p, false); p.Reject != nil || p.NeedsBody {
		return p
	}
	for i := range f.Recipients {
		e.stand(i, 0)
		if s.links && e.couldLink() {
			p.NeedsBody = true
			break
		}
	}
	return p
}

// DecideRecipient tells, when only the envelope up to the recipient of this
// index is known, whether he is to be refused: nil when not, or when that
// depends on what comes later. An error means that a rule failed: refuse him
// for the time being (4xx).
func (s *Set) DecideRecipient(f *Facts, i int) (*Reject, error) {
	if !s.acting[rejectSlot] {
		return nil, nil
	}
	alone := *f
	alone.Recipients = f.Recipients[i : i+1]
	e := s.evaluation(&alone, atRecipient)
	switch v, r := e.speaker(rejectSlot, nil); v {
	case yes:
		return r.reject, nil
	case failed:
		err, _ := e.report(SlotReject, r)
		return nil, err
	}
	return nil, nil
}

func (e *evaluation) couldLink() bool {
	for i := range e.set.rules {
		r := &e.set.rules[i]
		if r.link == nil {
			continue
		}
		switch v := e.ask(r); {
		case v == failed:
			return true
		case v == no:
			continue
		case !r.link.Keep && (r.link.Options.Forwarded || !e.facts.Recipients[e.recipient].Leaves):
			return true
		case v == yes:
			return false // kept, whatever the attachments are
		}
	}
	return false
}

// Decide makes the plan once the whole mail is known. A mail that is refused,
// or whose fate a failed rule leaves open, has no decisions about attachments.
func (s *Set) Decide(f *Facts) *Plan { return s.decide(f, false) }

// Explain is Decide with the reasons why earlier rules did not match. It
// decides about attachments in any case.
func (s *Set) Explain(f *Facts) *Plan { return s.decide(f, true) }

func (s *Set) newPlan(f *Facts) *Plan {
	p := &Plan{outside: make([]bool, len(f.Recipients))}
	for i := range f.Recipients {
		p.outside[i] = f.Recipients[i].Direction.Outside()
	}
	return p
}

func (s *Set) decide(f *Facts, trace bool) *Plan {
	p := s.newPlan(f)
	e := s.evaluation(f, atEnd)
	e.mail(p, trace)
	pairs := len(f.Recipients) * len(f.Attachments)
	if pairs == 0 || !trace && (p.Reject != nil || p.Failed) {
		return p
	}
	limit := min(maxDecisions, maxTries/(len(s.rules)+1))
	p.Decisions = make([]Decision, 0, min(pairs, limit))
	for a := range f.Attachments {
		for r := range f.Recipients {
			if len(p.Decisions) == limit {
				p.Errors = append(p.Errors, RuleError{Slot: SlotLink, Part: -1, Err: fmt.Errorf(
					"%d recipients, %d attachments and %d rules are too much for one mail: from part %d on attachments stay in it",
					len(f.Recipients), len(f.Attachments), len(s.rules), f.Attachments[a].Part)})
				return p
			}
			e.stand(r, a)
			p.Decisions = append(p.Decisions, e.link(p, trace))
		}
	}
	return p
}

// link decides the link slot where the evaluation stands.
func (e *evaluation) link(p *Plan, trace bool) Decision {
	d := Decision{Part: e.facts.Attachments[e.attachment].Part, Recipient: e.facts.Recipients[e.recipient].Address}
	for i := range e.set.rules {
		r := &e.set.rules[i]
		if r.link == nil {
			continue
		}
		switch e.ask(r) {
		case yes:
			d.Rule, d.Link, d.Options = r.name, !r.link.Keep, r.link.Options
			if d.Link && e.facts.Recipients[e.recipient].Leaves && !d.Options.Forwarded {
				d.Link, d.Leaves = false, true
			}
			return d
		case no:
			if trace {
				d.Trace = append(d.Trace, Step{Rule: r.name, Why: e.why(r)})
			}
		default:
			d.Rule, d.Failed = r.name, true
			if err, isNew := e.report(SlotLink, r); isNew {
				p.Errors = append(p.Errors, err)
			}
			return d
		}
	}
	return d
}
