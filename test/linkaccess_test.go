package test

// Who may open a link: codes by a real MTA, passwords, limits, and what the
// sender hears.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

const accessPassword = "five random words in a row"

// accessRules guard links by the mail's subject.
const accessRules = `rules:
  - {name: codes, if: "subject.startsWith('codes')", link: {access: recipients, notify: true}}
  - {name: secret, if: "subject.startsWith('secret')", link: {access: password, password_file: partners.hash}}
  - {name: once, if: "subject.startsWith('once')", link: {downloads: 1, notify: true}}
  - {name: open, link: {}}
`

// accessWorld is a daemon with a Postfix that takes its mail.
type accessWorld struct {
	t *testing.T
	d *daemon
	p *testserver.Postfix
}

func newAccessWorld(t *testing.T) *accessWorld {
	t.Helper()
	submitPort := freePorts(t, 1)[0]
	d := newDaemon(t, fmt.Sprintf("trusted: [127.0.0.1/32]\nsubmit: {smtp: %q}\n", address(submitPort))+accessRules)
	hash := exec.Command(binary, "links", "password")
	hash.Stdin = strings.NewReader(accessPassword + "\n")
	line, err := hash.Output()
	if err != nil || !strings.HasPrefix(string(line), "pbkdf2-sha256$") || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("links password: %q %v", line, err)
	}
	if err := os.WriteFile(filepath.Join(d.Folder, "partners.hash"), line, 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	p, err := testserver.StartPostfix(ctx, testserver.PostfixOptions{
		MilterAddr: d.MilterAddr, Mailboxes: []string{alice, bob, dave},
		Services: []string{fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o smtpd_milters=", submitPort)},
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
	return &accessWorld{t, d, p}
}

// link sends a mail to dave and gives its link; n is how many mails he has then.
func (w *accessWorld) link(subject string, content []byte, n int) string {
	w.t.Helper()
	send(w.t, w.p, alice, []string{dave}, toCRLF(compose(alice, []string{dave}, subject, file{"plans.pdf", "application/pdf", content})))
	l := links(mailbox(w.t, w.p, dave, n)[n-1])
	if len(l) != 1 {
		w.t.Fatalf("%s: links %v", subject, l)
	}
	return l[0]
}

var codePattern = regexp.MustCompile(`\b[0-9]{8}\b`)

// code reads the code out of the mail that is the nth of an address.
func (w *accessWorld) code(address string, n int) string {
	w.t.Helper()
	msg := mailbox(w.t, w.p, address, n)[n-1]
	code := codePattern.FindString(string(msg[bytes.Index(msg, []byte("\n\n")):]))
	if code == "" || !bytes.Contains(msg, []byte("\nAuto-Submitted: auto-generated")) || !bytes.Contains(msg, []byte("\nFrom: <postmaster@acmecorp.test>")) {
		w.t.Fatalf("no code in\n%s", msg)
	}
	return code
}

// visitor is a browser without a screen: it keeps cookies.
type visitor struct {
	t *testing.T
	http.Client
}

func newVisitor(t *testing.T) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, http.Client{Jar: jar}}
}

// post sends a form of name, value pairs and follows where that leads.
func (v *visitor) post(link string, pairs ...string) (int, string) {
	v.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	resp, err := v.PostForm(link, form)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (w *accessWorld) command(want string, args ...string) string {
	w.t.Helper()
	stdout, stderr, code := w.d.run(nil, args...)
	if code != 0 || !strings.Contains(strings.Join(strings.Fields(stdout), " "), want) {
		w.t.Errorf("%v: %d, want %q in\n%s%s", args, code, want, stdout, stderr)
	}
	return stdout
}

func TestLinksAskWhoComes(t *testing.T) {
	t.Parallel()
	w := newAccessWorld(t)
	content := random(300_000, 3)
	sum := func(page string) [32]byte { return sha256.Sum256([]byte(page)) }
	link := w.link("codes 1", content, 1)

	v := newVisitor(t)
	if status, page := get(t, link); status != http.StatusOK || !strings.Contains(string(page), "Who are you?") || strings.Contains(string(page), "plans") {
		t.Fatalf("%d\n%s", status, page)
	}
	if status, _ := v.post(link, "file", "1"); status != http.StatusForbidden {
		t.Errorf("a download without a code: %d", status)
	}
	stranger := newVisitor(t)
	_, forEvil := stranger.post(link, "address", "evil@ext.test")
	_, forDave := v.post(link, "address", dave)
	if strings.ReplaceAll(forDave, dave, "evil@ext.test") != forEvil || !strings.Contains(forEvil, "Enter the code") {
		t.Errorf("a stranger sees:\n%s\na recipient:\n%s", forEvil, forDave)
	}
	code := w.code(dave, 2)
	if status, _ := stranger.post(link, "code", code); status != http.StatusForbidden {
		t.Errorf("a code works for who did not ask for it: %d", status)
	}
	status, page := v.post(link, "code", code)
	if status != http.StatusOK || !strings.Contains(page, "plans.pdf") {
		t.Fatalf("%d\n%s", status, page)
	}
	part := fileField.FindStringSubmatch(page)[1]
	for range 2 {
		if status, body := v.post(link, "file", part); status != http.StatusOK || sum(body) != sha256.Sum256(content) {
			t.Errorf("download: %d, %d bytes", status, len(body))
		}
	}
	receipt := string(mailbox(t, w.p, alice, 1)[0])
	for _, want := range []string{"Subject: Downloaded: plans.pdf", "By: " + dave, "Mail: codes 1", "Return-Path: <>"} {
		if !strings.Contains(receipt, want) {
			t.Errorf("%q is not in\n%s", want, receipt)
		}
	}
	w.command(dave, "links", "downloads", "--newer", "1h")
	w.command("codes go to "+dave, "links", "show", link)

	w.passwords(content)
	w.once(content)

	// An administrator opens it, and closes it again.
	id := w.id(link)
	w.command("opens to: anyone", "links", "access", id[:12], "--anyone", "--reason", "asked on the phone")
	if sums := download(t, link); len(sums) != 1 || sums[0] != sha256.Sum256(content) {
		t.Errorf("open to anyone: %x", sums)
	}
	w.command("opens to: recipients", "links", "access", id[:12], "--recipients")
	if _, page := get(t, link); !strings.Contains(string(page), "Who are you?") {
		t.Errorf("closed again:\n%s", page)
	}
	w.command("change access of links", "audit")
	time.Sleep(time.Second) // for a receipt too many
	if n := len(mailbox(t, w.p, alice, 2)); n != 2 {
		t.Errorf("%d receipts, want one for each of two files", n)
	}
}

func (w *accessWorld) id(link string) string {
	w.t.Helper()
	var shown struct {
		ID     string
		Access struct {
			Who  string
			Left []struct{ Left int }
		}
	}
	if err := json.Unmarshal([]byte(w.command("", "links", "show", link, "--json")), &shown); err != nil || shown.ID == "" {
		w.t.Fatalf("links show: %v", err)
	}
	return shown.ID
}

func (w *accessWorld) passwords(content []byte) {
	t := w.t
	t.Helper()
	link := w.link("secret", content, 3)
	v := newVisitor(t)
	if status, page := v.post(link, "password", "guess"); status != http.StatusForbidden || !strings.Contains(page, "The password is wrong.") || strings.Contains(page, "plans") {
		t.Errorf("%d\n%s", status, page)
	}
	status, page := v.post(link, "password", accessPassword)
	if status != http.StatusOK || !strings.Contains(page, "plans.pdf") {
		t.Fatalf("%d\n%s", status, page)
	}
	if status, body := v.post(link, "file", fileField.FindStringSubmatch(page)[1]); status != http.StatusOK || body != string(content) {
		t.Errorf("download: %d, %d bytes", status, len(body))
	}
	out := w.command("opens to password", "links", "show", link)
	if strings.Contains(out, "pbkdf2") || strings.Contains(w.command("", "links", "show", link, "--json"), "pbkdf2") {
		t.Error("links show tells the hash")
	}
}

// once: of many who want the last download at the same time one gets it.
func (w *accessWorld) once(content []byte) {
	t := w.t
	t.Helper()
	link := w.link("once", content, 4)
	_, page := get(t, link)
	if !strings.Contains(string(page), "can be downloaded 1 more time") {
		t.Fatalf("%s", page)
	}
	part := fileField.FindSubmatch(page)[1]
	var wg sync.WaitGroup
	got := make(chan int, 20)
	for range cap(got) {
		wg.Go(func() {
			v := newVisitor(t)
			v.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			status, _ := v.post(link, "file", string(part))
			got <- status
		})
	}
	wg.Wait()
	close(got)
	count := map[int]int{}
	for status := range got {
		count[status]++
	}
	if count[http.StatusSeeOther] != 1 || count[http.StatusGone] != 19 {
		t.Errorf("answers to the last download: %v", count)
	}
	w.command("part "+string(part)+": 0 (1 were allowed)", "links", "show", link)
	w.command("allows 1 more of each file", "links", "allow", w.id(link)[:12])
	if sums := download(t, link); len(sums) != 1 || sums[0] != sha256.Sum256(content) {
		t.Errorf("one more: %x", sums)
	}
	if status, page := newVisitor(t).post(link, "file", string(part)); status != http.StatusGone || !strings.Contains(page, "no longer available") {
		t.Errorf("%d\n%s", status, page)
	}
}
