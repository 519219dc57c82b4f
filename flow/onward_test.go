package flow_test

// The way of each recipient's mail where two mail systems share a domain.

import (
	"fmt"
	"strings"
	"testing"

	"cloakroom/flow"
	"cloakroom/policy"
	"cloakroom/policy/forward"
)

func TestWhereTheMailOfEachRecipientGoes(t *testing.T) {
	const alice = "alice@acmecorp.test"
	bücher := gappsRoute()
	bücher.Domain, bücher.Alternate, bücher.SRS, bücher.SRSDomain, bücher.Members = "bücher.test", "g.bücher.test", false, "", nil
	for _, c := range []struct {
		name     string
		from     string
		to       []string
		deleted  string
		added    string
		srs      bool
		copies   string
		passes   bool
		unmarked bool
	}{
		{name: "ours to the other side", from: alice, to: []string{boss}, deleted: boss, added: atGapps},
		{name: "ours to both sides", from: alice, to: []string{carol, boss, dave}, deleted: boss, added: atGapps},
		{name: "a stranger's, with SRS", from: dave, to: []string{boss, gina}, deleted: boss + " " + gina, added: atGapps + " gina@gapps.acmecorp.test", srs: true},
		{name: "a stranger's to both sides", from: dave, to: []string{boss, carol}, deleted: boss, copies: atGapps, unmarked: true},
		{name: "nobody's", from: "", to: []string{boss}, deleted: boss, added: atGapps},
		{name: "a tag", from: alice, to: []string{"boss+a+b@acmecorp.test"}, deleted: "boss+a+b@acmecorp.test", added: "boss+a+b@gapps.acmecorp.test"},
		{name: "upper case", from: alice, to: []string{"BOSS@AcmeCorp.TEST"}, deleted: "BOSS@AcmeCorp.TEST", added: "BOSS@gapps.acmecorp.test"},
		{name: "a dot behind the domain", from: alice, to: []string{"boss@acmecorp.test."}, deleted: "boss@acmecorp.test.", added: atGapps},
		{name: "needless quotes", from: alice, to: []string{`"boss"@acmecorp.test`}, deleted: `"boss"@acmecorp.test`, added: `"boss"@gapps.acmecorp.test`},
		{name: "a listed member with a blank", from: alice, to: []string{`"b o"@acmecorp.test`}, deleted: `"b o"@acmecorp.test`, added: `"b o"@gapps.acmecorp.test`},
		{name: "a source route", from: alice, to: []string{"@mx.ext.test:boss@acmecorp.test"}, deleted: "@mx.ext.test:boss@acmecorp.test", added: atGapps},
		{name: "a domain as people write it", from: alice, to: []string{"ü@bücher.test"}, deleted: "ü@bücher.test", added: "ü@g.xn--bcher-kva.test"},
		{name: "a domain as DNS has it", from: alice, to: []string{"ü@XN--BCHER-KVA.test"}, deleted: "ü@XN--BCHER-KVA.test", added: "ü@g.xn--bcher-kva.test"},
		{name: "named twice", from: alice, to: []string{boss, "boss@ACMECORP.test", boss}, deleted: boss + " boss@ACMECORP.test " + boss, added: atGapps},
		{name: "named by both addresses", from: alice, to: []string{boss, atGapps}, deleted: boss},
		{name: "named by both addresses, a stranger's", from: dave, to: []string{boss, atGapps}, deleted: boss},
		{name: "nobody there", from: alice, to: []string{carol, dave, "no@acmecorp.test", "postmaster", "x@[192.0.2.1]"}, passes: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSystems(t, forward.Config{gappsRoute(), bücher})
			r, err := s.pass(t, from(c.from, c.to...), note("1", ""))
			if err != nil {
				t.Fatal(err)
			}
			if c.passes {
				if r != nil {
					t.Errorf("looked at, and changed: %+v", r.Outcome)
				}
				return
			}
			if r == nil || r.Reject != nil {
				t.Fatalf("outcome %+v", r)
			}
			if got := strings.Join(r.DeleteRecipients, " "); got != c.deleted {
				t.Errorf("deleted %q, want %q", got, c.deleted)
			}
			if got := added(r.Outcome); got != c.added {
				t.Errorf("added %q, want %q", got, c.added)
			}
			if got := r.Sender != nil && strings.HasPrefix(*r.Sender, "SRS0="); got != c.srs || !c.srs && r.Sender != nil {
				t.Errorf("sender %v, want SRS %v", r.Sender, c.srs)
			}
			if got := addresses(r.copies, copied); got != c.copies {
				t.Errorf("copies to %q, want %q", got, c.copies)
			}
			if marked := strings.Contains(r.head, "X-Cloakroom-Hop: v1 "); marked == c.unmarked && c.added+c.copies != "" {
				t.Errorf("marks %v:\n%s", marked, r.head)
			}
		})
	}
}

