package test

// Sendmail's sessions: several messages on one connection, what the envelope
// asks for, who has logged in, and what rules say about the mail as a whole.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cloakroom/internal/testserver"
)

// TestSendmailSessionOfSeveralMessages: a message that was given up, one that
// was refused and those that were taken have nothing to do with one another.
func TestSendmailSessionOfSeveralMessages(t *testing.T) {
	w := throughSendmail(t)
	c := w.converse(t, usual, ours)
	first, firstContent, second, secondContent := severalMessages(c)
	c.say(221, "QUIT")
	one, two := w.arrived(t, messageID(t, first), 1)[0], w.arrived(t, messageID(t, second), 1)[0]
	checkLinked(t, one, firstContent)
	checkLinked(t, two, secondContent)
	if len(one.To) != 1 || one.To[0].Address != bob || len(two.To) != 1 || two.To[0].Address != carol {
		t.Errorf("the recipients are %v and %v", one.To, two.To)
	}
}

// TestSendmailEnvelopeGoesOn: what the envelope asks for is neither lost nor
// added to where the body changes.
func TestSendmailEnvelopeGoesOn(t *testing.T) {
	w := throughSendmail(t)
	msg := toCRLF(compose(alice, []string{bob}, "asking", file{"plan.pdf", "application/pdf", random(8000, 3111)}))
	w.mail(t, usual, ours, alice+" RET=HDRS ENVID=e+2B1 BODY=8BITMIME", []string{
		bob + " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;robert+2Bx@acmecorp.test", carol + " NOTIFY=NEVER"}, msg)
	m := w.arrived(t, messageID(t, msg), 1)[0]
	if len(links(m.Data)) != 1 || m.From != alice || !slices.Contains(m.FromArgs, "RET=HDRS") || !slices.Contains(m.FromArgs, "ENVID=e+2B1") {
		t.Errorf("from %s %v, links %v", m.From, m.FromArgs, links(m.Data))
	}
	want := map[string][]string{bob: {"NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;robert+2Bx@acmecorp.test"}, carol: {"NOTIFY=NEVER"}}
	for _, r := range m.To {
		for _, arg := range want[r.Address] {
			if !slices.Contains(r.Args, arg) {
				t.Errorf("%s came with %v, want %s", r.Address, r.Args, arg)
			}
		}
	}
	// A bounce is left alone.
	null := toCRLF(compose("MAILER-DAEMON@ext.test", []string{bob}, "null", file{"plan.pdf", "application/pdf", random(8000, 3112)}))
	w.mail(t, usual, internetIP, "", []string{bob}, null)
	if m := w.arrived(t, messageID(t, null), 1)[0]; m.From != "" || len(links(m.Data)) != 0 || !bytes.Contains(m.Data, []byte("plan.pdf")) {
		t.Errorf("a mail without sender arrived from %q:\n%.2000s", m.From, m.Data)
	}
}

