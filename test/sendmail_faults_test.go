package test

// Sendmail while Cloakroom is away, dies, takes long or cannot work.

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"cloakroom/internal/testserver"
)

// pdf is a mail with a file that becomes a link.
func pdf(from, to, subject string, seed int64) (msg, content []byte) {
	content = random(8000, seed)
	return toCRLF(compose(from, []string{to}, subject, file{"plan.pdf", "application/pdf", content})), content
}

// TestSendmailWhileCloakroomIsAway: F=T puts mail off; none is lost, and none
// comes twice. Without a flag it passes.
func TestSendmailWhileCloakroomIsAway(t *testing.T) {
	w := throughSendmail(t)
	bySMTP, smtpContent := pdf(alice, bob, "away-smtp", 3301)
	byHand, handContent := pdf(alice, bob, "away-hand", 3302)
	unfiltered, content := pdf(alice, bob, "away-open", 3303)
	w.down(t, false)
	c := w.converse(t, usual, ours)
	if said := c.say(451, "MAIL FROM:<"+alice+">"); !strings.Contains(said, "4.3.2") {
		t.Errorf("at MAIL: %q", said)
	}
	if conn, err := net.Dial("tcp", address(w.port[drop])); err != nil {
		t.Error(err)
	} else {
		defer conn.Close()
		if said := readReply(t, conn); !strings.HasPrefix(said, "421 4.7.0") {
			t.Errorf("with F=4: %q", said)
		}
	}
	// sendmail(1) keeps its mail in the client's queue.
	if err := w.mta.Submit(within(t), alice, []string{bob}, bytes.NewReader(bytes.ReplaceAll(byHand, []byte("\r\n"), []byte("\n")))); err != nil {
		t.Fatal(err)
	}
	w.mail(t, open, ours, alice, []string{bob}, unfiltered)
	if m := w.arrived(t, messageID(t, unfiltered), 1)[0]; len(links(m.Data)) != 0 || !bytes.Contains(m.Data, []byte("plan.pdf")) {
		t.Errorf("without a flag:\n%.2000s", m.Data)
	}
	w.up(t)
	// Sendmail has no milter for the rest of a session that began without one.
	c.say(451, "MAIL FROM:<"+alice+">")
	if n := len(w.sunk(messageID(t, byHand))); n != 0 {
		t.Errorf("delivered %d times without the milter", n)
	}
	w.mail(t, usual, ours, alice, []string{bob}, bySMTP)
	if err := w.mta.RunClientQueue(within(t)); err != nil {
		t.Fatal(err)
	}
	checkLinked(t, w.arrived(t, messageID(t, bySMTP), 1)[0], smtpContent)
	checkLinked(t, w.arrived(t, messageID(t, byHand), 1)[0], handContent)
	if err := w.mta.RunClientQueue(within(t)); err != nil {
		t.Fatal(err)
	}
	w.mail(t, open, ours, alice, []string{bob}, unfiltered)
	checkLinked(t, w.arrived(t, messageID(t, unfiltered), 2)[1], content)
	w.arrived(t, messageID(t, byHand), 1)
}

// TestSendmailMessageSurvivesKill: Cloakroom dies before it has answered, and
// after. The client that comes again gets the same link.
func TestSendmailMessageSurvivesKill(t *testing.T) {
	w := throughSendmail(t)
	msg, content := pdf(alice, bob, "killed", 3311)
	c := w.converse(t, usual, ours)
	c.envelope(alice, bob)
	c.say(354, "DATA")
	if _, err := c.conn.Write(msg[:len(msg)/2]); err != nil {
		t.Fatal(err)
	}
	w.down(t, true)
	if said := c.say(451, string(msg[len(msg)/2:])+"."); !strings.Contains(said, "4.3.2") {
		t.Errorf("at the end: %q", said)
	}
	w.up(t)
	if n := len(w.sunk(messageID(t, msg))); n != 0 {
		t.Errorf("it was delivered %d times all the same", n)
	}
	w.mail(t, usual, ours, alice, []string{bob}, msg)
	link := checkLinked(t, w.arrived(t, messageID(t, msg), 1)[0], content)
	w.down(t, true)
	w.up(t)
	w.mail(t, usual, ours, alice, []string{bob}, msg)
	if again := checkLinked(t, w.arrived(t, messageID(t, msg), 2)[1], content); again != link {
		t.Errorf("the links are %s and %s", link, again)
	}
}

// TestSendmailMailPassesWithOnErrorAccept: a second daemon, whose store is gone.
func TestSendmailMailPassesWithOnErrorAccept(t *testing.T) {
	w := throughSendmail(t)
	d := newDaemon(t, linkAll)
	d.MilterAddr, d.MilterConfig = fmt.Sprintf("inet:127.0.0.1:%d", w.lenient), []string{"on_error: accept"}
	d.start()
	breakStore(t, d)
	msg, _ := pdf(alice, bob, "passes", 3331)
	w.mail(t, second, ours, alice, []string{bob}, msg)
	w.mail(t, bare, ours, alice, []string{bob}, msg)
	mails := w.arrived(t, messageID(t, msg), 2)
	if timeless(mails[0].Data) != timeless(mails[1].Data) || !strings.Contains(d.running.Log(), "mail passes unchanged after an error") {
		t.Errorf("with a broken store, and without Cloakroom:\n%q\n%q", mails[0].Data, mails[1].Data)
	}
	mendStore(t, d)
	msg, content := pdf(alice, bob, "healed", 3332)
	w.mail(t, second, ours, alice, []string{bob}, msg)
	checkLinked(t, w.arrived(t, messageID(t, msg), 1)[0], content)

	// The usual daemon puts the mail off, with a reference that its log has.
	usualDaemon := &daemon{t: t, CloakroomOptions: testserver.CloakroomOptions{Folder: w.opt.Folder}}
	breakStore(t, usualDaemon)
	msg, content = pdf(alice, bob, "put off", 3333)
	c := w.converse(t, usual, ours)
	c.envelope(alice, bob)
	said := c.data(451, msg)
	_, ref, _ := strings.Cut(strings.TrimSuffix(said, ")"), "ref ")
	if !strings.Contains(said, "4.3.0") || ref == "" || !strings.Contains(w.daemon.Log(), "ref="+ref) {
		t.Errorf("%q, and the log has no such reference", said)
	}
	mendStore(t, usualDaemon)
	c.envelope(alice, bob) // in the same session
	c.data(250, msg)
	checkLinked(t, w.arrived(t, messageID(t, msg), 1)[0], content)
}
