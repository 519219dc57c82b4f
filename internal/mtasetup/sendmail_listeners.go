package mtasetup

// Sendmail's listeners (DAEMON_OPTIONS), and the list of filters of each.

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// sendmailConfig is what sendmail.cf says.
type sendmailConfig struct {
	version   string
	filters   map[string]element // X lines
	input     []string           // InputMailFilters
	listeners []string           // DaemonPortOptions
}

func readConfig(text string) sendmailConfig {
	c := sendmailConfig{filters: map[string]element{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "DZ"):
			c.version = line[2:]
		case strings.HasPrefix(line, "X"):
			name, equates, ok := strings.Cut(line[1:], ",")
			if ok {
				c.filters[strings.TrimSpace(name)] = filterOf(strings.TrimSpace(name), strings.TrimSpace(equates))
			}
		case strings.HasPrefix(line, "O InputMailFilters="):
			_, list, _ := strings.Cut(line, "=")
			c.input = names(list)
		case strings.HasPrefix(line, "O DaemonPortOptions="):
			_, value, _ := strings.Cut(line, "=")
			c.listeners = append(c.listeners, value)
		}
	}
	return c
}

// sendmailListener is one of DaemonPortOptions.
type sendmailListener struct {
	name, addr, port string
	text             string // as written
	own              bool   // it has a list of its own
	filters          []string
	purpose          string
	way              way
	copies           bool
}

// listeners reads those of sendmail.mc, or of sendmail.cf, which has the ones that
// are there without a word.
func (b *sendmail) listeners() []sendmailListener {
	values := slices.Clone(b.cf.listeners)
	if b.m.Config == "" {
		for _, c := range b.calls {
			if c.name == "DAEMON_OPTIONS" {
				values = append(values, c.arg(0))
			}
		}
		if len(values) == 0 {
			values = []string{"Name=MTA"}
		}
	}
	var out []sendmailListener
	for _, v := range values {
		if l := b.listener(v); !b.planned(l) {
			out = append(out, l)
		}
	}
	return out
}

// planned tells a listener that an earlier run put into our block for Cloakroom's
// own sake.
func (b *sendmail) planned(l sendmailListener) bool {
	inBlock := slices.ContainsFunc(calls(b.old), func(c call) bool { return c.name == "DAEMON_OPTIONS" && c.arg(0) == l.text })
	return inBlock && (l.name == ownListener || slices.ContainsFunc(b.set.Routes, func(r Route) bool { return r.Daemon == l.name }))
}

// ownListener is the name of the listener for Cloakroom's own mail.
const ownListener = "cloakroom-own"

func (b *sendmail) listener(value string) sendmailListener {
	l := sendmailListener{text: strings.TrimSpace(value), port: "25", purpose: "other hosts"}
	modes := ""
	for _, part := range strings.Split(value, ",") {
		key, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch v = strings.TrimSpace(v); strings.ToLower(strings.TrimSpace(key)) {
		case "name":
			l.name = v
		case "addr", "address", "a":
			l.addr = v
		case "port", "p":
			l.port = map[string]string{"smtp": "25", "submission": "587", "smtps": "465", "submissions": "465"}[v]
			if l.port == "" {
				l.port = v
			}
		case "m", "modify", "modifiers":
			modes = v
		case "inputmailfilters", "i":
			l.own, l.filters = true, names(v)
		}
	}
	host, port, submits := splitHostPort(b.set.Submit)
	switch {
	case submits && port == l.port && loopback(strings.Trim(host, "[]")) && (l.addr == "" || loopback(l.addr)):
		l.purpose, l.copies, l.way = "Cloakroom's own mail", true, outward
	case slices.ContainsFunc(b.set.Routes, func(r Route) bool { return r.Daemon != "" && r.Daemon == l.name }):
		l.purpose = "another mail system"
	case l.port == "587", l.port == "465", strings.Contains(modes, "a"):
		l.purpose, l.way = "our users", outward
	case l.addr != "" && loopback(l.addr):
		l.purpose, l.way = "programs on this host", outward
	case l.port == "25":
		l.purpose = "the Internet"
	}
	return l
}

// sees tells who sees mail at the listeners that are there; usual is the list of
// those without their own.
func (b *sendmail) sees(listeners []sendmailListener, usual []string) {
	for _, l := range listeners {
		list := usual
		if l.own {
			list = l.filters
		}
		b.seen(l.name+" (port "+l.port+")", l.purpose, list)
	}
}

