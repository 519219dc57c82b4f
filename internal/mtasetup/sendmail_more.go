package mtasetup

// Macros that Cloakroom reads, and lookup tables for co-existence.

import (
	"fmt"
	"slices"
	"strings"
)

// sendmailMacros are what Cloakroom reads, by the definition that tells it. All
// are among Sendmail's own; only a definition in sendmail.mc can lack them.
var sendmailMacros = []struct {
	definition string
	macros     []string
	use        string
}{
	{"confMILTER_MACROS_CONNECT", []string{"{daemon_name}"}, "which listener a mail came by"},
	{"confMILTER_MACROS_HELO", []string{"{tls_version}"}, "whether the client used TLS"},
	{"confMILTER_MACROS_ENVFROM", []string{"i", "{auth_authen}"}, "the queue id in the log, and who has logged in: without it nobody's mail counts as ours"},
	{"confMILTER_MACROS_ENVRCPT", []string{"{rcpt_mailer}"}, "which recipients Sendmail itself refuses"},
}

// macros plans what sendmail.mc keeps from milters and Cloakroom needs.
func (b *sendmail) macros() {
	for _, need := range sendmailMacros {
		i := slices.IndexFunc(b.calls, func(c call) bool { return c.name == "define" && c.arg(0) == need.definition })
		if i < 0 {
			continue
		}
		list := names(b.calls[i].arg(1))
		var missing []string
		for _, macro := range need.macros {
			if !slices.Contains(list, macro) && !slices.Contains(list, strings.Trim(macro, "{}")) {
				missing = append(missing, macro)
			}
		}
		if len(missing) > 0 {
			b.line(fmt.Sprintf("Cloakroom is told by %s %s.", strings.Join(missing, " and "), need.use),
				"define(`"+need.definition+"', ``"+strings.Join(append(list, missing...), ", ")+"'')dnl")
		}
	}
}

// tables tells what co-existence needs of lookup tables.
func (b *sendmail) tables() {
	if len(b.set.Routes) == 0 {
		return
	}
	feature := func(name string) bool {
		return slices.ContainsFunc(b.calls, func(c call) bool { return c.name == "FEATURE" && c.arg(0) == name })
	}
	add := func(name, line string) []string {
		if feature(name) {
			return nil
		}
		return []string{line}
	}
	made, table := b.m.file("cloakroom.virtuser"), b.m.file("virtusertable")
	sources := made
	if b.m.Tables["virtusertable"] {
		sources = table + " " + made
	}
	b.step(Step{Command: "cloakroom directory export --format virtusertable -o " + made + " && cat " + sources + " | makemap hash " + table,
		Lines:  add("virtusertable", "FEATURE(`virtusertable')dnl"),
		Reason: "Users of the other system are known here, or mail for them is refused before Cloakroom is asked. The table also catches what a milter does not see: aliases, bounces. The domain belongs into local-host-names (class w) or VIRTUSER_DOMAIN. Again after each change of the directory."})
	for _, r := range b.set.Routes {
		if r.SRSDomain != "" {
			b.step(Step{Command: "printf 'To:" + r.SRSDomain + `\tRELAY\n` + "' >> " + b.m.file("access") + " && makemap hash " + b.m.file("access") + " < " + b.m.file("access"),
				Lines:  add("access_db", "FEATURE(`access_db')dnl"),
				Reason: "Bounces to rewritten senders (srs: true) are taken. Cloakroom itself refuses what it has not rewritten."})
		}
		if r.Alternate != "" && !b.m.Tables["mailertable"] {
			b.step(Step{Command: "printf '" + r.Alternate + `\tesmtp:[HOST]\n` + "' >> " + b.m.file("mailertable") + " && makemap hash " + b.m.file("mailertable") + " < " + b.m.file("mailertable"),
				Lines:  add("mailertable", "FEATURE(`mailertable')dnl"),
				Reason: "The way to the other system, only where its alternate domain has no MX of its own."})
		}
	}
}
