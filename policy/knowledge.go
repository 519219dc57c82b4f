package policy

// What is known while a condition holds, for warnings: whether its terms
// exclude each other, and whether another condition must then hold too.

import (
	"math"
	"slices"
	"strings"
)

// knowledge is what holds wherever a rule's condition does: by subject, all
// claims about it taken together.
type knowledge struct {
	claims map[string]*claim
	any    [][]*formula // alternatives, one of which holds in each
	// branches are what is known with each of them, made when first needed.
	branches [][]*knowledge
}

// always are the claims that every mail fulfils.
func always() map[string]*claim {
	var directions []string
	for _, d := range Directions() {
		directions = append(directions, string(d))
	}
	out := map[string]*claim{directionName: isAmong(directionName, directions...)}
	for _, name := range []string{"size", attachmentName + ".size"} {
		out[name] = isBetween(name, 0, math.MaxInt64)
	}
	return out
}

// add takes in that a formula holds. The claims that leave nothing possible
// about their subject are returned.
func (k *knowledge) add(f *formula) (impossible []*claim) {
	if f.any != nil {
		k.any = append(k.any, f.any)
	}
	for _, part := range f.all {
		impossible = append(impossible, k.add(part)...)
	}
	if f.claim == nil {
		return impossible
	}
	for _, c := range append([]*claim{possible(f.claim)}, consequences(f.claim)...) {
		if before := k.claims[c.subject]; before != nil {
			c = before.and(c)
		}
		k.claims[c.subject] = c
		if c.empty() {
			impossible = append(impossible, c)
		}
	}
	return impossible
}

// possible takes the texts out of a claim that its subject never is.
func possible(c *claim) *claim {
	if c.number || c.except {
		return c
	}
	out := isAmong(c.subject)
	for t := range c.texts {
		if neverIs(c.subject, t) == "" {
			out.texts[t] = true
		}
	}
	return out
}

// with is the knowledge when a formula holds too; nil when it cannot.
func (k *knowledge) with(f *formula) *knowledge {
	out := &knowledge{claims: make(map[string]*claim, len(k.claims)+1)}
	for subject, c := range k.claims {
		out.claims[subject] = c
	}
	if out.add(f) != nil {
		return nil
	}
	return out
}

// implies tells that f holds as well. False means that this is not known.
func (k *knowledge) implies(f *formula) bool {
	if k.shows(f) {
		return true
	}
	for _, branch := range k.branched() {
		if !slices.ContainsFunc(branch, func(more *knowledge) bool { return !more.shows(f) }) {
			return true
		}
	}
	return false
}

// branched gives, for each ||, what is known with each of its terms that can
// hold; those with very many terms are left out.
func (k *knowledge) branched() [][]*knowledge {
	if k.branches != nil {
		return k.branches
	}
	k.branches = [][]*knowledge{}
	for _, alternatives := range k.any {
		if len(alternatives) > maxAlternatives {
			continue
		}
		var branch []*knowledge
		for _, f := range alternatives {
			if more := k.with(f); more != nil {
				branch = append(branch, more)
			}
		}
		k.branches = append(k.branches, branch)
	}
	return k.branches
}

// maxAlternatives is up to how many terms of an || are gone through one by one.
const maxAlternatives = 20

func (k *knowledge) shows(f *formula) bool {
	switch {
	case f.claim != nil:
		c := k.claims[f.claim.subject]
		return c != nil && c.within(f.claim)
	case f.all != nil:
		return !slices.ContainsFunc(f.all, func(part *formula) bool { return !k.shows(part) })
	}
	return slices.ContainsFunc(f.any, k.shows)
}

// consequences are claims about other facts that follow from one: users of ours
// alone are in the directory, and sender is empty unless he is ours.
func consequences(c *claim) []*claim {
	object, field, _ := strings.Cut(c.subject, ".")
	says := !c.number && (c.except && c.texts[""] || !c.except && !c.texts[""]) // the text is not empty
	if group, list, found := strings.Cut(c.subject, " in "); found && c.number && c.low == 1 && isQuoted(group) {
		object, field, _ = strings.Cut(list, ".")
		says = field == "groups"
	}
	switch {
	case c.subject == "user" && !c.number:
		if says {
			return []*claim{isTruth("authenticated", true)}
		}
		if c.only(func(t string) bool { return t == "" }) {
			return []*claim{isTruth("authenticated", false)}
		}
	case !says:
	case object == senderName && personField(field):
		return []*claim{isAmong(directionName, string(Outbound), string(Local))}
	case object == recipientName && (field == "groups" || field == "department" || field == "system"):
		return []*claim{isAmong(directionName, string(Inbound), string(Local))}
	}
	return nil
}

func personField(name string) bool {
	return slices.ContainsFunc(personFacts[:], func(f personFact) bool { return f.name == name })
}

// isQuoted tells a text as CEL writes it, without another quote inside.
func isQuoted(s string) bool {
	return len(s) > 1 && s[0] == '"' && strings.IndexByte(s[1:], '"') == len(s)-2
}
