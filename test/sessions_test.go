package test

// SMTP sessions, with either MTA.

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cloakroom/internal/testserver"
)

// severalMessages sends some messages on one connection: one is given up, one
// refused, and two are taken. None has anything to do with another.
func severalMessages(c *conversation) (toBob, bobs, toCarol, carols []byte) {
	c.t.Helper()
	c.envelope(alice, bob, carol)
	c.say(250, "RSET")
	toBob, bobs = pdf(alice, bob, "session", 3101)
	c.envelope(alice, bob)
	c.data(250, toBob)
	c.envelope(alice, carol)
	c.say(250, "EHLO again.acmecorp.test") // RFC 5321 section 4.1.4: as RSET
	program := toCRLF(compose(alice, []string{bob}, "program", file{"setup.exe", "application/octet-stream", random(3000, 3102)}))
	c.envelope(alice, bob)
	c.data(554, program)
	toCarol, carols = pdf(alice, carol, "session", 3103)
	c.envelope(alice, carol)
	c.data(250, toCarol)
	return toBob, bobs, toCarol, carols
}

// longText is a mail of 25 MB that stay, beside a file that becomes a link.
func longText(content []byte) (msg []byte, stays string) {
	var text strings.Builder
	for i := 0; text.Len() < 25<<20; i++ {
		fmt.Fprintf(&text, ".%d a line of a long text, with \x80\xe9\r\n", i)
	}
	short := toCRLF(compose(alice, []string{bob}, "long", file{"plan.pdf", "application/pdf", content}))
	before, after, _ := bytes.Cut(short, []byte("--=_test\r\n"))
	long := "--=_test\r\nContent-Type: text/x-log\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text.String() + "--=_test\r\n"
	return slices.Concat(before, []byte(long), after), text.String()
}

// TestPostfixSessions: several messages, a login, SMTPUTF8, a large new body,
// and Cloakroom's end in the middle of a session.
func TestPostfixSessions(t *testing.T) {
	t.Parallel()
	rules := `rules:
  - name: no programs
    if: attachment.extension == 'exe'
    reject: {code: 554, enhanced: "5.7.1", text: "programs are 100% refused"}
  - name: only who has logged in
    if: header('X-Who') != '' && user != 'alice'
    reject: {text: "log in first"}
  - name: logs stay
    if: attachment.type == 'text/x-log'
    link: false
` + strings.TrimPrefix(linkAll, "rules:\n")
	d := newDaemon(t, rules)
	d.start()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	p, err := testserver.StartPostfix(ctx, testserver.PostfixOptions{MilterAddr: d.MilterAddr, Mailboxes: []string{bob, carol},
		Extra: map[string]string{"message_size_limit": "209715200", "smtpd_authorized_xclient_hosts": "127.0.0.0/8"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of postfix:\n%s", p.Log())
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	bobs := 0 // messages in his mailbox
	newest := func() testserver.SunkMail {
		bobs++
		return testserver.SunkMail{Data: mailbox(t, p, bob, bobs)[bobs-1]}
	}
	c := conversationWith(t, p.SMTPAddr(), ours)
	_, content, _, carols := severalMessages(c)
	checkLinked(t, newest(), content)
	checkLinked(t, testserver.SunkMail{Data: mailbox(t, p, carol, 1)[0]}, carols)

	who, content := pdf(alice, bob, "login", 3104)
	who = append([]byte("X-Who: me\r\n"), who...)
	c.envelope(alice, bob)
	if said := c.data(550, who); !strings.Contains(said, "log in first") {
		t.Errorf("without a login: %q", said)
	}
	c.say(220, "XCLIENT LOGIN=alice") // as after AUTH
	c.say(250, "EHLO client.acmecorp.test")
	c.envelope(alice, bob)
	c.data(250, who)
	checkLinked(t, newest(), content)

	eight, content := pdf(alice, bob, "eight", 3105)
	eight = append([]byte("X-Name: J\xc3\xb6rg\r\n"), eight...)
	c.envelope(alice+" SMTPUTF8 BODY=8BITMIME", bob)
	c.data(250, eight)
	m := newest()
	checkLinked(t, m, content)
	if !bytes.Contains(m.Data, []byte("\nX-Name: J\xc3\xb6rg\n")) {
		t.Errorf("the name changed:\n%.1000q", m.Data)
	}

	content = random(1<<20, 3106)
	long, stays := longText(content)
	c.envelope(alice+" BODY=8BITMIME", bob)
	c.data(250, long)
	m = newest()
	checkLinked(t, m, content)
	if !bytes.Contains(m.Data, []byte(strings.ReplaceAll(stays, "\r\n", "\n"))) {
		t.Error("the long text is not what was sent")
	}

	// A session that Cloakroom does not live to see the end of has no milter any more.
	d.stop()
	d.start()
	c.say(250, "MAIL FROM:<"+alice+">") // nobody is asked
	c.say(451, "RCPT TO:<"+bob+">")
	c.say(250, "RSET")
	c.say(451, "MAIL FROM:<"+alice+">")
	later, content := pdf(alice, bob, "later", 3107)
	c = conversationWith(t, p.SMTPAddr(), ours)
	c.envelope(alice, bob)
	c.data(250, later)
	checkLinked(t, newest(), content)
}
