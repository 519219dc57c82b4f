package policy

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// verdict is the value of a condition or of one of its operands.
type verdict uint8

const (
	notAsked verdict = iota
	no
	yes
	unknown // it depends on a fact that is not known yet
	failed
)

var errUnknownFact = errors.New("a fact it needs is not known")

// evaluation is one walk of the rules over one mail. It is also what CEL asks
// for the values of names, so that no map is built for each evaluation.
// It stands at one recipient and one attachment at a time.
type evaluation struct {
	set     *Set
	facts   *Facts
	stage   stage
	unknown *types.Unknown // what is not known at this stage; nil at the end

	recipient   int
	attachment  int
	mailValues  []ref.Val
	sender      personValues
	recipients  []personValues
	attachments []attachmentValues

	// memo keeps verdicts of operands; perRecipient and perAttachment have a row
	// for each, perPair has one row, cleared when the evaluation moves.
	memo     [scopes][]verdict
	some     []someAttachment // by rule; made when first needed
	tries    int              // attachments looked at for mail slots
	failures map[failure]error
	reported map[report]bool
}

// failure is an operand and where it failed; -1 where that makes no difference.
type failure struct {
	operand    *operand
	recipient  int
	attachment int
}

type report struct {
	slot Slot
	rule *rule
	failure
}

func (s *Set) evaluation(f *Facts, at stage) *evaluation {
	e := &evaluation{set: s, facts: f, stage: at,
		mailValues: make([]ref.Val, len(mailFacts)),
		recipients: make([]personValues, len(f.Recipients)),
	}
	for i := range f.Recipients {
		e.recipients[i].of = f.Recipients[i].user()
	}
	if f.Sender != nil {
		e.sender.of = *f.Sender
	}
	if at < atEnd {
		e.unknown = types.NewUnknown(0, nil)
	} else {
		e.attachments = make([]attachmentValues, len(f.Attachments))
		for i := range f.Attachments {
			e.attachments[i].of = &f.Attachments[i]
		}
	}
	for i, n := range s.counts {
		switch scope(i) {
		case perRecipient:
			n *= len(f.Recipients)
		case perAttachment:
			n *= max(1, len(e.attachments))
		}
		e.memo[i] = make([]verdict, n)
	}
	return e
}

// stand moves to a recipient and an attachment.
func (e *evaluation) stand(recipient, attachment int) {
	clear(e.memo[perPair])
	e.recipient, e.attachment = recipient, attachment
}

// ask gives the value of the rule's condition, as CEL's && does: one false
// operand makes it false even if others fail or are not known.
func (e *evaluation) ask(r *rule) verdict {
	result := yes
	for _, o := range r.operands {
		if result = and(result, e.operand(o)); result == no {
			return no
		}
	}
	return result
}

// and combines two operands. What is not known yet may still turn out false, so
// it hides a failure.
func and(a, b verdict) verdict {
	switch {
	case a == no || b == no:
		return no
	case a == unknown || b == unknown:
		return unknown
	}
	return max(a, b)
}

func (e *evaluation) operand(o *operand) verdict {
	slot := o.slot
	switch o.scope {
	case perRecipient:
		slot += e.recipient * e.set.counts[perRecipient]
	case perAttachment:
		slot += e.attachment * e.set.counts[perAttachment]
	}
	known := &e.memo[o.scope][slot]
	if *known == notAsked {
		*known = e.evaluate(o)
	}
	return *known
}

func (e *evaluation) evaluate(o *operand) verdict {
	out, _, err := o.program.Eval(e)
	if err != nil {
		e.fail(o, err)
		return failed
	}
	switch v := out.(type) {
	case types.Bool:
		if v {
			return yes
		}
		return no
	case *types.Unknown:
		if e.stage < atEnd {
			return unknown
		}
		e.fail(o, errUnknownFact)
		return failed
	}
	e.fail(o, fmt.Errorf("the value is a %s, not true or false", out.Type().TypeName()))
	return failed
}

