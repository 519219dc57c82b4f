package mtasetup

// The plan for Postfix: milters for each listener, from which the rest follows.

import (
	"fmt"
	"maps"
	"slices"
)

// postfix is a plan in the making.
type postfix struct {
	set  Settings
	m    *Machine
	opt  Options
	plan *Plan

	address   string // ours
	listening []listener
	newMain   []token // smtpd_milters of main.cf once the plan is done
	said      map[string]bool
}

// Postfix plans what a Postfix needs for Cloakroom.
func Postfix(set Settings, m *Machine, opt Options) *Plan {
	b := &postfix{set: set, m: m, opt: opt, said: map[string]bool{}, address: ofListen(set.Listen, m.queue()),
		plan: &Plan{MTA: "Postfix " + m.Version, Folder: m.Folder, Milter: ofListen(set.Listen, m.queue())}}
	b.listening = b.listeners()
	b.unknownServices()
	b.defaults()
	b.smtpdMilters()
	b.nonSMTPD()
	b.copiesListener()
	b.gatewayListeners()
	b.maps()
	b.socket()
	b.surroundings()
	return b.plan
}

// remark adds something to know, once.
func (b *postfix) remark(level Level, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !b.said[text] {
		b.said[text] = true
		b.plan.Remarks = append(b.plan.Remarks, Remark{level, text})
	}
}

// setMain plans a parameter of main.cf.
func (b *postfix) setMain(name, value, reason string) {
	c := Change{Kind: Parameter, Name: name, New: value, Reason: reason}
	if b.m.Explicit[name] {
		old := b.m.Main[name]
		c.Old = &old
	}
	b.plan.Changes = append(b.plan.Changes, c)
}

// override plans a parameter of a service.
func (b *postfix) override(s *MasterService, name, value, reason string) {
	c := Change{Kind: Override, Service: s.ID(), Name: name, New: value, Reason: reason}
	if old, ok := s.Overrides[name]; ok {
		c.Old = &old
	}
	b.plan.Changes = append(b.plan.Changes, c)
}

// isOurs tells our milter, at its address of now or of an earlier run.
func (b *postfix) isOurs(e element) bool {
	return same(e.address, b.address, b.m.queue()) ||
		slices.ContainsFunc(b.m.Ours, func(a string) bool { return same(e.address, a, b.m.queue()) })
}

// inherits tells whether a listener has the list of main.cf.
func (l *listener) inherits() bool {
	_, own := l.Overrides["smtpd_milters"]
	return !own
}

// smtpdMilters plans the lists of main.cf and of the listeners that need
// another.
func (b *postfix) smtpdMilters() {
	main := tokens(b.m.Main["smtpd_milters"], func(s string) string { return b.m.expand(nil, s) })
	b.newMain = main
	heirs := slices.DeleteFunc(slices.Clone(b.listening), func(l listener) bool { return !l.inherits() || !l.ours })
	if len(heirs) > 0 {
		// Inward, if any of them is: the others get a list of their own where theirs differs.
		of := heirs[0].way
		if slices.ContainsFunc(heirs, func(l listener) bool { return l.way == inward }) {
			of = inward
		}
		var reason string
		b.newMain, reason = b.place(main, of)
		if !slices.Equal(texts(b.newMain), texts(main)) {
			b.setMain("smtpd_milters", write(b.newMain, false), sentence("Mail that comes by SMTP", reason))
		}
	}
	for _, l := range b.listening {
		b.listenerMilters(l, main)
	}
	b.noListeners()
}

// sentence says what a list is for, and why Cloakroom stands where it does.
func sentence(subject, reason string) string {
	if reason == "" {
		return subject + "."
	}
	return subject + ". Cloakroom stands " + reason + "."
}

// texts are the milters of a list, however it is written.
func texts(list []token) []string {
	var out []string
	for _, e := range elementsOf(list) {
		out = append(out, e.tight())
	}
	return out
}

// listenerMilters plans the list of one listener; main is what smtpd_milters in
// main.cf was.
func (b *postfix) listenerMilters(l listener, main []token) {
	old := main
	if !l.inherits() {
		old = b.ownList(l.MasterService, "smtpd_milters")
	}
	wanted, reason := old, ""
	blocked := hasWord(b.m.value(l.MasterService, "receive_override_options"), "no_milters")
	switch {
	case l.ours && blocked:
		b.remark(Warning, "%s: receive_override_options has no_milters, which switches all milters off; take it out there", l.ID())
	case l.ours:
		wanted, reason = b.place(old, l.way)
		reason = sentence("Mail of "+l.purpose, reason)
	default:
		wanted = without(old, b.isOurs)
		reason = "Without Cloakroom: " + l.reason + "."
		if l.warn {
			b.remark(Warning, "%s: Cloakroom is left out: %s", l.ID(), l.reason)
		}
	}
	if !blocked && !slices.Equal(b.later(l.MasterService, "smtpd_milters"), texts(wanted)) {
		b.override(l.MasterService, "smtpd_milters", write(wanted, true), reason)
	}
	b.list(l.ID(), l.purpose, wanted, blocked)
}

// ownList is a list in main.cf (s is nil) or of a service, with references
// written out that would follow a changed smtpd_milters.
func (b *postfix) ownList(s *MasterService, name string) []token {
	raw := b.m.Main[name]
	if s != nil {
		raw = s.Overrides[name]
	}
	list := tokens(raw, func(x string) string { return b.m.expand(s, x) })
	return spread(list, func(t token) bool { return b.m.mentions(t.text, "smtpd_milters") })
}

