package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

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
	partial *types.Unknown // the attachments are not known yet; nil when they are

	recipient   int
	attachment  int
	mailValues  []ref.Val
	recipients  []recipientValues
	attachments []attachmentValues

	// memo keeps verdicts of operands; perRecipient has one row per recipient,
	// the others one row, cleared when what they depend on changes.
	memo     [scopes][]verdict
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
	rule *rule
	failure
}

func (s *Set) evaluation(f *Facts, partial bool) *evaluation {
	e := &evaluation{set: s, facts: f,
		mailValues: make([]ref.Val, len(mailFacts)),
		recipients: make([]recipientValues, len(f.Recipients)),
	}
	for i := range f.Recipients {
		e.recipients[i].of = &f.Recipients[i]
	}
	if partial {
		e.partial = types.NewUnknown(0, nil)
	} else {
		e.attachments = make([]attachmentValues, len(f.Attachments))
		for i := range f.Attachments {
			e.attachments[i].of = &f.Attachments[i]
		}
	}
	for i, n := range s.counts {
		if scope(i) == perRecipient {
			n *= len(f.Recipients)
		}
		e.memo[i] = make([]verdict, n)
	}
	return e
}

// stand moves to a recipient and an attachment.
func (e *evaluation) stand(recipient, attachment int) {
	if attachment != e.attachment {
		clear(e.memo[perAttachment])
	}
	clear(e.memo[perPair])
	e.recipient, e.attachment = recipient, attachment
}

// ask gives the value of the rule's condition, as CEL's && does: one false
// operand makes it false even if others fail.
func (e *evaluation) ask(r *rule) verdict {
	result := yes
	for _, o := range r.operands {
		switch v := e.operand(o); v {
		case no:
			return no
		case unknown, failed:
			result = max(result, v)
		}
	}
	return result
}

func (e *evaluation) operand(o *operand) verdict {
	slot := o.slot
	if o.scope == perRecipient {
		slot += e.recipient * e.set.counts[perRecipient]
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
		if e.partial != nil {
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
// once for each place that differs.
func (e *evaluation) report(r *rule) (RuleError, bool) {
	for _, o := range r.operands {
		at := e.place(o)
		err, found := e.failures[at]
		if !found {
			continue
		}
		if e.reported[report{r, at}] {
			return RuleError{}, false
		}
		if e.reported == nil {
			e.reported = map[report]bool{}
		}
		e.reported[report{r, at}] = true
		out := RuleError{Rule: r.name, Part: -1, Term: o.text, Err: err}
		if at.recipient >= 0 {
			out.Recipient = e.facts.Recipients[at.recipient].Address
		}
		if at.attachment >= 0 {
			out.Part = e.facts.Attachments[at.attachment].Part
		}
		return out, true
	}
	return RuleError{}, false
}

// ResolveName gives CEL the value of a variable.
func (e *evaluation) ResolveName(name string) (any, bool) {
	switch name {
	case attachmentName:
		if e.partial != nil {
			return e.partial, true
		}
		return &e.attachments[e.attachment], true
	case recipientName:
		return &e.recipients[e.recipient], true
	case directionName:
		return e.recipients[e.recipient].field(directionField), true
	}
	i, ok := e.set.mailFact[name]
	if !ok {
		return nil, false
	}
	if e.mailValues[i] == nil {
		e.mailValues[i] = mailFacts[i].get(e.facts)
	}
	return e.mailValues[i], true
}

// Parent tells CEL that there is nowhere else to look.
func (e *evaluation) Parent() interpreter.Activation { return nil }

// ResolveFunction gives CEL the functions that read the mail at hand.
func (e *evaluation) ResolveFunction(name string) (functions.LateBoundOp, bool) {
	switch name {
	case headerFunction:
		return func(_ string, args ...ref.Val) ref.Val {
			if values := e.header(args[0]); len(values) > 0 {
				return types.String(values[0])
			}
			return types.String("")
		}, true
	case headersFunction:
		return func(_ string, args ...ref.Val) ref.Val { return listOf(e.header(args[0])) }, true
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

// why tells which operand of the rule does not hold, and what it looked at.
func (e *evaluation) why(r *rule) string {
	for _, o := range r.operands {
		if e.operand(o) != no {
			continue
		}
		text := o.text + " is false"
		separator := " ("
		for _, name := range o.facts {
			if value := e.show(name); value != "" {
				text += separator + name + " = " + value
				separator = ", "
			}
		}
		if separator != " (" {
			text += ")"
		}
		return text
	}
	return ""
}

// maxShown is how many characters of a fact an explanation shows.
const maxShown = 100

// show writes the value of a fact as it would be written in an expression; ""
// for a name that is no fact, such as a loop's variable.
func (e *evaluation) show(name string) string {
	var value ref.Val
	switch object, field, _ := strings.Cut(name, "."); object {
	case attachmentName:
		for i := range attachmentFacts {
			if attachmentFacts[i].name == field {
				value = e.attachments[e.attachment].field(i)
			}
		}
	case recipientName:
		for i := range recipientFacts {
			if recipientFacts[i].name == field {
				value = e.recipients[e.recipient].field(i)
			}
		}
	default:
		v, _ := e.ResolveName(name)
		value, _ = v.(ref.Val)
	}
	if value == nil {
		return ""
	}
	text := types.Format(value)
	if utf8.RuneCountInString(text) > maxShown {
		text = string([]rune(text)[:maxShown]) + "…"
	}
	return text
}
