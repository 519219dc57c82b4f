package doctor

// The MTA as it is set up, compared with what `cloakroom setup` would make of it.

import (
	"fmt"
	"slices"
	"strings"

	"cloakroom/internal/mtasetup"
)

const (
	// showSetup and applySetup are what to do about a Postfix.
	showSetup  = "cloakroom setup postfix"
	applySetup = "cloakroom setup postfix shows what to change and why, cloakroom setup postfix --apply --reload does it"
	// maxNamed bounds the settings that are named in one line.
	maxNamed = 6
)

// Postfix tells what a plan for a Postfix says of it as it is.
func Postfix(plan *mtasetup.Plan) []Line {
	var out []Line
	var others []string
	for _, c := range plan.Changes {
		switch {
		case c.Name == "smtpd_milters" || c.Name == "non_smtpd_milters":
			out = append(out, milterList(plan, c))
		case c.Name == "milter_default_action":
			out = append(out, warn(applySetup, "milter_default_action is %s, and should be %s: %s", old(c), c.New, c.Reason))
		default:
			others = append(others, subject(c))
		}
	}
	if n := len(others); n > 0 {
		words := strings.Join(others[:min(n, maxNamed)], ", ")
		if n > maxNamed {
			words += fmt.Sprintf(" and %d more", n-maxNamed)
		}
		out = append(out, warn(applySetup, "%s lacks what Cloakroom needs: %s", plan.MTA, words))
	}
	for _, r := range plan.Remarks {
		switch r.Level {
		case mtasetup.Problem:
			out = append(out, wrong("as it says; "+showSetup+" looks again", "%s", r.Text))
		case mtasetup.Warning:
			out = append(out, warn("as it says; "+showSetup+" looks again", "%s", r.Text))
		}
	}
	if len(out) == 0 {
		out = append(out, ok("%s in %s: %s", plan.MTA, plan.Folder, listeners(plan)))
	}
	return out
}

// milterList tells of a list of milters that has to change.
func milterList(plan *mtasetup.Plan, c mtasetup.Change) Line {
	before := c.Old != nil && names(*c.Old, plan.Milter)
	after := names(c.New, plan.Milter)
	switch {
	case !before && after && c.Kind == mtasetup.Parameter && c.Name == "smtpd_milters":
		return wrong(applySetup, "mail by SMTP does not pass Cloakroom: %s is %s, without %s", subject(c), old(c), plan.Milter)
	case !before && after:
		return warn(applySetup, "mail passes beside Cloakroom: %s is %s, without %s", subject(c), old(c), plan.Milter)
	case before && !after:
		return warn(applySetup, "%s has Cloakroom, which does not belong there: %s", subject(c), c.Reason)
	}
	reason := c.Reason
	if strings.Contains(c.New, "default_action=") && !strings.Contains(*c.Old, "default_action=") {
		reason += " Until then milter_default_action says what happens to mail while Cloakroom is away."
	}
	return warn(applySetup, "%s is %s, and should be %s: %s", subject(c), old(c), c.New, reason)
}

// names tells whether a list of milters has the one at an address, whatever way it
// is written.
func names(list, milter string) bool {
	kind, rest, _ := strings.Cut(milter, ":")
	if kind == "unix" || kind == "local" {
		return strings.Contains(list, strings.TrimPrefix(rest, "/"))
	}
	port := rest[strings.LastIndexByte(rest, ':')+1:]
	words := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(",{} \t\r\n:@", r) })
	return slices.Contains(words, port)
}

func old(c mtasetup.Change) string {
	switch {
	case c.Old == nil:
		return "not set"
	case strings.TrimSpace(*c.Old) == "":
		return "empty"
	}
	return *c.Old
}

// subject is what a change is about, as people find it.
func subject(c mtasetup.Change) string {
	switch {
	case c.Kind == mtasetup.Override:
		return c.Name + " of " + c.Service
	case c.Kind == mtasetup.Service:
		return "the service " + c.Service
	}
	return c.Name
}

// listeners tells where mail passes Cloakroom, and behind whom.
func listeners(plan *mtasetup.Plan) string {
	var words []string
	for _, l := range plan.Listeners {
		if l.Ours {
			words = append(words, l.Service+" ("+strings.Join(l.Milters, ", ")+")")
		} else {
			words = append(words, l.Service+" without Cloakroom")
		}
	}
	return strings.Join(words, ", ")
}
