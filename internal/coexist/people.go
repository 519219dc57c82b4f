package coexist

// Who has a mailbox where: counted in the directory, and one of each side for
// the sample mails.

import (
	"fmt"
	"slices"

	"cloakroom/policy"
	"cloakroom/policy/forward"
)

// people is one user of each side. Where the directory has none, there is one
// made up, of whom decisions hold all the same.
type people struct {
	here   string              // has a mailbox here
	there  map[int]string      // by route: has a mailbox in the other system
	groups map[string][]string // of these, by address
}

// member is forward.Member for the sample users.
func (p *people) member(group, address string) bool { return slices.Contains(p.groups[address], group) }

// findPeople walks the directory once.
func (c *checker) findPeople() {
	c.people = people{there: make(map[int]string), groups: make(map[string][]string)}
	count := make(map[int]int)
	var failed error
	if c.set.Users != nil {
		failed = c.set.Users(c.ctx, func(u forward.User) bool {
			c.look(u, count)
			return true
		})
	}
	for _, i := range c.routes {
		c.mailboxes(i, count[i], failed)
	}
	if c.people.here == "" {
		c.people.here = "someone-here@" + c.domain
	}
}

// look notes where the mailboxes of a user are: once for each system, however
// many addresses it has.
func (c *checker) look(u forward.User, count map[int]int) {
	member := func(group, _ string) bool { return slices.Contains(u.Groups, group) }
	counted := make(map[int]bool)
	for _, address := range append([]string{u.Address}, u.Aliases...) {
		if policy.Domain(address) != c.domain {
			continue
		}
		d := c.decide.Decide([]string{address}, &forward.Facts{Member: member, Now: c.opt.Now})[0]
		switch {
		case d.Kind == forward.Local && c.people.here == "":
			c.people.here = address
			c.people.groups[address] = u.Groups
		case d.Kind == forward.Forward && !counted[d.Route]:
			counted[d.Route] = true
			count[d.Route]++
			if c.people.there[d.Route] == "" {
				c.people.there[d.Route] = address
				c.people.groups[address] = u.Groups
			}
		}
	}
}

// mailboxes tells how many mailboxes a route finds in the other system.
func (c *checker) mailboxes(i, users int, failed error) {
	r, alternate := c.route(i)
	what := "mailboxes behind " + alternate
	key := fmt.Sprintf("coexistence[%d]", i)
	switch listed := len(r.Members); {
	case failed != nil && r.Group != "":
		c.add(AreaConfig, what, Unknown, "see that the directory answers, and ask again", "unknown: the directory did not answer: %v", failed)
	case users == 0 && listed == 0:
		c.add(AreaConfig, what, Wrong, fmt.Sprintf("put users of %s into the group %s, or change %s.group", c.domain, r.Group, key),
			"no user of %s is in the group %s (is its name right?): nothing is forwarded", c.domain, r.Group)
	case r.Group != "" && users == 0:
		c.add(AreaConfig, what, Warning, fmt.Sprintf("put users of %s into the group %s, or take %s.group out", c.domain, r.Group, key),
			"members listed: %d; no user of %s is in the group %s", listed, c.domain, r.Group)
	default:
		c.add(AreaConfig, what, OK, "", "users in the directory: %d, members listed: %d", users, listed)
	}
	if c.people.there[i] != "" {
		return
	}
	if len(r.Members) > 0 {
		c.people.there[i] = r.Members[0]
		return
	}
	c.people.there[i] = "someone-there@" + c.domain
	c.people.groups[c.people.there[i]] = []string{r.Group}
}
