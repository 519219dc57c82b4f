package policy

// Rules that can never match, because one of their terms is false for every
// mail or because their terms exclude each other.

import (
	"fmt"
	"slices"
	"strings"
)

// know takes all terms of the rule together. A clash tells that they never
// hold at once.
func (r *rule) know() (*knowledge, *remark) {
	k := &knowledge{claims: always()}
	for i, o := range r.operands {
		if o.constant == no {
			return nil, &remark{r.places[i], strings.TrimSpace(o.text) + " is false for every mail"}
		}
		if impossible := k.add(o.formula); impossible != nil {
			return nil, &remark{r.places[i], r.clash(i, impossible[0].subject)}
		}
	}
	for i, o := range r.operands {
		if o.formula.any == nil || len(o.formula.any) > maxAlternatives {
			continue
		}
		if !slices.ContainsFunc(o.formula.any, func(f *formula) bool { return k.with(f) != nil }) {
			return nil, &remark{r.places[i], fmt.Sprintf("nothing in %s can hold beside the other terms", o.text)}
		}
	}
	return k, nil
}

// clash names the terms, up to the one at last, that leave nothing possible
// about a subject.
func (r *rule) clash(last int, subject string) string {
	alone := &knowledge{claims: always()}
	if alone.add(r.operands[last].formula) != nil {
		return r.operands[last].text + " is false for every mail"
	}
	var terms []*operand
	for _, o := range r.operands[:last] {
		pair := alone.with(o.formula)
		if pair == nil {
			terms = []*operand{o}
			break
		}
		if pair.claims[subject] != alone.claims[subject] {
			terms = append(terms, o)
		}
	}
	text, hint := "", ""
	for i, o := range append(terms, r.operands[last]) {
		switch i {
		case 0:
		case len(terms):
			text += " and "
		default:
			text += ", "
		}
		text += o.text
		if subject == directionName && !slices.Contains(o.facts, directionName) {
			hint = whoIsKnown(o.facts)
		}
	}
	return text + " exclude each other" + hint
}

// whoIsKnown explains why facts about a person say something of the direction.
func whoIsKnown(facts []string) string {
	for _, name := range facts {
		switch {
		case strings.HasPrefix(name, recipientName+"."):
			return ": only users of ours have groups, department and system (those of the sender are in sender)"
		case strings.HasPrefix(name, senderName+"."):
			return ": sender is empty unless he is a user of ours"
		}
	}
	return ""
}
