package test

// cloakroom setup sendmail on a running Sendmail with other filters: what it
// writes is taken by m4 and by Sendmail, and mail goes through Cloakroom in its
// place.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// sendmailMilter is a marker's address as S= has it.
func sendmailMilter(address string) string {
	host, port, _ := strings.Cut(strings.TrimPrefix(address, "inet:"), ":")
	return "inet:" + port + "@" + host
}

// attachableSendmail is a Sendmail without Cloakroom.
type attachableSendmail struct {
	t    *testing.T
	mta  *testserver.Sendmail
	sink *testserver.Sink
	d    *daemon
	env  []string
	own  string // the address of a listener with a list of its own
	sent int
}

func newAttachableSendmail(t *testing.T) *attachableSendmail {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	port := freePorts(t, 1)[0]
	a := &attachableSendmail{t: t, own: address(port)}
	var err error
	if a.sink, err = testserver.StartSink(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.sink.Stop)
	filter := func(name string) string {
		return fmt.Sprintf("INPUT_MAIL_FILTER(`%s', `S=%s, F=T')dnl", name, sendmailMilter(startMarker(t, name)))
	}
	a.mta, err = testserver.StartSendmail(ctx, testserver.SendmailOptions{
		Routes:    map[string]string{"acmecorp.test": a.sink.Addr()},
		Macros:    []string{filter("clamav"), filter("signer")},
		Listeners: []string{fmt.Sprintf("Name=own, Addr=127.0.0.1, Port=%d, Family=inet, InputMailFilters=clamav;signer", port)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of Sendmail:\n%s", a.mta.Log())
		}
		if err := a.mta.Stop(); err != nil {
			t.Errorf("stop Sendmail: %v", err)
		}
	})
	tools, err := testserver.FindSendmailTools()
	if err != nil {
		t.Fatal(err)
	}
	a.env = append(tools.Env, "PATH="+filepath.Dir(tools.M4)+":"+os.Getenv("PATH"))
	a.d = newDaemon(t, linkAll)
	a.d.start()
	return a
}

func (a *attachableSendmail) etc(name string) string {
	return filepath.Join(a.mta.Folder(), "etc", name)
}

// setup runs the command as root.
func (a *attachableSendmail) setup(args ...string) (stdout string, code int) {
	a.t.Helper()
	cmd, err := testserver.AsRoot(a.env, append([]string{binary, "--config", filepath.Join(a.d.Folder, "cloakroom.yaml"), "setup", "sendmail", "--config-directory", a.etc("")}, args...)...)
	if err != nil {
		a.t.Fatal(err)
	}
	stdout, stderr, code := result(a.t, cmd)
	return stdout + stderr, code
}

// restart lets Sendmail read its configuration again.
func (a *attachableSendmail) restart() {
	a.t.Helper()
	if err := hangUpSendmail(a.mta); err != nil {
		a.t.Fatal(err)
	}
}

// hangUpSendmail has a Sendmail start anew, which SIGHUP does.
func hangUpSendmail(mta *testserver.Sendmail) error {
	before := strings.Count(mta.Log(), "started as: ")
	file, err := os.ReadFile(filepath.Join(mta.Folder(), "sendmail.pid"))
	if err != nil {
		return err
	}
	pid, _, _ := strings.Cut(string(file), "\n")
	cmd, err := testserver.AsRoot(nil, "kill", "-HUP", pid)
	if err == nil {
		err = cmd.Run()
	}
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); strings.Count(mta.Log(), "started as: ") == before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("Sendmail did not start again:\n%s", mta.Log())
		}
	}
	return nil
}

// arrives sends a mail with an attachment and expects what arrives.
func (a *attachableSendmail) arrives(listener string, linked bool, want ...string) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	msg := toCRLF(compose(alice, []string{bob}, "setup", file{"a.pdf", "application/pdf", random(20000, serial.Load())}))
	if _, err := testserver.SendSMTP(ctx, listener, alice, []string{bob}, bytes.NewReader(msg)); err != nil {
		a.t.Fatal(err)
	}
	a.sent++
	mails, err := a.sink.Wait(ctx, bob, a.sent)
	if err != nil {
		a.t.Fatal(err)
	}
	got := mails[a.sent-1].Data
	// Sendmail puts fields of later filters above: the content tells the order.
	if s := slices.Sorted(slices.Values(saw(got))); !slices.Equal(s, want) {
		a.t.Errorf("filters saw %v, want %v", s, want)
	}
	if has := len(links(got)) > 0; has != linked || bytes.Contains(got, []byte(`filename="a.pdf"`)) == linked {
		a.t.Errorf("linked is %v:\n%.2000s", has, got)
	}
}

func TestSetupSendmailPutsCloakroomInItsPlaceAndTakesItOut(t *testing.T) {
	a := newAttachableSendmail(t)
	files := func() string { return mustRead(t, a.etc("sendmail.mc")) + "\x00" + mustRead(t, a.etc("sendmail.cf")) }
	before := files()
	a.arrives(a.mta.SMTPAddr(), false, "clamav attachment", "signer attachment")

	signer := ""
	for line := range strings.Lines(before) {
		if _, rest, ok := strings.Cut(line, "INPUT_MAIL_FILTER(`signer', `S="); ok {
			signer, _, _ = strings.Cut(rest, ",")
		}
	}
	out, code := a.setup("--signer", signer)
	if code != 0 || files() != before || !strings.Contains(out, "define(`confINPUT_MAIL_FILTERS', `clamav,cloakroom,signer')dnl\n") {
		t.Fatalf("without --apply: exit code %d\n%s", code, out)
	}
	out, code = a.setup("--signer", signer, "--apply")
	if code != 0 || !strings.Contains(out, "done: m4 ") {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	// The line of a listener with a list of its own is the administrator's.
	_, own, found := strings.Cut(out, "DAEMON_OPTIONS(`Name=own")
	if !found || !strings.Contains(strings.SplitN(own, "\n", 2)[0], "InputMailFilters=clamav;cloakroom;signer')dnl") {
		t.Errorf("what the listener needs is not told:\n%s", out)
	}
	if out, code := a.setup("--signer", signer, "--apply"); code != 0 || !strings.Contains(out, "nothing to do: everything is set up") {
		t.Errorf("a second run: exit code %d\n%s", code, out)
	}
	// Sendmail itself takes the file: its test mode complains about mistakes.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if text, err := a.mta.Run(ctx, strings.NewReader("/quit\n"), "-bt"); err != nil || bytes.Contains(text, []byte("rror")) {
		t.Errorf("sendmail -bt: %v\n%s", err, text)
	}
	a.restart()
	a.arrives(a.mta.SMTPAddr(), true, "clamav attachment", "signer link")
	a.arrives(a.own, false, "clamav attachment", "signer attachment")

	if out, code := a.setup("--undo"); code != 0 || !strings.Contains(out, "byte for byte what it was before") || files() != before {
		t.Fatalf("undo: exit code %d, as before: %v\n%s", code, files() == before, out)
	}
	a.restart()
	a.d.stop()
	a.arrives(a.mta.SMTPAddr(), false, "clamav attachment", "signer attachment")
}
