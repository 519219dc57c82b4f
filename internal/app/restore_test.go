package app

// The way back: what was taken apart is whole again, byte for byte, and a
// signature that somebody else made still fits.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/testserver"
	"cloakroom/ledger"
)

var quiet = slog.New(slog.DiscardHandler)

// newShop is an empty store with a flow that links every attachment.
func newShop(t *testing.T, more string) (*config.Config, *Store, *flow.Engine) {
	t.Helper()
	text := fmt.Sprintf("domains: [acmecorp.test]\ndata: %q\nweb: {url: \"https://files.acmecorp.test\"}\nrules:\n  - {name: all, link: {}}\n%s", t.TempDir(), more)
	cfg, _, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenBeside(t.Context(), cfg, true, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	users, err := OpenUsers(cfg.Directory, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { users.Close() })
	engine, err := NewFilterEngine(s, cfg, users, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, s, engine
}

// take passes a mail through the flow, which has to take something out of it.
func take(t *testing.T, engine *flow.Engine, raw []byte) {
	t.Helper()
	env := &flow.Envelope{QueueID: "4XYZ", Sender: "alice@ext.test", Received: time.Now(), Recipients: []flow.Recipient{{Address: "bob@acmecorp.test"}, {Address: "carol@acmecorp.test"}}}
	var out bytes.Buffer
	changed, err := Filter(t.Context(), engine, env, bytes.NewReader(raw), &out)
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if bytes.Contains(out.Bytes(), []byte("JVBERi0xLjQK")) {
		t.Fatal("the attachment is still in the mail")
	}
}

const pdf = "%PDF-1.4\n"

// sample is a mail with a large attachment and awkward lines.
func sample(id string) []byte {
	content := base64.StdEncoding.EncodeToString([]byte(pdf + strings.Repeat("the content of a plan. ", 9000)))
	var b strings.Builder
	b.WriteString("From: Alice  <alice@ext.test>\r\nTo: bob@acmecorp.test\r\nSubject: plans\r\n\tfolded   with  spaces \r\n" +
		"Message-ID: <" + id + "@ext.test>\r\nDate: Sat, 14 Mar 2026 15:09:26 +0000\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\npreamble \r\n--b\r\nContent-Type: text/plain\r\n\r\nFrom here on:  trailing blanks  \r\n.\r\n\r\n--b\r\n" +
		"Content-Type: application/pdf; name=plan.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for len(content) > 0 {
		n := min(76, len(content))
		b.WriteString(content[:n] + "\r\n")
		content = content[n:]
	}
	b.WriteString("--b--\r\nepilogue\r\n\r\n\r\n")
	return []byte(b.String())
}

// collected is a sink in memory.
type collected struct{ mails map[string][]byte }

func (c *collected) Put(ctx context.Context, o *Original) (string, bool, error) {
	raw, err := io.ReadAll(o.Reader())
	if c.mails == nil {
		c.mails = make(map[string][]byte)
	}
	c.mails[o.Mail.MessageID] = raw
	return "memory", false, err
}

func (c *collected) Close(context.Context) error { return nil }

// restoreAll restores every mail and gives the results.
func restoreAll(t *testing.T, s *Store, sink Sink, check *SignatureCheck) (out []Restored) {
	t.Helper()
	keys, err := s.SelectMails(t.Context(), nil, ledger.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	what := Restoring{Keys: keys, Sink: sink, Signatures: check, Tell: func(r Restored) { out = append(out, r) }}
	if _, err := s.Restore(t.Context(), what); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestASignatureStillFitsAfterTheMailIsRestored(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(keyFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	check := &SignatureCheck{LookupTXT: func(domain string) ([]string, error) {
		if domain != "mail._domainkey.ext.test" {
			return nil, &net.DNSError{IsNotFound: true}
		}
		return []string{"v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)}, nil
	}}
	_, s, engine := newShop(t, "")
	signed := make(map[string][]byte)
	for _, header := range []string{"simple", "relaxed"} {
		for _, body := range []string{"simple", "relaxed"} {
			id := header + "." + body
			how := testserver.DKIMSignature{Selector: "mail", Domain: "ext.test", Header: header, Body: body, KeyFile: keyFile}
			raw, err := testserver.SignDKIM(t.Context(), how, sample(id))
			if err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			take(t, engine, raw)
			signed["<"+id+"@ext.test>"] = raw
		}
	}
	var got collected
	results := restoreAll(t, s, &got, check)
	if len(results) != len(signed) {
		t.Fatalf("%d of %d mails", len(results), len(signed))
	}
	for _, r := range results {
		if r.Error != "" || len(r.DKIM) != 1 || r.DKIM[0].Result != "pass" || r.DKIM[0].Domain != "ext.test" {
			t.Errorf("%s: %+v", r.MessageID, r)
		}
		if !bytes.Equal(got.mails[r.MessageID], signed[r.MessageID]) {
			t.Errorf("%s differs from what came in", r.MessageID)
		}
	}
	down := &SignatureCheck{LookupTXT: func(string) ([]string, error) { return nil, &temporaryLookup{errors.New("no DNS here")} }}
	for _, r := range restoreAll(t, s, nil, down) {
		if r.Error != "" || len(r.DKIM) != 1 || r.DKIM[0].Result != "not checked" {
			t.Errorf("without DNS: %+v", r)
		}
	}
}

func TestAMailWhoseFileIsDamagedIsNotHandedOut(t *testing.T) {
	_, s, engine := newShop(t, "")
	take(t, engine, sample("1"))
	take(t, engine, bytes.Replace(sample("2"), []byte("preamble"), []byte("another!"), 1))
	var sum ledger.Hash
	row := s.DB.Read().QueryRow(`SELECT sha256 FROM parts WHERE linked = 1 LIMIT 1`)
	var raw []byte
	if err := row.Scan(&raw); err != nil {
		t.Fatal(err)
	}
	copy(sum[:], raw)
	path := filepath.Join(s.Dir, "blobs", sum.String()[:2], sum.String())
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var got collected
	for _, r := range restoreAll(t, s, &got, nil) {
		if !strings.Contains(r.Error, "damaged") {
			t.Errorf("%+v", r)
		}
	}
	if len(got.mails) != 0 {
		t.Errorf("%d damaged mails were handed out", len(got.mails))
	}
}

func TestRestoredMailIsSentAsItCame(t *testing.T) {
	mta := startMTA(t)
	cfg, s, engine := newShop(t, fmt.Sprintf("submit: {smtp: %q}\n", mta.addr))
	raw := sample("1")
	take(t, engine, raw)
	for _, step := range []struct {
		from *string
		to   []string
		want string
	}{
		{nil, nil, "alice@ext.test > bob@acmecorp.test carol@acmecorp.test"},
		{new(string), []string{"dora@acmecorp.test"}, " > dora@acmecorp.test"},
	} {
		sink, err := NewSubmission(cfg, step.from, step.to, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if r := restoreAll(t, s, sink, nil); len(r) != 1 || r[0].Error != "" {
			t.Fatalf("%+v", r)
		}
		envelope, body := mta.last()
		if envelope != step.want || !bytes.Equal(body, raw) {
			t.Errorf("envelope %q, want %q; the same bytes: %v", envelope, step.want, bytes.Equal(body, raw))
		}
	}
}

func TestRestoredMailIsAppendedToAMailbox(t *testing.T) {
	d, err := testserver.StartDovecot(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Stop() })
	_, s, engine := newShop(t, "")
	raw := sample("1")
	take(t, engine, raw)
	take(t, engine, bytes.ReplaceAll(sample("2"), []byte("\r\n"), []byte("\n")))
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(d.Password()+"\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("imaps://bob%%40acmecorp.test@%s/Restored", d.TLSAddress())
	o, err := ReadIMAPOptions(address, password, d.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 { // the second time all is there
		sink, err := NewIMAP(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range restoreAll(t, s, sink, nil) {
			if r.Error != "" || r.WasThere != (round == 1) || r.Where != "mailbox Restored" {
				t.Errorf("round %d: %+v", round, r)
			}
		}
		if err := sink.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	c, err := imapclient.DialInsecure(d.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("bob@acmecorp.test", d.Password()).Wait(); err != nil {
		t.Fatal(err)
	}
	if box, err := c.Select("Restored", nil).Wait(); err != nil || box.NumMessages != 2 {
		t.Fatalf("%+v, %v", box, err)
	}
	found, err := c.Fetch(imap.SeqSetNum(1, 2), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}}).Collect()
	if err != nil || len(found) != 2 {
		t.Fatal(found, err)
	}
	for i, want := range [][]byte{raw, sample("2")} {
		if !bytes.Equal(found[i].BodySection[0].Bytes, want) {
			t.Errorf("message %d is not what came in", i+1)
		}
	}
}

func TestIMAPOptionsThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good", "secret\n")
	for _, c := range []struct{ address, password, ca, want string }{
		{"imaps://host/x", good, "", "--imap: write imaps://user@host/Mailbox"},
		{"imaps://bob@host/x", filepath.Join(dir, "none"), "", "--imap-password-file: open "},
		{"imaps://bob@host/x", file("empty", "\nsecret\n"), "", "the first line of "},
		{"imaps://bob@host/x", good, good, "--imap-ca-file: no certificate (PEM) in "},
		{"imaps://bob@host/x", good, filepath.Join(dir, "none"), "--imap-ca-file: open "},
	} {
		if _, err := ReadIMAPOptions(c.address, c.password, c.ca); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// What cannot be written to stops a restore: what comes after would fail too.
func TestARestoreStopsWhereNothingMoreCanBePut(t *testing.T) {
	_, s, engine := newShop(t, "")
	for i := range 5 {
		take(t, engine, sample(fmt.Sprint(i)))
	}
	keys, err := s.SelectMails(t.Context(), nil, ledger.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "done")
	var told []Restored
	restore := func(ctx context.Context, sink Sink) (RestoreCount, error) {
		done, err := OpenDoneList(list, "--there")
		if err != nil {
			t.Fatal(err)
		}
		defer done.Close()
		told = nil
		return s.Restore(ctx, Restoring{Keys: keys, Sink: sink, Done: done, Tell: func(r Restored) { told = append(told, r) }})
	}
	full := &filling{room: 2}
	count, err := restore(t.Context(), full)
	var stop *StopError
	if !errors.As(err, &stop) || count != (RestoreCount{Restored: 2, NotTried: 3}) || len(told) != 2 {
		t.Errorf("%v, %v, %d told", count, err, len(told))
	}
	full.room = 2
	if count, err = restore(t.Context(), full); count != (RestoreCount{Restored: 2, WasThere: 2, NotTried: 1}) {
		t.Errorf("%v, %v", count, err)
	}
	// A line that was cut off, and one about another place.
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	text = []byte(lines[0] + keys[4].String() + " --elsewhere\n" + lines[1] + lines[2] + lines[3][:70])
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	full.room = 9
	if count, err = restore(t.Context(), full); err != nil || count != (RestoreCount{Restored: 2, WasThere: 3}) || full.put != 6 {
		t.Errorf("%v, %v; put %d times", count, err, full.put)
	}
	if count, err = restore(t.Context(), full); err != nil || count != (RestoreCount{WasThere: 5}) {
		t.Errorf("%v, %v", count, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if count, err = restore(ctx, full); !errors.Is(err, context.Canceled) || count != (RestoreCount{NotTried: 5}) {
		t.Errorf("interrupted: %v, %v", count, err)
	}
	if err := os.WriteFile(list, []byte(lines[0][:40]), 0o600); err != nil { // the disk was full at its very beginning
		t.Fatal(err)
	}
	for range 2 {
		done, err := OpenDoneList(list, "--there")
		if err != nil {
			t.Fatal(err)
		}
		if err := done.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"a letter\n", "\nkey\n"} {
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenDoneList(list, "x"); err == nil {
			t.Errorf("%q is taken for a list", text)
		}
	}
}

// filling is a sink with room for some mails.
type filling struct{ room, put int }

func (f *filling) Put(context.Context, *Original) (string, bool, error) {
	if f.room == 0 {
		return "", false, &StopError{errors.New("full")}
	}
	f.room--
	f.put++
	return "there", false, nil
}

func (f *filling) Close(context.Context) error { return nil }

// mta takes every mail, and remembers the last.
type mta struct {
	addr     string
	mu       sync.Mutex
	envelope string
	body     []byte
}

func startMTA(t *testing.T) *mta { return startMTAAt(t, "127.0.0.1:0") }

func startMTAAt(t *testing.T, address string) *mta {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	m := &mta{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			m.serve(conn)
		}
	}()
	return m
}

func (m *mta) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	say := func(line string) { io.WriteString(conn, line+"\r\n") }
	say("220 test")
	var from string
	var to []string
	var body []byte
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		path, _, _ := strings.Cut(rest, " ")
		address := strings.Trim(path[strings.IndexByte(path, ':')+1:], "<>")
		switch strings.ToUpper(verb) {
		case "EHLO":
			io.WriteString(conn, "250-test\r\n250-CHUNKING\r\n250 8BITMIME\r\n")
			continue
		case "MAIL":
			from, to, body = address, nil, nil
		case "RCPT":
			to = append(to, address)
		case "BDAT":
			size, last, _ := strings.Cut(rest, " ")
			var n int
			fmt.Sscan(size, &n)
			chunk := make([]byte, n)
			if _, err := io.ReadFull(r, chunk); err != nil {
				return
			}
			if body = append(body, chunk...); last != "" {
				m.mu.Lock()
				m.envelope, m.body = from+" > "+strings.Join(to, " "), body
				m.mu.Unlock()
			}
		case "QUIT":
			say("221 bye")
			return
		}
		say("250 OK")
	}
}

func (m *mta) last() (string, []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.envelope, m.body
}