func (b *sendmail) seen(service, purpose string, list []string) {
	l := Listener{Service: service, Purpose: purpose, Milters: []string{}}
	for _, name := range list {
		i := slices.IndexFunc(b.others, func(e element) bool { return e.name == name })
		known := name
		if i >= 0 {
			if famous, r := b.opt.identify(b.others[i], ""); r != unknown && famous != b.others[i].address {
				known = famous
			}
		}
		if name == filterName || i >= 0 && b.ours(b.others[i]) {
			known, l.Ours = "Cloakroom", true
		}
		l.Milters = append(l.Milters, known)
	}
	b.plan.Listeners = append(b.plan.Listeners, l)
}

// elements are filters by their names.
func (b *sendmail) elements(list []string) []element {
	var out []element
	for _, name := range list {
		i := slices.IndexFunc(b.others, func(e element) bool { return e.name == name })
		switch e, ok := b.cf.filters[name]; {
		case i >= 0:
			out = append(out, b.others[i])
		case ok:
			out = append(out, e)
		default:
			out = append(out, element{name: name, address: name})
		}
	}
	return out
}

// ownLists says what lists of single listeners have to become: their lines are
// the administrator's.
func (b *sendmail) ownLists(listeners []sendmailListener) {
	if b.hand != nil {
		return
	}
	for _, l := range listeners {
		others := b.others
		if l.own {
			others = slices.DeleteFunc(b.elements(l.filters), func(e element) bool { return e.name == filterName || b.ours(e) })
		}
		wanted, reason := b.placed(others, l.way)
		switch {
		case l.copies:
			wanted = b.signers()
			reason = "Cloakroom's own mail must not come to it again, only to what signs"
			if l.own && slices.Equal(l.filters, wanted) {
				continue
			}
		case !l.own && (l.way == inward || !b.mixed()):
			continue // the usual list is right
		case l.own && slices.Equal(l.filters, wanted):
			continue
		case l.own && len(l.filters) == 0 && !l.copies:
			b.remark(Warning, "DAEMON_OPTIONS Name=%s has an empty InputMailFilters: its mail passes without Cloakroom", l.name)
			continue
		case reason == "":
			reason = "Cloakroom is not in the one it has"
		default:
			reason = "Cloakroom stands " + reason
		}
		lines, what := b.ownLine(l, listeners)
		b.step(Step{Lines: append(lines, "DAEMON_OPTIONS(`"+withFilters(l.text, wanted)+"')dnl"),
			Reason: fmt.Sprintf("%s %s (%s) needs a list of its own in sendmail.mc, as here. %s.", what, l.name, l.purpose, reason)})
	}
}

// ownLine tells what a line of its own for a listener takes beside it: Sendmail's
// own listeners are there without one, until others are named.
func (b *sendmail) ownLine(l sendmailListener, listeners []sendmailListener) (lines []string, what string) {
	if slices.ContainsFunc(b.calls, func(c call) bool { return c.name == "DAEMON_OPTIONS" && strings.TrimSpace(c.arg(0)) == l.text }) {
		return nil, "The line of the listener"
	}
	if l.text == defaultMSA {
		lines = append(lines, "FEATURE(`no_default_msa')dnl")
	}
	named := strings.Contains(strings.Join(b.lines, "\n"), "DAEMON_OPTIONS(") || slices.ContainsFunc(b.calls, func(c call) bool { return c.name == "DAEMON_OPTIONS" })
	for _, other := range listeners {
		if !named && other.port == "25" {
			lines = append(lines, "DAEMON_OPTIONS(`"+other.text+"')dnl")
		}
	}
	return lines, "Sendmail's own listener"
}

// defaultMSA is what sendmail.cf has without FEATURE(`no_default_msa').
const defaultMSA = "Port=587, Name=MSA, M=E"

// mixed tells that one list cannot serve mail from outside and of our users: a
// filter verifies the one and signs the other.
func (b *sendmail) mixed() bool {
	return slices.ContainsFunc(b.others, func(e element) bool {
		_, r := b.opt.identify(e, "")
		return r == both
	})
}

// signers are the usual filters that sign.
func (b *sendmail) signers() []string {
	var out []string
	for _, e := range b.others {
		if _, r := b.opt.identify(e, ""); r == signer || r == both {
			out = append(out, e.name)
		}
	}
	return out
}

