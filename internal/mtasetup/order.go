package mtasetup

// The place of our milter among others.

import (
	"fmt"
	"slices"
	"strings"
)

// way is the direction of the mail that a list of milters sees.
type way int

const (
	inward  way = iota // from the Internet, or from another mail system
	outward            // from our own users and programs
)

// place is where ours goes, and why.
type place struct {
	index    int // in the list without ours
	reason   string
	warnings []string
}

// orderer knows what an administrator says of milters.
type orderer struct {
	opt   Options
	queue string // Postfix's queue folder, for addresses of sockets in it
}

// order finds the place of ours in a list of others. was is where it stands
// already, -1 for nowhere: it stays there as long as that is right.
func (b orderer) order(others []element, w way, was int) place {
	after, before := 0, len(others)
	var ahead, behind, strangers []string
	var p place
	for i, e := range others {
		name, r := b.opt.identify(e, b.queue)
		switch {
		case r == scanner, w == inward && (r == verifier || r == both):
			after = i + 1
			ahead = append(ahead, fmt.Sprintf("%s (%s)", name, seenAs(r, w)))
		case r == signer, r == both:
			before = min(before, i)
			behind = append(behind, fmt.Sprintf("%s (%s)", name, seenAs(r, w)))
		case r == unknown:
			strangers = append(strangers, e.address)
		}
		p.warnings = append(p.warnings, b.doubts(name, e, r, w)...)
	}
	if at, ok := b.told(others); ok {
		return place{index: at, reason: "where --after or --before says"}
	}
	p.index = before
	switch {
	case after > before:
		p.index = after
		p.warnings = append(p.warnings, fmt.Sprintf("%s stands behind %s, so Cloakroom cannot stand between them: it stands last, and what is signed before it stays as it is; list the scanner first",
			ahead[len(ahead)-1], behind[0]))
	case was >= after && was <= before:
		p.index = was
	}
	p.reason = why(ahead, behind)
	if len(strangers) > 0 {
		known := "behind it"
		if before < len(others) {
			known = "where the others allow"
		}
		p.warnings = append(p.warnings, fmt.Sprintf("%s: what it does cannot be told from its address; Cloakroom stands %s. Say --scanner, --verifier or --signer with that address, and the order is made to fit",
			strings.Join(strangers, ", "), known))
	}
	return p
}

// seenAs is a milter's role for one direction.
func seenAs(r role, w way) role {
	switch {
	case r == both && w == inward:
		return verifier
	case r == both:
		return signer
	}
	return r
}

func why(ahead, behind []string) string {
	var parts []string
	if len(ahead) > 0 {
		parts = append(parts, "behind "+strings.Join(ahead, ", ")+", which must see mail as it came")
	}
	if len(behind) > 0 {
		parts = append(parts, "before "+strings.Join(behind, ", ")+", which must sign mail as it leaves")
	}
	return strings.Join(parts, ", and ")
}

// doubts are what a person should know of a milter in its place.
func (b orderer) doubts(name string, e element, r role, w way) []string {
	switch {
	case name == "rspamd" && r == scanner && w == outward:
		return []string{fmt.Sprintf("rspamd (%s) sees outgoing mail before Cloakroom. If it also signs (module dkim_signing), signed mail is left as it is, without links: let another milter sign, or put Cloakroom first with --signer %s, and rspamd sees no attachment that became a link",
			e.address, e.address)}
	case r == both && w == inward:
		return []string{fmt.Sprintf("%s (%s) verifies and may sign: mail that your own hosts submit by port 25 is then signed before Cloakroom sees it, and left as it is. Let them submit by port 587", name, e.address)}
	}
	return nil
}

// told is the place that --after or --before names, where the list has it.
func (b orderer) told(others []element) (int, bool) {
	find := func(address string) int {
		if address == "" {
			return -1
		}
		return slices.IndexFunc(others, func(e element) bool { return same(e.address, address, b.queue) })
	}
	if i := find(b.opt.After); i >= 0 {
		return i + 1, true
	}
	if i := find(b.opt.Before); i >= 0 {
		return i, true
	}
	return 0, false
}
