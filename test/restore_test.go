package test

// The way back, as an administrator goes it: the built binary, a real Postfix, a
// real Dovecot, and a signature that is not ours.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"cloakroom/internal/app"
	"cloakroom/internal/testserver"
)

// wayBack is a daemon with mails that became links, and where they can go back to.
type wayBack struct {
	t       *testing.T
	d       *daemon
	p       *testserver.Postfix
	dovecot *testserver.Dovecot
	dns     *testserver.DNS
	key     string            // the published DKIM key
	mails   map[string][]byte // by Message-ID, as they were sent
	dir     string
}

func newWayBack(t *testing.T) *wayBack {
	t.Helper()
	w := &wayBack{t: t, mails: make(map[string][]byte), dir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	dovecot := make(chan error, 1)
	go func() (err error) {
		defer func() { dovecot <- err }()
		w.dovecot, err = testserver.StartDovecot(ctx, "")
		return err
	}()
	submit := freePorts(t, 1)[0]
	w.d = newDaemon(t, fmt.Sprintf(`submit: {smtp: %q}
vault:
  targets:
    assets:
      dir: {base: %q}
      path: "{space}/{name}"
rules:
  - {name: stays, if: "attachment.name == 'only-copied.pdf'", link: false, vault: {target: assets}}
  - {name: everything, link: {}}
`, address(submit), filepath.Join(w.dir, "vault")))
	if err := os.Mkdir(filepath.Join(w.dir, "vault"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.d.start()
	var err error
	w.p, err = testserver.StartPostfix(ctx, testserver.PostfixOptions{MilterAddr: w.d.MilterAddr, Mailboxes: []string{bob, carol, dave},
		Services: []string{fmt.Sprintf("127.0.0.1:%d inet n - n - - smtpd -o smtpd_milters=", submit)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.p.Stop() })
	if err := <-dovecot; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.dovecot.Stop() })
	return w
}

// signer makes a DKIM key, publishes it, and gives what signs with it.
func (w *wayBack) signer() func([]byte) []byte {
	w.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.dir, "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600); err != nil {
		w.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		w.t.Fatal(err)
	}
	w.key = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
	w.dns, err = testserver.StartDNS(fmt.Sprintf("mail._domainkey.ext.test. TXT %q %q\n", w.key[:200], w.key[200:]), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.dns.Stop)
	return func(msg []byte) []byte {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		how := testserver.DKIMSignature{Selector: "mail", Domain: "ext.test", Header: "relaxed", Body: "simple", KeyFile: file}
		signed, err := testserver.SignDKIM(ctx, how, msg)
		if err != nil {
			w.t.Fatal(err)
		}
		return signed
	}
}

// came remembers what a mail was like, and gives its Message-ID.
func (w *wayBack) came(msg []byte) string {
	_, rest, _ := bytes.Cut(msg, []byte("Message-ID: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	id := strings.TrimSpace(string(line))
	w.mails[id] = msg
	return id
}

// restore runs a restore that prints JSON, and gives its results.
func (w *wayBack) restore(want int, args ...string) (out []app.Restored, complaint string) {
	w.t.Helper()
	stdout, stderr, code := w.d.run(nil, append([]string{"links", "restore", "--json", "--resolver", w.dns.Addr}, args...)...)
	if code != want {
		w.t.Errorf("restore %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	for lines := json.NewDecoder(strings.NewReader(stdout)); lines.More(); {
		var r app.Restored
		if err := lines.Decode(&r); err != nil {
			w.t.Fatalf("%v\n%s", err, stdout)
		}
		out = append(out, r)
	}
	return out, stderr
}

func TestTheWayBack(t *testing.T) {
	t.Parallel()
	w := newWayBack(t)
	sign := w.signer()
	attached := file{"plan.pdf", "application/pdf", random(300<<10, 41)}
	signed := sign(toCRLF(compose(dave, []string{bob}, "signed", attached)))
	signedID := w.came(signed)
	send(t, w.p, dave, []string{bob}, signed)
	for i, to := range [][]string{{bob}, {carol}, {bob, carol}} {
		msg := toCRLF(compose(dave, to, fmt.Sprintf("From plain %d", i), attached, file{"ä b.txt", "text/plain", []byte("From here\n>From there\n")}))
		w.came(msg)
		send(t, w.p, dave, to, msg)
	}
	onlyCopied := w.came(toCRLF(compose(dave, []string{bob}, "copied", file{"only-copied.pdf", "application/pdf", random(900, 42)})))
	send(t, w.p, dave, []string{bob}, w.mails[onlyCopied])
	bare := compose(dave, []string{bob}, "LF only", attached) // as a program pipes it
	w.came(bare)
	if _, stderr, code := w.d.run(bytes.NewReader(bare), "filter", "--from", dave, "--to", bob, "--client-ip", "127.0.0.1"); code != 0 {
		t.Fatal(stderr)
	}
	if l := links(mailbox(t, w.p, bob, 4)[0]); len(l) != 1 {
		t.Fatalf("the mail has links %v", l)
	}
	t.Run("files", func(t *testing.T) { w.t = t; w.files(signedID, onlyCopied) })
	t.Run("imap", func(t *testing.T) { w.t = t; w.imap() })
	t.Run("killed", func(t *testing.T) { w.t = t; w.killed() })
	t.Run("submit", func(t *testing.T) { w.t = t; w.submit(signedID) })
	t.Run("audit", func(t *testing.T) { w.t = t; w.audit(signedID) })
	t.Run("limit", func(t *testing.T) { w.t = t; w.limit() })
}

// limit restores to a server that takes no message beyond a size: the one that is
// larger is told of, and the others get there.
func (w *wayBack) limit() {
	t := w.t
	var ids []string
	for i, size := range []int{20 << 10, 600 << 10, 30 << 10} {
		msg := toCRLF(compose(dave, []string{carol}, fmt.Sprintf("limit %d", i), file{"plan.pdf", "application/pdf", random(size, int64(50+i))}))
		ids = append(ids, w.came(msg))
		send(t, w.p, dave, []string{carol}, msg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	narrow, err := testserver.StartDovecot(ctx, "", "imap_capability = +APPENDLIMIT=500000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { narrow.Stop() })
	w.dovecot = narrow
	args := append([]string{"--no-dkim", ids[1], ids[0], ids[2]}, w.imapArgs(narrow.TLSAddress(), "Limited")...)
	for _, words := range []string{"restored: 2, there already: 0, nothing to restore: 0, failed: 1, not tried: 0", "restored: 0, there already: 2, nothing to restore: 0, failed: 1, not tried: 0"} {
		results, stderr := w.restore(1, args...)
		if len(results) != 3 || !strings.Contains(stderr, words) {
			t.Errorf("want %s:\n%+v\n%s", words, results, stderr)
		}
		for _, r := range results {
			tooLarge := r.MessageID == ids[1]
			if tooLarge != strings.Contains(r.Error, "the server takes at most 500000 (APPENDLIMIT)") || !tooLarge && r.Error != "" {
				t.Errorf("%s: %q", r.MessageID, r.Error)
			}
		}
	}
	if got := w.fetch("Limited"); len(got) != 2 {
		t.Errorf("the mailbox has %d mails", len(got))
	}
}

// files restores one mail, a selection, and everything.
func (w *wayBack) files(signedID, onlyCopied string) {
	t := w.t
	one := filepath.Join(w.dir, "one.eml")
	results, _ := w.restore(0, signedID, "--eml", one)
	if len(results) != 1 || len(results[0].DKIM) != 1 || results[0].DKIM[0] != (app.Signature{Domain: "ext.test", Result: "pass"}) {
		t.Errorf("restored: %+v", results)
	}
	if got := readFile(t, one); !bytes.Equal(got, w.mails[signedID]) {
		t.Errorf("%s differs from what was sent", one)
	} else if err := testserver.VerifyDKIM(t.Context(), w.key, got); err != nil {
		t.Error(err)
	}
	if err := testserver.VerifyDKIM(t.Context(), w.key, bytes.Replace(w.mails[signedID], []byte("See the"), []byte("see the"), 1)); err == nil {
		t.Error("the verifier takes anything")
	}
	box := filepath.Join(w.dir, "carol.mbox")
	if results, _ = w.restore(0, "--recipient", carol, "--mbox", box, "--no-dkim"); len(results) != 2 {
		t.Errorf("of carol: %+v", results)
	}
	got := unquoted(readFile(t, box))
	for i, r := range results {
		if want := bytes.ReplaceAll(w.mails[r.MessageID], []byte("\r\n"), []byte("\n")); len(got) <= i || !bytes.Equal(got[i], want) {
			t.Errorf("mail %d of the mbox differs from what was sent", i)
		}
	}
	folder := filepath.Join(w.dir, "all")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	results, stderr := w.restore(0, "--all", "--eml", folder)
	if len(results) != len(w.mails) || !strings.Contains(stderr, "restored: 5, there already: 0, nothing to restore: 1, failed: 0, not tried: 0") {
		t.Errorf("of %d mails: %+v\n%s", len(w.mails), results, stderr)
	}
	for _, r := range results {
		if r.MessageID == onlyCopied {
			if !strings.Contains(r.Nothing, "delivered unchanged") || r.Error != "" {
				t.Errorf("the mail without an original: %+v", r)
			}
			continue
		}
		if !bytes.Equal(readFile(t, r.Where), w.mails[r.MessageID]) {
			t.Errorf("%s differs from what came in", r.Where)
		}
	}
	if results, stderr = w.restore(1, onlyCopied, "--check"); len(results) != 1 || results[0].Nothing == "" || !strings.Contains(stderr, "1 of 1 mails were not restored") {
		t.Errorf("named, the mail without an original: %+v\n%s", results, stderr)
	}
}

// imapArgs append to a mailbox of bob at a server.
func (w *wayBack) imapArgs(address, mailbox string) []string {
	password := filepath.Join(w.dir, "password")
	if err := os.WriteFile(password, []byte(w.dovecot.Password()+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return []string{"--imap", "imaps://bob%40acmecorp.test@" + address + "/" + mailbox, "--imap-password-file", password, "--imap-ca-file", w.dovecot.CAFile()}
}

// imap puts everything of bob into a mailbox that is not there, twice.
func (w *wayBack) imap() {
	t := w.t
	args := append(w.imapArgs(w.dovecot.TLSAddress(), "Zur%C3%BCck/M%C3%A4rz%202026"), "--address", bob)
	results, _ := w.restore(0, args...)
	var want [][]byte
	for _, r := range results {
		if r.Nothing == "" {
			want = append(want, toCRLF(w.mails[r.MessageID]))
		}
	}
	if len(results) != 5 || len(want) != 4 {
		t.Errorf("of bob: %+v", results)
	}
	again, stderr := w.restore(0, args...)
	if !strings.Contains(stderr, "restored: 0, there already: 4, nothing to restore: 1") {
		t.Errorf("the second time: %+v\n%s", again, stderr)
	}
	if got := w.fetch("Zurück.März 2026"); !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("the mailbox has %d mails, want %d, or they differ", len(got), len(want))
	}
	wrong := filepath.Join(w.dir, "wrong")
	if err := os.WriteFile(wrong, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{69, "the user or the password is wrong", append(slices.Clone(args), "--imap-password-file", wrong)},
		{69, "hint: --imap-ca-file names the certificates", slices.Delete(slices.Clone(args), 4, 6)},
		{64, "no certificate (PEM) in", append(slices.Clone(args), "--imap-ca-file", wrong)},
		{64, "a password on the command line is seen by everybody", append(slices.Clone(args), "--imap", "imaps://bob:x@host/")},
		{69, "connection refused", append(slices.Clone(args), "--imap", "imaps://bob@"+address(freePorts(t, 1)[0])+"/x")},
	} {
		if _, stderr := w.restore(c.code, c.args...); !strings.Contains(stderr, c.want) {
			t.Errorf("want %q:\n%s", c.want, stderr)
		}
	}
}

// fetch reads a mailbox of bob.
func (w *wayBack) fetch(mailbox string) (out [][]byte) {
	w.t.Helper()
	c, err := imapclient.DialInsecure(w.dovecot.Address(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(bob, w.dovecot.Password()).Wait(); err != nil {
		w.t.Fatal(err)
	}
	if _, err := c.Select(mailbox, nil).Wait(); err != nil {
		w.t.Fatal(err)
	}
	found, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range found {
		out = append(out, m.BodySection[0].Bytes)
	}
	return out
}

// killed ends a restore in the middle, and repeats it.
func (w *wayBack) killed() {
	t := w.t
	proxy, err := testserver.StartProxy(t.Context(), w.dovecot.TLSAddress())
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	proxy.SetBandwidth(2 << 20)
	args := append([]string{"links", "restore", "--no-dkim", "--all"}, w.imapArgs(proxy.Address(), "Half")...)
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"--config", w.d.running.ConfigFile()}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // one is done, the next under way
		t.Error(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	proxy.SetBandwidth(0)
	if stdout, stderr, code := w.d.run(nil, args...); code != 0 || !strings.Contains(stdout, "mailbox Half (was there)") || !strings.Contains(stdout, "mailbox Half\n") {
		t.Errorf("after it was killed: exit code %d\n%s%s", code, stdout, stderr)
	}
	if got := w.fetch("Half"); len(got) != len(w.mails)-1 {
		t.Errorf("after two attempts the mailbox has %d mails, want %d", len(got), len(w.mails)-1)
	}
}

// submit sends mails again, and leaves out those that were sent.
func (w *wayBack) submit(signedID string) {
	t := w.t
	done := filepath.Join(w.dir, "done")
	w.restore(0, signedID, "--submit", "--done", done)
	w.restore(0, signedID, "--submit", "--done", done)
	w.restore(0, "--address", bob, "--submit", "--to", dave, "--from", "<>", "--yes", "--done", done)
	got := mailbox(t, w.p, bob, 5)
	original := bytes.ReplaceAll(w.mails[signedID], []byte("\r\n"), []byte("\n"))
	if len(got) != 5 || !bytes.HasSuffix(got[4], original) {
		t.Errorf("bob has %d mails, and the last is not the one that came in: %.300q", len(got), got[len(got)-1])
	}
	if got := mailbox(t, w.p, dave, 4); len(got) != 4 || !slices.ContainsFunc(got, func(m []byte) bool { return bytes.HasSuffix(m, original) }) {
		t.Errorf("dave has %d mails", len(got))
	}
	if _, stderr := w.restore(1, "--all", "--submit"); !strings.Contains(stderr, "Send 6 mails again, each to all recipients that it had, also outside?") {
		t.Errorf("without --yes: %s", stderr)
	}
}

// audit tells who restored a mail.
func (w *wayBack) audit(signedID string) {
	t := w.t
	stdout, stderr, code := w.d.run(nil, "audit", "--mail", signedID, "--json")
	type line struct{ Actor, Action, Object, Outcome string }
	var acts []line
	for lines := json.NewDecoder(strings.NewReader(stdout)); lines.More(); {
		var a line
		if err := lines.Decode(&a); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		acts = append(acts, a)
	}
	has := func(object, outcome string) bool {
		return slices.ContainsFunc(acts, func(a line) bool {
			return a.Actor != "" && a.Action == "restore mails" && strings.Contains(a.Object, object) && strings.Contains(a.Outcome, outcome)
		})
	}
	if code != 0 || !has("to --eml "+filepath.Join(w.dir, "one.eml"), "restored: 1,") ||
		!has("5 mails (--address "+bob+") to imaps://"+bob+"@"+w.dovecot.TLSAddress()+"/Zurück/März 2026", "there already: 4,") ||
		!has("(--all) to imaps://", "") || !has("--submit --to "+dave, "restored: 4,") || has("carol.mbox", "") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// unquoted reads an mbox of the kind mboxrd.
func unquoted(box []byte) (out [][]byte) {
	for line := range bytes.Lines(box) {
		switch {
		case bytes.HasPrefix(line, []byte("From ")):
			out = append(out, nil)
			continue
		case bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")):
			line = line[1:]
		}
		out[len(out)-1] = append(out[len(out)-1], line...)
	}
	for i, m := range out {
		out[i] = bytes.TrimSuffix(m, []byte("\n"))
	}
	return out
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
