package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

func TestMailThroughPostfixBecomesLinks(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)

	sizes := []int{1, 100 << 10, 1 << 20, 10 << 20, 50 << 20}
	for i, size := range sizes {
		content := random(size, int64(i+1))
		msg := compose(alice, []string{bob, dave}, fmt.Sprintf("size-%d", size), file{"report.pdf", "application/pdf", content})
		start := time.Now()
		send(t, p, alice, []string{bob, dave}, toCRLF(msg))
		took := time.Since(start)
		for _, to := range []string{bob, dave} {
			got := mailbox(t, p, to, i+1)[i]
			if len(got) > 16<<10 {
				t.Errorf("%d bytes: the delivered mail has %d", size, len(got))
			}
			l := links(got)
			if len(l) != 1 {
				t.Fatalf("%d bytes: %d links in the mail:\n%s", size, len(l), got)
			}
			if sums := download(t, l[0]); len(sums) != 1 || sums[0] != sha256.Sum256(content) {
				t.Errorf("%d bytes: the download differs from what was sent", size)
			}
		}
		t.Logf("%9d bytes: accepted after %v", size, took.Round(time.Millisecond))
	}
	if strings.Contains(p.Log(), "warning") {
		t.Errorf("postfix warns:\n%s", p.Log())
	}
}

func TestMailBySendmailCommandBecomesLinks(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i, size := range []int{0, 300 << 10, 50 << 20} {
		content := random(size, 7)
		msg := compose(alice, []string{bob}, fmt.Sprintf("local-%d", size), file{"a.zip", "application/zip", content})
		if err := p.Sendmail(ctx, alice, []string{bob}, bytes.NewReader(msg)); err != nil {
			t.Fatal(err)
		}
		got := mailbox(t, p, bob, i+1)[i]
		l := links(got)
		if size == 0 { // nothing to keep: it stays as it is
			if len(l) != 0 || !bytes.Contains(got, []byte(`filename="a.zip"`)) {
				t.Errorf("an empty attachment: links %v\n%s", l, got)
			}
			continue
		}
		if len(l) != 1 || !slices.Equal(download(t, l[0]), [][32]byte{sha256.Sum256(content)}) {
			t.Errorf("%d bytes: links %v", size, l)
		}
	}
}

func TestMailThatNoRuleTouchesIsDeliveredByteForByte(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, "rules:\n  - name: large\n    if: attachment.size > 1 * MB\n    link: {}\n")
	d.start()
	p := startPostfix(t, d.MilterAddr)
	plain := []byte("From: " + alice + "\nTo: " + bob + "\nSubject: hello\n\nno attachment\n")
	small := compose(alice, []string{bob}, "small", file{"x.pdf", "application/pdf", random(1000, 3)})
	for i, msg := range [][]byte{plain, small} {
		send(t, p, alice, []string{bob}, toCRLF(msg))
		got := mailbox(t, p, bob, i+1)[i]
		_, want, _ := bytes.Cut(msg, []byte("\n\n"))
		_, body, _ := bytes.Cut(got, []byte("\n\n"))
		if !bytes.Equal(body, want) {
			t.Errorf("body changed:\n%s", got)
		}
	}
	d.waitLog(`reason="no attachments"`) // accepted before its body crossed the socket
	var stats struct {
		Mails int64
		Store struct{ Blobs int64 }
	}
	out, _, code := d.run(nil, "store", "stats", "--json")
	if err := json.Unmarshal([]byte(out), &stats); err != nil || code != 0 || stats.Mails != 0 || stats.Store.Blobs != 0 {
		t.Errorf("store after untouched mail: %s (%v)", out, err)
	}
}

