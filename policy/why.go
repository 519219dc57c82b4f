package policy

// Why a rule does not match, in words.

import (
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// why tells which operand of the rule does not hold, and what it looked at.
func (e *evaluation) why(r *rule) string {
	for _, o := range r.operands {
		if e.operand(o) == no {
			return e.isFalse(o)
		}
	}
	return ""
}

// whyNowhere is why for a slot of the mail: the rule holds for no attachment.
func (e *evaluation) whyNowhere(r *rule) string {
	for _, o := range r.operands {
		if o.scope&perAttachment == 0 && e.operand(o) == no {
			return e.isFalse(o)
		}
	}
	if len(e.attachments) == 0 {
		return "there is no attachment"
	}
	e.stand(e.recipient, 0)
	text := e.why(r)
	if len(e.attachments) > 1 {
		text += "; nor does it hold for another attachment"
	}
	return text
}

func (e *evaluation) isFalse(o *operand) string {
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
		value = e.recipients[e.recipient].named(field)
	case senderName:
		value = e.sender.named(field)
	case authName:
		for i := range authFacts {
			if authFacts[i].name == field {
				value = types.String(authFacts[i].get(&e.facts.AuthResults))
			}
		}
	default:
		v, _ := e.ResolveName(name)
		value, _ = v.(ref.Val)
	}
	if value == nil || types.IsError(value) {
		return ""
	}
	text := types.Format(value)
	if utf8.RuneCountInString(text) > maxShown {
		text = string([]rune(text)[:maxShown]) + "…"
	}
	return text
}

func (p *personValues) named(field string) ref.Val {
	for i := range personFacts {
		if personFacts[i].name == field {
			return p.field(i)
		}
	}
	return nil
}
