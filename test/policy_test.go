package test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const mailRules = `rules:
  - name: no programs
    if: attachment.extension == 'exe'
    reject: {code: 554, enhanced: "5.7.1", text: "programs are not accepted here"}
  - name: nothing for carol
    if: recipient.address == 'carol@acmecorp.test' && from == 'dave@ext.test'
    reject: {text: "carol takes no mail from there"}
  - name: look at it first
    if: subject.contains('suspicious')
    quarantine: "subject looks suspicious"
  - name: from outside
    if: direction == 'outbound'
    tag: "[Größe]"
  - name: from outside header
    if: direction == 'outbound'
    header: {add: {X-Acme-Seen: "yes"}, remove: [X-Secret]}
  - name: everything
    link: {}
`

// TestRulesAboutTheMailAsAWhole refuses, holds and marks mail through Postfix.
func TestRulesAboutTheMailAsAWhole(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, mailRules)
	d.start()
	p := startPostfix(t, d.MilterAddr)

	program := toCRLF(compose(alice, []string{bob}, "program", file{"setup.exe", "application/octet-stream", random(3000, 51)}))
	if r := sendRefused(t, p, alice, []string{bob}, program); r.Code != 554 || !strings.Contains(r.Text, "5.7.1") || !strings.Contains(r.Text, "programs are not accepted here") {
		t.Errorf("a program: %d %s", r.Code, r.Text)
	}

	// One recipient is refused as soon as he is named, the other gets the mail.
	plain := []byte("From: " + dave + "\r\nTo: " + bob + "\r\nSubject: hello\r\n\r\nhello\r\n")
	if r := sendRefused(t, p, dave, []string{carol}, plain); r.Code != 550 || !strings.Contains(r.Text, "carol takes no mail") {
		t.Errorf("to carol: %d %s", r.Code, r.Text)
	}
	send(t, p, dave, []string{bob}, plain)
	mailbox(t, p, bob, 1)

	// Marks on a plain text, whose body nobody looks at, and on a mail that gets links.
	marked := []byte("From: " + alice + "\r\nTo: " + dave + "\r\nX-Secret: one\r\nSubject: a\r\n folded subject\r\nX-Secret: two\r\n\r\nhello\r\n")
	send(t, p, alice, []string{dave}, marked)
	linked := bytes.Replace(toCRLF(compose(alice, []string{dave}, "linked", file{"a.pdf", "application/pdf", random(3000, 52)})),
		[]byte("MIME-Version"), []byte("X-Secret: three\r\nMIME-Version"), 1)
	send(t, p, alice, []string{dave}, linked)
	for i, msg := range mailbox(t, p, dave, 2) {
		head, _, _ := bytes.Cut(msg, []byte("\n\n"))
		if !bytes.Contains(head, []byte("\nX-Acme-Seen: yes")) || bytes.Contains(head, []byte("X-Secret")) ||
			!bytes.Contains(head, []byte("\nSubject: =?utf-8?q?[Gr=C3=B6=C3=9Fe]?= ")) || bytes.Count(head, []byte("\nSubject:")) != 1 {
			t.Errorf("mail %d is not marked as it should be:\n%s", i, head)
		}
		if i == 0 && !bytes.Contains(head, []byte("a\n folded subject")) {
			t.Errorf("the subject's own bytes changed:\n%s", head)
		}
		if n := len(links(msg)); n != i {
			t.Errorf("mail %d has %d links", i, n)
		}
	}

	// A held mail stays in Postfix's queue until somebody looks.
	held := bytes.Replace(plain, []byte("hello"), []byte("suspicious"), 1)
	send(t, p, dave, []string{bob}, held)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	queue, err := p.Queue(ctx)
	if err != nil || len(queue) != 1 || queue[0].Queue != "hold" {
		t.Errorf("queue %+v (%v), want one mail on hold", queue, err)
	}
	if strings.Contains(p.Log(), "warning") {
		t.Errorf("postfix warns:\n%s", p.Log())
	}
}

// TestLocalSubmissionIsNeverRefusedAtRCPT: Postfix would drop mail of
// sendmail(1) whose recipient a milter refuses.
func TestLocalSubmissionIsNeverRefusedAtRCPT(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, "rules:\n  - name: no carol\n    if: recipient.address == 'carol@acmecorp.test'\n    reject: {text: \"not to carol\"}\n")
	d.start()
	p := startPostfix(t, d.MilterAddr)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	msg := []byte("From: " + bob + "\nTo: " + carol + "\nSubject: hello\n\nhello\n")
	if err := p.Sendmail(ctx, bob, []string{carol}, bytes.NewReader(msg)); err != nil {
		t.Fatal(err)
	}
	// It bounces to its sender, with the rule's words.
	if bounce := mailbox(t, p, bob, 1)[0]; !bytes.Contains(bounce, []byte("not to carol")) {
		t.Errorf("the bounce does not say why:\n%s", bounce)
	}
}

// TestRulesKnowUsersOfTheDirectory links only for a group, and takes a new
// file of users at SIGHUP.
func TestRulesKnowUsersOfTheDirectory(t *testing.T) {
	t.Parallel()
	const config = "directory: {file: users.yaml}\nrules:\n  - name: research\n    if: \"'research' in recipient.groups && recipient.department == 'labs'\"\n    link: {}\n"
	d := newDaemon(t, config)
	users := filepath.Join(d.Folder, "users.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(users, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("users:\n  - {address: bob@acmecorp.test, groups: [research], department: labs}\n  - {address: carol@acmecorp.test}\n")
	d.start()
	p := startPostfix(t, d.MilterAddr)
	mail := func(to string) []byte {
		return toCRLF(compose(dave, []string{to}, "users", file{"a.pdf", "application/pdf", random(3000, serial.Add(1))}))
	}
	send(t, p, dave, []string{bob}, mail(bob))
	send(t, p, dave, []string{carol}, mail(carol))
	if n := len(links(mailbox(t, p, bob, 1)[0])); n != 1 {
		t.Errorf("to the group: %d links", n)
	}
	if n := len(links(mailbox(t, p, carol, 1)[0])); n != 0 {
		t.Errorf("to somebody else: %d links", n)
	}

	write("users:\n  - {address: carol@acmecorp.test, groups: [research], department: labs}\n")
	d.reload(config, "configuration reloaded")
	send(t, p, dave, []string{carol}, mail(carol))
	if n := len(links(mailbox(t, p, carol, 2)[1])); n != 1 {
		t.Errorf("after the reload: %d links", n)
	}
	write("users:\n  - {address: not an address}\n")
	d.reload(config, "directory not reloaded")
	send(t, p, dave, []string{carol}, mail(carol))
	if n := len(links(mailbox(t, p, carol, 3)[2])); n != 1 {
		t.Errorf("after a mistake in the file: %d links", n)
	}
}
