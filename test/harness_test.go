// Package test drives the built binary with real servers: mail goes through a
// private Postfix, and what was delivered is downloaded.
package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	if socket := os.Getenv(bareVariable); socket != "" {
		fmt.Fprintln(os.Stderr, bareMilter(socket, os.Getenv(bareFolder)))
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cloakroom-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "cloakroom")
	if err := build(binary, "cloakroom/cmd/cloakroom"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := stopSendmail(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// build builds a program as it is released.
func build(program, from string) error {
	cmd := exec.Command("go", "build", "-o", program, from)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", from, err, out)
	}
	return nil
}

// daemon is a cloakroom that can be stopped and started again on its data.
type daemon struct {
	t *testing.T
	testserver.CloakroomOptions
	running *testserver.Cloakroom
}

// linkAll is the rule most tests run with.
const linkAll = "rules:\n  - name: everything\n    link: {}\n"

// newDaemon prepares a daemon with the given rules; start runs it.
func newDaemon(t *testing.T, config string) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "cloakroom-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return &daemon{t: t, CloakroomOptions: testserver.CloakroomOptions{Binary: binary, Folder: dir, Config: config}}
}

// start runs the daemon and waits until it is ready. Its addresses stay the
// same from the first start on.
func (d *daemon) start() {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d.t.Cleanup(cancel)
	c, err := testserver.StartCloakroom(ctx, d.CloakroomOptions)
	if err != nil {
		d.t.Fatal(err)
	}
	d.running = c
	d.MilterAddr, d.WebAddr = c.MilterAddr(), strings.TrimPrefix(c.WebURL(), "http://")
	d.t.Cleanup(func() {
		if d.t.Failed() {
			d.t.Logf("log of cloakroom:\n%s", c.Log())
		}
		c.Stop()
	})
}

// stop ends the daemon with SIGTERM and expects a clean exit.
func (d *daemon) stop() {
	d.t.Helper()
	if err := d.running.Stop(); err != nil {
		d.t.Fatal(err)
	}
}

// kill ends the daemon as a power failure would, but for the kernel's memory.
func (d *daemon) kill() {
	d.t.Helper()
	if err := d.running.Signal("KILL"); err != nil {
		d.t.Fatal(err)
	}
	if err := d.running.Stop(); err == nil {
		d.t.Fatal("a killed daemon ended cleanly")
	}
}

// waitLog waits until the log has a text.
func (d *daemon) waitLog(text string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := d.running.WaitLog(ctx, text); err != nil {
		d.t.Fatal(err)
	}
}

// reload gives the daemon another configuration and waits for what it says.
func (d *daemon) reload(config, outcome string) {
	d.t.Helper()
	if err := d.running.Configure(config); err != nil {
		d.t.Fatal(err)
	}
	if err := d.running.Signal("HUP"); err != nil {
		d.t.Fatal(err)
	}
	d.waitLog(outcome)
}

// run runs a command beside the daemon.
func (d *daemon) run(stdin io.Reader, args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return d.running.Run(ctx, stdin, args...)
}

// startPostfix starts a Postfix with a milter; bob and carol have mailboxes of
// ours, dave one elsewhere.
func startPostfix(t *testing.T, milter string) *testserver.Postfix {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	p, err := testserver.StartPostfix(ctx, testserver.PostfixOptions{
		MilterAddr: milter,
		Mailboxes:  []string{bob, carol, dave},
		Extra:      map[string]string{"message_size_limit": "209715200"},
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

const (
	alice = "alice@acmecorp.test"
	bob   = "bob@acmecorp.test"
	carol = "carol@acmecorp.test"
	dave  = "dave@ext.test"
)

// send submits a message by SMTP and expects it to be taken.
func send(t *testing.T, p *testserver.Postfix, from string, to []string, msg []byte) testserver.Reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := testserver.SendSMTP(ctx, p.SMTPAddr(), from, to, bytes.NewReader(msg))
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	return reply
}

// mailbox waits for n messages and reads them, oldest first.
func mailbox(t *testing.T, p *testserver.Postfix, address string, n int) [][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	files, err := p.WaitMailbox(ctx, address, n)
	if err != nil {
		t.Fatalf("mailbox of %s: %v", address, err)
	}
	var out [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

var linkPattern = regexp.MustCompile(`http://[0-9.:]+/d/[A-Za-z0-9_-]{22}`)

// links lists the distinct links in a message, soft line breaks undone.
func links(msg []byte) []string {
	text := strings.ReplaceAll(strings.ReplaceAll(string(msg), "=\r\n", ""), "=\n", "")
	seen := map[string]bool{}
	var out []string
	for _, l := range linkPattern.FindAllString(text, -1) {
		if !seen[l] {
			seen[l] = true
			out = append(out, l)
		}
	}
	return out
}

var fileField = regexp.MustCompile(`name="file" value="(\d+)"`)

// download fetches every file behind a link as a person would: the page, then
// each of its buttons. It returns the SHA-256 of each.
func download(t *testing.T, link string) [][32]byte {
	t.Helper()
	status, page := get(t, link)
	if status != http.StatusOK {
		t.Fatalf("GET %s: %d\n%s", link, status, page)
	}
	var out [][32]byte
	for _, m := range fileField.FindAllSubmatch(page, -1) {
		resp, err := http.PostForm(link, url.Values{"file": {string(m[1])}})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		_, err = io.Copy(h, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("download part %s of %s: %s %v", m[1], link, resp.Status, err)
		}
		out = append(out, [32]byte(h.Sum(nil)))
	}
	return out
}

func get(t *testing.T, address string) (int, []byte) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

// breakStore takes the blob store away under the daemon.
func breakStore(t *testing.T, d *daemon) {
	t.Helper()
	blobs := filepath.Join(d.Folder, "data", "blobs")
	if err := os.Rename(blobs, blobs+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blobs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// mendStore brings it back.
func mendStore(t *testing.T, d *daemon) {
	t.Helper()
	blobs := filepath.Join(d.Folder, "data", "blobs")
	if err := os.Remove(blobs); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(blobs+".away", blobs); err != nil {
		t.Fatal(err)
	}
}

// sendRefused submits a message by SMTP and returns the reply that refuses it.
func sendRefused(t *testing.T, p *testserver.Postfix, from string, to []string, msg []byte) testserver.Reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := testserver.SendSMTP(ctx, p.SMTPAddr(), from, to, bytes.NewReader(msg))
	if err == nil {
		t.Fatalf("taken: %d %s", reply.Code, reply.Text)
	}
	return reply
}
