package submit

// Mail through a real Postfix.

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"maps"
	mrand "math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

const (
	alice = "alice@acmecorp.test"
	bob   = "bob@acmecorp.test"
)

func startPostfix(t *testing.T, extra map[string]string) *testserver.Postfix {
	t.Helper()
	// By default Postfix turns a CR that ends no line into a blank.
	settings := map[string]string{"cleanup_replace_stray_cr_lf": "no"}
	maps.Copy(settings, extra)
	p, err := testserver.StartPostfix(t.Context(), testserver.PostfixOptions{Mailboxes: []string{alice, bob}, Extra: settings})
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no Postfix: ", err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func sender(t *testing.T, addr string, change ...func(*Config)) *Sender {
	t.Helper()
	cfg := DefaultConfig()
	cfg.SMTP = addr
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg, "cloakroom.acmecorp.test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func send(t *testing.T, s *Sender, env Envelope, body io.Reader) (Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if env.From == "" {
		env.From = "eve@ext.test"
	}
	r, err := s.Send(ctx, env, body)
	if len(r.Recipients) != len(env.To) {
		t.Fatalf("%d results for %d recipients", len(r.Recipients), len(env.To))
	}
	for i, one := range r.Recipients {
		if one.Address != env.To[i].Address || (one.Err == nil) != (one.Outcome == Accepted) || err != nil && one.Err == nil {
			t.Errorf("result %+v for %s beside error %v", one, env.To[i].Address, err)
		}
	}
	return r, err
}

// delivered waits for the nth mail to an address and returns it from the
// field X-Begin on, with its line ends as they lie in the mailbox (LF).
func delivered(t *testing.T, p *testserver.Postfix, address string, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	files, err := p.WaitMailbox(ctx, address, n)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(files[n-1])
	if err != nil {
		t.Fatal(err)
	}
	_, message, found := strings.Cut(string(text), "\nX-Begin: here\n")
	if !found {
		t.Fatalf("delivered without our header: %.500q", text)
	}
	return message
}

// begin has the fields that Postfix would add.
const begin = "From: eve@ext.test\r\nDate: Tue, 24 Nov 2026 00:32:10 +0000\r\nMessage-Id: <1@ext.test>\r\nX-Begin: here\r\n"

var to = []Rcpt{{Address: bob}}

// awkward are messages after X-Begin with CRLF line ends.
var awkward = map[string]string{
	"dots":            "Subject: s\r\n\r\n.\r\n..\r\n.a\r\nb.\r\n...\r\n.\r\n",
	"dot at once":     "\r\n.\r\nQUIT\r\n",
	"no final CRLF":   "Subject: s\r\n\r\nend",
	"ends in a dot":   "\r\na\r\n.",
	"empty body":      "Subject: s\r\n\r\n",
	"blank lines":     "\r\n\r\n\r\n\r\n",
	"trailing blanks": "\r\na \t \r\n  \r\n",
	"long line":       "\r\n" + strings.Repeat("x", 998) + "\r\n." + strings.Repeat("y", 997) + "\r\n",
	"8 bit":           "Subject: Gr\xfc\xdfe\r\n\r\n\xff\xfe\x80 latin1 \xe9\r\nüöä\r\n",
	"lone CR":         "\r\na\rb\r.\r\n\rc\r\n",
	"From":            "\r\nFrom here\r\n>From there\r\n",
	"many lines":      "\r\n" + strings.Repeat(".\r\n\r\n.x\r\n", 60_000),
}

func TestMessagesArriveByteForByte(t *testing.T) {
	for name, extra := range map[string]map[string]string{"BDAT": nil, "DATA": {"smtpd_discard_ehlo_keywords": "chunking"}} {
		t.Run(name, func(t *testing.T) {
			p := startPostfix(t, extra)
			s := sender(t, p.SMTPAddr())
			n := 0
			for name, text := range awkward {
				r, err := send(t, s, Envelope{To: to, EightBit: true}, strings.NewReader(begin+text))
				if err != nil || !r.All(Accepted) || r.Reply.Code != 250 || r.Reply.Enhanced != "2.0.0" || !strings.Contains(r.Reply.Text, "queued as") {
					t.Errorf("%s: %+v, %v", name, r, err)
					continue
				}
				n++
				want := strings.ReplaceAll(text, "\r\n", "\n")
				if !strings.HasSuffix(want, "\n") {
					want += "\n" // mailboxes have whole lines
				}
				if got := delivered(t, p, bob, n); got != want {
					t.Errorf("%s: got %.200q, want %.200q", name, got, want)
				}
			}
		})
	}
}

