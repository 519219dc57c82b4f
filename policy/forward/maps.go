package forward

// Tables for the MTA, made from the same routes and groups: with them mail still
// goes to the right system while Cloakroom is not running, and senders that were
// rewritten are known as recipients.

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// MapFormat is what a table is for.
type MapFormat string

// The tables that can be made.
const (
	// PostfixVirtual is for virtual_alias_maps (hash, lmdb, texthash).
	PostfixVirtual MapFormat = "postfix-virtual"
	// SendmailVirtuser is for FEATURE(`virtusertable').
	SendmailVirtuser MapFormat = "virtusertable"
	// PostfixSRS is a regexp (or pcre) table that accepts rewritten senders and
	// nothing else, for relay_recipient_maps with their domain in relay_domains.
	PostfixSRS MapFormat = "postfix-srs"
	// PostfixRelay is for relay_recipient_maps (hash, lmdb, texthash): whole
	// domains, where regular expressions are not wanted.
	PostfixRelay MapFormat = "postfix-relay-recipients"
)

// MapFormats lists every format, in the order documents name them.
func MapFormats() []MapFormat {
	return []MapFormat{PostfixVirtual, SendmailVirtuser, PostfixSRS, PostfixRelay}
}

// User is one user of the directory.
type User struct {
	Address string
	Aliases []string
	Groups  []string
}

// Maps gives the lines of a table, without line ends. users is walked at most
// once per walk of the lines. An address that the format cannot hold becomes a
// comment that says so: it then depends on Cloakroom alone.
func (t *Routes) Maps(format MapFormat, users iter.Seq[User]) (iter.Seq[string], error) {
	if t == nil {
		t = &Routes{}
	}
	switch format {
	case PostfixVirtual:
		return t.aliasLines(users, "virtual_alias_maps of Postfix", postfixEntry), nil
	case SendmailVirtuser:
		return t.aliasLines(users, "virtusertable of Sendmail; its domains belong in class {w} or VirtHost", sendmailEntry), nil
	case PostfixSRS:
		return slices.Values(t.srsLines()), nil
	case PostfixRelay:
		return slices.Values(t.relayLines()), nil
	}
	return nil, fmt.Errorf("format %q is not known; there are %v", format, MapFormats())
}

// Table is the routes as far as no key is needed for them: who goes where, but
// nothing about a mail. It serves what runs beside the daemon and must not ask
// for its secrets.
type Table struct{ routes *Routes }

// NewTable makes a configuration ready. ours tells our domains, as
// policy.Domain writes them. Errors begin with the key.
func NewTable(cfg Config, ours func(domain string) bool) (*Table, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Routes{routes: make([]route, len(cfg))}
	for i, r := range cfg {
		domain := normalDomain(r.Domain)
		if !ours(domain) {
			return nil, fmt.Errorf("coexistence[%d].domain: %s is not one of `domains`", i, r.Domain)
		}
		t.routes[i] = route{Route: r, index: i, members: make(map[string]bool)}
		t.routes[i].Domain, t.routes[i].Alternate = domain, normalDomain(r.Alternate)
		for _, m := range r.Members {
			local, domain, _ := split(m)
			t.routes[i].members[foldKey(local, domain)] = true
		}
		if r.SRS {
			t.routes[i].srs = &SRS{domain: r.srsDomain()} // its name is all that maps want
		}
	}
	return &Table{t}, nil
}

// Len is the number of routes.
func (t *Table) Len() int { return t.routes.Len() }

// Maps is Routes.Maps.
func (t *Table) Maps(format MapFormat, users iter.Seq[User]) (iter.Seq[string], error) {
	return t.routes.Maps(format, users)
}

// Destination gives the address to which mail for address goes on, and the
// place of the route in the configuration. ok is false where no route says
// anything: the mailbox is here, or the domain is not shared.
func (t *Table) Destination(address string, member Member) (to string, route int, ok bool) {
	local, domain, ok := split(address)
	if !ok {
		return "", -1, false
	}
	r := t.routes.routeOf(local, domain, member)
	if r == nil {
		return "", -1, false
	}
	return local + "@" + r.Alternate, r.index, true
}

