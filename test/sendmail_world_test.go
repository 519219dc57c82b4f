package test

// A real Sendmail beside the one Postfix that the other tests drive: one world
// for all tests named Sendmail, since their mails do not meet.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// sendmailWorld is a Sendmail with several listeners, a Cloakroom, and a sink
// that plays all mailboxes and the other mail system.
type sendmailWorld struct {
	ctx    context.Context
	end    context.CancelFunc
	mta    *testserver.Sendmail
	sink   *testserver.Sink
	sshd   *testserver.SSHD
	folder string // of what is kept here
	opt    testserver.CloakroomOptions
	daemon *testserver.Cloakroom

	port    map[string]int // of the listeners, by name
	lenient int            // the port of a second daemon's milter
	slow    int            // and of a third one
}

// The listeners. Each names the filters that its mail passes.
const (
	usual   = "usual"    // Sendmail's own time limits: R:10s, E:5m
	gateway = "gapps-in" // told to the other mail system alone
	bare    = "bare"     // no filter: Cloakroom's own mail, and what others are compared with
	hasty   = "hasty"    // R:2s, E:1m; the slow daemon
	brief   = "brief"    // R:2s, E:3s; the slow daemon
	open    = "open"     // no flag: mail passes unfiltered while the milter is away
	second  = "second"   // another daemon
	drop    = "drop"     // F=4
)

// vera has a space in a folder, sam one on an OpenSSH.
const (
	vera = "vera@acmecorp.test"
	sam  = "sam@acmecorp.test"
)

var sharedSendmail struct {
	once  sync.Once
	world *sendmailWorld
	err   error
}

// stopSendmail ends the world, if there is one.
func stopSendmail() error {
	w := sharedSendmail.world
	if w == nil {
		return nil
	}
	defer w.end()
	var errs []error
	if w.daemon != nil {
		errs = append(errs, w.daemon.Stop())
	}
	if w.mta != nil {
		errs = append(errs, w.mta.Stop())
	}
	if w.sshd != nil {
		errs = append(errs, w.sshd.Stop())
	}
	if w.sink != nil {
		w.sink.Stop()
	}
	return errors.Join(append(errs, os.RemoveAll(w.folder))...)
}

// throughSendmail gives the world, which the first test starts.
func throughSendmail(t *testing.T) *sendmailWorld {
	t.Helper()
	s := &sharedSendmail
	s.once.Do(func() {
		s.world = &sendmailWorld{port: map[string]int{}}
		s.err = s.world.start(freePorts(t, 10))
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	w := s.world
	before, said := len(w.mta.Log()), len(w.daemon.Log())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of Sendmail:\n%s", w.mta.Log()[before:])
			log := w.daemon.Log()
			t.Logf("log of Cloakroom:\n%s", log[min(said, len(log)):])
		}
	})
	return w
}

const sendmailUsers = coexistenceUsers + `  - {address: alice@acmecorp.test}
  - {address: vera@acmecorp.test}
  - {address: sam@acmecorp.test}
`

// manyWords are as many as a line of a reply takes.
var manyWords = strings.TrimSpace(strings.Repeat("these words are 100% meant ", 18))

var sendmailRules = `rules:
  - name: nothing for carol
    if: recipient.address == 'carol@acmecorp.test' && from == 'eve@ext.test'
    reject: {text: "carol takes no mail from there, 100% sure"}
  - name: no programs
    if: attachment.extension == 'exe'
    reject: {code: 554, enhanced: "5.7.1", text: "programs are 100% refused"}
  - name: look at it first
    if: subject.contains('suspicious')
    quarantine: "subject looks suspicious"
  - name: in many words
    if: subject.contains('wordy')
    reject: {text: "` + manyWords + `"}
  - name: marked
    if: header('X-Mark') == 'please'
    tag: "[Größe]"
  - name: header of the marked
    if: header('X-Mark') == 'please'
    header: {add: {X-Acme-Seen: "yes"}, remove: [X-Secret]}
  - name: only who has logged in
    if: header('X-Who') != '' && !authenticated
    reject: {text: "log in first"}
  - name: logs stay
    if: attachment.type == 'text/x-log'
    link: false
  - name: folder
    if: owner.address == 'vera@acmecorp.test'
    vault: {target: assets}
  - name: far away
    if: owner.address == 'sam@acmecorp.test'
    vault: {target: far}
  - name: large files become links
    if: attachment.size > 5 * KB
    link: {}
`

