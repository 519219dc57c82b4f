package milter

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
	"cloakroom/message"
)

func ptr(s string) *string { return &s }

func TestOutcomeIsSentInAnOrderThatMTAsTake(t *testing.T) {
	s, _ := start(t, answering(func() *flow.Outcome {
		return &flow.Outcome{
			Quarantine:       "  looks\r\nodd: 100% \xff ü ",
			Sender:           ptr(`"a b"@ext.test`),
			DeleteRecipients: []string{"bob@acmecorp.test", "carol@acmecorp.test"},
			AddRecipients: []flow.Recipient{
				{Address: "dave@ext.test"},
				{Address: "erin@ext.test", Args: []string{"NOTIFY=NEVER", "orcpt=rfc822;bob@acmecorp.test"}},
				{Address: "dave@ext.test", Args: []string{"NOTIFY=NEVER"}}, // once is enough
				{Address: "frank@acmecorp.test"},                           // is there already
			},
			Header: []message.HeaderEdit{{Name: "X-A", Value: "b"}},
			Body:   chunks{"new"},
		}
	}))
	m := greet(t, s, allActions, allProtocol)
	m.send('M', "<alice@ext.test>\x00")
	for _, path := range []string{"<bob@acmecorp.test>", "carol@acmecorp.test", "<carol@acmecorp.test>", "<bob@acmecorp.test>", "<frank@acmecorp.test>"} {
		m.send('R', path+"\x00")
	}
	m.send('N', "")
	m.receive()
	var got []string
	for _, p := range m.finish() {
		got = append(got, string(p.code)+string(p.payload))
	}
	want := []string{
		"e<\"a b\"@ext.test>\x00",
		"-<bob@acmecorp.test>\x00", "-carol@acmecorp.test\x00", "-<carol@acmecorp.test>\x00",
		"+<dave@ext.test>\x00", "2<erin@ext.test>\x00NOTIFY=NEVER orcpt=rfc822;bob@acmecorp.test\x00",
		"hX-A\x00 b\x00", "bnew", "qlooks odd: 100% ? ?\x00", "a",
	}
	if !slices.Equal(got, want) {
		t.Errorf("packets\n got %q\nwant %q", got, want)
	}
}

func TestEnvelopeChangesThroughLibraryClient(t *testing.T) {
	s, _ := start(t, answering(func() *flow.Outcome {
		return &flow.Outcome{
			Quarantine: "held", Sender: ptr(""), DeleteRecipients: []string{"bob@acmecorp.test"},
			AddRecipients: []flow.Recipient{{Address: "dave@ext.test"}},
		}
	}))
	c := clientSession(t, s)
	mods, act, err := c.End()
	if err != nil || act.Code != gomilter.ActAccept {
		t.Fatalf("end: %+v, %v", act, err)
	}
	want := []gomilter.ModifyAction{
		{Code: gomilter.ActChangeFrom, From: "<>", FromArgs: []string{""}},
		{Code: gomilter.ActDelRcpt, Rcpt: "<bob@acmecorp.test>"},
		{Code: gomilter.ActAddRcpt, Rcpt: "<dave@ext.test>"},
		{Code: gomilter.ActQuarantine, Reason: "held"},
	}
	if !reflect.DeepEqual(mods, want) {
		t.Errorf("modifications %+v, want %+v", mods, want)
	}
}

func TestRejectThroughLibraryClient(t *testing.T) {
	s, log := start(t, answering(func() *flow.Outcome {
		return &flow.Outcome{
			Reject: &flow.Reply{Code: 550, Enhanced: "5.7.1", Text: "not wanted"},
			Sender: ptr("never@looked.at"), Quarantine: "nor this", Body: failing{errors.New("nor this")},
		}
	}))
	mods, act, err := clientSession(t, s).End()
	if err != nil || act.Code != gomilter.ActReplyCode || act.SMTPCode != 550 || act.SMTPText != "5.7.1 not wanted" || mods != nil {
		t.Errorf("end: %+v %+v, %v", mods, act, err)
	}
	log.await(t, "message refused")
}