// Home gives the address in the shared domain that an address in an alternate
// one stands for. Any other address comes back as it is.
func (t *Table) Home(address string) string {
	local, domain, ok := split(address)
	if !ok {
		return address
	}
	r := t.routes.byAlternate(domain)
	if r == nil {
		return address
	}
	return local + "@" + r.Domain
}

// entry writes the lines for one address; ok is false for one it cannot write.
type entry func(local string, r *route) (lines []string, ok bool)

func (t *Routes) aliasLines(users iter.Seq[User], purpose string, write entry) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield("# Made by cloakroom for the " + purpose + ". Changes here are lost.") {
			return
		}
		seen := make(map[string]bool)
		one := func(local string, r *route) bool {
			key := foldKey(local, r.Domain)
			if seen[key] {
				return true
			}
			seen[key] = true
			lines, ok := write(local, r)
			if !ok {
				lines = []string{fmt.Sprintf("# left out, this format cannot hold it: %+q", local+"@"+r.Domain)}
			}
			for _, l := range lines {
				if !yield(l) {
					return false
				}
			}
			return true
		}
		for u := range users {
			member := func(group, _ string) bool { return slices.Contains(u.Groups, group) }
			for _, address := range append([]string{u.Address}, u.Aliases...) {
				local, domain, ok := split(address)
				if !ok {
					continue
				}
				if r := t.routeOf(local, domain, member); r != nil && !one(local, r) {
					return
				}
			}
		}
		for i := range t.routes {
			for _, m := range t.routes[i].Members {
				local, domain, _ := split(m)
				// An earlier route may have it, by its own list.
				if !one(local, t.routeOf(local, domain, nil)) {
					return
				}
			}
		}
	}
}

// postfixEntry is virtual(5). Postfix itself looks up user for user+tag and
// carries the tag over. It looks up a domain as the mail wrote it, so that an
// internationalised one stands in both forms.
func postfixEntry(local string, r *route) ([]string, bool) {
	if !plain(local) {
		return nil, false
	}
	to := local + "@" + r.Alternate
	lines := []string{local + "@" + r.Domain + " " + to}
	if u, err := idna.Display.ToUnicode(r.Domain); err == nil && u != r.Domain {
		lines = append(lines, local+"@"+u+" "+to)
	}
	return lines, true
}

// sendmailEntry is virtusertable: the second line carries "+tag" over as %3.
func sendmailEntry(local string, r *route) ([]string, bool) {
	for i := range len(local) {
		if local[i] >= 0x80 {
			return nil, false
		}
	}
	if !plain(local) {
		return nil, false
	}
	lines := []string{local + "@" + r.Domain + "\t" + local + "@" + r.Alternate}
	if !strings.Contains(local, "+") {
		lines = append(lines, local+"+*@"+r.Domain+"\t"+local+"%3@"+r.Alternate)
	}
	return lines, true
}

// plain tells the local parts that a table takes literally: no quotes, nothing
// that begins a comment, no old routing by % and !, no wildcard.
func plain(local string) bool {
	content, quoted, ok := unquote(local)
	return ok && !quoted && !strings.ContainsAny(content, "%!*") && content[0] != '#' && content[0] != '/' &&
		content[0] != '|' && content[0] != '-'
}

// srsDomains lists the domains of rewritten senders, in the routes' order.
func (t *Routes) srsDomains() []string {
	var out []string
	for i := range t.routes {
		if s := t.routes[i].srs; s != nil && !slices.Contains(out, s.domain) {
			out = append(out, s.domain)
		}
	}
	return out
}

func (t *Routes) srsLines() []string {
	lines := []string{"# Made by cloakroom: a regexp table of the senders it rewrites, for relay_recipient_maps of Postfix. Changes here are lost."}
	for _, d := range t.srsDomains() {
		// Postfix folds case in these tables unless told otherwise.
		lines = append(lines, "/^srs[01][-+=].+=.+@"+regexp.QuoteMeta(d)+"$/ OK")
	}
	return lines
}

func (t *Routes) relayLines() []string {
	lines := []string{"# Made by cloakroom for relay_recipient_maps of Postfix. Changes here are lost."}
	for _, d := range t.srsDomains() {
		if t.isDomain(d) {
			lines = append(lines, "# left out: every address of "+d+" would be accepted; use the format "+string(PostfixSRS))
			continue
		}
		lines = append(lines, "@"+d+" OK")
	}
	return lines
}