// start starts everything.
func (w *sendmailWorld) start(ports []int) (err error) {
	w.ctx, w.end = context.WithCancel(context.Background())
	for i, name := range []string{usual, gateway, bare, hasty, brief, open, second, drop} {
		w.port[name] = ports[i]
	}
	w.lenient, w.slow = ports[8], ports[9]
	if w.folder, err = os.MkdirTemp("", "cloakroom-test-sendmail-"); err != nil {
		return err
	}
	if w.sink, err = testserver.StartSink(w.ctx); err != nil {
		return err
	}
	if w.sshd, err = testserver.StartSSHD(w.ctx, ""); err != nil {
		return err
	}
	data := filepath.Join(w.folder, "cloakroom")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	w.opt = testserver.CloakroomOptions{Binary: binary, Folder: data, Files: map[string]string{"users.yaml": sendmailUsers},
		Config: fmt.Sprintf("directory: {file: users.yaml}\ntrusted: [127.0.0.1/32]\nsubmit: {smtp: %q}\n"+
			"coexistence:\n  - domain: acmecorp.test\n    alternate: gapps.acmecorp.test\n    group: gapps\n"+
			"    gateways: {networks: [%s/32], daemon: %s}\n"+withSRS+
			"vault:\n  targets:\n    assets:\n      delay: 0s\n      dir: {base: %s}\n      path: \"{space}/{direction}/{name}\"\n"+
			"    far:\n      delay: 0s\n      sftp: {address: %q, user: %s, key_file: %s, known_hosts: %s}\n      path: \"{space}/{name}\"\n",
			address(w.port[bare]), otherIP, gateway, w.spaces(), w.sshd.Address(), w.sshd.User(), w.sshd.KeyFile(), w.sshd.KnownHostsFile()) + sendmailRules}
	if err := os.Mkdir(w.spaces(), 0o700); err != nil {
		return err
	}
	if err := w.startDaemon(); err != nil {
		return err
	}
	w.mta, err = testserver.StartSendmail(w.ctx, w.sendmailOptions())
	return err
}

func (w *sendmailWorld) spaces() string { return filepath.Join(w.folder, "spaces") }

// sendmailOptions are a Sendmail with the listeners.
func (w *sendmailWorld) sendmailOptions() testserver.SendmailOptions {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(w.opt.MilterAddr, "inet:"))
	o := testserver.SendmailOptions{
		Port: w.port[usual], MilterAddr: w.opt.MilterAddr,
		Routes: map[string]string{"acmecorp.test": w.sink.Addr(), "gapps.acmecorp.test": w.sink.Addr(), "ext.test": w.sink.Addr()},
		Macros: []string{
			fmt.Sprintf("MAIL_FILTER(`hasty', `S=inet:%d@127.0.0.1, F=T, T=C:5s;S:5s;R:2s;E:1m')dnl", w.slow),
			fmt.Sprintf("MAIL_FILTER(`brief', `S=inet:%d@127.0.0.1, F=T, T=C:5s;S:5s;R:2s;E:3s')dnl", w.slow),
			fmt.Sprintf("MAIL_FILTER(`open', `S=inet:%s@127.0.0.1')dnl", port),
			fmt.Sprintf("MAIL_FILTER(`drop', `S=inet:%s@127.0.0.1, F=4')dnl", port),
			fmt.Sprintf("MAIL_FILTER(`second', `S=inet:%d@127.0.0.1, F=T')dnl", w.lenient),
			"define(`confAUTH_MECHANISMS', `ANONYMOUS')dnl",
			"define(`confMAX_MESSAGE_SIZE', `209715200')dnl",
		},
	}
	for name, filters := range map[string]string{gateway: "cloakroom", bare: "", hasty: "hasty", brief: "brief", open: "open", second: "second", drop: "drop"} {
		o.Listeners = append(o.Listeners, fmt.Sprintf("Name=%s, Addr=127.0.0.1, Port=%d, Family=inet, InputMailFilters=%s", name, w.port[name], filters))
	}
	return o
}

