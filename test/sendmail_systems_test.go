package test

// The vault, and two mail systems, through Sendmail.

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/policy/forward"
)

// TestSendmailMailFillsTheVault: a folder here and an OpenSSH far away.
func TestSendmailMailFillsTheVault(t *testing.T) {
	w := throughSendmail(t)
	small, large := random(3000, 3201), random(90<<10, 3202)
	msg := toCRLF(compose(dave, []string{vera, sam}, "vault", file{"small.pdf", "application/pdf", small}, file{"large.pdf", "application/pdf", large}))
	w.mail(t, usual, internetIP, dave, []string{vera, sam}, msg)
	checkLinked(t, w.arrived(t, messageID(t, msg), 1)[0], large)
	for folder, sub := range map[string]string{w.spaces(): vera + "/inbound/", w.sshd.Root(): sam + "/"} {
		files := waitFiles(t, folder, 2)
		if files[sub+"small.pdf"] != sha256.Sum256(small) || files[sub+"large.pdf"] != sha256.Sum256(large) {
			t.Errorf("in %s: %v", folder, files)
		}
	}
}

// TestSendmailForwardsToTheOtherSystem: the envelope alone changes, with a mark
// above the header that the other system sends back.
func TestSendmailForwardsToTheOtherSystem(t *testing.T) {
	w := throughSendmail(t)
	there := "boss@gapps.acmecorp.test"
	odd := "X-Odd:no space\r\nX-Folded: a\r\n  b\r\n\tc\r\n"
	msg := slices.Concat([]byte(odd), toCRLF(compose(dave, []string{boss}, "onward", file{"plan.pdf", "application/pdf", random(8000, 3211)})))
	asked := boss + " NOTIFY=FAILURE ORCPT=rfc822;chief@acmecorp.test"
	w.mail(t, usual, internetIP, dave, []string{asked}, msg)
	m := w.arrived(t, messageID(t, msg), 1)[0]
	head, body := cutHeader(m.Data)
	_, want := cutHeader(msg)
	if len(m.To) != 1 || m.To[0].Address != there || !strings.HasPrefix(m.From, "SRS0=") || !strings.HasSuffix(m.From, "@srs.acmecorp.test") {
		t.Errorf("from %s to %v", m.From, m.To)
	}
	if !slices.Contains(m.To[0].Args, "NOTIFY=FAILURE") || !slices.Contains(m.To[0].Args, "ORCPT=rfc822;chief@acmecorp.test") {
		t.Errorf("requests for reports: %v", m.To[0].Args)
	}
	if !bytes.Equal(body, want) || !bytes.Contains(head, []byte("\r\n"+odd)) {
		t.Errorf("not as it was sent:\n%q", m.Data)
	}
	mark := bytes.Index(head, []byte("\r\n"+forward.MarkHeader+": v1 "))
	if mark < 0 || bytes.Index(head, []byte("\r\nReceived:")) > mark || bytes.Index(head, []byte("\r\nX-Odd:")) < mark {
		t.Errorf("the mark does not stand between Received and the rest:\n%s", head)
	}

	// It comes back: a loop, refused at RCPT where the other system's listener proves it.
	c := w.converse(t, gateway, otherIP)
	c.say(250, "MAIL FROM:<"+m.From+">")
	if said := c.say(550, "RCPT TO:<"+boss+">"); !strings.Contains(said, "5.4.6") {
		t.Errorf("the loop: %q", said)
	}
	c.say(250, "RSET")
	// By another listener, known by its mark, at the end.
	c = w.converse(t, usual, internetIP)
	c.envelope(m.From, boss)
	if said := c.data(550, m.Data); !strings.Contains(said, "5.4.6") {
		t.Errorf("the loop by its mark: %q", said)
	}
	// A bounce finds its way to the stranger.
	bounce := plainMail("MAILER-DAEMON@gapps.acmecorp.test", m.From, "bounce")
	w.mail(t, usual, otherIP, "", []string{m.From}, bounce)
	if b := w.arrived(t, messageID(t, bounce), 1)[0]; len(b.To) != 1 || b.To[0].Address != dave || b.From != "" {
		t.Errorf("the bounce went from %q to %v", b.From, b.To)
	}
	// Our own sender needs no rewriting, nor does a mail without one.
	own, null := plainMail(bob, boss, "own"), plainMail("MAILER-DAEMON@ext.test", boss, "null")
	w.mail(t, usual, ours, bob, []string{boss}, own)
	w.mail(t, usual, internetIP, "", []string{boss}, null)
	if a, b := w.arrived(t, messageID(t, own), 1)[0], w.arrived(t, messageID(t, null), 1)[0]; a.From != bob || b.From != "" || a.To[0].Address != there || b.To[0].Address != there {
		t.Errorf("from %q to %v and from %q to %v", a.From, a.To, b.From, b.To)
	}
}