func TestTheSecretOfAGatewayIsTakenOffWhoeverSentIt(t *testing.T) {
	s := newSystems(t, forward.Config{gappsRoute()})
	fields := "X-Acme-Gateway: forged\r\nReceived: a\r\nx-acme-gateway: " + secret + "\r\nX-Acme-Gateway:\r\n folded\r\n"
	for name, env := range map[string]*flow.Envelope{
		"the other system": from(gina, carol), "a stranger": from(dave, carol), "a stranger to the other side": from(dave, boss),
	} {
		if name == "the other system" {
			env.Client = otherHost
		}
		r := s.mustPass(t, env, note(name, fields))
		if strings.Contains(strings.ToLower(r.head), "x-acme") || strings.Contains(r.head, "folded") || !strings.Contains(r.head, "Received: a") {
			t.Errorf("from %s, the header is now\n%s", name, r.head)
		}
	}
	// A stranger who knows the secret proves nothing.
	if r := s.mustPass(t, from(dave, boss), note("loop", fields)); r.Reject != nil {
		t.Errorf("a stranger's mail is refused: %+v", r.Reject)
	}
	env := from(dave, boss)
	env.Client = otherHost
	if r := s.mustPass(t, env, note("loop", fields)); r.Reject == nil || r.Reject.Enhanced != "5.4.6" {
		t.Errorf("mail for its own user from the other system: %+v", r.Outcome)
	}
}

func TestLoopsAreRefusedAtTheFirstOccasion(t *testing.T) {
	route := gappsRoute()
	route.LoopReply = 450
	s := newSystems(t, forward.Config{route})
	env := from(dave)
	env.Recipients, env.Client, env.Daemon = nil, otherHost, "gapps-in"
	reply, err := s.engine.CheckRecipient(t.Context(), env, flow.Recipient{Address: boss})
	if err != nil || reply == nil || reply.Code != 450 || reply.Enhanced != "4.4.6" {
		t.Errorf("at RCPT: %+v, %v", reply, err)
	}
	if reply, err := s.engine.CheckRecipient(t.Context(), env, flow.Recipient{Address: carol}); err != nil || reply != nil {
		t.Errorf("somebody of ours at RCPT: %+v, %v", reply, err)
	}

	s = newSystems(t, forward.Config{gappsRoute()})
	first := s.mustPass(t, from("alice@acmecorp.test", boss), note("mark", ""))
	if r := s.mustPass(t, from(dave, boss), []byte("Received: x\r\n"+first.head+"\r\nhello\r\n")); r.Reject == nil || r.Reject.Code != 550 {
		t.Errorf("a mail with our mark: %+v", r.Outcome)
	}
	if r := s.mustPass(t, from(dave, gina), []byte("Received: x\r\n"+first.head+"\r\nhello\r\n")); r.Reject != nil {
		t.Errorf("a mail with another's mark: %+v", r.Reject)
	}
	for n, refused := range map[int]bool{49: false, 50: true} {
		if r := s.mustPass(t, from(dave, boss), note(fmt.Sprint(n), strings.Repeat("Received: x\r\n", n))); (r.Reject != nil) != refused {
			t.Errorf("with %d Received fields: %+v", n, r.Reject)
		}
	}
	if n := s.engine.Loops.Load(); n != 2 {
		t.Errorf("%d loops counted, want 2", n)
	}
	s.settings.Observe = true
	if r, err := s.pass(t, from(dave, boss), note("50", strings.Repeat("Received: x\r\n", 50))); err != nil || r != nil && (r.Reject != nil || len(r.DeleteRecipients) > 0) {
		t.Errorf("in observe mode: %+v, %v", r, err)
	}
}

func TestWhatIsNotKnownIsNeverGuessed(t *testing.T) {
	s := newSystems(t, forward.Config{gappsRoute()})
	s.settings.AcceptOnError = true
	s.engine.Directory = away{}
	if _, err := s.engine.CheckRecipient(t.Context(), from(dave), flow.Recipient{Address: boss}); err == nil {
		t.Error("a recipient is taken without a directory")
	}
	if _, err := s.pass(t, from(dave, boss), note("1", "")); err == nil {
		t.Error("a mail is taken without a directory")
	}
	// Mail for others does not need it.
	if _, err := s.pass(t, from(dave, "x@ext.test"), note("1", "")); err != nil {
		t.Errorf("mail for others: %v", err)
	}
}

