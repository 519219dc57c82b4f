package forward

// What becomes of each recipient of a mail.

import (
	"errors"
	"fmt"
	"time"
)

// Kind is what becomes of a recipient.
type Kind int

// What can become of a recipient.
const (
	Elsewhere Kind = iota // no shared domain: the MTA's business alone
	Local                 // a shared domain, and the mailbox (if there is one) is here
	Forward               // the mailbox is in the other system: To takes the recipient's place
	Loop                  // the mailbox is in the other system, which sent the mail here
	Return                // a bounce to a sender we had rewritten: To takes the recipient's place
	Refuse                // what claims to be a rewritten sender of ours and is none, or no longer
)

var kindNames = [...]string{"elsewhere", "local", "forward", "loop", "return", "refuse"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// Facts is what decisions need to know of a mail.
type Facts struct {
	Sender   string  // MAIL FROM without angle brackets; "" is the null sender
	Arrival  Arrival // which other system it came from, from Routes.Arrival
	Marks    Marks   // from Routes.ReadMarks; empty while the header is not known
	Received int     // Received fields, without the one that this MTA adds itself
	Member   Member
	// Rules overrule the membership of single recipients, in their order; nil
	// when there are none.
	Rules []Rule
	Now   time.Time // of MAIL FROM: a repetition must find the same
}

// Rule is what policy says of one recipient, whatever his groups are. The zero
// value says nothing.
type Rule struct {
	Name      string // of the policy rule
	Stay      bool   // his mailbox is here
	Alternate string // or in the system behind this domain, as policy.Domain writes it
}

// Decision is what becomes of one recipient, and why.
type Decision struct {
	Kind      Kind
	Recipient string // as it came
	To        string // the address in its place, for Forward and Return
	// Duplicate says that To is on the envelope already, by this mail's own
	// recipients or an earlier decision: the recipient goes, nothing is added.
	Duplicate bool
	// Route is the route's place in the configuration; -1 where none applies.
	Route int
	// Sender is the envelope sender of a forwarded copy: the mail's own, or the
	// one SRS gives. For every other kind it is the mail's own.
	Sender string
	// SenderKept is why a sender that SRS should have rewritten stays as it is;
	// the copy is forwarded all the same.
	SenderKept error
	Reason     string // one line for logs and explanations
	Reply      Reply  // for Loop and Refuse
}

// Decide tells for every recipient what becomes of it, in their order. Each is
// decided for itself; only duplicates look at the others. Addresses are the
// same when their domains are and their local parts are byte for byte: whether
// Bob and bob are one person is known to the other system alone, and a copy too
// many is better than one too few.
func (t *Routes) Decide(recipients []string, f *Facts) []Decision {
	out := make([]Decision, len(recipients))
	on := make(map[string]bool) // addresses on the envelope
	for i, r := range recipients {
		var rule Rule
		if f.Rules != nil {
			rule = f.Rules[i]
		}
		out[i] = t.decide(r, rule, f)
		if out[i].Kind == Elsewhere {
			on[exactKey(r)] = true
		}
	}
	for i := range out {
		if d := &out[i]; d.Kind == Forward || d.Kind == Return {
			key := exactKey(d.To)
			d.Duplicate = on[key]
			on[key] = true
		}
	}
	return out
}

func exactKey(address string) string {
	local, domain, ok := split(address)
	if !ok {
		return address
	}
	return local + "@" + domain
}

func (t *Routes) decide(recipient string, rule Rule, f *Facts) Decision {
	d := Decision{Recipient: recipient, Route: -1, Sender: f.Sender}
	local, domain, ok := split(recipient)
	if !ok || t.Len() == 0 {
		d.Reason = "not in a shared domain"
		return d
	}
	if srs := t.srs[domain]; srs != nil && t.bounce(&d, srs, f.Now) {
		return d
	}
	if r := t.chosen(local, domain, rule, f.Member); r != nil {
		d.onward(r, local, f)
		return d
	}
	if t.isDomain(domain) {
		d.Kind, d.Reason = Local, "its mailbox is in no other system"
		if rule.Stay {
			d.Reason = fmt.Sprintf("rule %q keeps its mail here", rule.Name)
		}
		return d
	}
	if r := t.byAlternate(domain); r != nil && f.Arrival.from(domain) {
		d.Kind, d.Route = Loop, r.index
		d.Reason = fmt.Sprintf("the system behind %s sent mail for its own address here (%s)", domain, f.Arrival.By[domain])
		d.Reply = loopReply(r, "mail loop: %s is an address of the other mail system, which sends it back instead of delivering it; its route for %s must not lead here", recipient, domain)
		return d
	}
	d.Reason = "not in a shared domain"
	return d
}

// bounce decides about an address at a domain of rewritten senders. It is false
// for one that is not of that kind, be it only by its form: domain and users'
// addresses may be the same.
func (t *Routes) bounce(d *Decision, srs *SRS, now time.Time) bool {
	to, err := srs.Decode(d.Recipient, now)
	if err == nil {
		// Where we were the first forwarder as well, nobody else resolves that.
		if _, domain, _ := split(to); t.srs[domain] != nil {
			to, err = t.srs[domain].Decode(to, now)
		}
	}
	switch {
	case err == nil:
		d.Kind, d.To, d.Reason = Return, to, "a sender we had rewritten"
	case errors.Is(err, ErrBadHash):
		d.Kind, d.Reason = Refuse, err.Error()
		d.Reply = Reply{Code: 550, Enhanced: "5.1.1", Text: "not an address of ours: its signature is wrong"}
	case errors.Is(err, ErrExpired):
		d.Kind, d.Reason = Refuse, err.Error()
		d.Reply = Reply{Code: 550, Enhanced: "5.1.1", Text: "this address was for bounces of one mail, and has expired"}
	default:
		return false
	}
	return true
}

// onward decides about a mailbox in the other system: forward, or a loop.
func (d *Decision) onward(r *route, local string, f *Facts) {
	d.Route = r.index
	d.To = local + "@" + r.Alternate
	if why, reply := loopOf(r, d.Recipient, local, f); why != "" {
		d.Kind, d.To, d.Reason, d.Reply = Loop, "", why, reply
		return
	}
	d.Kind = Forward
	d.Reason = fmt.Sprintf("its mailbox is in the system behind %s", r.Alternate)
	if r.srs != nil {
		d.Sender, d.SenderKept = r.srs.Encode(f.Sender, f.Now)
	}
}
