package test

// Cloakroom's end, and sessions that last longer; the socket between the two.

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/internal/testserver"
)

// TestSendmailMessageInFlightSurvivesSIGTERM: a message that has begun is
// finished. Sessions without one lose their milter: their clients are asked to
// come again, on another connection.
func TestSendmailMessageInFlightSurvivesSIGTERM(t *testing.T) {
	w := throughSendmail(t)
	msg, content := pdf(alice, bob, "flight", 3501)
	later, laterContent := pdf(alice, bob, "later", 3502)
	flying, idle := w.converse(t, usual, ours), w.converse(t, usual, ours)
	idle.envelope(alice, bob)
	idle.data(250, plainMail(alice, bob, "first"))
	flying.envelope(alice, bob)
	before, stopped := w.daemon, make(chan error, 1)
	go func() { stopped <- before.Stop() }()
	if err := before.WaitLog(within(t), "messages in flight finish first"); err != nil {
		t.Fatal(err)
	}
	flying.data(250, msg)
	m := w.arrived(t, messageID(t, msg), 1)[0]
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	w.up(t)
	checkLinked(t, m, content)
	for _, c := range []*conversation{idle, idle, flying} {
		c.say(451, "MAIL FROM:<"+alice+">")
	}
	w.mail(t, usual, ours, alice, []string{bob}, later)
	checkLinked(t, w.arrived(t, messageID(t, later), 1)[0], laterContent)
}

// TestUnixSocketServesSendmail: Sendmail does not start where others could put a
// socket of their own in the place of Cloakroom's.
func TestUnixSocketServesSendmail(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("a folder outside of /tmp, which all may write to, needs root")
		}
		t.Skip("a folder outside of /tmp, which all may write to, needs root")
	}
	w := throughSendmail(t)
	folder, err := os.MkdirTemp("/run", "cloakroom-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	d := newDaemon(t, linkAll)
	d.MilterAddr = "unix:" + filepath.Join(folder, "milter.sock")
	d.start()
	for _, c := range []struct {
		mode  os.FileMode
		owner int
		safe  bool
	}{{0o777, 65534, false}, {0o750, 65534, true}} {
		if err := os.Chmod(folder, c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(folder, c.owner, c.owner); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		s, err := testserver.StartSendmail(ctx, testserver.SendmailOptions{MilterAddr: d.MilterAddr, Routes: map[string]string{"acmecorp.test": w.sink.Addr()}})
		if (err == nil) != c.safe || err != nil && !strings.Contains(err.Error(), "milter.sock unsafe") {
			t.Errorf("folder of %v and owner %d: %v", c.mode, c.owner, err)
		}
		if err != nil {
			continue
		}
		defer s.Stop()
		msg, content := pdf(alice, bob, "unix", 3521)
		if _, err := testserver.SendSMTP(within(t), s.SMTPAddr(), alice, []string{bob}, bytes.NewReader(msg)); err != nil {
			t.Fatal(err)
		}
		checkLinked(t, w.arrived(t, messageID(t, msg), 1)[0], content)
	}
}
