package flow

// One transaction has one body and one sender. Where its recipients need
// different ones, some of them leave it and get a copy of their own.

import (
	"slices"
	"strings"
	"unicode/utf8"

	"cloakroom/policy/forward"
)

// split says who of a mail's recipients gets what.
type split struct {
	sender string // of the transaction
	out    []bool // by recipient: not in the transaction; nil: all are
	copies []batch
}

// maxCopyRecipients are sent one message at most: what every MTA takes (RFC 5321
// section 4.5.3.1.8), and what a job's payload has room for.
const maxCopyRecipients = 100

// batch are recipients who get the message as it came, from one sender.
type batch struct {
	sender  string
	members []int
}

func (s *split) stays(i int) bool { return s.out == nil || !s.out[i] }

// divide settles who stays in the transaction. linked tells who would get links;
// they stay, and with them all whose message and sender are the same. Nobody
// leaves it where no copy can be made.
func (m *Mail) divide(linked func(recipient int) bool) split {
	n := len(m.env.Recipients)
	all := split{sender: m.commonSender()}
	if n == 0 || m.together() != "" {
		return all
	}
	lead := func(i int) bool { return m.leads(i) && linked(i) }
	anyLinked := slices.ContainsFunc(m.indexes(), linked)
	if !anyLinked {
		lead = m.leads
	}
	first := m.leader(lead)
	if first < 0 {
		return all // all of them are named a second time
	}
	s := split{sender: m.senderFor(first), out: make([]bool, n)}
	open := make(map[string]int) // by sender: its copy that has room
	for i := range n {
		if m.senderFor(i) == s.sender && linked(i) == anyLinked {
			continue
		}
		s.out[i] = true
		if _, goes := m.destination(i); goes && m.ways[i].Duplicate {
			continue
		}
		sender := m.senderFor(i)
		at, ok := open[sender]
		if !ok || len(s.copies[at].members) == maxCopyRecipients {
			at = len(s.copies)
			open[sender] = at
			s.copies = append(s.copies, batch{sender: sender})
		}
		s.copies[at].members = append(s.copies[at].members, i)
	}
	if len(s.copies) == 0 {
		s.out = nil
	}
	return s
}

// together says why nobody can leave the transaction; "" where it can be done.
func (m *Mail) together() string {
	text := func(s string) bool { return utf8.ValidString(s) }
	switch {
	case !m.settings.Splits:
		return "set submit.smtp"
	case m.tooLarge:
		return "the message is too large to be copied"
	case m.header.Err != nil:
		return "the header is malformed" // not all of it may be known
	case m.plan != nil && m.plan.Quarantine != "":
		return "the mail is held" // copies would not be
	case !text(m.env.Sender) || slices.ContainsFunc(m.env.RecipientAddresses(), func(a string) bool { return !text(a) }):
		return "an address is not UTF-8" // nor can it be kept as a job, or told to an MTA
	}
	return ""
}

// leader is the recipient whose sender the transaction keeps: one with the mail's
// own, if there is one, so that as little as possible changes; -1 for none.
func (m *Mail) leader(of func(recipient int) bool) int {
	first := -1
	for i := range m.env.Recipients {
		switch {
		case !of(i):
		case m.senderFor(i) == m.env.Sender:
			return i
		case first < 0:
			first = i
		}
	}
	return first
}

// leads tells whether a transaction can be about a recipient: not about one who
// stands on it a second time.
func (m *Mail) leads(i int) bool {
	to, _ := m.destination(i)
	return to != ""
}

func (m *Mail) indexes() []int {
	out := make([]int, len(m.env.Recipients))
	for i := range out {
		out[i] = i
	}
	return out
}

// commonSender is the sender of a transaction that nobody can leave: the
// rewritten one only if it is right for all.
func (m *Mail) commonSender() string {
	sender, found := m.env.Sender, false
	for i := range m.ways {
		switch s := m.senderFor(i); {
		case !m.leads(i):
		case !found:
			sender, found = s, true
		case s != sender:
			return m.env.Sender
		}
	}
	return sender
}

// sendersDiffer tells whether some recipients need another sender than others.
func (m *Mail) sendersDiffer() bool {
	sender, found := "", false
	for i := range m.ways {
		if !m.leads(i) {
			continue
		}
		if s := m.senderFor(i); found && s != sender {
			return true
		}
		sender, found = m.senderFor(i), true
	}
	return false
}

// givenUp says what a mail misses because nobody can leave its transaction; ""
// for nothing.
func (m *Mail) givenUp() string {
	if m.split.out != nil || !m.sendersDiffer() {
		return ""
	}
	return "the sender is not rewritten (SRS), as some recipients are here: " + m.together()
}

// name is the keyword of an ESMTP parameter.
func name(arg string) string {
	keyword, _, _ := strings.Cut(arg, "=")
	return keyword
}

// forwarded counts the recipients whose mail goes on to another system.
func (m *Mail) forwarded() int {
	n := 0
	for i := range m.ways {
		if m.ways[i].Kind == forward.Forward {
			n++
		}
	}
	return n
}

// senderKept says why SRS leaves the sender of forwarded mail as it is; nil
// where it does not.
func (m *Mail) senderKept() error {
	for i := range m.ways {
		if err := m.ways[i].SenderKept; err != nil {
			return err
		}
	}
	return nil
}