// later is a list as it will be, when smtpd_milters in main.cf has changed and
// nothing else.
func (b *postfix) later(s *MasterService, name string) []string {
	m := *b.m
	m.Main = maps.Clone(b.m.Main)
	m.Main["smtpd_milters"] = write(b.newMain, false)
	m.Expanded = nil
	var out []string
	for _, text := range splitList(m.value(s, name)) {
		out = append(out, parseElement(text).tight())
	}
	return out
}

// place puts ours into a list, or moves it, or leaves it where it is right.
func (b *postfix) place(list []token, w way) ([]token, string) {
	elements := elementsOf(list)
	was := slices.IndexFunc(elements, b.isOurs)
	rest := without(list, b.isOurs)
	p := orderer{b.opt, b.m.queue()}.order(elementsOf(rest), w, was)
	for _, text := range p.warnings {
		b.remark(Warning, "%s", text)
	}
	ours := b.element(nil)
	if was >= 0 {
		ours = b.element(&elements[was])
		n := len(slices.DeleteFunc(elementsOf(list), func(e element) bool { return !b.isOurs(e) }))
		if n == 1 && p.index == was && ours.text == elements[was].text {
			return list, p.reason // as it is, references and all
		}
	}
	return insert(rest, p.index, ours), p.reason
}

// signers are the milters that sign what leaves.
func (b *postfix) signers() []token {
	var out []token
	add := func(list string) {
		for _, text := range splitList(list) {
			e := parseElement(text)
			_, r := b.opt.identify(e, b.m.queue())
			known := slices.ContainsFunc(out, func(t token) bool { return same(t.elements[0].address, e.address, b.m.queue()) })
			if (r == signer || r == both) && !known && !b.isOurs(e) {
				out = append(out, token{e.text, []element{e}})
			}
		}
	}
	for _, l := range b.listening {
		if l.way == outward && l.ours {
			add(b.m.value(l.MasterService, "smtpd_milters"))
		}
	}
	add(b.m.value(nil, "non_smtpd_milters"))
	return out
}

// list tells who sees mail at a listener.
func (b *postfix) list(service, purpose string, list []token, blocked bool) {
	l := Listener{Service: service, Purpose: purpose, Milters: []string{}}
	for _, e := range elementsOf(list) {
		if blocked {
			break
		}
		name, _ := b.opt.identify(e, b.m.queue())
		if b.isOurs(e) {
			name, l.Ours = "Cloakroom", true
		}
		l.Milters = append(l.Milters, name)
	}
	b.plan.Listeners = append(b.plan.Listeners, l)
}

// nonSMTPD plans the milters for mail by sendmail(1), in main.cf and where
// cleanup has its own list.
func (b *postfix) nonSMTPD() {
	const name = "non_smtpd_milters"
	const subject = "Mail by sendmail(1), of which Cloakroom never refuses a single recipient"
	wanted, reason := b.place(b.ownList(nil, name), outward)
	if !slices.Equal(b.later(nil, name), texts(wanted)) {
		b.setMain(name, write(wanted, false), sentence(subject, reason))
	}
	seen := wanted
	for i := range b.m.Services {
		s := &b.m.Services[i]
		_, own := s.Overrides[name]
		switch {
		case s.Program == "cleanup" && s.Name == "cleanup" && own:
			seen, reason = b.place(b.ownList(s, name), outward)
			if !slices.Equal(b.later(s, name), texts(seen)) {
				b.override(s, name, write(seen, true), sentence(subject, reason))
			}
		case s.Program == "pickup" && hasWord(b.m.value(s, "receive_override_options"), "no_milters"):
			b.remark(Warning, "%s: receive_override_options has no_milters: mail by sendmail(1) passes without Cloakroom", s.ID())
		}
	}
	b.list("sendmail(1)", "programs on this host", seen, false)
}

// noListeners tells of a Postfix that takes no mail by SMTP, or none that
// Cloakroom sees.
func (b *postfix) noListeners() {
	if len(b.listening) == 0 {
		b.remark(Warning, "no smtpd service in master.cf: only mail by sendmail(1) reaches Cloakroom")
	} else if !slices.ContainsFunc(b.listening, func(l listener) bool { return l.ours }) {
		b.remark(Warning, "no listener is left for Cloakroom")
	}
}

// unknownServices tells of services that are asked for and not there.
func (b *postfix) unknownServices() {
	for _, name := range slices.Concat(b.opt.Attach, b.opt.Leave) {
		if !slices.ContainsFunc(b.listening, func(l listener) bool { return l.called([]string{name}) }) {
			b.remark(Problem, "master.cf has no smtpd service %s", name)
		}
	}
	for flag, address := range map[string]string{"--after": b.opt.After, "--before": b.opt.Before} {
		if address != "" && !b.listed(address) {
			b.remark(Problem, "%s: no list of milters has %s", flag, address)
		}
	}
}

// listed tells whether a milter is in any list.
func (b *postfix) listed(address string) bool {
	values := []string{b.m.value(nil, "smtpd_milters"), b.m.value(nil, "non_smtpd_milters")}
	for i := range b.m.Services {
		values = append(values, b.m.value(&b.m.Services[i], "smtpd_milters"), b.m.value(&b.m.Services[i], "non_smtpd_milters"))
	}
	for _, v := range values {
		for _, text := range splitList(v) {
			if same(parseElement(text).address, address, b.m.queue()) {
				return true
			}
		}
	}
	return false
}