// withFilters exchanges or adds InputMailFilters.
func withFilters(options string, list []string) string {
	parts := slices.DeleteFunc(strings.Split(options, ","), func(p string) bool {
		key, _, _ := strings.Cut(strings.TrimSpace(p), "=")
		return strings.EqualFold(key, "InputMailFilters") || strings.EqualFold(key, "I")
	})
	return strings.Join(append(parts, " InputMailFilters="+strings.Join(list, ";")), ",")
}

// newListeners plans those for Cloakroom's own mail and for the other system.
func (b *sendmail) newListeners(listeners []sendmailListener) {
	var lines []string
	host, port, ok := splitHostPort(b.set.Submit)
	if i := slices.IndexFunc(listeners, func(l sendmailListener) bool { return l.copies }); ok && i >= 0 {
		if p := listeners[i].port; p == "25" || p == "587" || p == "465" {
			b.remark(Problem, "submit.smtp (%s) leads to %s, which takes mail of others too. Give it a port of its own, such as 127.0.0.1:10026: the set-up adds that listener", b.set.Submit, listeners[i].name)
		}
	} else if ok && loopback(host) {
		signers := b.signers()
		lines = append(lines, wrap("dnl #", "Mail that Cloakroom sends itself (submit.smtp). No filter of Cloakroom's here, or copies would be divided again.")...)
		lines = append(lines, "DAEMON_OPTIONS(`Name="+ownListener+", Family=inet, Addr=127.0.0.1, Port="+port+", InputMailFilters="+strings.Join(signers, ";")+"')dnl")
		b.seen(ownListener+" (port "+port+")", "Cloakroom's own mail", signers)
	}
	lines = append(lines, b.gateways(listeners)...)
	if len(lines) == 0 {
		return
	}
	if !slices.ContainsFunc(b.calls, func(c call) bool { return c.name == "DAEMON_OPTIONS" }) {
		b.lines = append(b.lines, wrap("dnl #", "Sendmail's listener on port 25, which is there without a word only as long as no other is named.")...)
		for _, l := range listeners {
			if l.port == "25" {
				b.lines = append(b.lines, "DAEMON_OPTIONS(`"+l.text+"')dnl")
			}
		}
	}
	b.lines = append(b.lines, lines...)
}

// gateways are the listeners that routes tell other systems of.
func (b *sendmail) gateways(listeners []sendmailListener) (lines []string) {
	port := firstGatewayPort
	if b.opt.GatewayPort != 0 {
		port = b.opt.GatewayPort
	}
	var done []string
	for _, r := range b.set.Routes {
		there := slices.ContainsFunc(listeners, func(l sendmailListener) bool { return l.name == r.Daemon })
		if r.Daemon == "" || there || slices.Contains(done, r.Daemon) {
			continue
		}
		for slices.ContainsFunc(listeners, func(l sendmailListener) bool { return l.port == strconv.Itoa(port) }) || strings.HasSuffix(b.set.Submit, ":"+strconv.Itoa(port)) {
			port++
		}
		lines = append(lines, wrap("dnl #", fmt.Sprintf("Mail from the other system, which is told of this port alone. Cloakroom knows by the name %s (coexistence[].gateways.daemon) where it came from.", r.Daemon))...)
		lines = append(lines, fmt.Sprintf("DAEMON_OPTIONS(`Name=%s, Port=%d')dnl", r.Daemon, port))
		b.remark(Warning, "let nobody but the other system connect to port %d (%s): Sendmail has no list for a single port, so it is the firewall's to say", port, networkList(r.Networks))
		if i := slices.IndexFunc(b.plan.Listeners, func(l Listener) bool { return l.Ours }); i >= 0 {
			b.plan.Listeners = append(b.plan.Listeners, Listener{Service: fmt.Sprintf("%s (port %d)", r.Daemon, port), Purpose: "another mail system", Milters: b.plan.Listeners[i].Milters, Ours: true})
		}
		done = append(done, r.Daemon)
		port++
	}
	return lines
}

func networkList(list []netip.Prefix) string {
	var out []string
	for _, n := range list {
		out = append(out, n.String())
	}
	if len(out) == 0 {
		return "coexistence[].gateways.networks names nobody"
	}
	return strings.Join(out, ", ")
}