// clientSession is an MTA that has sent a message up to its body.
func clientSession(t *testing.T, s *Server) *gomilter.ClientSession {
	t.Helper()
	client := gomilter.NewClientWithOptions("unix", s.Addr().String(), gomilter.ClientOptions{
		ReadTimeout: testTimeout, WriteTimeout: testTimeout, ActionMask: allActions, ProtocolMask: allProtocol,
	})
	c, err := client.Session()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for i, step := range []func() (*gomilter.Action, error){
		func() (*gomilter.Action, error) {
			return c.Conn("client.ext.test", gomilter.FamilyInet, 4711, "192.0.2.7")
		},
		func() (*gomilter.Action, error) { return c.Mail("alice@ext.test", nil) },
		func() (*gomilter.Action, error) { return c.Rcpt("bob@acmecorp.test", nil) },
		func() (*gomilter.Action, error) { return c.HeaderField("Subject", " hi") },
		func() (*gomilter.Action, error) { return c.HeaderEnd() },
	} {
		if act, err := step(); err != nil || act.Code != gomilter.ActContinue {
			t.Fatalf("step %d: %+v, %v", i, act, err)
		}
	}
	return c
}

func TestOutcomeThatCannotBeCarriedOutIsDeferredAsAWhole(t *testing.T) {
	sender := func(s string) flow.Outcome { return flow.Outcome{Sender: &s} }
	add := func(r ...flow.Recipient) flow.Outcome { return flow.Outcome{AddRecipients: r} }
	args := func(a ...string) flow.Outcome { return add(flow.Recipient{Address: "dave@ext.test", Args: a}) }
	reject := func(code int, enhanced string) flow.Outcome {
		return flow.Outcome{Reject: &flow.Reply{Code: code, Enhanced: enhanced, Text: "no"}}
	}
	const notAllowed = "does not allow the change"
	for _, tc := range []struct {
		name, logged string
		out          flow.Outcome
		denied       gomilter.OptAction // by the MTA
	}{
		{"sender not allowed", notAllowed, sender("a@b"), gomilter.OptChangeFrom},
		{"deletion not allowed", notAllowed, flow.Outcome{DeleteRecipients: []string{"bob@acmecorp.test"}, AddRecipients: []flow.Recipient{{Address: "a@b"}}}, gomilter.OptRemoveRcpt},
		{"addition not allowed", notAllowed, add(flow.Recipient{Address: "a@b"}), gomilter.OptAddRcpt},
		{"arguments not allowed", notAllowed, args("NOTIFY=NEVER"), gomilter.OptAddRcptWithArgs},
		{"quarantine not allowed", notAllowed, flow.Outcome{Quarantine: "x"}, gomilter.OptQuarantine},
		{"blank reason", "blank", flow.Outcome{Quarantine: " \r\n"}, 0},
		{"sender ends the packet", "byte 0x0", sender("a@b\x00c"), 0},
		{"sender breaks the line", "byte 0xd", sender("a@b\r\nRCPT TO:<c@d>"), 0},
		{"sender in brackets", "byte 0x3c", sender("<a@b>"), 0},
		{"sender too long", "more than an address may have", sender(strings.Repeat("a", 316) + "@b.cd"), 0},
		{"recipient is two", "byte 0x2c outside quotes", add(flow.Recipient{Address: "a@b,c@d"}), 0},
		{"recipient with a comment", "byte 0x28 outside quotes", add(flow.Recipient{Address: "a(x)@b"}), 0},
		{"recipient with an open quote", "unbalanced", add(flow.Recipient{Address: `"a\"@b`}), 0},
		{"no recipient", "empty address", add(flow.Recipient{}), 0},
		{"second recipient", "byte 0xa", add(flow.Recipient{Address: "a@b"}, flow.Recipient{Address: "a\n@b"}), 0},
		{"unknown argument", "FOO=1", args("FOO=1"), 0},
		{"argument twice", "once", args("NOTIFY=NEVER", "notify=SUCCESS"), 0},
		{"argument without value", "NOTIFY", args("NOTIFY"), 0},
		{"argument is two", "byte 0x20", args("NOTIFY=NEVER FOO=1"), 0},
		{"argument ends the packet", "byte 0x0", args("NOTIFY=NEVER\x00"), 0},
		{"argument too long", "600", args("ORCPT=rfc822;" + strings.Repeat("a", 600)), 0},
		{"deletes a stranger", "no such recipient", flow.Outcome{DeleteRecipients: []string{"<bob@acmecorp.test>"}}, 0},
		{"deletes everybody", "no recipient would be left", flow.Outcome{DeleteRecipients: []string{"bob@acmecorp.test"}}, 0},
		{"deletes and adds", "may lose it", flow.Outcome{DeleteRecipients: []string{"bob@acmecorp.test"}, AddRecipients: []flow.Recipient{{Address: "Bob@acmecorp.test"}}}, 0},
		{"reject with success", "4xx or 5xx", reject(250, "2.0.0"), 0},
		{"reject with no code", "4xx or 5xx", reject(0, "5.7.1"), 0},
		{"reject of another class", "does not fit", reject(550, "4.7.1"), 0},
		{"reject without enhanced code", "does not fit", reject(550, ""), 0},
		{"reject with text for a code", "does not fit", reject(550, "5.7.1 x"), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// A change that would go out if it were not for the rest.
			tc.out.Header, tc.out.Body = []message.HeaderEdit{{Name: "X-A", Value: "b"}}, chunks{"new"}
			s, log := start(t, answering(func() *flow.Outcome { return &tc.out }))
			m := greet(t, s, allActions&^tc.denied, allProtocol)
			m.mustOpen()
			got := m.finish()
			if len(got) != 1 {
				t.Errorf("packets before the verdict: %q", got)
			}
			checkDeferred(t, got[len(got)-1], log, tc.logged)
			m.mustOpen() // the connection still works
		})
	}
}

