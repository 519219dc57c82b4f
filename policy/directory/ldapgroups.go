package directory

// The groups of an LDAP entry, and the groups these are in.

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	// adChain is Active Directory's matching rule that follows nested groups
	// (LDAP_MATCHING_RULE_IN_CHAIN).
	adChain = "1.2.840.113556.1.4.1941"
	// maxGroups bounds the groups of one user: Windows itself lets nobody log
	// in who is in more than 1,015.
	maxGroups = 2000
	// parentsLife is how long it is remembered which groups a group is in: many
	// users share their groups.
	parentsLife = time.Minute
	// maxParents bounds the groups remembered.
	maxParents = 20_000
)

// groupFinder finds groups as GroupsConfig says.
type groupFinder struct {
	cfg  LDAPConfig
	base *ldap.DN // nil: anywhere
	log  *slog.Logger

	mu      sync.Mutex
	parents map[string]parents // by group, as dnKey writes it
}

type parents struct {
	dns  []string
	read time.Time
}

func newGroupFinder(cfg LDAPConfig, log *slog.Logger) (*groupFinder, error) {
	g := &groupFinder{cfg: cfg, log: log, parents: make(map[string]parents)}
	if cfg.Groups.Base != "" {
		dn, err := ldap.ParseDN(cfg.Groups.Base)
		if err != nil {
			return nil, fmt.Errorf("base: %w", err)
		}
		g.base = dn
	}
	return g, nil
}

// userAttribute is what has to be asked of a user's entry; "" is nothing.
func (g *groupFinder) userAttribute() string {
	if g.cfg.Groups.Method == GroupsMemberOf {
		return "memberOf" // operational in OpenLDAP: given only when asked for by name
	}
	return ""
}

// of gives the sorted names of an entry's groups.
func (g *groupFinder) of(c *connection, entry *ldap.Entry) ([]string, error) {
	if g.cfg.Groups.Method == GroupsNone {
		return nil, nil
	}
	level, err := g.direct(c, entry)
	if err != nil {
		return nil, err
	}
	levels := 1
	if g.cfg.Groups.Nested && g.cfg.Groups.Method != GroupsAD { // its chain rule gives all levels at once
		levels = g.cfg.Groups.Depth
	}
	var names []string
	seen := map[string]bool{dnKey(entry.DN): true}
	for depth := 1; len(level) > 0; depth++ {
		var next []string
		for _, dn := range level {
			key := dnKey(dn)
			name, counts := g.name(dn)
			if seen[key] || !counts {
				continue
			}
			if depth > levels {
				if g.cfg.Groups.Nested {
					g.log.Warn("directory: groups nested deeper than ldap.groups.depth do not count", "dn", entry.DN, "group", dn, "depth", levels)
				}
				return sortedNames(names), nil
			}
			seen[key] = true
			names = append(names, name)
			if len(names) > maxGroups {
				return nil, &answerError{fmt.Sprintf("%s is in more than %d groups; set ldap.groups.base to those that matter", entry.DN, maxGroups)}
			}
			if levels == 1 {
				continue
			}
			above, err := g.above(c, dn, key)
			if err != nil {
				return nil, err
			}
			next = append(next, above...)
		}
		level = next
	}
	return sortedNames(names), nil
}

func sortedNames(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// direct gives the DNs of the groups that an entry itself is in.
func (g *groupFinder) direct(c *connection, entry *ldap.Entry) ([]string, error) {
	if g.cfg.Groups.Method == GroupsMemberOf {
		return attribute(entry, "memberOf")
	}
	return g.searchMember(c, entry.DN)
}

// above gives the DNs of the groups that a group is in.
func (g *groupFinder) above(c *connection, dn, key string) ([]string, error) {
	g.mu.Lock()
	known, ok := g.parents[key]
	g.mu.Unlock()
	if ok && time.Since(known.read) < parentsLife {
		return known.dns, nil
	}
	var dns []string
	var err error
	if g.cfg.Groups.Method == GroupsMemberOf {
		dns, err = g.memberOf(c, dn)
	} else {
		dns, err = g.searchMember(c, dn)
	}
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.parents) >= maxParents {
		clear(g.parents)
	}
	g.parents[key] = parents{dns, time.Now()}
	return dns, nil
}

// memberOf reads the attribute of a group. A group that cannot be seen, such
// as one of another domain, is in none.
func (g *groupFinder) memberOf(c *connection, dn string) ([]string, error) {
	found, err := c.Search(newRequest(dn, ldap.ScopeBaseObject, "(objectClass=*)", "memberOf"))
	var answer *ldap.Error
	if errors.As(err, &answer) && (answer.ResultCode == ldap.LDAPResultNoSuchObject || answer.ResultCode == ldap.LDAPResultReferral) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dn, err)
	}
	if len(found.Entries) == 0 {
		return nil, nil
	}
	return attribute(found.Entries[0], "memberOf")
}

// searchMember finds the groups that name dn as a member.
func (g *groupFinder) searchMember(c *connection, dn string) ([]string, error) {
	rule := "member"
	if g.cfg.Groups.Method == GroupsAD && g.cfg.Groups.Nested {
		rule += ":" + adChain + ":"
	}
	base := g.cfg.Groups.Base
	if base == "" {
		base = g.cfg.Base
	}
	entries, err := g.search(c, newRequest(base, ldap.ScopeWholeSubtree, "("+rule+"="+ldap.EscapeFilter(dn)+")", "1.1"))
	if err != nil {
		return nil, fmt.Errorf("groups of %s: %w", dn, err)
	}
	dns := make([]string, len(entries))
	for i, e := range entries {
		dns[i] = e.DN
	}
	return dns, nil
}

// search collects all pages of an answer (RFC 2696).
func (g *groupFinder) search(c *connection, req *ldap.SearchRequest) ([]*ldap.Entry, error) {
	found, err := c.SearchWithPaging(req, uint32(g.cfg.PageSize))
	if err != nil {
		return nil, fmt.Errorf("search below %q: %w", req.BaseDN, err)
	}
	return found.Entries, nil
}

// name is what a group is called, and whether it counts.
func (g *groupFinder) name(text string) (string, bool) {
	dn, err := ldap.ParseDN(text)
	if err != nil || len(dn.RDNs) == 0 || len(dn.RDNs[0].Attributes) == 0 {
		g.log.Debug("directory: group passed over", "dn", text, "error", err)
		return "", false
	}
	if g.base != nil && !g.base.AncestorOfFold(dn) {
		return "", false
	}
	if g.cfg.Groups.Name == GroupNameDN {
		return text, true
	}
	return dn.RDNs[0].Attributes[0].Value, true
}

// dnKey writes a DN so that different spellings of it are the same.
func dnKey(text string) string {
	dn, err := ldap.ParseDN(text)
	if err != nil {
		return strings.ToLower(text)
	}
	return strings.ToLower(dn.String())
}
