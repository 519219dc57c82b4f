package test

// Mail through Sendmail: links, and what must stay as it was.

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cloakroom/internal/testserver"
)

// textAndHTML is a message with both bodies and a file.
func textAndHTML(from string, to []string, subject string, f file) []byte {
	msg := string(compose(from, to, subject, f))
	text := "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nSee the attachments, Grüße.\n"
	return toCRLF([]byte(strings.Replace(msg, text, "Content-Type: multipart/alternative; boundary=alt\n\n--alt\n"+text+
		"--alt\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<html><body><p>See the attachments, Gr=C3=BC=C3=9Fe.</p></body></html>\n--alt--\n", 1)))
}

// checkLinked checks that a delivered message has one link, in both of its
// bodies, and that this leads to the content.
func checkLinked(t *testing.T, m testserver.SunkMail, content []byte) string {
	t.Helper()
	l := links(m.Data)
	if len(l) != 1 {
		t.Fatalf("%d links in:\n%.3000s", len(l), m.Data)
	}
	if sums := download(t, l[0]); !slices.Equal(sums, [][32]byte{sha256.Sum256(content)}) {
		t.Errorf("what %s gives is not what was sent", l[0])
	}
	return l[0]
}

func TestMailThroughSendmailBecomesLinks(t *testing.T) {
	w := throughSendmail(t)
	for i, size := range []int{6 << 10, 1 << 20} {
		content := random(size, int64(3000+i))
		msg := textAndHTML(alice, []string{bob, carol}, fmt.Sprintf("sendmail-%d", size), file{"plan.pdf", "application/pdf", content})
		w.mail(t, usual, ours, alice, []string{bob, carol}, msg)
		m := w.arrived(t, messageID(t, msg), 1)[0]
		if len(m.To) != 2 || len(m.Data) > 16<<10 {
			t.Errorf("%d bytes: %d recipients, %d bytes arrived", size, len(m.To), len(m.Data))
		}
		link := checkLinked(t, m, content)
		parts := leaves(t, m.Data)
		if len(parts["text/plain"]) != 1 || len(parts["text/html"]) != 1 || !strings.Contains(parts["text/plain"][0], link) || !strings.Contains(parts["text/html"][0], link) {
			t.Errorf("%d bytes: the link is not in both bodies: %q", size, parts)
		}
	}
}

// A body of many packets: 1 MB becomes a link, and 25 MB stay beside it.
func TestSendmailTakesALargeNewBody(t *testing.T) {
	w := throughSendmail(t)
	content := random(1<<20, 3010)
	msg, stays := longText(content)
	w.mail(t, usual, ours, alice+" BODY=8BITMIME", []string{bob}, msg)
	m := w.arrived(t, messageID(t, msg), 1)[0]
	checkLinked(t, m, content)
	if !bytes.Contains(m.Data, []byte(stays)) {
		t.Error("the long text is not what was sent")
	}
}

func TestMailBySendmailOfSendmailBecomesLinks(t *testing.T) {
	w := throughSendmail(t)
	content := random(300<<10, 3020)
	msg := bytes.ReplaceAll(textAndHTML(alice, []string{bob}, "submitted", file{"plan.pdf", "application/pdf", content}), []byte("\r\n"), []byte("\n"))
	if err := w.mta.Submit(within(t), alice, []string{bob}, bytes.NewReader(msg)); err != nil {
		t.Fatal(err)
	}
	checkLinked(t, w.arrived(t, messageID(t, msg), 1)[0], content)

	// Who runs Sendmail with its own configuration goes past all filters.
	msg = compose(alice, []string{bob}, "past", file{"plan.pdf", "application/pdf", content})
	if _, err := w.mta.Run(within(t), bytes.NewReader(msg), "-i", "-f", alice, bob); err != nil {
		t.Fatal(err)
	}
	if m := w.arrived(t, messageID(t, msg), 1)[0]; len(links(m.Data)) != 0 {
		t.Errorf("the milter was asked:\n%.3000s", m.Data)
	}
}