// TestSendmailMailIsSplit: who is here gets links, who is there the mail as it
// came, by the listener without filters; byte for byte as Sendmail itself would
// have passed it on.
func TestSendmailMailIsSplit(t *testing.T) {
	w := throughSendmail(t)
	there := "boss@gapps.acmecorp.test"
	for i, odd := range []string{"", "8bit \x80\xe9\xff\r\n", "trailing blanks  \t \r\n\r\n\r\n", ".\r\n..\r\n", "no line end"} {
		content := random(8000, int64(3220+i))
		msg := toCRLF(compose(bob, []string{carol, boss}, fmt.Sprintf("split-%d", i), file{"plan.pdf", "application/pdf", content}))
		msg = slices.Concat([]byte("X-Odd:no space\r\nX-Folded: a\r\n  b\r\n\tc\r\nX-Eight: Gr\xc3\xbc\xc3\x9fe\r\n"), msg, []byte("epilogue "+odd))
		w.mail(t, usual, ours, bob+" BODY=8BITMIME", []string{carol, boss + " NOTIFY=FAILURE"}, msg)
		mails := w.arrived(t, messageID(t, msg), 2)
		here, copied := to(t, mails, carol), to(t, mails, there)
		checkLinked(t, here, content)
		if len(here.To) != 1 || len(copied.To) != 1 || copied.From != bob || !slices.Contains(copied.To[0].Args, "NOTIFY=FAILURE") {
			t.Errorf("to %v, and from %s to %v", here.To, copied.From, copied.To)
		}
		if bytes.Contains(here.Data, []byte(forward.MarkHeader)) {
			t.Errorf("a loop mark in the mail that stayed here:\n%s", here.Data)
		}
		// Without Cloakroom.
		w.mail(t, bare, ours, bob+" BODY=8BITMIME", []string{there}, msg)
		plain := w.arrived(t, messageID(t, msg), 3)[2]
		head, body := cutHeader(copied.Data)
		plainHead, plainBody := cutHeader(plain.Data)
		if !bytes.Equal(body, plainBody) {
			t.Errorf("%q: %d bytes, without Cloakroom %d: %.80q, want %.80q", odd, len(body), len(plainBody), tail(body), tail(plainBody))
		}
		if own := []byte("\r\nX-Odd:"); !bytes.Equal(head[bytes.Index(head, own):], plainHead[bytes.Index(plainHead, own):]) || !bytes.Contains(head, []byte("\r\n"+forward.MarkHeader+": v1 ")) {
			t.Errorf("the header of the copy:\n%q\nand without Cloakroom:\n%q", head, plainHead)
		}
	}
}

// TestSendmailRefusedCopyIsTold: a refused copy is told to its sender.
func TestSendmailRefusedCopyIsTold(t *testing.T) {
	w := throughSendmail(t)
	there := "gina@gapps.acmecorp.test"
	w.sink.Refuse(there, "550 5.7.9 no such thing here")
	defer w.sink.Refuse(there, "")
	msg := toCRLF(compose(bob, []string{carol, gina}, "refused", file{"plan.pdf", "application/pdf", random(8000, 3231)}))
	w.mail(t, usual, ours, bob, []string{carol, gina}, msg)
	w.arrived(t, messageID(t, msg), 1)
	deadline := time.Now().Add(20 * time.Second)
	for {
		for _, m := range w.sink.Mails(bob) {
			if m.From == "" && bytes.Contains(m.Data, []byte("5.7.9")) && bytes.Contains(m.Data, []byte(messageID(t, msg))) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("bob was not told")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
