package mtasetup

// What Postfix does when the milter does not answer, how long it waits, and what
// it tells a milter. Where another value suits the other milters, ours gets its
// own ({ address, option=value }, since Postfix 3.0).

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Least times in seconds, and what to set where a time is shorter: Postfix's
// defaults. Cloakroom answers a recipient within 8 s, a busy one takes up to 5 s
// to take a connection, and a large message has to be written to the disk.
var leastTimes = []struct {
	option, set string
	least       int
}{
	{"connect_timeout", "30s", 10},
	{"command_timeout", "30s", 10},
	{"content_timeout", "300s", 300},
}

// leastProtocol is the version of the milter protocol in which header fields
// arrive byte for byte (Postfix 2.6 and later; the default is 6).
const leastProtocol = 6

// neededMacros are what Cloakroom reads, by the stage that it is told them at.
var neededMacros = []struct {
	parameter string
	macros    []string
	use       string
}{
	{"milter_connect_macros", []string{"{daemon_name}", "v"}, "which listener a mail came by"},
	{"milter_helo_macros", []string{"{tls_version}"}, "whether the client used TLS"},
	{"milter_mail_macros", []string{"i", "{auth_authen}"}, "who has logged in: without it nobody's mail counts as ours"},
	{"milter_rcpt_macros", []string{"{rcpt_mailer}"}, "which recipients Postfix itself refuses"},
	{"milter_end_of_data_macros", []string{"i"}, "the queue id in the log"},
}

// observing is said where the MTA lets mail pass as long as nothing is done to it.
const observing = "mode is observe, so the MTA is told to let mail pass while Cloakroom is away. Run this set-up again when mode becomes enforce: from then on mail has to wait instead"

// action is what shall happen to mail while Cloakroom does not answer.
func (b *postfix) action() (value, reason string) {
	if b.set.Observe {
		b.remark(Warning, "%s", observing)
		return "accept", "As mode is observe: nothing is done to mail, and it passes while Cloakroom is away too. Run this again once mode is enforce"
	}
	if !b.set.Accept {
		return "tempfail", "While Cloakroom is away senders are asked to try again, and nothing is lost"
	}
	if !b.set.LinksOnly {
		b.remark(Info, "on_error is accept, but more than links is at stake (co-existence, vault, or rules that refuse): while Cloakroom is away mail has to wait, so the action stays tempfail")
		return "tempfail", "While Cloakroom is away senders are asked to try again; on_error: accept holds for links alone"
	}
	return "accept", "As on_error is accept: while Cloakroom is away mail passes with its attachments"
}

// defaults plans the parameters that hold for all milters.
func (b *postfix) defaults() {
	action, reason := b.action()
	const name = "milter_default_action"
	present := b.m.value(nil, name)
	switch {
	case b.m.Explicit[name] && present == action:
	case !b.m.atLeast(3, 0):
		if present != action || !b.m.Explicit[name] {
			b.setMain(name, action, reason+". It holds for all milters: this version has no settings for single ones.")
		}
	case !b.others(), !b.m.Explicit[name] && present == action:
		b.setMain(name, action, reason+". Postfix's default is tempfail up to 3.10, and shutdown from 3.11.")
	}
	if !b.m.atLeast(3, 0) {
		b.oldTimes()
	}
	b.macros()
}

// others tells whether there are other milters.
func (b *postfix) others() bool {
	for _, l := range append([]listener{{MasterService: nil}}, b.listening...) {
		for _, name := range []string{"smtpd_milters", "non_smtpd_milters"} {
			for _, text := range splitList(b.m.value(l.MasterService, name)) {
				if !b.isOurs(parseElement(text)) {
					return true
				}
			}
		}
	}
	return false
}