func TestNothingInAMessageIsACommand(t *testing.T) {
	for name, extra := range map[string]map[string]string{"BDAT": {}, "DATA": {"smtpd_discard_ehlo_keywords": "chunking"}} {
		t.Run(name, func(t *testing.T) {
			extra["smtpd_forbid_bare_newline"] = "no" // as older ones are
			p := startPostfix(t, extra)
			s := sender(t, p.SMTPAddr())
			n := 0
			for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r\n", "\r.\r", "\r\n.\r", "\n\n.\r\n"} {
				text := "\r\none" + end + "MAIL FROM:<boss@acmecorp.test>\r\nRCPT TO:<alice@acmecorp.test>\r\nDATA\r\nSubject: smuggled\r\n\r\n" + end + "two\r\n"
				if r, err := send(t, s, Envelope{To: to}, strings.NewReader(begin+text)); err != nil || !r.All(Accepted) {
					t.Fatalf("%q: %+v, %v", end, r, err)
				}
				n++
				// Postfix takes LF for a line end; nothing else differs.
				if got, want := delivered(t, p, bob, n), strings.ReplaceAll(text, "\r\n", "\n"); got != want {
					t.Errorf("%q: got %q, want %q", end, got, want)
				}
			}
			if mails, err := p.Mailbox(alice); err != nil || len(mails) > 0 {
				t.Errorf("%d mails were smuggled in, %v", len(mails), err)
			}
		})
	}
}