func TestSameMailTwiceHasOneRecordAndOneLink(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	msg := toCRLF(compose(alice, []string{bob}, "twice", file{"a.pdf", "application/pdf", random(50000, 9)}))
	send(t, p, alice, []string{bob}, msg)
	send(t, p, alice, []string{bob}, msg)
	got := mailbox(t, p, bob, 2)
	a, b := links(got[0]), links(got[1])
	if len(a) != 1 || !slices.Equal(a, b) {
		t.Errorf("links %v and %v", a, b)
	}
	out, _, _ := d.run(nil, "links", "list", "--json")
	var rows []struct {
		ID    string
		Files int
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 || rows[0].Files != 1 {
		t.Errorf("links list: %s (%v)", out, err)
	}
	detail, _, code := d.run(nil, "links", "show", a[0])
	if code != 0 || !strings.Contains(detail, rows[0].ID) || !strings.Contains(detail, "a.pdf") {
		t.Errorf("links show: %d\n%s", code, detail)
	}
}

func TestMailWaitsWhileCloakroomIsStopped(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	d.stop()
	content := random(200<<10, 11)
	msg := compose(alice, []string{bob}, "stopped", file{"a.pdf", "application/pdf", content})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// By SMTP the client is asked to come again.
	reply, err := testserver.SendSMTP(ctx, p.SMTPAddr(), alice, []string{bob}, bytes.NewReader(toCRLF(msg)))
	if reply.Code/100 != 4 {
		t.Errorf("while cloakroom is stopped postfix answers %d %s (%v)", reply.Code, reply.Text, err)
	}
	// By sendmail(1) it waits in the queue.
	if err := p.Sendmail(ctx, alice, []string{bob}, bytes.NewReader(msg)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	if files, err := p.Mailbox(bob); err != nil || len(files) != 0 {
		t.Fatalf("delivered without the milter: %v %v", files, err)
	}
	d.start()
	l := links(mailbox(t, p, bob, 1)[0])
	if len(l) != 1 || !slices.Equal(download(t, l[0]), [][32]byte{sha256.Sum256(content)}) {
		t.Fatalf("links %v", l)
	}
	send(t, p, alice, []string{bob}, toCRLF(msg)) // the SMTP client comes again
	if again := links(mailbox(t, p, bob, 2)[1]); len(again) != 1 {
		t.Errorf("links %v", again)
	}
}

func TestMessageInFlightSurvivesSIGTERM(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	msg := toCRLF(compose(alice, []string{bob}, "flight", file{"a.pdf", "application/pdf", random(5<<20, 13)}))
	conn, err := net.Dial("tcp", p.SMTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	talk := func(cmd string, code string) {
		t.Helper()
		if cmd != "" {
			io.WriteString(conn, cmd+"\r\n")
		}
		if got := readReply(t, conn); !strings.HasPrefix(got, code) {
			t.Fatalf("%s: %s", cmd, got)
		}
	}
	talk("", "220")
	talk("HELO test", "250")
	talk("MAIL FROM:<"+alice+">", "250")
	talk("RCPT TO:<"+bob+">", "250")
	talk("DATA", "354")
	conn.Write(msg[:len(msg)/2])
	time.Sleep(300 * time.Millisecond)
	stopped := make(chan struct{})
	go func() { defer close(stopped); d.stop() }()
	time.Sleep(300 * time.Millisecond)
	conn.Write(msg[len(msg)/2:])
	talk("\r\n.", "250")
	conn.Close()
	<-stopped
	if l := links(mailbox(t, p, bob, 1)[0]); len(l) != 1 {
		t.Errorf("links %v", l)
	}
}

func readReply(t *testing.T, conn net.Conn) string {
	t.Helper()
	var line []byte
	var b [1]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		if b[0] == '\n' {
			if len(line) > 3 && line[3] == '-' {
				line = line[:0]
				continue
			}
			return strings.TrimSpace(string(line))
		}
		line = append(line, b[0])
	}
}

func TestReloadTakesNewRulesAndKeepsTheOldOnesOnAMistake(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, "rules:\n  - name: nothing\n    link: false\n")
	d.start()
	p := startPostfix(t, d.MilterAddr)
	msg := func(subject string) []byte {
		return toCRLF(compose(alice, []string{bob}, subject, file{"a.pdf", "application/pdf", random(5000, 17)}))
	}
	send(t, p, alice, []string{bob}, msg("before"))
	d.reload(linkAll, "configuration reloaded")
	send(t, p, alice, []string{bob}, msg("after"))
	d.reload("rules:\n  - name: broken\n    if: attachment.nmae == 'x'\n    link: {}\n", "configuration not reloaded")
	send(t, p, alice, []string{bob}, msg("still"))
	got := mailbox(t, p, bob, 3)
	for i, want := range []int{0, 1, 1} {
		if n := len(links(got[i])); n != want {
			t.Errorf("mail %d has %d links, want %d", i, n, want)
		}
	}
	if !strings.Contains(d.running.Log(), "nmae") {
		t.Errorf("the log does not name the mistake:\n%s", d.running.Log())
	}
}

func TestObserveChangesNothing(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, "mode: observe\n"+linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	msg := compose(alice, []string{bob}, "observed", file{"a.pdf", "application/pdf", random(5000, 19)})
	send(t, p, alice, []string{bob}, toCRLF(msg))
	got := mailbox(t, p, bob, 1)[0]
	_, want, _ := bytes.Cut(msg, []byte("\n\n"))
	if _, body, _ := bytes.Cut(got, []byte("\n\n")); !bytes.Equal(body, want) {
		t.Errorf("mail changed:\n%s", got)
	}
	d.waitLog("would be changed")
}

func TestUnixSocketServesPostfix(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	if err := os.Chmod(d.Folder, 0o755); err != nil { // Postfix has to reach the socket
		t.Fatal(err)
	}
	d.MilterAddr = "unix:" + filepath.Join(d.Folder, "milter.sock")
	d.MilterConfig = []string{`socket_mode: "0666"`}
	d.start()
	p := startPostfix(t, d.MilterAddr)
	send(t, p, alice, []string{bob}, toCRLF(compose(alice, []string{bob}, "unix", file{"a.pdf", "application/pdf", random(5000, 23)})))
	if l := links(mailbox(t, p, bob, 1)[0]); len(l) != 1 {
		t.Errorf("links %v", l)
	}
}

func TestSecondDaemonOnTheSameDataIsRefused(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	_, stderr, code := d.run(nil, "serve")
	if code != 69 || !strings.Contains(stderr, "in use by another daemon") {
		t.Errorf("second daemon: exit %d\n%s", code, stderr)
	}
}