// element is our milter as a list has to have it. present is how it stands
// there, nil for not yet: its spelling and other options stay.
func (b *postfix) element(present *element) element {
	e := element{text: b.address, address: b.address}
	if present != nil {
		e.options = slices.Clone(present.options)
		if same(present.address, b.address, b.m.queue()) {
			e.address = present.address
		}
	}
	if b.m.atLeast(3, 0) {
		for _, o := range b.options(e) {
			i := slices.IndexFunc(e.options, func(x option) bool { return x.name == o.name })
			if i < 0 {
				e.options = append(e.options, o)
			} else {
				e.options[i] = o
			}
		}
	}
	made := newElement(e.address, e.options)
	if present != nil && made.tight() == present.tight() {
		return *present
	}
	return made
}

// options are the settings that ours needs beside those it has.
func (b *postfix) options(e element) []option {
	effective := func(name string) (value string, global bool) {
		if v, ok := e.option(name); ok {
			return v, false
		}
		return b.m.value(nil, "milter_"+name), true
	}
	var out []option
	wanted, _ := b.action()
	action, global := effective("default_action")
	if global && slices.ContainsFunc(b.plan.Changes, func(c Change) bool { return c.Name == "milter_default_action" }) {
		action = wanted
	}
	if action != wanted {
		out = append(out, option{"default_action", wanted})
		b.remark(Info, "default_action=%s is set for Cloakroom alone: milter_default_action = %s, as it is, may be right for the other milters", wanted, b.m.value(nil, "milter_default_action"))
	}
	for _, t := range leastTimes {
		value, _ := effective(t.option)
		if s, ok := seconds(value); ok && s < t.least {
			out = append(out, option{t.option, t.set})
			b.remark(Info, "%s=%s is set for Cloakroom alone: %s is too short to answer for sure", t.option, t.set, value)
		}
	}
	version, _ := effective("protocol")
	if n, err := strconv.Atoi(version); err == nil && n < leastProtocol {
		out = append(out, option{"protocol", strconv.Itoa(leastProtocol)})
		b.remark(Info, "protocol=%d is set for Cloakroom alone: with milter_protocol = %s header fields do not arrive byte for byte", leastProtocol, version)
	}
	return out
}

// oldTimes plans the same for all milters, before Postfix 3.0.
func (b *postfix) oldTimes() {
	for _, t := range leastTimes {
		value := b.m.value(nil, "milter_"+t.option)
		if s, ok := seconds(value); ok && s < t.least {
			b.setMain("milter_"+t.option, t.set, value+" is too short to answer for sure.")
		}
	}
	if n, err := strconv.Atoi(b.m.value(nil, "milter_protocol")); err == nil && n < leastProtocol {
		b.setMain("milter_protocol", strconv.Itoa(leastProtocol), "Otherwise header fields do not arrive byte for byte.")
	}
}

// seconds reads a time of Postfix: a number with s, m, h, d or w; bare numbers
// are seconds for these parameters.
func seconds(value string) (int, bool) {
	unit := 1
	if n := len(value); n > 0 {
		if factor, ok := map[byte]int{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}[value[n-1]|0x20]; ok {
			unit, value = factor, value[:n-1]
		}
	}
	n, err := strconv.Atoi(value)
	return n * unit, err == nil
}

// macros plans what main.cf keeps from milters and Cloakroom needs.
func (b *postfix) macros() {
	for _, need := range neededMacros {
		if !b.m.Explicit[need.parameter] {
			continue
		}
		list := splitMacros(b.m.value(nil, need.parameter))
		value := b.m.Main[need.parameter]
		var missing []string
		for _, macro := range need.macros {
			if !slices.Contains(list, macro) && !slices.Contains(list, strings.Trim(macro, "{}")) {
				missing = append(missing, macro)
			}
		}
		if len(missing) > 0 {
			value = strings.TrimSpace(value + " " + strings.Join(missing, " "))
			b.setMain(need.parameter, value, fmt.Sprintf("Cloakroom is told by %s %s.", strings.Join(missing, " and "), need.use))
		}
	}
}

// splitMacros separates names of macros, which may be in braces.
func splitMacros(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}
