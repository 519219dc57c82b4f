package test

// The example policies against forged senders, with real messages through a
// real Postfix: what a stranger claims, what our verifier said, and what is
// none of these rules' business.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
	"cloakroom/message"
	"cloakroom/policy"
)

const (
	theBoss  = "boss@acmecorp.test"
	outside  = "198.51.100.7"
	trustsNo = "Authentication-Results: mx.acmecorp.test; spf=pass smtp.mailfrom=ext.test;\r\n\tdkim=none; dmarc=fail (p=none dis=none) header.from=acmecorp.test\r\n"
	listFail = "Authentication-Results: mx.acmecorp.test; dkim=fail (body hash did not verify); dmarc=fail\r\n"
	forgedNo = "Authentication-Results: mx.ext.test; dkim=none; dmarc=fail header.from=acmecorp.test\r\n"
	forgedOK = "Authentication-Results: mx.ext.test; dkim=pass; dmarc=pass header.from=acmecorp.test\r\n"
	signedOK = "Authentication-Results: mx.acmecorp.test; dkim=pass header.d=acmecorp.test; dmarc=pass header.from=acmecorp.test\r\n"
)

// realMessages takes messages out of the corpus that any MTA would pass as they
// are, with CRLF: those with a mailing list's field, or without.
func realMessages(t *testing.T, list bool, n int) map[string][]byte {
	t.Helper()
	folder := os.Getenv("CORPUS")
	if folder == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("CORPUS is not set: it names a folder of real messages")
		}
		t.Skip("CORPUS is not set: it names a folder of real messages")
	}
	out := map[string][]byte{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(out) == n {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if raw = toCRLF(raw); deliverable(raw) && bytes.Contains(raw, []byte("\r\nList-Id:")) == list {
			out[path] = raw
		}
		return nil
	})
	if err != nil || len(out) < n {
		t.Fatalf("CORPUS: %d of %d messages (%v)", len(out), n, err)
	}
	return out
}

// deliverable tells a message with one From: of somebody else that Postfix
// stores as it is.
func deliverable(raw []byte) bool {
	head, body, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	h, err := message.ParseHeader(append(head, "\r\n"...))
	from := h.Values("From")
	if !found || err != nil || h.Err != nil || len(from) != 1 || len(body) == 0 || len(raw) > 200<<10 || bytes.ContainsRune(raw, 0) {
		return false
	}
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(line) > 900 || bytes.Contains(line, []byte("\r")) {
			return false
		}
	}
	addresses := policy.Addresses(from)
	return len(addresses) == 1 && strings.Contains(addresses[0], "@") && !bytes.Contains(bytes.ToLower(head), []byte("acmecorp"))
}

// asBoss puts boss into the From: field of a message.
func asBoss(t *testing.T, raw []byte) []byte {
	t.Helper()
	var out [][]byte
	inFrom, inHeader, done := false, true, false
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(line) == 0 {
			inHeader = false
		}
		if inHeader && (line[0] != ' ' && line[0] != '\t') {
			inFrom = len(line) >= 5 && strings.EqualFold(string(line[:5]), "from:")
			if inFrom && !done {
				out, done = append(out, []byte("From: The Boss <"+theBoss+">")), true
			}
		}
		if !inHeader || !inFrom {
			out = append(out, line)
		}
	}
	if !done {
		t.Fatal("no From field")
	}
	return bytes.Join(out, []byte("\r\n"))
}

// client is who talks to Postfix, as XCLIENT tells it.
type client struct{ address, login string }

// deliver sends a message to bob; refused is the reply where there is one.
func deliver(t *testing.T, p *testserver.Postfix, c client, from string, msg []byte) (refused *textproto.Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", p.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	login := ""
	if c.login != "" {
		login = " LOGIN=" + c.login
	}
	first, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Hello("client.ext.test"); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Text.Cmd("XCLIENT ADDR=%s%s", c.address, login); err != nil {
		t.Fatal(err)
	}
	s, err := smtp.NewClient(conn, "127.0.0.1") // Postfix greets again
	if err == nil {
		err = s.Hello("client.ext.test")
	}
	if err != nil {
		t.Fatalf("XCLIENT: %v", err)
	}
	err = func() error {
		if err := s.Mail(from); err != nil {
			return err
		}
		if err := s.Rcpt(bob); err != nil {
			return err
		}
		w, err := s.Data()
		if err != nil {
			return err
		}
		if _, err := w.Write(msg); err != nil {
			return err
		}
		return w.Close()
	}()
	if err != nil && !errors.As(err, &refused) {
		t.Fatal(err)
	}
	return refused
}

// spoofing starts Cloakroom with an example and a Postfix that believes XCLIENT.
func spoofing(t *testing.T, example string) *testserver.Postfix {
	t.Helper()
	d := newDaemon(t, exampleSettings(t, example))
	d.start()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	p, err := testserver.StartPostfix(ctx, testserver.PostfixOptions{
		MilterAddr: d.MilterAddr, Mailboxes: []string{bob},
		Extra: map[string]string{
			"smtpd_authorized_xclient_hosts": "127.0.0.1",
			"smtpd_relay_restrictions":       "reject_unauth_destination",
			"smtpd_sender_restrictions":      "",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of postfix:\n%s", p.Log())
		}
		if err := p.Stop(); err != nil {
			t.Errorf("stop postfix: %v", err)
		}
	})
	return p
}