func (e *evaluation) fail(o *operand, err error) {
	if e.failures == nil {
		e.failures = map[failure]error{}
	}
	e.failures[e.place(o)] = err
}

func (e *evaluation) place(o *operand) failure {
	at := failure{operand: o, recipient: -1, attachment: -1}
	if o.scope&perRecipient != 0 {
		at.recipient = e.recipient
	}
	if o.scope&perAttachment != 0 {
		at.attachment = e.attachment
	}
	return at
}

// report gives the error of a rule that failed where the evaluation stands,
// once for each slot and each place that differs.
func (e *evaluation) report(slot Slot, r *rule) (RuleError, bool) {
	for _, o := range r.operands {
		at := e.place(o)
		err, found := e.failures[at]
		if !found {
			continue
		}
		if e.reported[report{slot, r, at}] {
			return RuleError{}, false
		}
		if e.reported == nil {
			e.reported = map[report]bool{}
		}
		e.reported[report{slot, r, at}] = true
		out := RuleError{Slot: slot, Rule: r.name, Part: -1, Term: o.text, Err: err}
		if at.recipient >= 0 {
			out.Recipient = e.facts.Recipients[at.recipient].Address
		}
		if at.attachment >= 0 {
			out.Part = e.facts.Attachments[at.attachment].Part
		}
		return out, true
	}
	at := report{slot: slot, rule: r}
	if e.reported[at] {
		return RuleError{}, false
	}
	if e.reported == nil {
		e.reported = map[report]bool{}
	}
	e.reported[at] = true
	return RuleError{Slot: slot, Rule: r.name, Part: -1, Err: errTooMuch}, true
}

// ResolveName gives CEL the value of a variable.
func (e *evaluation) ResolveName(name string) (any, bool) {
	switch name {
	case attachmentName:
		if len(e.attachments) == 0 {
			return e.unknown, true
		}
		return &e.attachments[e.attachment], true
	case recipientName, ownerName: // of whom there is one at a time, in rules of their own
		return &e.recipients[e.recipient], true
	case directionName:
		if e.pending() {
			return e.unknown, true
		}
		return types.String(e.facts.Recipients[e.recipient].Direction), true
	case senderName:
		if e.pending() {
			return e.unknown, true
		}
		return &e.sender, true
	case authName:
		if e.stage < atHeader {
			return e.unknown, true
		}
		return &e.facts.AuthResults, true
	}
	i, ok := e.set.mailFact[name]
	if !ok {
		return nil, false
	}
	if e.stage < mailFacts[i].known || name == fromGatewayName && e.pending() {
		return e.unknown, true
	}
	if e.mailValues[i] == nil {
		e.mailValues[i] = mailFacts[i].get(e.facts)
	}
	return e.mailValues[i], true
}

// pending tells whether who sends may still turn out otherwise.
func (e *evaluation) pending() bool { return e.stage < atHeader && e.facts.SenderPending }

// Parent tells CEL that there is nowhere else to look.
func (e *evaluation) Parent() interpreter.Activation { return nil }

// ResolveFunction gives CEL the functions that read the mail at hand.
func (e *evaluation) ResolveFunction(name string) (functions.LateBoundOp, bool) {
	switch name {
	case headerFunction:
		return func(_ string, args ...ref.Val) ref.Val {
			if e.stage < atHeader {
				return e.unknown
			}
			if values := e.header(args[0]); len(values) > 0 {
				return types.String(values[0])
			}
			return types.String("")
		}, true
	case headersFunction:
		return func(_ string, args ...ref.Val) ref.Val {
			if e.stage < atHeader {
				return e.unknown
			}
			return listOf(e.header(args[0]))
		}, true
	}
	return nil, false
}

func (e *evaluation) header(name ref.Val) []string {
	s, ok := name.(types.String)
	if !ok || e.facts.Header == nil {
		return nil
	}
	return e.facts.Header(string(s))
}