// untouched are messages that no rule is about. Sendmail changes some of them;
// Cloakroom must change nothing more.
func untouched() map[string][]byte {
	head := func(n int, more string) string {
		return fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: untouched\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <untouched-%d.%d@ext.test>\r\n%s", alice, bob, n, serial.Add(1), more)
	}
	mixed := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
	small := "--b\r\nContent-Type: text/plain\r\n\r\n%s\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nSGVsbG8=\r\n--b--\r\n"
	out := map[string][]byte{}
	for name, m := range map[string][2]string{
		"plain":                  {"", "hello\r\n"},
		"no body":                {"", ""},
		"a small file":           {mixed, fmt.Sprintf(small, "hello")},
		"8-bit body":             {mixed, fmt.Sprintf(small, "Gr\xc3\xbc\xc3\x9fe, \x80\xe9\xff")},
		"long line":              {mixed, fmt.Sprintf(small, strings.Repeat("long ", 4000))},
		"dots":                   {mixed, fmt.Sprintf(small, ".\r\n..\r\n.a\r\n")},
		"blanks at the end":      {mixed, fmt.Sprintf(small, "a  \t \r\n \r\n") + "\r\n\r\n"},
		"no line end":            {mixed, strings.TrimSuffix(fmt.Sprintf(small, "a"), "\r\n")},
		"no space after a colon": {"X-A:one\r\nX-B:\ttwo\r\nX-C:   three\r\nX-D:\r\nX-E: \r\nx-f : four\r\n" + mixed, fmt.Sprintf(small, "a")},
		"folded fields":          {"X-A: one\r\n two\r\n\tthree\r\n  \t four\r\nX-B:\r\n five\r\n" + mixed, fmt.Sprintf(small, "a")},
		"folded addresses":       {"Cc: \"Last, First\" <carol@acmecorp.test>,\r\n\tdave@ext.test, (comment) eve@ext.test\r\nReply-To:alice@acmecorp.test\r\n" + mixed, fmt.Sprintf(small, "a")},
		"8-bit header":           {"X-A: Gr\xc3\xbc\xc3\x9fe \x80\xe9\xff\r\n" + mixed, fmt.Sprintf(small, "a")},
		"long field":             {"X-A: " + strings.Repeat("x", 1500) + "\r\nX-B: " + strings.Repeat("word ", 400) + "\r\n" + mixed, fmt.Sprintf(small, "a")},
		"Content-Length":         {"Content-Length: 7\r\nLines: 3\r\nStatus: RO\r\nReturn-Path: <x@y.test>\r\nBcc: dave@ext.test\r\n" + mixed, fmt.Sprintf(small, "a")},
		"same field twice":       {"X-A: one\r\nReceived: from x by y; Mon, 02 Nov 2026 10:00:00 +0000\r\nX-A: two\r\nDate: Tue, 03 Nov 2026 10:00:00 +0000\r\n" + mixed, fmt.Sprintf(small, "a")},
	} {
		out[name] = []byte(head(len(out), m[0]) + "\r\n" + m[1])
	}
	return out
}

// TestSendmailMailThatNoRuleTouches: with Cloakroom and without, what arrives is the same.
func TestSendmailMailThatNoRuleTouches(t *testing.T) {
	w := throughSendmail(t)
	messages := untouched()
	with, without := w.converse(t, usual, ours), w.converse(t, bare, ours)
	for _, msg := range messages {
		for _, c := range []*conversation{without, with} {
			c.envelope(alice+" BODY=8BITMIME", bob)
			c.data(250, msg)
		}
	}
	asSent := []string{}
	for name, msg := range messages {
		mails := w.arrived(t, messageID(t, msg), 2)
		a, b := timeless(mails[0].Data), timeless(mails[1].Data)
		if a != b {
			t.Errorf("%s: arrived with and without Cloakroom:\n%q\n%q", name, a, b)
		}
		head, body := cutHeader(msg)
		gotHead, gotBody := cutHeader(mails[0].Data)
		if bytes.Equal(body, gotBody) && bytes.HasSuffix(gotHead, head[2:]) {
			asSent = append(asSent, name)
		}
	}
	// What Sendmail itself changes is in docs/tested.md.
	slices.Sort(asSent)
	if want := []string{"8-bit body", "8-bit header", "a small file", "blanks at the end", "dots", "folded fields", "no body", "plain", "same field twice"}; !slices.Equal(asSent, want) {
		t.Errorf("as they were sent arrived %q, want %q", asSent, want)
	}
}

// TestSendmailRefusesBareLineEnds, with Cloakroom and without.
func TestSendmailRefusesBareLineEnds(t *testing.T) {
	w := throughSendmail(t)
	for _, listener := range []string{usual, bare} {
		for _, odd := range []string{"a\rb", "a\nb"} {
			c := w.converse(t, listener, ours)
			c.envelope(alice, bob)
			if said := c.data(421, append(plainMail(alice, bob, "bare"), odd...)); !strings.Contains(said, "not allowed") {
				t.Errorf("%s, %q: %q", listener, odd, said)
			}
		}
	}
}
