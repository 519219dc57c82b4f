package coexist

// The twelve flows between two mail systems, decided as the daemon would.

import (
	"fmt"
	"net/netip"
	"strings"

	"cloakroom/policy/forward"
)

// Sample addresses that no directory has.
const (
	outside = "sender@example.org"
	nobody  = "no-such-user"
)

// received is the Received fields of a sample mail: a sender's own, and one hop.
const received = 2

// sample is the mails of one route.
type sample struct {
	c         *checker
	index     int
	alternate string
	here      string
	there     string
	nobody    string
	arrival   forward.Arrival // what a mail of the other system proves
	known     bool            // it proves that it comes from there
	gateways  string          // the key to set where it does not
}

// flows tells what the twelve flows would do by one route.
func (c *checker) flows(i int) Route {
	r, alternate := c.route(i)
	s := &sample{c: c, index: i, alternate: alternate, here: c.people.here, there: c.people.there[i], nobody: nobody + "@" + c.domain,
		gateways: fmt.Sprintf("set coexistence[%d].gateways", i)}
	client := netip.Addr{}
	switch {
	case len(c.opt.OtherIPs) > 0:
		client = c.opt.OtherIPs[0]
	case len(r.Gateways.Networks) > 0:
		client = sampleOf(r.Gateways.Networks[0])
	}
	s.arrival = c.decide.Arrival(client, r.Gateways.Daemon, func(name string) []string {
		if strings.EqualFold(name, r.Gateways.Header.Name) {
			return []string{string(c.set.Files[r.Gateways.Header.SecretFile])}
		}
		return nil
	})
	_, s.known = s.arrival.By[alternate]
	out := Route{Key: fmt.Sprintf("coexistence[%d]", i), Alternate: alternate}
	for n, flow := range []func() Flow{
		s.inboundHere, s.inboundThere, s.otherToOther, s.otherToUs, s.usToOther, s.usToUs,
		s.otherOut, s.usOut, s.both, s.unknown, s.bounce, s.disputed,
	} {
		f := flow()
		f.Number = n + 1
		out.Flows = append(out.Flows, f)
	}
	return out
}

// decide is the decision about recipients of a sample mail.
func (s *sample) decide(sender string, fromOther bool, recipients ...string) []forward.Decision {
	f := &forward.Facts{Sender: sender, Received: received, Member: s.c.people.member, Now: s.c.opt.Now}
	if fromOther {
		f.Arrival = s.arrival
	}
	return s.c.decide.Decide(recipients, f)
}

// becomes writes the envelope, and what is made of it.
func becomes(sender string, decisions ...forward.Decision) string {
	var from, to []string
	changed := false
	newSender := sender
	for _, d := range decisions {
		from = append(from, d.Recipient)
		if d.To == "" {
			to = append(to, d.Recipient)
			continue
		}
		changed = true
		to = append(to, d.To)
		if d.Sender != sender {
			newSender = d.Sender
		}
	}
	text := fmt.Sprintf("<%s> to %s", sender, strings.Join(from, ", "))
	switch {
	case !changed:
		return text + ", unchanged"
	case newSender != sender:
		return fmt.Sprintf("%s becomes <%s> to %s", text, newSender, strings.Join(to, ", "))
	}
	return fmt.Sprintf("%s becomes %s, same sender", text, strings.Join(to, ", "))
}

func replyText(r forward.Reply) string { return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text) }

// blame makes a flow as bad as what it rests on, with where to look.
func (f *Flow) blame(s State, fix string) {
	if s == "" || s == OK {
		return
	}
	if s.rank() > f.State.rank() {
		f.State = s
	}
	if f.Fix != "" {
		f.Fix += "; "
	}
	f.Fix += fix
}

// inbound begins the path of a mail from the Internet, and makes the flow as
// bad as the way in. viaOther tells that the other system gets it first.
func (s *sample) inbound(f *Flow) (viaOther bool) {
	see := "see MX of " + s.c.domain
	switch s.c.mxSide {
	case Ours:
		f.Path = "Internet -> us (MX)"
	case Other:
		f.Path = "Internet -> the other system (MX)"
		return true
	case Nowhere:
		f.Path = "Internet -> nowhere"
		f.blame(Wrong, see)
	case Unclear:
		f.Path = "Internet -> MX unknown -> us"
		f.blame(Unknown, see)
	default:
		f.Path = "Internet -> " + s.c.mx.names() + " -> us"
		state := Warning
		if s.c.ourSeen == Unknown {
			state = Unknown // they may be ours
		}
		f.blame(state, see)
	}
	return false
}

