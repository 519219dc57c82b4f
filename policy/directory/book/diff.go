package book

// What differs between our directory and the other side's list, and what that
// does to mail.

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"cloakroom/policy/directory"
)

// Difference is a kind of difference.
type Difference string

// The differences there can be, the worst first.
const (
	// Neither: each side believes that the mailbox is in the other. Mail is lost
	// in between: it bounces or goes in circles.
	Neither Difference = "neither"
	// Off: we send mail to an account that takes none.
	Off Difference = "off"
	// Both: there is a mailbox on both sides, each gets a part of the mail.
	Both Difference = "both"
	// Split: the addresses of one user belong to several on the other side.
	Split Difference = "split"
	// OnlyThere: the other side has somebody whom we do not know.
	OnlyThere Difference = "only-there"
	// OnlyHere: we have somebody whom the other side's list does not have.
	OnlyHere Difference = "only-here"
	// OtherAddress: the primary address is another one.
	OtherAddress Difference = "address"
	// OtherAliases, OtherDepartment, OtherSystem, OtherGroups: a user of both
	// sides has others there.
	OtherAliases    Difference = "aliases"
	OtherDepartment Difference = "department"
	OtherSystem     Difference = "system"
	OtherGroups     Difference = "groups"
)

// Differences lists every kind, the worst first.
func Differences() []Difference {
	return []Difference{Neither, Off, Both, Split, OnlyThere, OnlyHere, OtherAddress, OtherAliases, OtherDepartment, OtherSystem, OtherGroups}
}

// View is how this side sees the addresses of both. Every field must be set.
type View struct {
	// Away tells where the mail of a user's address goes on to because the
	// mailbox is on the other side; "" is a mailbox here.
	Away func(u *directory.User) string
	// Home gives the address in the shared domain that an address in the other
	// side's own domain stands for; any other as it is.
	Home func(address string) string
	// Ours tells whether an address is in one of our domains; others do not count.
	Ours func(address string) bool
}

// Finding is one difference.
type Finding struct {
	Kind    Difference `json:"kind"`
	Address string     `json:"address"`          // the primary one, ours where there is one
	Line    int        `json:"line,omitempty"`   // in the other side's file
	Here    []string   `json:"here,omitempty"`   // the values that only we have
	There   []string   `json:"there,omitempty"`  // the values that only they have
	Status  string     `json:"status,omitempty"` // of an account that is off
	Text    string     `json:"text"`             // what it is, what it does, what to do
}

// Report is what a comparison found.
type Report struct {
	Kind     Kind      `json:"file"`
	Here     int       `json:"here"`    // users of ours
	There    int       `json:"there"`   // users of theirs
	Foreign  int       `json:"foreign"` // users of either side without an address in our domains: not compared
	Same     int       `json:"same"`    // users in whom nothing differs
	Findings []Finding `json:"findings"`
	Passed   []string  `json:"passed_over,omitempty"` // lines of the file, see Book
}

// Count is the number of findings of a kind.
func (r *Report) Count(kind Difference) int {
	n := 0
	for _, f := range r.Findings {
		if f.Kind == kind {
			n++
		}
	}
	return n
}

// Only leaves out the findings of other kinds.
func (r *Report) Only(kinds ...Difference) {
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return !slices.Contains(kinds, f.Kind) })
}

// Diff compares our users with the other side's.
func Diff(ours iter.Seq[*directory.User], theirs *Book, view View) *Report {
	d := &differ{view: view, theirs: theirs, report: &Report{Kind: theirs.Kind, Findings: []Finding{}, Passed: theirs.Passed}}
	d.index()
	for u := range ours {
		if !slices.ContainsFunc(addresses(u), view.Ours) {
			d.report.Foreign++
			continue
		}
		d.report.Here++
		before := len(d.report.Findings)
		d.user(u)
		if len(d.report.Findings) == before {
			d.report.Same++
		}
	}
	d.strangers()
	order := Differences()
	slices.SortStableFunc(d.report.Findings, func(a, b Finding) int {
		return slices.Index(order, a.Kind) - slices.Index(order, b.Kind)
	})
	return d.report
}

type differ struct {
	view   View
	theirs *Book
	report *Report
	at     map[string]int // address at home -> index into theirs.People
	seen   []bool         // beside theirs.People: matched by a user of ours
}

// index finds the people of the file by their addresses.
func (d *differ) index() {
	d.at = make(map[string]int, len(d.theirs.People))
	d.seen = make([]bool, len(d.theirs.People))
	for i := range d.theirs.People {
		p := &d.theirs.People[i]
		if !d.counts(p) {
			d.report.Foreign++
			continue
		}
		d.report.There++
		for _, a := range d.homes(p) {
			if _, taken := d.at[a]; !taken {
				d.at[a] = i
			}
		}
	}
}

// counts tells whether a person has an address that matters to us.
func (d *differ) counts(p *Person) bool {
	return d.view.Ours(d.view.Home(p.Address)) || slices.ContainsFunc(p.Aliases, func(a string) bool { return d.view.Ours(d.view.Home(a)) })
}

// homes lists a person's addresses in our domains, each once.
func (d *differ) homes(p *Person) []string {
	return homes(p, d.view.Home, d.view.Ours)
}