// startDaemon starts Cloakroom, on the addresses and data it had before.
func (w *sendmailWorld) startDaemon() error {
	c, err := testserver.StartCloakroom(w.ctx, w.opt)
	if err != nil {
		return err
	}
	w.daemon = c
	w.opt.MilterAddr, w.opt.WebAddr = c.MilterAddr(), strings.TrimPrefix(c.WebURL(), "http://")
	return nil
}

// up starts Cloakroom again.
func (w *sendmailWorld) up(t *testing.T) {
	t.Helper()
	if err := w.startDaemon(); err != nil {
		t.Fatal(err)
	}
}

// down ends Cloakroom: in good order, or as a power failure would.
func (w *sendmailWorld) down(t *testing.T, killed bool) {
	t.Helper()
	if killed {
		if err := w.daemon.Signal("KILL"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.daemon.Stop(); (err != nil) != killed {
		t.Fatal(err)
	}
}

// within bounds what a test waits for.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// arrived waits until a message has come to the sink n times, and reads them.
func (w *sendmailWorld) arrived(t *testing.T, id string, n int) []testserver.SunkMail {
	t.Helper()
	ctx := within(t)
	for {
		mails := w.sunk(id)
		if len(mails) >= n {
			if len(mails) > n {
				t.Errorf("%d messages have come with %s, want %d", len(mails), id, n)
			}
			return mails
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d messages have come with %s, want %d", len(mails), id, n)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// sunk are the messages with an id, as the sink has them now.
func (w *sendmailWorld) sunk(id string) (out []testserver.SunkMail) {
	for _, m := range w.sink.Mails("") {
		if head, _ := cutHeader(m.Data); bytes.Contains(bytes.ToLower(head), []byte("\nmessage-id: "+strings.ToLower(id)+"\r\n")) {
			out = append(out, m)
		}
	}
	return out
}

// to is the one of several messages that came to an address.
func to(t *testing.T, mails []testserver.SunkMail, address string) testserver.SunkMail {
	t.Helper()
	for _, m := range mails {
		for _, r := range m.To {
			if r.Address == address {
				return m
			}
		}
	}
	t.Fatalf("no message has come to %s", address)
	return testserver.SunkMail{}
}

// cutHeader separates header, with a line end before its first field, and body.
func cutHeader(data []byte) (head, body []byte) {
	at := bytes.Index(data, []byte("\r\n\r\n"))
	if at < 0 {
		return append([]byte("\r\n"), data...), nil
	}
	return append([]byte("\r\n"), data[:at+2]...), data[at+4:]
}

var (
	sendmailID   = regexp.MustCompile(`\b[0-9A-Za-z]{8}[0-9]{6}\b`)
	sendmailDate = regexp.MustCompile(`\w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d GMT`)
)

// timeless replaces what Sendmail makes anew for each message.
func timeless(data []byte) string {
	return string(sendmailDate.ReplaceAll(sendmailID.ReplaceAll(data, []byte("ID")), []byte("DATE")))
}

// messageID is the id in a message's header.
func messageID(t *testing.T, msg []byte) string {
	t.Helper()
	m := regexp.MustCompile(`(?i)(?:^|\n)message-id: (\S+)\r?\n`).FindSubmatch(msg)
	if m == nil {
		t.Fatalf("no Message-ID in:\n%.500s", msg)
	}
	return string(m[1])
}

// ours is the address of clients that are trusted.
const ours = "127.0.0.1"
