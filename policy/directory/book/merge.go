package book

// The other side's users taken into our own.

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"cloakroom/policy/directory"
)

// Intake is how people of a file become users.
type Intake struct {
	// Group is the group they are put into; "" is none.
	Group string
	// Home and Ours are as in View.
	Home func(address string) string
	Ours func(address string) bool
}

// Action is what a merge does with one person.
type Action string

// What a merge can do.
const (
	Added    Action = "add"    // a new user
	Changed  Action = "change" // a user whom we had gets something more
	Skipped  Action = "skip"   // a person who is not taken
	Conflict Action = "conflict"
	// Stays is a user of the group whom the file does not have: it stays in it.
	Stays Action = "stays"
)

// Change is what a merge does, or leaves alone, and why.
type Change struct {
	Action  Action `json:"action"`
	Address string `json:"address"`
	Line    int    `json:"line,omitempty"` // in the file
	Text    string `json:"text"`
}

// Merged is the outcome of a merge.
type Merged struct {
	Users   []*directory.User `json:"-"` // those we had, in their order, then the new ones
	Changes []Change          `json:"changes"`
	Same    int               `json:"same"` // people of the file of whom nothing is new
}

// Count is the number of changes of a kind.
func (m *Merged) Count(action Action) int {
	n := 0
	for _, c := range m.Changes {
		if c.Action == action {
			n++
		}
	}
	return n
}

// Merge adds the people of a file to the users we have. Nobody is taken away,
// and what is known of a user is not replaced: groups and aliases are added,
// and a name or department only where there is none.
func Merge(ours iter.Seq[*directory.User], theirs *Book, in Intake) *Merged {
	m := &merger{Merged: &Merged{Changes: []Change{}}, in: in, at: make(map[string]int), inFile: make(map[int]bool)}
	for u := range ours {
		for _, a := range addresses(u) {
			m.at[a] = len(m.Users)
		}
		m.Users = append(m.Users, u)
	}
	had := len(m.Users)
	for i := range theirs.People {
		m.person(&theirs.People[i])
	}
	if in.Group != "" {
		for i, u := range m.Users[:had] {
			if !m.inFile[i] && slices.Contains(u.Groups, in.Group) {
				m.change(Stays, u.Address, 0, "is in the group %s, but not in the file: nothing is changed; take the user out of the group if the account is gone", in.Group)
			}
		}
	}
	return m.Merged
}

type merger struct {
	*Merged
	in     Intake
	at     map[string]int // address -> index into Users
	inFile map[int]bool   // users who are in the file
}

func (m *merger) change(action Action, address string, line int, format string, args ...any) {
	m.Changes = append(m.Changes, Change{action, address, line, fmt.Sprintf(format, args...)})
}

// person takes one person in.
func (m *merger) person(p *Person) {
	all := homes(p, m.in.Home, m.in.Ours)
	owners := m.owners(all)
	switch {
	case len(all) == 0:
		m.change(Skipped, p.Address, p.Line, "none of its addresses is in our domains")
	case len(owners) > 1:
		m.inFile[owners[0]], m.inFile[owners[1]] = true, true
		m.change(Conflict, p.Address, p.Line, "its addresses belong to several users here, %s and %s: sort that out first", m.Users[owners[0]].Address, m.Users[owners[1]].Address)
	case p.Mailbox == MailboxOff:
		for _, o := range owners {
			m.inFile[o] = true
		}
		m.change(Skipped, p.Address, p.Line, "the account takes no mail (%s)", strings.ToLower(orElse(p.Status, "suspended")))
	case len(owners) == 0:
		m.add(p, all)
	default:
		m.inFile[owners[0]] = true
		m.extend(owners[0], p, all)
	}
}

// owners lists the users of ours who have some of the addresses.
func (m *merger) owners(all []string) []int {
	var out []int
	for _, a := range all {
		if i, ok := m.at[a]; ok && !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	return out
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// groups lists the groups a person is to be in.
func (m *merger) groups(p *Person) []string {
	out := slices.Clone(p.Groups)
	if m.in.Group != "" && !slices.Contains(out, m.in.Group) {
		out = append(out, m.in.Group)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (m *merger) add(p *Person, all []string) {
	u := &directory.User{Address: all[0], Aliases: all[1:], Groups: m.groups(p), Department: p.Department, System: p.System, Name: p.Name}
	for _, a := range all {
		m.at[a] = len(m.Users)
	}
	m.inFile[len(m.Users)] = true
	m.Users = append(m.Users, u)
	text := "new user"
	if u.Name != "" {
		text += " " + u.Name
	}
	if len(u.Groups) > 0 {
		text += ", in " + strings.Join(u.Groups, ", ")
	}
	if len(u.Aliases) > 0 {
		text += ", also " + strings.Join(u.Aliases, ", ")
	}
	m.change(Added, u.Address, p.Line, "%s", text)
}

// extend gives a user of ours what the file has more.
func (m *merger) extend(at int, p *Person, all []string) {
	old := m.Users[at]
	u := *old
	var news []string
	if more := without(m.groups(p), u.Groups); len(more) > 0 {
		u.Groups = append(slices.Clone(u.Groups), more...)
		slices.Sort(u.Groups)
		news = append(news, "joins "+strings.Join(more, ", "))
	}
	if more := without(all, addresses(&u)); len(more) > 0 {
		u.Aliases = append(slices.Clone(u.Aliases), more...)
		for _, a := range more {
			m.at[a] = at
		}
		news = append(news, "also gets "+strings.Join(more, ", "))
	}
	if u.Name == "" && p.Name != "" {
		u.Name = p.Name
		news = append(news, "is called "+p.Name)
	}
	if u.Department == "" && p.Department != "" {
		u.Department = p.Department
		news = append(news, "is of the department "+p.Department)
	}
	if news == nil {
		m.Same++
		return
	}
	m.Users[at] = &u
	m.change(Changed, u.Address, p.Line, "%s", strings.Join(news, "; "))
}
