package milter

// Outcomes and replies through a real Postfix.

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/testserver"
	"cloakroom/message"
)

const (
	alice = "alice@acmecorp.test"
	bob   = "bob@acmecorp.test"
	carol = "carol@acmecorp.test"
	dave  = "dave@acmecorp.test"
	erin  = "erin@acmecorp.test"
	ghost = "ghost@acmecorp.test" // has a mailbox, but the checks refuse it
)

// startPostfix runs a Postfix whose milter is h.
func startPostfix(t *testing.T, h Handler, extra map[string]string) (*testserver.Postfix, *logBuffer) {
	t.Helper()
	s, log := start(t, h, func(s *Server) { s.cfg.Listen = "inet:127.0.0.1:0" })
	// Not the test's context, which ends before the cleanup that stops it in order.
	p, err := testserver.StartPostfix(context.WithoutCancel(t.Context()), testserver.PostfixOptions{
		MilterAddr: "inet:" + s.Addr().String(),
		Mailboxes:  []string{alice, bob, carol, dave, erin, ghost},
		Extra:      extra,
	})
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no Postfix: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("Postfix:\n%s", p.Log())
		}
	})
	return p, log
}

// answering is a handler with one outcome for all mail.
func answering(out func() *flow.Outcome) *recorder {
	return &recorder{set: func(m *fakeMail) {
		m.finish = func(context.Context, *fakeMail) (*flow.Outcome, error) { return out(), nil }
	}}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

const letter = "Subject: hello\r\nFrom: alice@acmecorp.test\r\n\r\nold body\r\n"

// mailbox waits for n mails and gives them.
func mailbox(t *testing.T, p *testserver.Postfix, address string, n int) (mails []string) {
	t.Helper()
	files, err := p.WaitMailbox(testContext(t), address, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, string(text))
	}
	return mails
}

func TestPostfixCarriesOutEnvelopeChanges(t *testing.T) {
	for sender, returnPath := range map[string]string{"srs0=x=y@acmecorp.test": "<srs0=x=y@acmecorp.test>", "": "<MAILER-DAEMON>"} {
		t.Run(returnPath, func(t *testing.T) {
			p, _ := startPostfix(t, answering(func() *flow.Outcome {
				return &flow.Outcome{
					Sender:           &sender,
					DeleteRecipients: []string{bob},
					AddRecipients: []flow.Recipient{
						{Address: dave, Args: []string{"NOTIFY=NEVER", "ORCPT=rfc822;bob@acmecorp.test"}},
						{Address: erin},
						{Address: carol}, // who gets it anyway, and not twice
					},
					Header: []message.HeaderEdit{{Name: "X-New", Value: "yes"}},
					Body:   chunks{"new body\r\n"},
				}
			}), nil)
			ctx := testContext(t)
			if _, err := testserver.SendSMTP(ctx, p.SMTPAddr(), alice, []string{bob, carol}, strings.NewReader(letter)); err != nil {
				t.Fatal(err)
			}
			// Its recipients come without angle brackets.
			if err := p.Sendmail(ctx, alice, []string{bob, carol}, strings.NewReader(letter)); err != nil {
				t.Fatal(err)
			}
			for _, to := range []string{carol, dave, erin} {
				for _, mail := range mailbox(t, p, to, 2) {
					if !strings.HasPrefix(mail, "Return-Path: "+returnPath) && (sender != "" || !strings.HasPrefix(mail, "Return-Path: <>")) {
						t.Errorf("return path of the mail to %s:\n%s", to, mail)
					}
					if !strings.Contains(mail, "\nX-New: yes\n") || !strings.HasSuffix(mail, "\n\nnew body\n") {
						t.Errorf("the mail to %s was not changed:\n%s", to, mail)
					}
				}
			}
			for _, done := range []string{carol, dave, erin} {
				if n := strings.Count(p.Log(), "to=<"+done+">"); n != 2 {
					t.Errorf("%d deliveries to %s of two mails", n, done)
				}
			}
			if files, err := p.Mailbox(bob); err != nil || len(files) != 0 {
				t.Errorf("the deleted recipient has %d mails, %v", len(files), err)
			}
			if strings.Contains(p.Log(), "warning") {
				t.Error("Postfix warns")
			}
		})
	}
}