// toAlternate makes a flow as bad as the way to the other system.
func (s *sample) toAlternate(f *Flow) {
	f.Path += " -> MX of " + s.alternate
	f.blame(s.c.leads[s.alternate], "see MX of "+s.alternate)
	if s.c.leads[s.alternate] == Wrong {
		f.Reply, f.Why = "none: it goes in circles, or bounces", f.Why+"; and the MX of "+s.alternate+" is wrong"
	}
}

// recognized makes a flow as bad as an unproven arrival from the other system.
func (s *sample) recognized(f *Flow, otherwise string) {
	if !s.known {
		f.blame(Warning, s.gateways+": "+otherwise)
	}
}

// passes makes a flow as bad as SPF of one side for a domain.
func (s *sample) passes(f *Flow, side Side, domain string) {
	f.blame(s.c.spf[spfKey(side, domain)], "see SPF of "+domain)
}

func (s *sample) inboundHere() Flow {
	f := Flow{Name: "inbound to a mailbox here", State: OK, Reply: "250"}
	via := s.inbound(&f)
	d := s.decide(outside, via, s.here)[0]
	f.Envelope, f.Why = becomes(outside, d), d.Reason
	if via {
		f.Path += " -> its catch-all -> us"
		f.Why += "; unknown there, so the other system sends it on"
		s.recognized(&f, "until then it looks like mail that the other system forged, and SPF of its sender fails here")
	}
	return f
}

func (s *sample) inboundThere() Flow {
	f := Flow{Name: "inbound to a mailbox in the other system", State: OK, Reply: "250"}
	if s.inbound(&f) {
		f.Envelope = fmt.Sprintf("<%s> to %s, unchanged", outside, s.there)
		f.Why = "the other system delivers it; it does not come by here"
		return f
	}
	d := s.decide(outside, false, s.there)[0]
	f.Envelope, f.Why = becomes(outside, d), d.Reason
	s.toAlternate(&f)
	if srs := s.c.srsDomain(s.index); srs != "" {
		s.passes(&f, Ours, srs)
	} else {
		f.blame(Warning, fmt.Sprintf("set coexistence[%d].srs, or make us an inbound gateway there: SPF of the sender fails at the other system", s.index))
	}
	return f
}

func (s *sample) otherToOther() Flow {
	return Flow{Name: "the other system to itself", State: OK, Path: "the other system, which delivers", Reply: "250",
		Envelope: fmt.Sprintf("<%s> to another user there, unchanged", s.there),
		Why:      "it knows both; the mail does not come by here"}
}

func (s *sample) otherToUs() Flow {
	f := Flow{Name: "the other system to us", State: OK, Reply: "250", Path: "the other system -> its catch-all -> us"}
	d := s.decide(s.there, true, s.here)[0]
	f.Envelope, f.Why = becomes(s.there, d), d.Reason+"; unknown there, so the other system sends it on"
	s.recognized(&f, "until then its users count as strangers")
	return f
}

func (s *sample) usToOther() Flow {
	f := Flow{Name: "us to the other system", State: OK, Reply: "250", Path: "us"}
	d := s.decide(s.here, false, s.there)[0]
	f.Envelope, f.Why = becomes(s.here, d), d.Reason+"; a sender of ours is never rewritten"
	s.toAlternate(&f)
	s.passes(&f, Ours, s.c.domain)
	return f
}

func (s *sample) usToUs() Flow {
	d := s.decide(s.here, false, s.here)[0]
	return Flow{Name: "us to us", State: OK, Reply: "250", Path: "us, who deliver", Envelope: becomes(s.here, d), Why: d.Reason}
}

func (s *sample) otherOut() Flow {
	f := Flow{Name: "the other system to the Internet", State: OK, Reply: "250", Path: "the other system -> Internet",
		Envelope: fmt.Sprintf("<%s> to %s, unchanged", s.there, outside),
		Why:      "it sends outbound mail itself; SPF and DKIM of " + s.c.domain + " must allow it"}
	s.passes(&f, Other, s.c.domain)
	return f
}

func (s *sample) usOut() Flow {
	f := Flow{Name: "us to the Internet", State: OK, Reply: "250", Path: "us -> Internet"}
	d := s.decide(s.here, false, outside)[0]
	f.Envelope, f.Why = becomes(s.here, d), d.Reason
	s.passes(&f, Ours, s.c.domain)
	return f
}

