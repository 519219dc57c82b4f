package mtasetup

// The plan for Sendmail: one block of lines in sendmail.mc, and what has to be
// changed in lines of others, which stay the administrator's.

import (
	"fmt"
	"slices"
	"strings"
)

// SendmailMachine is a Sendmail as its files tell it.
type SendmailMachine struct {
	Folder string          // of sendmail.mc and sendmail.cf
	Macros string          // sendmail.mc
	Config string          // sendmail.cf; "" where there is none
	Maker  string          // how sendmail.cf is made from sendmail.mc: a command, or "" for unknown
	Tables map[string]bool // sources of lookup tables in the folder that exist, by name
}

// filterName is our name among Sendmail's filters.
const filterName = "cloakroom"

// sendmailTimes are T= of our filter: to connect, to send, to get an answer, and
// for the end of the message. Sendmail's own 10 s for an answer are shorter than a
// busy disk may take.
const sendmailTimes = "C:30s;S:2m;R:2m;E:10m"

// sendmail is a plan in the making.
type sendmail struct {
	set  Settings
	m    *SendmailMachine
	opt  Options
	plan *Plan

	rest   string // sendmail.mc without our block
	calls  []call // of that
	has    bool   // our block is there
	old    string // it
	cf     sendmailConfig
	others []element // the usual filters but ours, in order
	hand   *element  // ours, put there by hand
	lines  []string  // of the block
}

// Sendmail plans what a Sendmail needs for Cloakroom.
func Sendmail(set Settings, m *SendmailMachine, opt Options) *Plan {
	b := &sendmail{set: set, m: m, opt: opt, cf: readConfig(m.Config)}
	b.rest, b.old, b.has = CutBlock(m.Macros)
	b.calls = calls(b.rest)
	b.plan = &Plan{MTA: strings.TrimSpace("Sendmail " + b.cf.version), Folder: m.Folder, Milter: "S=" + sendmailSocket(set.Listen),
		Changes: []Change{}, Remarks: []Remark{}, Steps: []Step{}}
	b.filters()
	listeners := b.listeners()
	b.filter(listeners)
	b.macros()
	b.newListeners(listeners)
	b.block()
	b.ownLists(listeners)
	b.tables()
	b.regenerate()
	return b.plan
}

func (b *sendmail) remark(level Level, format string, args ...any) {
	r := Remark{level, fmt.Sprintf(format, args...)}
	if !slices.Contains(b.plan.Remarks, r) {
		b.plan.Remarks = append(b.plan.Remarks, r)
	}
}

func (b *sendmail) step(s Step) { b.plan.Steps = append(b.plan.Steps, s) }

// line adds to the block, after a comment.
func (b *sendmail) line(reason, text string) {
	b.lines = append(append(b.lines, wrap("dnl #", reason)...), text)
}

// sendmailSocket writes milter.listen as S= has it (cf/README, Milter).
func sendmailSocket(listen string) string {
	e, ok := parseEndpoint(ofListen(listen, ""), "")
	switch {
	case !ok:
		return listen
	case e.path != "":
		return "unix:/" + e.path
	case strings.Contains(e.host, ":"):
		return "inet6:" + e.port + "@" + e.host
	}
	return "inet:" + e.port + "@" + e.host
}

// filterOf reads a filter's equates: S=, F=, T=.
func filterOf(name, equates string) element {
	e := element{name: name, text: equates}
	for _, part := range strings.Split(equates, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		key, value = strings.ToUpper(strings.TrimSpace(key)), strings.TrimSpace(value)
		if key == "S" {
			e.address = value
		}
		e.options = append(e.options, option{key, value})
	}
	return e
}

// filters finds the usual filters. Those that a file included by sendmail.mc
// defines are only in sendmail.cf, those that are new only in sendmail.mc.
func (b *sendmail) filters() {
	defined := map[string]element{}
	var order []string
	for _, c := range b.calls {
		switch {
		case c.name == "INPUT_MAIL_FILTER" || c.name == "MAIL_FILTER":
			defined[c.arg(0)] = filterOf(c.arg(0), c.arg(1))
			if c.name == "INPUT_MAIL_FILTER" {
				order = append(order, c.arg(0))
			}
		case c.name == "define" && c.arg(0) == "confINPUT_MAIL_FILTERS":
			order = names(c.arg(1))
		}
	}
	for name, e := range b.cf.filters {
		if _, ok := defined[name]; !ok && name != filterName {
			defined[name] = e
		}
	}
	if b.m.Config != "" {
		for _, name := range order {
			if !slices.Contains(b.cf.input, name) && !(name == filterName || b.ours(defined[name])) {
				b.remark(Problem, "sendmail.mc has the filter %s, sendmail.cf does not: make sendmail.cf from it first, then run this again", name)
			}
		}
		for _, name := range b.cf.input {
			if !slices.Contains(order, name) && name != filterName {
				b.remark(Info, "the filter %s is in sendmail.cf and not in sendmail.mc itself: a file that it includes, it seems", name)
				order = append(order, name)
			}
		}
		slices.SortStableFunc(order, func(x, y string) int { return slices.Index(b.cf.input, x) - slices.Index(b.cf.input, y) })
	}
	for _, name := range order {
		e := defined[name]
		if b.ours(e) || name == filterName {
			b.hand = &e
		}
		b.others = append(b.others, e)
	}
}