func TestPostfixHoldsQuarantinedMail(t *testing.T) {
	p, _ := startPostfix(t, answering(func() *flow.Outcome {
		return &flow.Outcome{Quarantine: "a 100% strange\nattachment", Body: chunks{"new body\r\n"}}
	}), nil)
	ctx := testContext(t)
	reply, err := testserver.SendSMTP(ctx, p.SMTPAddr(), alice, []string{bob}, strings.NewReader(letter))
	if err != nil {
		t.Fatal(err)
	}
	queue, err := p.Queue(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(queue) != 1 || queue[0].Queue != "hold" || queue[0].ID != reply.QueueID || len(queue[0].Recipients) != 1 {
		t.Errorf("queue %+v, want %s on hold", queue, reply.QueueID)
	}
	if strings.Contains(p.Log(), "warning") {
		t.Error("Postfix warns")
	}
}

func TestPostfixGivesTheReplyToTheClient(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("many words ", 100))
	var out atomic.Pointer[flow.Outcome]
	p, _ := startPostfix(t, answering(out.Load), nil)
	for _, tc := range []struct {
		reply flow.Reply
		want  string
	}{
		{flow.Reply{Code: 550, Enhanced: "5.7.1", Text: "100% %s of\nthis is %unwanted"}, "5.7.1 100% %s of this is %unwanted"},
		{flow.Reply{Code: 452, Enhanced: "4.3.1", Text: "no space"}, "4.3.1 no space"},
		{flow.Reply{Code: 554, Enhanced: "5.6.0", Text: long}, ""},
	} {
		out.Store(&flow.Outcome{Reject: &tc.reply})
		reply, err := testserver.SendSMTP(testContext(t), p.SMTPAddr(), alice, []string{bob, carol}, strings.NewReader(letter))
		if err == nil || reply.Code != tc.reply.Code {
			t.Fatalf("%d: got %+v, %v", tc.reply.Code, reply, err)
		}
		if tc.want == "" {
			text := strings.ReplaceAll(reply.Text, tc.reply.Enhanced+" ", "")
			if !strings.Contains(text, "\n") || strings.ReplaceAll(text, "\n", " ") != long {
				t.Errorf("long reply %q", reply.Text)
			}
		} else if reply.Text != tc.want {
			t.Errorf("%d: text %q, want %q", tc.reply.Code, reply.Text, tc.want)
		}
	}
	if queue, err := p.Queue(testContext(t)); err != nil || len(queue) != 0 {
		t.Errorf("queue %+v, %v", queue, err)
	}
	if strings.Contains(p.Log(), "warning") {
		t.Error("Postfix warns")
	}
}

// checked is a Handler that checks recipients.
type checked struct {
	Handler
	check func(context.Context, *flow.Envelope, flow.Recipient) (*flow.Reply, error)
}

func (c checked) CheckRecipient(ctx context.Context, env *flow.Envelope, r flow.Recipient) (*flow.Reply, error) {
	return c.check(ctx, env, r)
}

var unknownUser = flow.Reply{Code: 550, Enhanced: "5.1.1", Text: "nobody here by 100% that name"}

func noGhosts(_ context.Context, _ *flow.Envelope, r flow.Recipient) (*flow.Reply, error) {
	switch r.Address {
	case ghost:
		return &unknownUser, nil
	case erin:
		return nil, errors.New("directory is down")
	}
	return nil, nil
}

// expectRefusal fails unless err is an SMTP reply of that code and text.
func expectRefusal(t *testing.T, err error, code int, text string) {
	t.Helper()
	var refused *textproto.Error
	if !errors.As(err, &refused) || refused.Code != code || !strings.Contains(refused.Msg, text) {
		t.Errorf("got %v, want %d %s", err, code, text)
	}
}