// TestSendmailQueueIDAndLogin: Sendmail's name for a message is in the log and
// in the record, and its word for who has logged in is a rule's fact.
func TestSendmailQueueIDAndLogin(t *testing.T) {
	w := throughSendmail(t)
	msg := toCRLF(compose(alice, []string{bob}, "named", file{"plan.pdf", "application/pdf", random(8000, 3121)}))
	c := w.converse(t, usual, ours)
	c.envelope(alice, bob)
	id, _, _ := strings.Cut(strings.TrimPrefix(c.data(250, msg), "2.0.0 "), " ") // "6ASD3jHI015982 Message accepted for delivery"
	w.arrived(t, messageID(t, msg), 1)
	if !strings.Contains(w.daemon.Log(), `msg="attachments linked" queue_id=`+id+" ") {
		t.Errorf("the queue id %q is not in the log", id)
	}
	out, _, _ := w.daemon.Run(within(t), nil, "links", "list", "--json")
	var rows []struct {
		QueueID string `json:"queue_id"`
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil || !slices.ContainsFunc(rows, func(r struct {
		QueueID string `json:"queue_id"`
	}) bool {
		return r.QueueID == id
	}) {
		t.Errorf("the queue id %q is not in the records (%v): %s", id, err, out)
	}

	// From a host that is not trusted, only the login makes a sender ours.
	who := append([]byte("X-Who: me\r\n"), toCRLF(compose(alice, []string{bob}, "login", file{"plan.pdf", "application/pdf", random(8000, 3122)}))...)
	c = w.converse(t, usual, internetIP)
	c.envelope(alice, bob)
	if said := c.data(550, who); !strings.Contains(said, "log in first") {
		t.Errorf("without a login: %q", said)
	}
	c = w.converse(t, usual, internetIP)
	c.say(235, "AUTH ANONYMOUS YWxpY2U=")
	c.envelope(alice, bob)
	c.data(250, who)
	if n := len(links(w.arrived(t, messageID(t, who), 1)[0].Data)); n != 1 {
		t.Errorf("%d links in the mail of who has logged in", n)
	}
	if !strings.Contains(w.mta.Log(), "AUTH=server") {
		t.Error("nobody has logged in")
	}
}

// TestSendmailRefusesAndHolds: at RCPT, at the end, and in the queue.
func TestSendmailRefusesAndHolds(t *testing.T) {
	w := throughSendmail(t)
	c := w.converse(t, usual, internetIP)
	c.say(250, "MAIL FROM:<eve@ext.test>")
	if said := c.say(550, "RCPT TO:<"+carol+">"); !strings.Contains(said, "carol takes no mail from there, 100% sure") {
		t.Errorf("at RCPT: %q", said)
	}
	c.say(250, "RCPT TO:<"+bob+">")
	msg := plainMail("eve@ext.test", bob, "one is refused")
	c.data(250, msg)
	if m := w.arrived(t, messageID(t, msg), 1)[0]; len(m.To) != 1 || m.To[0].Address != bob {
		t.Errorf("it went to %v", m.To)
	}
	program := toCRLF(compose("eve@ext.test", []string{bob}, "program", file{"setup.exe", "application/octet-stream", random(3000, 3131)}))
	c.envelope("eve@ext.test", bob)
	if said := c.data(554, program); !strings.Contains(said, "5.7.1 programs are 100% refused") {
		t.Errorf("at the end: %q", said)
	}

	c.envelope(dave, bob)
	if said := c.data(550, plainMail(dave, bob, "wordy")); strings.Join(strings.Fields(strings.ReplaceAll(said, "5.7.1 ", "")), " ") != manyWords {
		t.Errorf("in many words: %q", said)
	}

	held := plainMail(dave, bob, "suspicious")
	c.envelope(dave, bob)
	said := c.data(250, held)
	queue, err := w.mta.Queue(within(t))
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(queue, func(q testserver.SendmailQueued) bool { return q.Held })
	if at < 0 || !strings.Contains(said, queue[at].ID) || !strings.Contains(queue[at].Text, "subject looks suspicious") {
		t.Fatalf("%q, and the queue is %+v", said, queue)
	}
	if len(w.sunk(messageID(t, held))) != 0 {
		t.Error("the held mail was delivered")
	}
	// Released, it arrives.
	if _, err := w.mta.Run(within(t), nil, "-qI"+queue[at].ID, "-Q", "-qQ"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.mta.Run(within(t), nil, "-qI"+queue[at].ID); err != nil {
		t.Fatal(err)
	}
	w.arrived(t, messageID(t, held), 1)
}

// TestSendmailMarksHeaders: fields are added, taken off and changed, and their
// neighbours keep every byte, be the body left alone or exchanged.
func TestSendmailMarksHeaders(t *testing.T) {
	w := throughSendmail(t)
	odd := "X-Odd:no space\r\nX-Tab:\ttab\r\nX-Folded: a\r\n  b\r\n\tc\r\nX-Eight: Gr\xc3\xbc\xc3\x9fe\r\n"
	plain := plainMail(alice, bob, "a\r\n folded subject")
	linked := toCRLF(compose(alice, []string{bob}, "linked", file{"a.pdf", "application/pdf", random(8000, 3141)}))
	for i, msg := range [][]byte{plain, linked} {
		msg = slices.Concat([]byte("X-Secret: one\r\nX-Mark: please\r\n"+odd+"X-Secret:two\r\n"), msg)
		w.mail(t, usual, ours, alice, []string{bob}, msg)
		m := w.arrived(t, messageID(t, msg), 1)[0]
		head, _ := cutHeader(m.Data)
		for _, want := range []string{"\r\nX-Acme-Seen: yes\r\n", "\r\nSubject: =?utf-8?q?[Gr=C3=B6=C3=9Fe]?= ", "\r\nX-Mark: please\r\n", "\r\n" + odd} {
			if n := bytes.Count(head, []byte(want)); n != 1 {
				t.Errorf("mail %d: %q stands %d times in:\n%q", i, want, n, head)
			}
		}
		if bytes.Contains(head, []byte("X-Secret")) || bytes.Count(head, []byte("\nSubject:")) != 1 || i == 0 && !bytes.Contains(head, []byte("a\r\n folded subject\r\n")) {
			t.Errorf("mail %d:\n%q", i, head)
		}
		if n := len(links(m.Data)); n != i {
			t.Errorf("mail %d has %d links", i, n)
		}
	}
	// A message that is one file gets another type.
	scan := []byte(fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: scan\r\nMessage-ID: <scan.%d@ext.test>\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf;\r\n\tname=\"scan.pdf\"\r\n"+
		"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n filename=\"scan.pdf\"\r\nX-Last:stays\r\n\r\n%s", alice, bob, serial.Add(1), strings.Repeat("QUJD", 19)+"\r\n"))
	scan = append(scan, bytes.Repeat([]byte(strings.Repeat("QUJD", 19)+"\r\n"), 200)...)
	w.mail(t, usual, ours, alice, []string{bob}, scan)
	m := w.arrived(t, messageID(t, scan), 1)[0]
	head, _ := cutHeader(m.Data)
	for field, n := range map[string]int{"Content-Type: multipart/alternative": 1, "Content-Type:": 1, "Content-Transfer-Encoding:": 0,
		"Content-Disposition:": 0, "MIME-Version: 1.0": 1, "X-Last:stays": 1} {
		if c := bytes.Count(head, []byte("\r\n"+field)); c != n {
			t.Errorf("%q stands %d times in the header, want %d:\n%s", field, c, n, head)
		}
	}
	if parts := leaves(t, m.Data); len(links(m.Data)) != 1 || len(parts["text/plain"]) != 1 || len(parts["text/html"]) != 1 || len(parts["application/pdf"]) != 0 {
		t.Errorf("parts %v", parts)
	}
}