func TestReplyText(t *testing.T) {
	word := strings.Repeat("x", 300)
	for _, tc := range []struct {
		text  string
		lines int
		utf8  bool
		want  string
	}{
		{"no", 8, false, "550 5.7.1 no"},
		{"", 8, false, "550 5.7.1 refused"},
		{"\x00\x1b[31m\u202e", 8, true, "550 5.7.1 ??[31m?"},
		{"two\r\n550 2.0.0  lines\t", 8, false, "550 5.7.1 two 550 2.0.0 lines"},
		{"100% %s", 8, false, "550 5.7.1 100%% %%s"},
		{"grün \xff", 8, false, "550 5.7.1 gr?n ?"},
		{"grün \xff", 8, true, "550 5.7.1 grün ?"},
		{word + " " + word, 8, false, "550-5.7.1 " + word + "\r\n550 5.7.1 " + word},
		{word + " " + word, 1, false, "550 5.7.1 " + word},
		{strings.Repeat("x", 501), 8, false, "550-5.7.1 " + strings.Repeat("x", 500) + "\r\n550 5.7.1 x"},
		{strings.Repeat("x", 500), 8, false, "550 5.7.1 " + strings.Repeat("x", 500)},
		{strings.Repeat("x", 500) + " y", 8, false, "550-5.7.1 " + strings.Repeat("x", 500) + "\r\n550 5.7.1 y"},
		{"x" + strings.Repeat("ü", 250), 8, true, "550-5.7.1 x" + strings.Repeat("ü", 249) + "\r\n550 5.7.1 ü"},
		{strings.Repeat(word+" ", 20), 2, false, "550-5.7.1 " + word + "\r\n550 5.7.1 " + word},
	} {
		got, err := formatReply(&flow.Reply{Code: 550, Enhanced: "5.7.1", Text: tc.text}, tc.lines, tc.utf8)
		if err != nil || got != tc.want {
			t.Errorf("%.30q: got %q, %v, want %q", tc.text, got, err, tc.want)
		}
		for line := range strings.SplitSeq(got, "\r\n") {
			if len(strings.ReplaceAll(line, "%%", "%"))+2 > 512 {
				t.Errorf("%.30q: a line of %d bytes", tc.text, len(line)+2)
			}
		}
	}
}

