package policy

// Rules that are no mistake but cannot do what their author hopes for.

import (
	"fmt"
	"slices"
)

// Warning is something doubtful about one rule.
type Warning struct {
	Rule    string
	Index   int    // in the list, from 0
	Key     string // of the rule's mapping, such as "if" or "link"; "" for the rule as a whole
	Line    int    // in the condition, from 1; 0 when it is not about a place there
	Column  int    // in characters, from 1
	Message string
}

func (w Warning) String() string {
	key, at := "", ""
	if w.Key != "" {
		key = "." + w.Key
	}
	if w.Line > 0 {
		at = fmt.Sprintf("line %d, column %d: ", w.Line, w.Column)
	}
	return fmt.Sprintf("rules[%d]%s: rule %q: %s%s", w.Index, key, w.Rule, at, w.Message)
}

// Warnings tells of rules that can never match, of comparisons with values that
// a fact never has, of rules that are never asked in a slot because an earlier
// one speaks there wherever they would, and of link rules that ask for mail
// whose attachments are left alone. What it cannot see through it keeps quiet
// about: it never warns of a rule that works.
func (s *Set) Warnings() []Warning {
	var out []Warning
	slots := make([][]Slot, len(s.rules)) // in which each rule speaks
	for i := range s.rules {
		slots[i] = s.slotsOf(i)
		r := &s.rules[i]
		add := func(key string, at place, message string) {
			out = append(out, Warning{Rule: r.name, Index: i, Key: key, Line: at.line, Column: at.column, Message: message})
		}
		k, clash := r.know()
		for _, m := range r.remarks {
			add("if", m.place, m.message)
		}
		switch {
		case clash == nil:
		case len(r.remarks) > 0:
			out[len(out)-1].Message += "; so this rule can never match"
			continue
		default:
			add("if", clash.place, "can never match: "+clash.message)
			continue
		}
		if s.shadowed(slots, i, k, add) {
			continue
		}
		for _, m := range r.idleLinks(k) {
			add(string(SlotLink), place{}, m)
		}
	}
	return out
}

// shadowed warns of slots in which the rule at index is never asked, and tells
// whether these are all.
func (s *Set) shadowed(slots [][]Slot, index int, k *knowledge, add func(key string, at place, message string)) bool {
	shadows := s.shadows(slots, index, k)
	earlier := map[string]bool{}
	for _, name := range shadows {
		earlier[name] = true
	}
	if len(shadows) == len(slots[index]) && len(earlier) == 1 {
		add("", place{}, fmt.Sprintf("is never asked: rule %q above speaks wherever this one would", shadows[slots[index][0]]))
		return true
	}
	for _, slot := range slots[index] {
		if name, found := shadows[slot]; found {
			add(string(slot), place{}, fmt.Sprintf("is never asked: rule %q above speaks about %s wherever this one would", name, slot))
		}
	}
	return len(shadows) == len(slots[index])
}

// shadows names, by slot, the first rule above the one at index that speaks
// there and whose terms all hold wherever that one's condition, k, does.
func (s *Set) shadows(slots [][]Slot, index int, k *knowledge) map[Slot]string {
	own := map[*operand]bool{}
	for _, o := range s.rules[index].operands {
		own[o] = true
	}
	out := map[Slot]string{}
	for i := range index {
		above := &s.rules[i]
		more := func(o *operand) bool { return !own[o] && o.constant != yes && !k.implies(o.formula) }
		if above.never || slices.ContainsFunc(above.operands, more) {
			continue
		}
		for _, slot := range slots[i] {
			if _, found := out[slot]; !found && slices.Contains(slots[index], slot) {
				out[slot] = above.name
			}
		}
	}
	return out
}

// slotsOf lists the slots in which a rule speaks.
func (s *Set) slotsOf(index int) []Slot {
	var out []Slot
	if s.rules[index].link != nil {
		out = append(out, SlotLink)
	}
	if s.rules[index].forward != nil {
		out = append(out, SlotForward)
	}
	for i, slot := range mailSlots {
		for _, said := range s.speaking[i] {
			if said.rule == index {
				out = append(out, slot)
			}
		}
	}
	return out
}
