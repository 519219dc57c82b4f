package test

// Work that takes longer than the MTA waits for a word: PROGRESS keeps it from
// giving up.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// longWork is how long a mail's commit is held up: less than the 10 s that it
// waits for its database.
const longWork = 4 * time.Second

// delayCommit keeps the database locked until the store has had some content for
// longWork. It returns at once.
func delayCommit(t *testing.T, d *daemon, sum [32]byte) (done <-chan struct{}) {
	t.Helper()
	mend, ended := lockDatabase(t, filepath.Join(d.Folder, "data")), make(chan struct{})
	name := hex.EncodeToString(sum[:])
	go func() {
		defer close(ended)
		defer mend()
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(filepath.Join(d.Folder, "data", "blobs", name[:2], name)); err == nil {
				time.Sleep(longWork)
				return
			}
		}
	}()
	return ended
}

// TestPostfixWaitsForALargeMail: 200 MB, which Postfix gives 2 s to be answered.
func TestPostfixWaitsForALargeMail(t *testing.T) {
	t.Parallel() // much of it is waiting
	d := newDaemon(t, linkAll)
	d.start()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	p, err := testserver.StartPostfix(ctx, testserver.PostfixOptions{MilterAddr: d.MilterAddr, Mailboxes: []string{bob},
		Extra: map[string]string{"message_size_limit": "419430400", "milter_command_timeout": "2s", "milter_content_timeout": "2s"}})
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
	large := newLargeMail(200 << 20)
	conn, err := net.DialTimeout("tcp", p.SMTPAddr(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	text := textproto.NewConn(conn)
	say := func(code int, line string) string {
		t.Helper()
		if _, err := io.WriteString(conn, line); err != nil {
			t.Fatal(err)
		}
		_, said, err := text.ReadResponse(code)
		if err != nil {
			t.Fatalf("%.60q: %v", line, err)
		}
		return said
	}
	say(220, "")
	say(250, "EHLO client.acmecorp.test\r\n")
	say(250, "MAIL FROM:<"+alice+">\r\n")
	say(250, "RCPT TO:<"+bob+">\r\n")
	say(354, "DATA\r\n")
	if err := large.write(conn); err != nil {
		t.Fatal(err)
	}
	held := delayCommit(t, d, large.sum)
	began := time.Now()
	say(250, ".\r\n")
	took := time.Since(began)
	<-held
	if took < longWork {
		t.Errorf("taken after %v: the work did not take long", took)
	}
	t.Logf("taken after %v", took.Round(time.Millisecond))
	l := links(mailbox(t, p, bob, 1)[0])
	if len(l) != 1 || !slices.Equal(download(t, l[0]), [][32]byte{large.sum}) {
		t.Errorf("links %v", l)
	}
}

// TestSendmailWaitsWhileProgressIsMade: Sendmail begins to count again at each
// PROGRESS, but for E:, its limit for all of the work.
func TestSendmailWaitsWhileProgressIsMade(t *testing.T) {
	w := throughSendmail(t)
	t.Parallel() // most of it is waiting
	d := newDaemon(t, linkAll)
	d.MilterAddr = fmt.Sprintf("inet:127.0.0.1:%d", w.slow)
	d.start()
	msg, content := pdf(alice, bob, "patient", 3401)
	late, lateContent := pdf(alice, bob, "late", 3402)
	patient, impatient := w.converse(t, hasty, ours), w.converse(t, brief, ours)
	patient.envelope(alice, bob)
	impatient.envelope(alice, bob)
	held := delayCommit(t, d, sha256.Sum256(content))
	gaveUp := make(chan time.Duration, 1)
	began := time.Now()
	go func() {
		_, err := impatient.tryData(late)
		took := time.Since(began)
		var refused *textproto.Error
		if refused, _ = err.(*textproto.Error); refused == nil || refused.Code != 451 {
			t.Errorf("where E: has passed Sendmail answers %v", err)
		}
		gaveUp <- took
	}()
	patient.data(250, msg)
	took := time.Since(began)
	<-held
	if took < longWork {
		t.Errorf("taken after %v: the work did not take long", took)
	}
	checkLinked(t, w.arrived(t, messageID(t, msg), 1)[0], content)
	t.Logf("taken after %v; with E:3s given up after %v", took.Round(time.Millisecond), (<-gaveUp).Round(time.Millisecond))
	if !strings.Contains(w.mta.Log(), "EOM ACK/NAK timeout") {
		t.Error("Sendmail gave up for another reason")
	}
	w.mail(t, brief, ours, alice, []string{bob}, late) // the client comes again
	checkLinked(t, w.arrived(t, messageID(t, late), 1)[0], lateContent)
}

// largeMail is a mail with a large file, made of one block again and again.
type largeMail struct {
	block []byte // encoded
	times int
	sum   [32]byte
}

func newLargeMail(size int) largeMail {
	content := random(57<<14, 3411) // whole lines
	var encoded bytes.Buffer
	for line := range slices.Chunk(content, 57) {
		encoded.WriteString(base64.StdEncoding.EncodeToString(line) + "\r\n")
	}
	m := largeMail{block: encoded.Bytes(), times: (size + len(content) - 1) / len(content)}
	h := sha256.New()
	for range m.times {
		h.Write(content)
	}
	h.Sum(m.sum[:0])
	return m
}

// write writes it as SMTP wants it, without the dot at the end.
func (m largeMail) write(w io.Writer) error {
	head := "From: " + alice + "\r\nTo: " + bob + "\r\nSubject: large\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <large@ext.test>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n" +
		"Content-Type: application/zip; name=large.zip\r\nContent-Disposition: attachment; filename=large.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	_, err := io.WriteString(w, head)
	for range m.times {
		if err == nil {
			_, err = w.Write(m.block)
		}
	}
	if err == nil {
		_, err = io.WriteString(w, "--b--\r\n")
	}
	return err
}