func TestARuleOverrulesTheGroup(t *testing.T) {
	stay := policy.Rule{Name: "stays", If: `recipient.address == "boss@acmecorp.test"`, Forward: &policy.ForwardAction{Stay: true}}
	goes := policy.Rule{Name: "goes", If: `header("X-Go") == "yes" && recipient.address == "carol@acmecorp.test"`,
		Forward: &policy.ForwardAction{Options: policy.ForwardOptions{Alternate: "gapps.acmecorp.test"}}}
	s := newSystems(t, forward.Config{gappsRoute()}, stay, goes)
	if r, err := s.pass(t, from("alice@acmecorp.test", boss), note("1", "")); err != nil || r != nil {
		t.Errorf("kept here by a rule: %+v, %v", r, err)
	}
	r := s.mustPass(t, from("alice@acmecorp.test", boss, carol, gina), note("2", "X-Go: yes\r\n"))
	if got := added(r.Outcome); got != "carol@gapps.acmecorp.test gina@gapps.acmecorp.test" {
		t.Errorf("added %q", got)
	}
	// Before the header is known nobody is refused for what it may say.
	if reply, err := s.engine.CheckRecipient(t.Context(), from(dave), flow.Recipient{Address: carol}); err != nil || reply != nil {
		t.Errorf("at RCPT: %+v, %v", reply, err)
	}
}

func TestABounceFindsItsWayBackThroughSRS(t *testing.T) {
	s := newSystems(t, forward.Config{gappsRoute()})
	sent := s.mustPass(t, from(dave, boss), note("1", ""))
	r := s.mustPass(t, from("", *sent.Sender), note("2", ""))
	if added(r.Outcome) != dave || r.Sender != nil || strings.Contains(r.head, "X-Cloakroom-Hop") {
		t.Errorf("to %q from %v:\n%s", added(r.Outcome), r.Sender, r.head)
	}
	forged := "SRS0=AAAAAA" + (*sent.Sender)[len("SRS0=AAAAAA"):]
	if reply, err := s.engine.CheckRecipient(t.Context(), from(""), flow.Recipient{Address: forged}); err != nil || reply == nil || reply.Enhanced != "5.1.1" {
		t.Errorf("a forged one at RCPT: %+v, %v", reply, err)
	}
	long := strings.Repeat("x", 50) + "@ext.test"
	if r := s.mustPass(t, from(long, boss), note("3", "")); r.Sender != nil || added(r.Outcome) != atGapps || !strings.Contains(s.log.String(), "sender_kept") {
		t.Errorf("a sender too long to be rewritten: %+v", r.Outcome)
	}
}

func TestATraceTellsWhatAMailWouldMeet(t *testing.T) {
	s := newSystems(t, forward.Config{gappsRoute()})
	env := from(gina, boss, carol, dave)
	env.Client, env.Daemon = otherHost, "gapps-in"
	h, _ := split(note("1", ""))
	trace, err := s.engine.Trace(t.Context(), env, h)
	if err != nil {
		t.Fatal(err)
	}
	if r := trace.Recipients[0]; r.Rcpt == nil || r.Rcpt.Enhanced != "5.4.6" || r.Way != "loop" || r.To != "" {
		t.Errorf("a loop at RCPT: %+v", r)
	}
	if r := trace.Recipients[1]; r.Rcpt != nil || r.To != carol || r.Sender != gina || r.Copy || trace.End != nil || !trace.Ours {
		t.Errorf("the others: %+v, end %+v", r, trace.End)
	}
	// Where the header alone proves it, all of them meet the refusal at the end.
	env.Daemon = ""
	h, _ = split(note("1", "X-Acme-Gateway: "+secret+"\r\n"))
	if trace, err = s.engine.Trace(t.Context(), env, h); err != nil || trace.End == nil || trace.Recipients[0].Rcpt != nil {
		t.Errorf("by the header: %+v, %v", trace, err)
	}
	h, _ = split(note("1", ""))
	if trace, err = s.engine.Trace(t.Context(), from(dave, carol, boss), h); err != nil || trace.End != nil {
		t.Fatalf("%+v, %v", trace, err)
	}
	if r := trace.Recipients[1]; !r.Copy || r.To != atGapps || !strings.HasPrefix(r.Sender, "SRS0=") || trace.Recipients[0].Copy {
		t.Errorf("a copy: %+v", trace.Recipients)
	}
}
