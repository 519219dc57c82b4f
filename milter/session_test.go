package milter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
	"cloakroom/message"
)

// chunks is a body written piece by piece.
type chunks []string

func (c chunks) WriteTo(w io.Writer) (int64, error) {
	var n int64
	for _, s := range c {
		k, err := io.WriteString(w, s)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func TestAsksOnlyForWhatIsOffered(t *testing.T) {
	s, log := start(t, &recorder{})
	for _, tc := range []struct {
		version, wantVersion uint32
		actions              gomilter.OptAction
		protocol             gomilter.OptProtocol
	}{
		{6, 6, allActions, allProtocol},
		{2, 2, 0x3f, 0x7f},
		{8, 6, gomilter.OptChangeBody, gomilter.OptNoBodyReply | 1<<29},
		{6, 6, 0, 0},
	} {
		m := dial(t, s)
		m.negotiate(tc.version, tc.actions, tc.protocol)
		want := options{tc.wantVersion, wantActions & tc.actions, wantProtocol & tc.protocol}
		if m.opts != want {
			t.Errorf("offer %d %#x %#x: got %+v, want %+v", tc.version, tc.actions, tc.protocol, m.opts, want)
		}
	}
	log.await(t, "does not let this milter change messages")
}

func TestMessageThroughLibraryClient(t *testing.T) {
	r := &recorder{set: func(m *fakeMail) {
		m.finish = func(context.Context, *fakeMail) (*flow.Outcome, error) {
			return &flow.Outcome{
				Header: []message.HeaderEdit{
					{Index: 1, Name: "Subject", Value: "changed"},
					{Index: 2, Name: "X-Old"},
					{Name: "X-New", Value: "one\r\n two"},
				},
				Body: chunks{"new body\r\n"},
			}, nil
		}
	}}
	s, _ := start(t, r)
	client := gomilter.NewClientWithOptions("unix", s.Addr().String(), gomilter.ClientOptions{
		ReadTimeout: testTimeout, WriteTimeout: testTimeout, ActionMask: allActions, ProtocolMask: allProtocol,
	})
	c, err := client.Session()
	if err != nil {
		t.Fatal(err)
	}
	steps := []func() (*gomilter.Action, error){
		func() (*gomilter.Action, error) {
			return c.Conn("client.ext.test", gomilter.FamilyInet, 4711, "192.0.2.7")
		},
		func() (*gomilter.Action, error) { return c.Helo("client.ext.test") },
		func() (*gomilter.Action, error) { return c.Mail("alice@ext.test", []string{"SIZE=10"}) },
		func() (*gomilter.Action, error) { return c.Rcpt("bob@acmecorp.test", nil) },
		func() (*gomilter.Action, error) { return c.HeaderField("Subject", " hi") },
		func() (*gomilter.Action, error) { return c.HeaderEnd() },
		func() (*gomilter.Action, error) { return c.BodyChunk([]byte("old ")) },
		func() (*gomilter.Action, error) { return c.BodyChunk([]byte("body\r\n")) },
	}
	for i, step := range steps {
		if act, err := step(); err != nil || act.Code != gomilter.ActContinue {
			t.Fatalf("step %d: %+v, %v", i, act, err)
		}
	}
	mods, act, err := c.End()
	if err != nil || act.Code != gomilter.ActAccept {
		t.Fatalf("end: %+v, %v", act, err)
	}
	want := []gomilter.ModifyAction{
		{Code: gomilter.ActChangeHeader, HeaderIndex: 1, HeaderName: "Subject", HeaderValue: " changed"},
		{Code: gomilter.ActChangeHeader, HeaderIndex: 2, HeaderName: "X-Old", HeaderValue: ""},
		{Code: gomilter.ActAddHeader, HeaderName: "X-New", HeaderValue: " one\n two"},
		{Code: gomilter.ActReplBody, Body: []byte("new body\r\n")},
	}
	if !reflect.DeepEqual(mods, want) {
		t.Errorf("modifications %+v, want %+v", mods, want)
	}
	if got := r.only(t).body.String(); got != "old body\r\n" {
		t.Errorf("the handler got the body %q", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestEnvelopeKeepsMacrosAndArgumentsOfEveryStage(t *testing.T) {
	r := &recorder{}
	var atOpen flow.Envelope
	s, _ := start(t, handlerFunc(func(ctx context.Context, env *flow.Envelope, h message.Header) (Mail, error) {
		atOpen = *env
		return r.Open(ctx, env, h)
	}))
	m := dial(t, s)
	m.negotiate(6, allActions, allProtocol&^gomilter.OptNoData)
	m.send('D', "Cj\x00mx.acmecorp.test\x00{daemon_name}\x00submission\x00")
	m.send('C', "client.ext.test\x006\x04\xd2IPv6:2001:db8::7\x00")
	m.send('D', "H{tls_version}\x00TLSv1.3\x00")
	m.send('H', "client.ext.test\x00")
	m.send('D', "M{auth_authen}\x00alice\x00{mail_addr}\x00alice@ext.test\x00")
	m.send('M', "<alice@ext.test>\x00SIZE=1000\x00BODY=8BITMIME\x00")
	m.send('D', "R{rcpt_mailer}\x00smtp\x00")
	m.send('R', "<\"a>b<\"@acmecorp.test>\x00NOTIFY=NEVER\x00ORCPT=rfc822;a@b\x00")
	m.send('D', "R{rcpt_mailer}\x00error\x00")
	m.send('R', "<nobody@acmecorp.test>\x00")
	m.send('R', "carol@acmecorp.test\x00")
	m.send('T', "")
	m.send('L', "Subject\x00 x\x00")
	m.send('N', "")
	if p := m.receive(); p.code != 'c' {
		t.Fatalf("end of header: %q", p.code)
	}
	m.send('D', "Ei\x004QueueId\x00")
	m.finish()

	env := r.only(t).env
	if env.Received.IsZero() || time.Since(env.Received) > time.Minute {
		t.Errorf("received at %v", env.Received)
	}
	want := flow.Envelope{
		QueueID: "4QueueId", Sender: "alice@ext.test", SenderArgs: []string{"SIZE=1000", "BODY=8BITMIME"},
		Recipients: []flow.Recipient{
			{Address: `"a>b<"@acmecorp.test`, Args: []string{"NOTIFY=NEVER", "ORCPT=rfc822;a@b"}},
			{Address: "carol@acmecorp.test"},
		},
		AuthUser: "alice", Client: netip.MustParseAddr("2001:db8::7"), Host: "client.ext.test",
		Helo: "client.ext.test", Daemon: "submission", TLS: "TLSv1.3", Received: env.Received,
	}
	if !reflect.DeepEqual(*env, want) {
		t.Errorf("envelope\n got %+v\nwant %+v", *env, want)
	}
	if want.QueueID = ""; !reflect.DeepEqual(atOpen, want) {
		t.Errorf("envelope at Open\n got %+v\nwant %+v", atOpen, want)
	}
}

func TestFactsOfOneMessageDoNotReachTheNext(t *testing.T) {
	r := &recorder{}
	s, _ := start(t, r)
	m := greet(t, s, allActions, allProtocol)
	m.send('D', "M{auth_authen}\x00alice\x00i\x001st\x00")
	m.send('M', "<alice@ext.test>\x00")
	m.send('R', "<bob@acmecorp.test>\x00")
	m.send('N', "")
	m.receive()
	m.finish()
	m.only(r, 1)

	// A new SMTP session on the same connection, without macros.
	m.send('K', "")
	m.send('C', "localhost\x00L\x00\x00/run/x\x00")
	m.send('M', "<>\x00")
	m.send('R', "<carol@acmecorp.test>\x00")
	m.send('N', "")
	m.receive()
	m.finish()
	m.only(r, 2)

	env := *r.mails[1].env
	env.Received = time.Time{}
	want := flow.Envelope{Host: "localhost", Recipients: []flow.Recipient{{Address: "carol@acmecorp.test"}}}
	if !reflect.DeepEqual(env, want) {
		t.Errorf("got %+v, want %+v", env, want)
	}
}

// only waits for the nth mail to be closed.
func (m *mta) only(r *recorder, n int) {
	m.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mails) != n {
		m.t.Fatalf("%d mails were opened, want %d", len(r.mails), n)
	}
	<-r.mails[n-1].closed
}

func TestHeaderArrivesByteForByte(t *testing.T) {
	for _, tc := range []struct {
		name     string
		protocol gomilter.OptProtocol
		fields   []string
		want     string
	}{
		{"leading space kept", allProtocol,
			[]string{"Subject\x00 a\x00", "X-None\x00b\x00", "X-Two\x00  c\x00", "X-Tab\x00\td\x00", "X-Empty\x00\x00"},
			"Subject: a\r\nX-None:b\r\nX-Two:  c\r\nX-Tab:\td\r\nX-Empty:\r\n"},
		{"leading space restored", allProtocol &^ gomilter.OptHeaderLeadingSpace,
			[]string{"Subject\x00a\x00", "X-Tab\x00\td\x00", "X-Empty\x00\x00", "X-Fold\x00\n e\x00"},
			"Subject: a\r\nX-Tab:\td\r\nX-Empty:\r\nX-Fold:\r\n e\r\n"},
		{"folds become CRLF", allProtocol,
			[]string{"Received\x00 from a\n\tby b;\n  date\x00", "X-CRLF\x00 x\r\n y\x00", "X-8bit\x00 \xe4\xf6\x00"},
			"Received: from a\r\n\tby b;\r\n  date\r\nX-CRLF: x\r\n y\r\nX-8bit: \xe4\xf6\r\n"},
		{"reply to every field", 0, []string{"Subject\x00a\x00", "To\x00b\x00"}, "Subject: a\r\nTo: b\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorder{}
			s, _ := start(t, r)
			m := greet(t, s, allActions, tc.protocol)
			m.mustOpen(tc.fields...)
			m.finish()
			if got := string(r.only(t).header.Raw); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAnUnusableHeaderIsTheHandlersBusiness(t *testing.T) {
	long := "X-Long\x00 " + strings.Repeat("x", 100_000) + "\x00"
	for _, tc := range []struct {
		name, reason string
		fields       []string
	}{
		{"over the limit", "over the limit", slices.Repeat([]string{long}, 12)},
		{"not folded", "not folded properly", []string{"Subject\x00 a\n\nbody\x00"}},
		{"bad name", "malformed MIME header key", []string{"Sub ject\x00 a\x00"}},
		{"NUL inside", "malformed header packet", []string{"Subject\x00 a\x00b\x00"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorder{}
			s, log := start(t, r)
			m := greet(t, s, allActions, allProtocol)
			m.open(append([]string{"X-First\x00 1\x00"}, tc.fields...)...)
			m.finish()
			if h := r.only(t).header; h.Err == nil || !strings.Contains(h.Err.Error(), tc.reason) || !strings.HasPrefix(string(h.Raw), "X-First: 1\r\n") {
				t.Errorf("the handler got error %v, header %.40q", h.Err, h.Raw)
			}
			log.await(t, tc.reason)
			if !strings.Contains(log.String(), "queue_id=4XyZ") {
				t.Errorf("no queue id in the log:\n%s", log)
			}
			m.mustOpen() // the connection still works
		})
	}
}

func TestNilMailIsAcceptedAtEndOfHeader(t *testing.T) {
	s, _ := start(t, handlerFunc(func(context.Context, *flow.Envelope, message.Header) (Mail, error) { return nil, nil }))
	m := greet(t, s, allActions, allProtocol)
	for range 3 {
		if p := m.open(); p.code != 'a' || len(p.payload) != 0 {
			t.Fatalf("got %q %q, want accept", p.code, p.payload)
		}
	}
}

func TestReplacedBodyIsOneRunOfFullPackets(t *testing.T) {
	// Bare CR, bare LF, and a CRLF over the edge of a packet.
	body := strings.Repeat("x", maxChunk-1) + "\r\n" + strings.Repeat("a\rb\nc\r\r\nd\r\n\x00", 10_000)
	r := &recorder{set: func(m *fakeMail) {
		m.finish = func(context.Context, *fakeMail) (*flow.Outcome, error) {
			return &flow.Outcome{
				Header: []message.HeaderEdit{{Name: "X-A", Value: "b"}},
				Body:   chunks{body[:10], body[10:100_000], body[100_000:]},
			}, nil
		}
	}}
	s, _ := start(t, r)
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	m.body("old")
	got := m.finish()
	var codes, text strings.Builder
	for i, p := range got {
		codes.WriteByte(p.code)
		if p.code != respReplBody {
			continue
		}
		text.Write(p.payload)
		if last := got[i+1].code != respReplBody; !last && len(p.payload) != maxChunk {
			t.Errorf("packet %d has %d bytes", i, len(p.payload))
		}
	}
	if codes.String() != "hbbba" {
		t.Errorf("packets %q, want header edit, three body packets, accept", codes.String())
	}
	if text.String() != body {
		t.Error("the body arrived changed")
	}
}

func TestEmptyBodyIsReplacedToo(t *testing.T) {
	r := &recorder{set: func(m *fakeMail) {
		m.finish = func(context.Context, *fakeMail) (*flow.Outcome, error) { return &flow.Outcome{Body: chunks{}}, nil }
	}}
	s, _ := start(t, r)
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	got := m.finish()
	if len(got) != 2 || got[0].code != 'b' || len(got[0].payload) != 0 || got[1].code != 'a' {
		t.Errorf("got %v", got)
	}
}

func TestBodyBytesThatComeWithTheEndAreKept(t *testing.T) {
	for _, protocol := range []gomilter.OptProtocol{allProtocol, 0} {
		r := &recorder{}
		s, _ := start(t, r)
		m := greet(t, s, allActions, protocol)
		m.mustOpen()
		m.body("first\r\n")
		m.send('E', "last\r\n")
		if got := m.answers(); len(got) != 1 || got[0].code != 'a' {
			t.Errorf("answers %v, want a single accept", got)
		}
		if got := r.only(t).body.String(); got != "first\r\nlast\r\n" {
			t.Errorf("body %q", got)
		}
	}
}

var replyText = regexp.MustCompile(`^451 4\.3\.0 Cloakroom: temporary failure, please try again later \(ref ([0-9A-F]{8})\)\x00$`)

func TestFailureIsTemporaryAndNamed(t *testing.T) {
	boom := errors.New("disk on fire")
	finish := func(f func() (*flow.Outcome, error)) func(*fakeMail) {
		return func(m *fakeMail) { m.finish = func(context.Context, *fakeMail) (*flow.Outcome, error) { return f() } }
	}
	outcome := func(o *flow.Outcome) func(*fakeMail) {
		return finish(func() (*flow.Outcome, error) { return o, nil })
	}
	edit := func(e message.HeaderEdit) func(*fakeMail) {
		return outcome(&flow.Outcome{Header: []message.HeaderEdit{e}})
	}
	for _, tc := range []struct {
		name, logged string
		set          func(*fakeMail)
		actions      gomilter.OptAction
		packets      string // before the verdict
	}{
		{"write", boom.Error(), func(m *fakeMail) { m.write = func([]byte) error { return boom } }, allActions, ""},
		{"write panics", "panic: boom", func(m *fakeMail) { m.write = func([]byte) error { panic("boom") } }, allActions, ""},
		{"finish", boom.Error(), finish(func() (*flow.Outcome, error) { return nil, boom }), allActions, ""},
		{"finish panics", "fake_test.go", finish(func() (*flow.Outcome, error) { panic(boom) }), allActions, ""},
		{"no outcome", "no outcome", outcome(nil), allActions, ""},
		{"body fails midway", boom.Error(), outcome(&flow.Outcome{Body: failing{boom}}), allActions, "b"},
		{"body not allowed", "does not allow the change", outcome(&flow.Outcome{Body: chunks{"x"}}), allActions &^ gomilter.OptChangeBody, ""},
		{"header not allowed", "does not allow the change", edit(message.HeaderEdit{Name: "A", Value: "b"}), gomilter.OptChangeBody, ""},
		{"header injection", "not a folded one", edit(message.HeaderEdit{Name: "A", Value: "b\r\nBcc: c"}), allActions, ""},
		{"header end", "not a folded one", edit(message.HeaderEdit{Name: "A", Value: "b\r\n \r\n c"}), allActions, ""},
		{"header bare CR", "bare CR", edit(message.HeaderEdit{Name: "A", Value: "b\rc"}), allActions, ""},
		{"header NUL", "NUL", edit(message.HeaderEdit{Name: "A", Value: "b\x00c"}), allActions, ""},
		{"header name", "field name", edit(message.HeaderEdit{Name: "A:", Value: "b"}), allActions, ""},
		{"header deletes nothing", "no field to delete", edit(message.HeaderEdit{Name: "A"}), allActions, ""},
		{"header too long", "more than fit", edit(message.HeaderEdit{Name: "A", Value: strings.Repeat("x", 1<<16)}), allActions, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorder{set: tc.set}
			s, log := start(t, r)
			m := greet(t, s, tc.actions, allProtocol)
			m.mustOpen()
			m.body("one")
			m.body("two")
			got := m.finish()
			var codes string
			for _, p := range got[:len(got)-1] {
				codes += string(rune(p.code))
			}
			if codes != tc.packets {
				t.Errorf("packets %q before the verdict, want %q", codes, tc.packets)
			}
			checkDeferred(t, got[len(got)-1], log, tc.logged)
			r.only(t)
			m.mustOpen() // the connection still works
		})
	}
}

// failing is a body that breaks off after more than a packet.
type failing struct{ err error }

func (f failing) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(bytes.Repeat([]byte("x"), maxChunk+10))
	if err != nil {
		return int64(n), err
	}
	return int64(n), f.err
}

func checkDeferred(t *testing.T, p packet, log *logBuffer, logged string) {
	t.Helper()
	match := replyText.FindStringSubmatch(string(p.payload))
	if p.code != 'y' || match == nil {
		t.Fatalf("verdict %q %q", p.code, p.payload)
	}
	log.await(t, logged)
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "message deferred") {
			if !strings.Contains(line, "ref="+match[1]) || !strings.Contains(line, "queue_id=4XyZ") || !strings.Contains(line, logged) {
				t.Errorf("log line %q lacks ref %s, queue id or %q", line, match[1], logged)
			}
			return
		}
	}
	t.Errorf("no line tells of the deferral:\n%s", log)
}

func TestFailingOpenIsTemporaryAtEndOfHeader(t *testing.T) {
	for name, f := range map[string]func() (Mail, error){
		"directory is down": func() (Mail, error) { return nil, errors.New("directory is down") },
		"panic: nil map":    func() (Mail, error) { panic("nil map") },
	} {
		s, log := start(t, handlerFunc(func(context.Context, *flow.Envelope, message.Header) (Mail, error) { return f() }))
		m := greet(t, s, allActions, allProtocol)
		checkDeferred(t, m.open(), log, name)
		if p := m.open(); p.code != 'y' {
			t.Errorf("%s: the next message was answered %q", name, p.code)
		}
	}
}

func TestHandlerPanickingInCloseKeepsTheConnection(t *testing.T) {
	s, log := start(t, handlerFunc(func(context.Context, *flow.Envelope, message.Header) (Mail, error) {
		return closePanics{}, nil
	}))
	m := greet(t, s, allActions, allProtocol)
	for range 2 {
		m.mustOpen()
		if got := m.finish(); len(got) != 1 || got[0].code != 'a' {
			t.Fatalf("got %v", got)
		}
	}
	log.await(t, "closing the message failed")
}

type closePanics struct{}

func (closePanics) Write(p []byte) (int, error)                   { return len(p), nil }
func (closePanics) Finish(context.Context) (*flow.Outcome, error) { return &flow.Outcome{}, nil }
func (closePanics) Close()                                        { panic("already closed") }