// both is one mail to users of both systems, in one transaction with us: from
// the Internet where we are the MX, otherwise from a user here.
func (s *sample) both() Flow {
	f := Flow{Name: "one mail with an attachment to users of both", State: OK, Reply: "250"}
	sender := outside
	if via := s.inbound(&f); via {
		f = Flow{Name: f.Name, State: OK, Reply: "250", Path: "us"}
		sender = s.here
	}
	decisions := s.decide(sender, false, s.here, s.there)
	f.Envelope = becomes(sender, decisions...)
	f.Why = "the copy for the other system leaves as it came, by submit.smtp; the one for here gets links as the rules say"
	if !s.c.set.Submit {
		f.Why = "without submit.smtp both get one copy: nothing becomes a link, and SRS is left out"
		f.blame(Warning, "set submit.smtp")
	}
	if sender == s.here {
		f.Why += "; mail from the Internet is split before, by the other system"
	}
	s.toAlternate(&f)
	return f
}

func (s *sample) unknown() Flow {
	f := Flow{Name: "to a user whom neither system knows", State: OK, Reply: "550 5.1.1 from our MTA, which knows its users"}
	via := s.inbound(&f)
	d := s.decide(outside, via, s.nobody)[0]
	f.Envelope = becomes(outside, d)
	f.Why = d.Reason + "; our MTA refuses it, if it has no fallback to the other system"
	if via {
		f.Path += " -> its catch-all -> us"
		f.Why += "; the other system returns it to the sender"
	}
	return f
}

func (s *sample) bounce() Flow {
	f := Flow{Name: "a bounce of forwarded mail", State: OK, Reply: "250"}
	srs := s.c.decide.SRS(s.index)
	if srs == nil {
		f.Path, f.Envelope = "the receiver -> MX of the sender", fmt.Sprintf("<> to %s, unchanged", outside)
		f.Why = "srs is off: senders stay as they are, and bounces do not come by here"
		return f
	}
	f.Path = "the receiver -> MX of " + srs.Domain() + " -> us -> MX of the sender"
	rewritten, err := srs.Encode(outside, s.c.opt.Now)
	if err != nil {
		f.Why = err.Error()
		f.blame(Wrong, fmt.Sprintf("choose a shorter coexistence[%d].srs_domain", s.index))
		return f
	}
	d := s.decide("", false, rewritten)[0]
	f.Envelope, f.Why = becomes("", d), d.Reason
	if d.Kind != forward.Return {
		f.Reply = replyText(d.Reply)
		f.blame(Wrong, fmt.Sprintf("look at coexistence[%d].srs_domain: %s", s.index, d.Reason))
	}
	f.blame(s.c.leads[srs.Domain()], "see MX of "+srs.Domain())
	return f
}

// disputed is a user whom each system believes to be in the other. It must end
// in a refusal, and never go round and round.
func (s *sample) disputed() Flow {
	f := Flow{Name: "to a user whom each side believes to be in the other", State: OK}
	via := s.inbound(&f)
	if via {
		f.Path += " -> its catch-all -> us"
	}
	d := s.decide(outside, via, s.there)[0]
	f.Envelope = becomes(outside, d)
	if d.Kind == forward.Forward {
		f.Path += " -> MX of " + s.alternate + " -> its catch-all -> us again"
		f.blame(s.c.leads[s.alternate], "see MX of "+s.alternate)
		d = s.again(d)
		s.recognized(&f, "until then a loop goes one round before its mark stops it")
	}
	f.Why = d.Reason
	if d.Kind != forward.Loop {
		f.Reply = "none: it goes in circles"
		f.blame(Wrong, s.gateways)
		return f
	}
	f.Reply = replyText(d.Reply)
	f.Why += "; the sender is told"
	if d.Reply.Code < 500 {
		f.Why += " once the other side gives up"
	}
	return f
}

// again is the decision about a forwarded mail that the other system sent
// back: by its mark, where nothing proves that it comes from there.
func (s *sample) again(d forward.Decision) forward.Decision {
	marks := s.c.decide.Stamp([]forward.Decision{d}, []byte("sample"))
	f := &forward.Facts{Sender: d.Sender, Arrival: s.arrival, Marks: s.c.decide.ReadMarks(marks), Received: received + 3,
		Member: s.c.people.member, Now: s.c.opt.Now}
	return s.c.decide.Decide([]string{d.Recipient}, f)[0]
}