func TestEveryRecipientHasItsOwnOutcome(t *testing.T) {
	p := startPostfix(t, map[string]string{
		"smtpd_recipient_restrictions": "check_recipient_access inline:{{later@acmecorp.test=450 4.2.1 come back} {off@acmecorp.test=554 5.7.1 not here}}",
	})
	s := sender(t, p.SMTPAddr())
	all := []Rcpt{{Address: "nobody@acmecorp.test"}, {Address: bob}, {Address: "later@acmecorp.test"}, {Address: "a>b@acmecorp.test"}, {Address: alice}, {Address: "off@acmecorp.test"}}
	r, err := send(t, s, Envelope{To: all}, strings.NewReader(begin+"\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		outcome  Outcome
		code     int
		enhanced string
		text     string
	}{{Permanent, 550, "5.1.1", "User unknown"}, {Accepted, 250, "2.0.0", "queued as"}, {Temporary, 450, "4.2.1", "come back"}, {Permanent, 0, "", ""},
		{Accepted, 250, "2.0.0", "queued as"}, {Permanent, 554, "5.7.1", "not here"}} {
		got := r.Recipients[i]
		if got.Outcome != want.outcome || got.Reply.Code != want.code || got.Reply.Enhanced != want.enhanced || !strings.Contains(got.Reply.Text, want.text) || got.MayDuplicate {
			t.Errorf("%s: %+v, want %+v", got.Address, got, want)
		}
	}
	delivered(t, p, bob, 1)
	delivered(t, p, alice, 1)
	r, err = send(t, s, Envelope{To: []Rcpt{{Address: "nobody@acmecorp.test"}}}, strings.NewReader(begin+"\r\n"))
	if err != nil || !r.All(Permanent) || r.Reply.Code != 0 {
		t.Errorf("no valid recipient: %+v, %v", r, err)
	}
}

func TestARefusedMessageIsRefusedForAll(t *testing.T) {
	p := startPostfix(t, map[string]string{"message_size_limit": "10000"})
	s := sender(t, p.SMTPAddr())
	big := begin + "\r\n" + strings.Repeat("0123456789\r\n", 300_000)
	for name, size := range map[string]int64{"said before": int64(len(big)), "seen by the MTA": 0} {
		r, err := send(t, s, Envelope{To: to, Size: size}, strings.NewReader(big))
		if err == nil || !r.All(Permanent) || r.Recipients[0].Reply.Code != 552 || r.Recipients[0].MayDuplicate {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestABigMessageArrivesWhole(t *testing.T) {
	p := startPostfix(t, nil)
	s := sender(t, p.SMTPAddr())
	var text bytes.Buffer
	text.WriteString("\r\n")
	random := mrand.NewChaCha8([32]byte{1})
	for line := make([]byte, 57); text.Len() < 30<<20; {
		random.Read(line)
		text.WriteString(base64.StdEncoding.EncodeToString(line) + "\r\n")
	}
	began := time.Now()
	r, err := send(t, s, Envelope{To: to, Size: int64(text.Len() + len(begin))}, io.MultiReader(strings.NewReader(begin), bytes.NewReader(text.Bytes())))
	if err != nil || !r.All(Accepted) {
		t.Fatalf("%+v, %v", r, err)
	}
	t.Logf("%d MB in %v", text.Len()>>20, time.Since(began))
	if got := delivered(t, p, bob, 1); got != strings.ReplaceAll(text.String(), "\r\n", "\n") {
		t.Errorf("%d bytes arrived, and differ", len(got))
	}
}

func TestDeliveryStatusNotificationsAreAskedFor(t *testing.T) {
	p := startPostfix(t, nil)
	s := sender(t, p.SMTPAddr())
	env := Envelope{From: alice, Args: []string{"RET=HDRS", "ENVID=E+2B1", "SIZE=1", "BODY=7BIT", "AUTH=<>"},
		To: []Rcpt{{Address: bob, Args: []string{"NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;robert+2Bx@ext.test", "XFOO=1"}}}}
	if r, err := send(t, s, env, strings.NewReader(begin+"\r\n")); err != nil || !r.All(Accepted) {
		t.Fatalf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	files, err := p.WaitMailbox(ctx, alice, 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Action: delivered", "Original-Recipient: rfc822;robert+x@ext.test", "Original-Envelope-Id: E+1"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the notification lacks %q:\n%s", want, text)
		}
	}
}

func TestAddressesBeyondASCIIAreSent(t *testing.T) {
	p := startPostfix(t, map[string]string{"smtputf8_enable": "yes", "virtual_mailbox_maps": "inline:{{jörg@acmecorp.test=bob@acmecorp.test/}}"})
	r, err := send(t, sender(t, p.SMTPAddr()), Envelope{From: "añez@ext.test", To: []Rcpt{{Address: "jörg@acmecorp.test"}}}, strings.NewReader(begin+"\r\n"))
	if err != nil || !r.All(Accepted) {
		t.Fatalf("%+v, %v", r, err)
	}
	delivered(t, p, bob, 1)
	off := startPostfix(t, map[string]string{"smtputf8_enable": "no"})
	r, err = send(t, sender(t, off.SMTPAddr()), Envelope{To: to, SMTPUTF8: true}, strings.NewReader(begin+"\r\n"))
	if err == nil || !strings.Contains(err.Error(), "SMTPUTF8") || !r.All(Temporary) {
		t.Errorf("an MTA without SMTPUTF8: %+v, %v", r, err)
	}
}

// breaking is a message during which something happens.
type breaking struct {
	before int64 // bytes
	do     func() error
	once   sync.Once
	err    error
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.before <= 0 {
		b.once.Do(func() { b.err = b.do() })
		if b.err != nil {
			return 0, b.err
		}
	}
	p = p[:min(len(p), 1000)]
	copy(p, bytes.Repeat([]byte("0123456\r\n"), 112))
	b.before -= int64(len(p))
	return len(p), nil
}

func TestAnMTAThatDiesMidwayIsATemporaryFailure(t *testing.T) {
	for name, extra := range map[string]map[string]string{"BDAT": nil, "DATA": {"smtpd_discard_ehlo_keywords": "chunking"}} {
		t.Run(name, func(t *testing.T) {
			p := startPostfix(t, extra)
			s := sender(t, p.SMTPAddr())
			body := io.LimitReader(&breaking{before: 1 << 20, do: p.Stop}, 8<<20)
			r, err := send(t, s, Envelope{To: to}, body)
			if err == nil || errors.Is(err, ErrUnknown) || !r.All(Temporary) || r.Recipients[0].MayDuplicate {
				t.Errorf("%+v, %v", r, err)
			}
			r, err = send(t, s, Envelope{To: to}, strings.NewReader(begin))
			if !errors.Is(err, ErrUnavailable) || !r.All(Temporary) || r.Recipients[0].MayDuplicate {
				t.Errorf("afterwards: %+v, %v", r, err)
			}
		})
	}
}

func TestAMessageThatCannotBeReadIsNotDelivered(t *testing.T) {
	for name, extra := range map[string]map[string]string{"BDAT": nil, "DATA": {"smtpd_discard_ehlo_keywords": "chunking"}} {
		t.Run(name, func(t *testing.T) {
			p := startPostfix(t, extra)
			s := sender(t, p.SMTPAddr())
			lost := errors.New("lost")
			r, err := send(t, s, Envelope{To: to}, &breaking{before: 1 << 20, do: func() error { return lost }})
			if !errors.Is(err, ErrBody) || !errors.Is(err, lost) || !r.All(Temporary) {
				t.Errorf("broken source: %+v, %v", r, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			r, err = s.Send(ctx, Envelope{To: to}, io.LimitReader(&breaking{before: 1 << 20, do: func() error { cancel(); return nil }}, 8<<20))
			if !errors.Is(err, context.Canceled) || !r.All(Temporary) || r.Recipients[0].MayDuplicate {
				t.Errorf("cancelled: %+v, %v", r, err)
			}
			if r, err := send(t, s, Envelope{To: to}, strings.NewReader(begin+"\r\n")); err != nil || !r.All(Accepted) {
				t.Fatalf("%+v, %v", r, err)
			}
			if delivered(t, p, bob, 1) != "\n" {
				t.Error("the first mail that arrives is not the last that was sent")
			}
			if queue, err := p.Queue(t.Context()); err != nil || len(queue) > 0 {
				t.Errorf("queue %+v, %v", queue, err)
			}
		})
	}
}
