package report

// How lines are told to people.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cloakroom/ledger/tally"
)

// Others stands for rules and people that had no room of their own.
const Others = "(others)"

// verbs are how actions are told: in observe, and as they were done.
var verbs = map[string][2]string{
	tally.Link:       {"would become links", "became links"},
	tally.Vault:      {"would be kept", "kept"},
	tally.Loop:       {"would be refused as loops", "refused as loops"},
	tally.Reject:     {"would be refused", "refused"},
	tally.Recipient:  {"recipients would be refused", "recipients refused"},
	tally.Quarantine: {"would be held", "held"},
	tally.Header:     {"would get another header", "got another header"},
	tally.Tag:        {"would be tagged", "tagged"},
}

// Who is the rule.
func (l RuleLine) Who() string {
	switch {
	case l.Rule != "":
		return l.Rule
	case l.Action == tally.Loop:
		return "(co-existence)"
	}
	return Others
}

// What is what it did, or would have done.
func (l RuleLine) What(observed bool) string {
	words := verbs[l.Action][1]
	if observed {
		words = verbs[l.Action][0]
	}
	if l.Detail != "" {
		words += " in " + l.Detail
	}
	return words
}

// Directions are those of the mails.
func (l RuleLine) Directions() string {
	var ways []string
	for _, d := range slices.Sorted(maps.Keys(l.Direction)) {
		if d != "" {
			ways = append(ways, fmt.Sprintf("%s %d", d, l.Direction[d]))
		}
	}
	return strings.Join(ways, ", ")
}