func TestReplyHasUTF8OnlyWhereTheClientReadsIt(t *testing.T) {
	s, _ := start(t, answering(func() *flow.Outcome {
		return &flow.Outcome{Reject: &flow.Reply{Code: 550, Enhanced: "5.7.1", Text: "schön"}}
	}))
	m := greet(t, s, allActions, allProtocol)
	for args, want := range map[string]string{"": "sch?n", "BODY=8BITMIME\x00smtputf8\x00": "schön"} {
		m.send('M', "<a@b>\x00"+args)
		m.send('R', "<bob@acmecorp.test>\x00")
		m.send('N', "")
		m.receive()
		if got := m.finish(); len(got) != 1 || got[0].code != 'y' || string(got[0].payload) != "550 5.7.1 "+want+"\x00" {
			t.Errorf("%q: got %q", args, got)
		}
	}
}

// rcpt sends a recipient and gives the reply.
func (m *mta) rcpt(address string) packet {
	m.t.Helper()
	m.send('R', "<"+address+">\x00")
	return m.receive()
}

func TestRecipientsAreCheckedAtRCPT(t *testing.T) {
	var seen [][]string
	limits := make(chan time.Duration, 10)
	r := &recorder{}
	s, log := start(t, checked{r, func(ctx context.Context, env *flow.Envelope, x flow.Recipient) (*flow.Reply, error) {
		seen = append(seen, append(env.RecipientAddresses(), x.Address))
		end, _ := ctx.Deadline()
		limits <- time.Until(end)
		switch x.Address {
		case "panics@acmecorp.test":
			panic("boom")
		case "odd@acmecorp.test":
			return &flow.Reply{Code: 250, Enhanced: "2.0.0", Text: "welcome"}, nil
		}
		return noGhosts(ctx, env, x)
	}})
	m := greet(t, s, allActions, allProtocol)
	if m.opts.agreed(gomilter.OptNoRcptReply) || !m.opts.agreed(gomilter.OptNoMailReply) {
		t.Errorf("protocol %#x: want replies to RCPT, and to MAIL none", m.opts.protocol)
	}
	m.send('M', "<alice@ext.test>\x00")
	for _, tc := range []struct{ address, want, logged string }{
		{bob, "c", ""},
		{ghost, "y550 5.1.1 nobody here by 100%% that name\x00", "recipient refused"},
		{erin, "y451 4.3.0 Cloakroom: temporary failure", "directory is down"},
		{"panics@acmecorp.test", "y451 4.3.0 Cloakroom: temporary failure", "panic: boom"},
		{"odd@acmecorp.test", "y451 4.3.0 Cloakroom: temporary failure", "4xx or 5xx"},
		{carol, "c", ""},
	} {
		p := m.rcpt(tc.address)
		if got := string(p.code) + string(p.payload); !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s: got %q, want %q", tc.address, got, tc.want)
		}
		log.await(t, tc.logged)
		if d := <-limits; d <= 0 || d > recipientTimeout {
			t.Errorf("%s: the check may take %v", tc.address, d)
		}
	}
	m.send('D', "R{rcpt_mailer}\x00error\x00") // refused by the MTA: nothing to ask
	if p := m.rcpt(dave); p.code != 'c' {
		t.Errorf("got %q", p.code)
	}
	m.send('N', "")
	m.receive()
	m.finish()
	if got := r.only(t).env.RecipientAddresses(); !slices.Equal(got, []string{bob, carol}) {
		t.Errorf("recipients %v", got)
	}
	if want := []string{bob, carol}; len(seen) != 6 || !slices.Equal(seen[5], want) {
		t.Errorf("the checks saw %v", seen)
	}
	if !strings.Contains(log.String(), "recipient="+erin) {
		t.Error("the log does not name the recipient")
	}
}

