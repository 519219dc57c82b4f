package mtasetup

// Lookup tables for co-existence: users of the other system are known recipients,
// and bounces to rewritten senders are taken. A table that is named and not there
// defers all mail, so it must exist before it is named.

import (
	"slices"
	"strings"
)

// Names of the tables in Postfix's folder.
const (
	virtualMap = "cloakroom"
	srsMap     = "cloakroom-srs"
)

// maps plans the lookup tables.
func (b *postfix) maps() {
	if len(b.set.Routes) == 0 {
		return
	}
	b.virtualAlias()
	b.srs()
	b.ways()
}

// virtualAlias plans the map of users of the other system.
func (b *postfix) virtualAlias() {
	kind := b.m.value(nil, "default_database_type")
	if kind == "" {
		kind = "hash"
	}
	file := b.m.file(virtualMap)
	if b.names("virtual_alias_maps", file) {
		return
	}
	present := b.m.Main["virtual_alias_maps"]
	if b.m.value(nil, "virtual_alias_maps") == "" {
		present = "" // the default refers to an empty parameter
	}
	reason := "Users of the other system are known here, or mail for them is refused before Cloakroom is asked. The map also catches what a milter does not see: aliases, automatic copies, bounces."
	b.table(file, "virtual_alias_maps", joined(present, kind+":"+file),
		"cloakroom directory export --format postfix-virtual -o "+file+" && postmap "+kind+":"+file, reason)
}

// srs plans how bounces to rewritten senders are taken.
func (b *postfix) srs() {
	file := b.m.file(srsMap)
	for _, domain := range b.srsDomains() {
		if local := b.localClass(domain); local != "" {
			b.remark(Warning, "rewritten senders are at %s, which is in %s: bounces to them must be known recipients there (cloakroom directory export --format postfix-srs gives a regexp table), or take a srs_domain of its own", domain, local)
			continue
		}
		relay := b.m.value(nil, "relay_domains")
		if !hasWord(relay, domain) {
			present := b.m.Main["relay_domains"]
			if relay == "" {
				present = ""
			}
			b.setMain("relay_domains", joined(b.planned("relay_domains", present), domain), "Bounces to rewritten senders (srs: true) are taken.")
		}
		if b.names("relay_recipient_maps", file) {
			continue
		}
		others := slices.DeleteFunc(splitList(relay), func(d string) bool { return slices.Contains(b.srsDomains(), d) })
		if len(others) > 0 && b.m.value(nil, "relay_recipient_maps") == "" {
			b.remark(Info, "relay_recipient_maps stays empty: with a table of rewritten senders in it, mail for all other recipients in %s would be refused. Cloakroom itself refuses what it has not rewritten", strings.Join(others, ", "))
			continue
		}
		b.table(file, "relay_recipient_maps", joined(b.m.Main["relay_recipient_maps"], "regexp:"+file),
			"cloakroom directory export --format postfix-srs -o "+file, "Rewritten senders are recipients of bounces, and nobody else in their domain.")
	}
}

func (b *postfix) srsDomains() []string {
	var out []string
	for _, r := range b.set.Routes {
		if r.SRSDomain != "" && !slices.Contains(out, r.SRSDomain) {
			out = append(out, r.SRSDomain)
		}
	}
	return out
}

// planned is a value that the plan already changes, else present. The earlier
// change goes: a parameter is changed once.
func (b *postfix) planned(name, present string) string {
	i := slices.IndexFunc(b.plan.Changes, func(c Change) bool { return c.Kind == Parameter && c.Name == name })
	if i < 0 {
		return present
	}
	value := b.plan.Changes[i].New
	b.plan.Changes = slices.Delete(b.plan.Changes, i, i+1)
	return value
}

// table plans the parameter if the table is there, else says how to make it.
func (b *postfix) table(file, name, value, command, reason string) {
	if b.m.Maps[file] {
		if !slices.ContainsFunc(b.plan.Changes, func(c Change) bool { return c.Kind == Parameter && c.Name == name }) {
			b.setMain(name, value, reason)
		}
		return
	}
	step := Step{Command: command, Lines: []string{name + " = " + value}, Reason: reason + " Make the map, then run this again: it adds the line once the map is there."}
	if !slices.ContainsFunc(b.plan.Steps, func(s Step) bool { return s.Command == step.Command }) {
		b.plan.Steps = append(b.plan.Steps, step)
	}
}

// names tells whether a parameter has a table, of whatever type.
func (b *postfix) names(parameter, file string) bool {
	return slices.ContainsFunc(splitList(b.m.value(nil, parameter)), func(t string) bool {
		_, path, ok := strings.Cut(strings.TrimPrefix(t, "proxy:"), ":")
		return ok && path == file
	})
}

// localClass is the parameter that makes a domain one that is delivered here.
func (b *postfix) localClass(domain string) string {
	for _, name := range []string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains"} {
		if hasWord(b.m.value(nil, name), domain) {
			return name
		}
	}
	return ""
}

// ways reminds of how mail gets to the other system.
func (b *postfix) ways() {
	if b.m.value(nil, "transport_maps") != "" {
		return
	}
	var lines []string
	for _, r := range b.set.Routes {
		if r.Alternate != "" {
			lines = append(lines, "transport_maps = inline:{ {"+r.Alternate+"=smtp:[HOST]} }")
		}
	}
	if len(lines) > 0 {
		b.plan.Steps = append(b.plan.Steps, Step{Lines: lines[:1], Reason: "The way to the other system, only where its alternate domain has no MX of its own."})
	}
}

// joined appends to a list.
func joined(list, one string) string {
	if strings.TrimSpace(list) == "" {
		return one
	}
	return strings.TrimRight(list, ", \t") + ", " + one
}
