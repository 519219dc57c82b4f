package policy

// Rules that are no mistake but cannot do what their author hopes for.

import (
	"fmt"
	"slices"
	"strings"
)

// Warning is something doubtful about one rule.
type Warning struct {
	Rule    string
	Index   int    // in the list, from 0
	Key     string // of the rule's mapping, such as "if" or "link"; "" for the rule as a whole
	Message string
}

func (w Warning) String() string {
	key := ""
	if w.Key != "" {
		key = "." + w.Key
	}
	return fmt.Sprintf("rules[%d]%s: rule %q: %s", w.Index, key, w.Rule, w.Message)
}

// Warnings tells of rules that can never match, and of rules that are never
// asked in a slot because an earlier one speaks there wherever they would.
func (s *Set) Warnings() []Warning {
	var out []Warning
	slots := make([][]Slot, len(s.rules)) // in which each rule speaks
	for i := range s.rules {
		slots[i] = s.slotsOf(i)
		r := &s.rules[i]
		warn := func(key, format string, args ...any) {
			out = append(out, Warning{Rule: r.name, Index: i, Key: key, Message: fmt.Sprintf(format, args...)})
		}
		if r.never {
			warn("if", "can never match: %s is false for every mail", r.neverTerm())
			continue
		}
		shadows := s.shadows(slots, i)
		earlier := map[string]bool{}
		for _, name := range shadows {
			earlier[name] = true
		}
		if len(shadows) == len(slots[i]) && len(earlier) == 1 {
			warn("", "is never asked: rule %q above speaks wherever this one would", shadows[slots[i][0]])
			continue
		}
		for _, slot := range slots[i] {
			if name, found := shadows[slot]; found {
				warn(string(slot), "is never asked: rule %q above speaks about %s wherever this one would", name, slot)
			}
		}
	}
	return out
}

// shadows names, by slot, the first rule above the one at index that speaks
// there and asks for no more than that one does: whose operands are all among
// its operands.
func (s *Set) shadows(slots [][]Slot, index int) map[Slot]string {
	own := map[*operand]bool{}
	for _, o := range s.rules[index].operands {
		own[o] = true
	}
	out := map[Slot]string{}
	for i := range index {
		above := &s.rules[i]
		more := func(o *operand) bool { return !own[o] && o.constant != yes }
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

func (r *rule) neverTerm() string {
	for _, o := range r.operands {
		if o.constant == no {
			return strings.TrimSpace(o.text)
		}
	}
	return ""
}

// slotsOf lists the slots in which a rule speaks.
func (s *Set) slotsOf(index int) []Slot {
	var out []Slot
	if s.rules[index].link != nil {
		out = append(out, SlotLink)
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