func TestSlowRecipientCheckIsTemporary(t *testing.T) {
	s, log := start(t, checked{&recorder{}, func(ctx context.Context, _ *flow.Envelope, _ flow.Recipient) (*flow.Reply, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}, func(s *Server) { s.cfg.MessageTimeout = 300 * time.Millisecond })
	m := greet(t, s, allActions, allProtocol)
	m.send('M', "<alice@ext.test>\x00")
	if p := m.rcpt(bob); p.code != 'y' || !strings.HasPrefix(string(p.payload), "451 ") {
		t.Errorf("got %q %q", p.code, p.payload)
	}
	log.await(t, errTimeLimit.Error())
}

func TestEmulatedRecipientIsNeverRefused(t *testing.T) {
	const postfix, sendmail = "v\x00Postfix 3.7.11\x00", "v\x008.17.1\x00"
	for _, tc := range []struct {
		name     string
		macros   string // of CONNECT
		port     string
		queueID  bool // known at MAIL
		emulated bool
	}{
		{"sendmail command of Postfix", postfix, "\x00\x00", true, true},
		{"the same without its name", "", "\x00\x00", true, true},
		{"the same without its id", postfix, "\x00\x00", false, true},
		{"QMQP of Postfix", postfix, "\x12\x34", true, true},
		{"SMTP of Postfix", postfix, "\x12\x34", false, false},
		{"SMTP of Sendmail", sendmail, "\x12\x34", true, false},
		{"SMTP of Sendmail without its name", "", "\x12\x34", true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorder{}
			s, log := start(t, checked{r, func(ctx context.Context, env *flow.Envelope, x flow.Recipient) (*flow.Reply, error) {
				if strings.HasPrefix(x.Address, "later") {
					return &flow.Reply{Code: 450, Enhanced: "4.2.1", Text: "full"}, nil
				}
				if x.Address == "long@acmecorp.test" {
					return &flow.Reply{Code: 550, Enhanced: "5.1.1", Text: strings.Repeat("x ", 300)}, nil
				}
				return noGhosts(ctx, env, x)
			}})
			m := dial(t, s)
			m.negotiate(6, allActions, allProtocol)
			m.send('D', "C"+tc.macros)
			m.send('C', "localhost\x004"+tc.port+"127.0.0.1\x00")
			refused := func(want string, recipients ...string) {
				t.Helper()
				if tc.queueID {
					m.send('D', "Mi\x004XyZ\x00")
				}
				m.send('M', "<alice@ext.test>\x00")
				for _, x := range recipients {
					p := m.rcpt(x)
					if tc.emulated && p.code != 'c' || !tc.emulated && p.code == 'c' != (x == bob) {
						t.Errorf("RCPT of %s was answered %q %q", x, p.code, p.payload)
					}
				}
				m.send('D', "Ni\x004XyZ\x00")
				m.send('N', "")
				p := m.receive()
				switch got := string(p.code) + string(p.payload); {
				case tc.emulated && got[0] == 'y' && strings.HasPrefix(want, "451"):
					checkDeferred(t, p, log, want[4:])
				case tc.emulated && got != "y"+want:
					t.Errorf("end of header was answered %q, want %q", got, want)
				case !tc.emulated && got != "c":
					t.Errorf("end of header was answered %q", got)
				}
				if !tc.emulated {
					m.finish()
				}
			}
			refused("550 5.1.1 <ghost@acmecorp.test>: nobody here by 100%% that name\x00", bob, ghost)
			refused("450 4.2.1 <later@acmecorp.test>: full\x00", ghost, "later@acmecorp.test", "later2@acmecorp.test", ghost, bob)
			// Postfix would show the line ends in its bounce.
			refused("550 5.1.1 <long@acmecorp.test>: "+strings.Repeat("x ", 238)+"x\x00", "long@acmecorp.test")
			refused("451 directory is down", bob, erin, ghost)
			if tc.emulated && len(r.mails) != 0 {
				t.Errorf("%d messages were opened", len(r.mails))
			}
		})
	}
}