func homes(p *Person, home func(string) string, ours func(string) bool) []string {
	var out []string
	for _, a := range append([]string{p.Address}, p.Aliases...) {
		if a = home(a); ours(a) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

func (d *differ) find(f Finding, format string, args ...any) {
	f.Text = fmt.Sprintf(format, args...)
	d.report.Findings = append(d.report.Findings, f)
}

// user compares one user of ours.
func (d *differ) user(u *directory.User) {
	away := d.view.Away(u)
	var matches []int
	for _, a := range addresses(u) {
		if i, ok := d.at[a]; ok && !slices.Contains(matches, i) {
			matches = append(matches, i)
		}
	}
	if len(matches) == 0 {
		d.missing(u, away)
		return
	}
	for _, i := range matches {
		if d.seen[i] || i != matches[0] {
			p := &d.theirs.People[i]
			d.find(Finding{Kind: Split, Address: u.Address, Line: p.Line},
				"addresses of %s (line %d of the file) and of %s here belong to different people on the two sides: sort out who has which, mail of one may reach the other", p.Address, p.Line, u.Address)
		}
		d.seen[i] = true
	}
	p := &d.theirs.People[matches[0]]
	d.mailbox(u, p, away)
	d.fields(u, p)
}

// missing reports a user whom the file does not have.
func (d *differ) missing(u *directory.User, away string) {
	if away != "" && d.theirs.Kind == Workspace {
		d.find(Finding{Kind: Neither, Address: u.Address},
			"nobody has the mailbox: we send its mail on to %s, but the other side has no such account, so that it bounces or comes back; create the account there, or take the user out of the group here", away)
		return
	}
	d.find(Finding{Kind: OnlyHere, Address: u.Address}, "is in our directory only: the other side does not see the user in its address book")
}

// mailbox compares where the mailbox is. Only a list of accounts tells.
func (d *differ) mailbox(u *directory.User, p *Person, away string) {
	switch {
	case p.Mailbox == MailboxThere && away == "":
		d.find(Finding{Kind: Both, Address: u.Address, Line: p.Line},
			"has a mailbox on both sides: what is written here stays here, what is written there stays there; put the user into the group of the other side, or remove the account there")
	case p.Mailbox == MailboxOff && away != "":
		status := p.Status
		if status == "" {
			status = "suspended"
		}
		d.find(Finding{Kind: Off, Address: u.Address, Line: p.Line, Status: status},
			"we send its mail on to %s, but the account there is %s and takes none: activate it, or take the user out of the group here", away, strings.ToLower(status))
	}
}

// fields compares what the file has columns for.
func (d *differ) fields(u *directory.User, p *Person) {
	here, there := addresses(u), d.homes(p)
	f := Finding{Address: u.Address, Line: p.Line}
	if primary := d.view.Home(p.Address); primary != u.Address && d.view.Ours(primary) {
		f.Kind, f.Here, f.There = OtherAddress, []string{u.Address}, []string{primary}
		d.find(f, "has %s as the primary address on the other side", primary)
	}
	if d.theirs.has[aliases] || d.theirs.Kind == Contacts {
		// A contact need not have every alias; one that leads elsewhere matters.
		here = slices.DeleteFunc(slices.Clone(here), func(a string) bool { return !d.view.Ours(a) })
		d.lists(f, OtherAliases, "addresses", here, there)
	}
	if d.theirs.has[groups] {
		d.lists(f, OtherGroups, "groups", u.Groups, p.Groups)
	}
	if d.theirs.has[department] {
		d.texts(f, OtherDepartment, "department", clean(u.Department), p.Department)
	}
	if d.theirs.has[system] {
		d.texts(f, OtherSystem, "mail system", clean(u.System), p.System)
	}
}

// lists compares two lists as sets.
func (d *differ) lists(f Finding, kind Difference, what string, here, there []string) {
	f.Kind, f.Here, f.There = kind, without(here, there), without(there, here)
	var parts []string
	if len(f.Here) > 0 {
		parts = append(parts, strings.Join(f.Here, ", ")+" only here")
	}
	if len(f.There) > 0 {
		parts = append(parts, strings.Join(f.There, ", ")+" only there")
	}
	if parts != nil {
		d.find(f, "%s differ: %s", what, strings.Join(parts, "; "))
	}
}

func (d *differ) texts(f Finding, kind Difference, what, here, there string) {
	if here == there {
		return
	}
	f.Kind = kind
	if here != "" {
		f.Here = []string{here}
	}
	if there != "" {
		f.There = []string{there}
	}
	d.find(f, "%s differs: %s here, %s there", what, orNone(here), orNone(there))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return fmt.Sprintf("%q", s)
}

// without lists the values of a that are not in b.
func without(a, b []string) []string {
	var out []string
	for _, v := range a {
		if !slices.Contains(b, v) {
			out = append(out, v)
		}
	}
	return out
}

// strangers reports the people whom our directory does not have.
func (d *differ) strangers() {
	for i := range d.theirs.People {
		p := &d.theirs.People[i]
		if d.seen[i] || !d.counts(p) {
			continue
		}
		f := Finding{Kind: OnlyThere, Address: p.Address, Line: p.Line}
		switch p.Mailbox {
		case MailboxThere:
			d.find(f, "has a mailbox on the other side only, and our directory does not know the user: mail that arrives here is refused or goes to the wrong place; cloakroom directory import adds the user")
		case MailboxOff:
			f.Status = p.Status
			d.find(f, "has an account on the other side only, which takes no mail")
		default:
			d.find(f, "is known to the other side only: our directory does not have the user")
		}
	}
}