// delivered reads bob's next message: its header and its body, with CRLF.
func delivered(t *testing.T, p *testserver.Postfix, n int) (header message.Header, body []byte) {
	t.Helper()
	head, body, _ := bytes.Cut(toCRLF(mailbox(t, p, bob, n)[n-1]), []byte("\r\n\r\n"))
	header, err := message.ParseHeader(append(head, "\r\n"...))
	if err != nil {
		t.Fatal(err)
	}
	return header, body
}

// forgery is a real message, who brings it, and what becomes of it.
type forgery struct {
	what    string
	client  client
	from    string // MAIL FROM
	results string // what stands on top
	forged  bool   // From: is boss
	refused bool   // or marked with forgedTag
	tag     string // otherwise
}

var forgeries = []forgery{
	{what: "a forged sender", client: client{address: outside}, from: "eve@ext.test", results: trustsNo, forged: true, refused: true},
	{what: "a forged sender and envelope", client: client{address: outside}, from: theBoss, results: trustsNo, forged: true, refused: true},
	{what: "a forged sender with a forged pass", client: client{address: outside}, from: "eve@ext.test", results: forgedOK + trustsNo, forged: true, refused: true},
	{what: "a failure by a stranger's verifier", client: client{address: outside}, from: "eve@ext.test", results: forgedNo + signedOK, forged: true},
	{what: "a user of ours at home", client: client{address: outside, login: "boss"}, from: theBoss, results: "", forged: true},
	{what: "a user of ours behind a verifier", client: client{address: outside, login: "boss"}, from: theBoss, results: trustsNo, forged: true},
	{what: "a trusted host", client: client{address: "127.0.0.1"}, from: theBoss, results: "", forged: true},
	{what: "a stranger who fails", client: client{address: outside}, from: "eve@ext.test", results: listFail},
}

const forgedTag = "[FORGED SENDER?]"

func TestForgedSendersAreRefusedOrMarked(t *testing.T) {
	t.Parallel()
	samples := realMessages(t, false, 6)
	for example, refuses := range map[string]bool{"spoofed-internal-senders": true, "spoofed-internal-senders-tag": false} {
		t.Run(example, func(t *testing.T) {
			p := spoofing(t, example)
			n := 0
			for path, raw := range samples {
				for _, f := range forgeries {
					what := fmt.Sprintf("%s, %s", filepath.Base(path), f.what)
					msg := raw
					if f.forged {
						msg = asBoss(t, raw)
					}
					refused := deliver(t, p, f.client, f.from, append([]byte(f.results), msg...))
					if f.refused && refuses {
						if refused == nil || refused.Code != 550 || !strings.HasPrefix(refused.Msg, "5.7.1 ") {
							t.Errorf("%s: the reply is %v, want 550 5.7.1", what, refused)
						}
						continue
					}
					if refused != nil {
						t.Errorf("%s: refused: %v", what, refused)
						continue
					}
					n++
					if f.refused {
						f.tag = forgedTag
					}
					header, body := delivered(t, p, n)
					checkMail(t, what, msg, f.tag, header, body)
				}
			}
			if want := len(samples) * 5; refuses && n != want {
				t.Errorf("%d mails came through, want %d", n, want)
			}
		})
	}
}

// TestMailingListsThatBreakSignaturesAreLeftAlone: DMARC fails for many a list,
// which claims nothing of ours.
func TestMailingListsThatBreakSignaturesAreLeftAlone(t *testing.T) {
	t.Parallel()
	samples := realMessages(t, true, 3)
	p := spoofing(t, "spoofed-internal-senders")
	n := 0
	for path, raw := range samples {
		if refused := deliver(t, p, client{address: outside}, "list-bounces@list.test", append([]byte(listFail), raw...)); refused != nil {
			t.Errorf("%s: refused: %v", path, refused)
			continue
		}
		n++
		header, body := delivered(t, p, n)
		checkMail(t, path, raw, "", header, body)
	}
}

// TestASenderThatNobodyVerifiedIsMarked: a failure told under a stranger's id is
// as good as none, so the mail is not refused.
func TestASenderThatNobodyVerifiedIsMarked(t *testing.T) {
	t.Parallel()
	samples := realMessages(t, false, 2)
	p := spoofing(t, "spoofed-internal-senders")
	n := 0
	for path, raw := range samples {
		msg := asBoss(t, raw)
		if refused := deliver(t, p, client{address: outside}, "eve@ext.test", append([]byte(forgedNo), msg...)); refused != nil {
			t.Errorf("%s: refused: %v", path, refused)
			continue
		}
		n++
		header, body := delivered(t, p, n)
		checkMail(t, path, msg, "[UNVERIFIED SENDER]", header, body)
	}
}

// checkMail expects the body as it was sent, and the subject with a tag or as
// it was.
func checkMail(t *testing.T, what string, sent []byte, tag string, header message.Header, body []byte) {
	t.Helper()
	head, want, _ := bytes.Cut(sent, []byte("\r\n\r\n"))
	before, err := message.ParseHeader(append(bytes.Clone(head), "\r\n"...))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimRight(body, "\r\n"), bytes.TrimRight(want, "\r\n")) {
		t.Errorf("%s: the body changed", what)
	}
	subject, was := header.Get("Subject"), before.Get("Subject")
	if tag == "" && subject != was {
		t.Errorf("%s: the subject is %q, was %q", what, subject, was)
	}
	if tag != "" && (!strings.HasPrefix(strings.TrimSpace(subject), tag+" ") || !strings.HasSuffix(subject, strings.TrimSpace(was))) {
		t.Errorf("%s: the subject is %q, want %q before %q", what, subject, tag, was)
	}
}