// names separates a list of filters.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(",; \t\n`'", r) })
}

// ours tells our milter.
func (b *sendmail) ours(e element) bool {
	return same(e.address, sendmailSocket(b.set.Listen), "")
}

// placed is the list of filters for one direction, and why ours stands there.
func (b *sendmail) placed(others []element, w way) (list []string, reason string) {
	p := orderer{b.opt, ""}.order(others, w, -1)
	for _, text := range p.warnings {
		b.remark(Warning, "%s", text)
	}
	for _, e := range others {
		list = append(list, e.name)
	}
	return slices.Insert(list, p.index, filterName), p.reason
}

// equates are S=, F= and T= of our filter.
func (b *sendmail) equates() (text, reason string) {
	flag := "F=T, "
	reason = "F=T: while Cloakroom is away senders are asked to try again, and nothing is lost. Without it Sendmail lets mail pass"
	switch {
	case b.set.Observe:
		b.remark(Warning, "%s", observing)
		flag, reason = "", "No F=, as mode is observe: nothing is done to mail, and it passes while Cloakroom is away too. Run the set-up again once mode is enforce"
	case b.set.Accept && b.set.LinksOnly:
		flag, reason = "", "No F=, as on_error is accept: while Cloakroom is away mail passes with its attachments"
	case b.set.Accept:
		reason = "F=T: while Cloakroom is away senders are asked to try again; on_error: accept holds for links alone, and more is at stake here (co-existence, vault, or rules that refuse)"
	}
	return "S=" + sendmailSocket(b.set.Listen) + ", " + flag + "T=" + sendmailTimes, reason
}

// filter plans our filter and its place in the usual list.
func (b *sendmail) filter(listeners []sendmailListener) {
	equates, reason := b.equates()
	if b.hand != nil {
		b.byHand(equates)
		return
	}
	way := outward
	if slices.ContainsFunc(listeners, func(l sendmailListener) bool { return !l.own && l.way == inward }) {
		way = inward
	}
	list, order := b.placed(b.others, way)
	reason = sentence(reason, order)
	if list[len(list)-1] == filterName {
		b.line(reason, "INPUT_MAIL_FILTER(`"+filterName+"', `"+equates+"')dnl")
	} else {
		b.line(reason, "MAIL_FILTER(`"+filterName+"', `"+equates+"')dnl")
		b.lines = append(b.lines, "define(`confINPUT_MAIL_FILTERS', `"+strings.Join(list, ",")+"')dnl")
	}
	b.sees(listeners, list)
	b.remark(Info, "mail by sendmail(1) comes to a listener by SMTP (submit.cf), and so passes the same filters")
}

// byHand looks at a filter that an administrator has written.
func (b *sendmail) byHand(equates string) {
	value := func(list []option, key string) string {
		i := slices.IndexFunc(list, func(o option) bool { return o.name == key })
		if i < 0 {
			return ""
		}
		return list[i].value
	}
	wanted := filterOf(filterName, equates)
	b.remark(Info, "sendmail.mc has Cloakroom already, as the filter %s outside of the set-up's own lines: it is left as it is", b.hand.name)
	if !b.ours(*b.hand) {
		b.remark(Problem, "the filter %s has S=%s, and milter.listen is %s: take that line out, and this set-up writes it", b.hand.name, b.hand.address, b.set.Listen)
	}
	if have, want := value(b.hand.options, "F"), value(wanted.options, "F"); have != want && want == "T" {
		b.remark(Problem, "the filter %s has no F=T: Sendmail lets mail pass unfiltered while Cloakroom is away. Take that line out, and this set-up writes it", b.hand.name)
	}
}

// block plans the block itself.
func (b *sendmail) block() {
	if b.hand != nil && len(b.lines) == 0 && !b.has {
		return
	}
	text := blockBegin + strings.Join(append(b.lines, ""), "\n") + blockEnd
	wanted := PutBlock(b.rest, text)
	if wanted == b.m.Macros {
		return
	}
	c := Change{Kind: Block, Name: b.m.file("sendmail.mc"), New: text, Reason: "Lines of Cloakroom, behind what they build on and before the mailers."}
	if b.has {
		c.Old = &b.old
	}
	b.plan.Changes = append(b.plan.Changes, c)
}

// file is a path in Sendmail's folder.
func (m *SendmailMachine) file(name string) string { return m.Folder + "/" + name }

// regenerate says how sendmail.cf is made, where that is not known here.
func (b *sendmail) regenerate() {
	equates, _ := b.equates()
	present, ok := b.cf.filters[filterName]
	current := ok && present.text == equates || b.hand != nil
	switch {
	case len(b.plan.Changes) == 0 && current:
	case b.m.Maker == "":
		b.step(Step{Command: "m4 " + b.m.file("sendmail.mc") + " > " + b.m.file("sendmail.cf"),
			Reason: "sendmail.cf is not made by the set-up: there is no Makefile with make(1) beside it, and it is not what m4(1) makes of sendmail.mc. Make it as you always do, such as by this."})
	default:
		b.step(Step{Command: b.m.Maker, Reason: "Makes sendmail.cf from sendmail.mc. --apply does this."})
	}
	if len(b.plan.Changes) > 0 || !current {
		b.step(Step{Command: "systemctl restart sendmail", Reason: "Sendmail reads its configuration when it starts. Start Cloakroom before."})
	}
}