func TestPostfixRefusesOneRecipientAndDeliversToTheOther(t *testing.T) {
	r := &recorder{}
	p, log := startPostfix(t, checked{r, noGhosts}, nil)
	c, err := smtp.Dial(p.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail(alice); err != nil {
		t.Fatal(err)
	}
	// As the first, and when the queue id is known.
	expectRefusal(t, c.Rcpt(ghost), 550, "5.1.1 nobody here by 100% that name")
	if err := c.Rcpt(bob); err != nil {
		t.Fatal(err)
	}
	expectRefusal(t, c.Rcpt(ghost), 550, "nobody here by 100% that name")
	expectRefusal(t, c.Rcpt(erin), 451, "temporary failure, please try again later (ref ")
	if err := c.Rcpt(carol); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(letter))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c.Quit()
	mailbox(t, p, bob, 1)
	mailbox(t, p, carol, 1)
	if got := r.only(t).env.RecipientAddresses(); !slices.Equal(got, []string{bob, carol}) {
		t.Errorf("recipients %v", got)
	}
	log.await(t, "directory is down")
	if strings.Contains(p.Log(), "warning") {
		t.Error("Postfix warns")
	}
}

func TestPostfixBouncesLocalMailInsteadOfARefusalAtRCPT(t *testing.T) {
	r := &recorder{}
	p, log := startPostfix(t, checked{r, noGhosts}, nil)
	if err := p.Sendmail(testContext(t), alice, []string{bob, ghost}, strings.NewReader(letter)); err != nil {
		t.Fatal(err)
	}
	bounce := mailbox(t, p, alice, 1)[0]
	for _, want := range []string{"Return-Path: <", "5.1.1", "<ghost@acmecorp.test>: nobody here by 100% that name", "Final-Recipient: rfc822; " + bob, "Final-Recipient: rfc822; " + ghost} {
		if !strings.Contains(bounce, want) {
			t.Errorf("%q is not in the bounce:\n%s", want, bounce)
		}
	}
	log.await(t, "message refused")
	if files, err := p.Mailbox(bob); err != nil || len(files) != 0 {
		t.Errorf("%d mails were delivered, %v", len(files), err)
	}
	if strings.Contains(p.Log(), "warning") {
		t.Error("Postfix warns")
	}
}

func TestPostfixKeepsLocalMailWhoseRecipientCannotBeCheckedNow(t *testing.T) {
	var calls atomic.Int32
	p, log := startPostfix(t, checked{&recorder{}, func(context.Context, *flow.Envelope, flow.Recipient) (*flow.Reply, error) {
		if calls.Add(1) == 1 {
			return nil, errors.New("directory is down")
		}
		return nil, nil
	}}, nil)
	if err := p.Sendmail(testContext(t), alice, []string{bob}, strings.NewReader(letter)); err != nil {
		t.Fatal(err)
	}
	log.await(t, "directory is down")
	if mail := mailbox(t, p, bob, 1)[0]; !strings.HasSuffix(mail, "old body\n") {
		t.Errorf("got\n%s", mail)
	}
	if strings.Contains(p.Log(), "warning") {
		t.Error("Postfix warns")
	}
}

func TestPostfixTellsServiceAndTLS(t *testing.T) {
	r := &recorder{}
	folder, err := os.MkdirTemp("", "cloakroom-tls-*") // which Postfix can enter, other than t.TempDir's
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	p, _ := startPostfix(t, r, map[string]string{
		"milter_macro_daemon_name": "submission",
		"smtpd_tls_security_level": "may",
		"smtpd_tls_chain_files":    selfSigned(t, filepath.Join(folder, "chain.pem")),
	})
	c, err := smtp.Dial(p.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Mail(alice), c.Rcpt(bob)); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(letter))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if env := r.only(t).env; env.Daemon != "submission" || env.TLS != "TLSv1.3" || env.QueueID == "" {
		t.Errorf("envelope %+v", env)
	}
}

// selfSigned writes a key with its certificate for loopback.
func selfSigned(t *testing.T, file string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert})
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
