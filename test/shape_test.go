package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"
)

// leaves reads a delivered message with an independent reader.
func leaves(t *testing.T, msg []byte) map[string][]string {
	t.Helper()
	e, err := gomessage.Read(bytes.NewReader(msg))
	if err != nil {
		t.Fatalf("%v:\n%s", err, msg)
	}
	out := make(map[string][]string)
	err = e.Walk(func(_ []int, p *gomessage.Entity, err error) error {
		if err != nil {
			return err
		}
		typ, _, _ := p.Header.ContentType()
		if strings.HasPrefix(typ, "multipart/") {
			return nil
		}
		b, err := io.ReadAll(p.Body)
		out[typ] = append(out[typ], string(b))
		return err
	})
	if err != nil {
		t.Fatalf("%v:\n%s", err, msg)
	}
	return out
}

func TestMessageThatIsOneAttachmentGetsANewBodyAndHeader(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	content := random(40000, 31)
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nSubject: scan\r\nMessage-ID: <scan@ext.test>\r\n", alice, bob)
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: application/pdf;\r\n\tname=\"scan.pdf\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n filename=\"scan.pdf\"\r\nX-Last: stays\r\n\r\n")
	for s := base64.StdEncoding.EncodeToString(content); len(s) > 0; {
		n := min(76, len(s))
		b.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
	send(t, p, alice, []string{bob}, b.Bytes())
	got := mailbox(t, p, bob, 1)[0]
	head, _, _ := bytes.Cut(got, []byte("\n\n"))
	for field, n := range map[string]int{"Content-Type: multipart/alternative": 1, "Content-Type:": 1, "Content-Transfer-Encoding:": 0,
		"Content-Disposition:": 0, "MIME-Version: 1.0": 1, "X-Last: stays": 1, "Subject: scan": 1} {
		if c := strings.Count("\n"+string(head), "\n"+field); c != n {
			t.Errorf("%q stands %d times in the header, want %d:\n%s", field, c, n, head)
		}
	}
	parts := leaves(t, got)
	if len(parts["text/plain"]) != 1 || len(parts["text/html"]) != 1 || len(parts["application/pdf"]) != 0 {
		t.Errorf("parts %v", parts)
	}
	l := links(got)
	if len(l) != 1 || !slices.Equal(download(t, l[0]), [][32]byte{sha256.Sum256(content)}) {
		t.Errorf("links %v", l)
	}
}

func TestAcceptedMailSurvivesKill(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	const n = 8
	sums := make(map[[32]byte]bool)
	for i := range n {
		content := random(100<<10, int64(100+i))
		sums[sha256.Sum256(content)] = true
		send(t, p, alice, []string{bob}, toCRLF(compose(alice, []string{bob}, fmt.Sprintf("kill-%d", i), file{"a.pdf", "application/pdf", content})))
	}
	d.kill() // as soon as the last mail is accepted
	d.start()
	for _, msg := range mailbox(t, p, bob, n) {
		for _, l := range links(msg) {
			for _, sum := range download(t, l) {
				delete(sums, sum)
			}
		}
	}
	if len(sums) != 0 {
		t.Errorf("%d of %d accepted attachments cannot be downloaded", len(sums), n)
	}
}

func TestRepliesCarryAReferenceThatTheLogHas(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	// The blob store is gone: a real fault that no link may survive.
	breakStore(t, d)
	msg := toCRLF(compose(alice, []string{bob}, "broken", file{"a.pdf", "application/pdf", random(5000, 41)}))
	reply := sendRefused(t, p, alice, []string{bob}, msg)
	if reply.Code != 451 || !strings.Contains(reply.Text, "4.3.0") {
		t.Fatalf("reply %d %s", reply.Code, reply.Text)
	}
	ref := reply.Text[strings.LastIndex(reply.Text, "ref ")+4:]
	ref = strings.TrimRight(ref, ")\r\n ")
	if len(ref) < 6 || !strings.Contains(d.running.Log(), "ref="+ref) {
		t.Errorf("reference %q of %q is not in the log:\n%s", ref, reply.Text, d.running.Log())
	}
	mendStore(t, d)
	send(t, p, alice, []string{bob}, msg)
	if l := links(mailbox(t, p, bob, 1)[0]); len(l) != 1 {
		t.Errorf("links %v after the store came back", l)
	}
}
