package test

// A disk that is nearly full: mail passes as it came, or waits, and links come
// back by themselves.

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// watermark is store.low_space of these tests, in bytes: a third of the disk.
const watermark = 8 << 20

// lookTime is longer than a look at the disk may be old.
const lookTime = 1100 * time.Millisecond

// ballast fills the disk until less than the watermark is free, with room for what
// a store needs at its start, and gives back how to free it again.
func ballast(t *testing.T, data string) (free func()) {
	t.Helper()
	path := filepath.Join(data, "ballast")
	if err := os.WriteFile(path, make([]byte, smallDisk-watermark/2-4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// unheaded is a message without its header, to which MTAs add.
func unheaded(msg []byte) []byte {
	_, body, _ := bytes.Cut(bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	return body
}

func TestBelowTheWatermarkMailPassesOrWaitsAndLinksComeBack(t *testing.T) {
	t.Parallel()
	config := fmt.Sprintf("store: {low_space: %d, when_low: pass}\n", watermark) + linkAll
	d, c := newAdmin(t, config)
	adminPart := strings.TrimSuffix(d.Config, config)
	data := mountData(t, d)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	delivered := 0
	deliver := func(what string, msg, content []byte) {
		t.Helper()
		send(t, p, alice, []string{bob}, toCRLF(msg))
		got := mailbox(t, p, bob, delivered+1)[delivered]
		delivered++
		if content == nil {
			if !bytes.Equal(unheaded(got), unheaded(msg)) {
				t.Errorf("%s: the mail did not pass as it came", what)
			}
			return
		}
		if l := links(got); len(l) != 1 || !slices.Equal(download(t, l[0]), [][32]byte{sha256.Sum256(content)}) {
			t.Errorf("%s: links %v", what, l)
		}
	}
	mail := func(n int) (msg, content []byte) {
		content = random(100<<10, int64(7000+n))
		return compose(alice, []string{bob}, fmt.Sprintf("low-%d", n), file{"a.pdf", "application/pdf", content}), content
	}

	msg, content := mail(1)
	deliver("with room", msg, content)
	free := ballast(t, data)
	time.Sleep(lookTime)
	for n := 2; n < 5; n++ {
		msg, _ = mail(n)
		deliver("below the watermark", msg, nil)
	}
	for path, want := range map[string]string{
		"/readyz":  "attention  disk: no links are made: disk of " + data,
		"/metrics": "cloakroom_disk_low 1\n",
		"/store":   "no links are made",
	} {
		if _, page := c.page(path); !strings.Contains(page, want) {
			t.Errorf("%s does not say %q:\n%s", path, want, page)
		}
	}
	c.want("/", "no links are made: disk of")
	if _, page := c.page("/metrics"); !strings.Contains(page, `cloakroom_mail_errors_total{kind="space"} 3`) {
		t.Errorf("three mails passed, and the metrics say:\n%s", grep(page, "mail_errors"))
	}
	if out, _, _ := d.run(nil, "store", "stats"); !strings.Contains(out, "no links are made (disk of "+data) {
		t.Errorf("store stats:\n%s", out)
	}
	if log := d.running.Log(); strings.Count(log, "the disk is nearly full: no more links") != 1 || strings.Count(log, `reason="the disk is nearly full"`) != 3 {
		t.Errorf("the log:\n%s", grep(log, "nearly full"))
	}

	d.reload(strings.Replace(adminPart+config, "when_low: pass", "when_low: defer", 1), "configuration reloaded")
	deferred, content := mail(5)
	reply := sendRefused(t, p, alice, []string{bob}, toCRLF(deferred))
	if reply.Code != 451 || !strings.Contains(reply.Text, "4.3.1") || !strings.Contains(reply.Text, "ref ") {
		t.Errorf("reply %d %s", reply.Code, reply.Text)
	}
	plain := compose(alice, []string{bob}, "plain")
	deliver("without attachments", plain, nil)

	free()
	time.Sleep(lookTime)
	deliver("deferred, and sent again", deferred, content)
	msg, content = mail(6)
	deliver("with room again", msg, content)
	if _, page := c.page("/metrics"); !strings.Contains(page, "cloakroom_disk_low 0\n") {
		t.Error("the metrics still say that the disk is nearly full")
	}
	if log := d.running.Log(); strings.Count(log, "the disk has room again") != 1 {
		t.Errorf("the log:\n%s", grep(log, "disk"))
	}
	out, _, _ := d.run(nil, "store", "stats", "--json")
	var stats struct {
		Mails int
		Store struct{ Links, Blobs int }
	}
	if err := json.Unmarshal([]byte(out), &stats); err != nil || stats.Mails != 3 || stats.Store.Links != 3 {
		t.Errorf("the books have %+v (%v), want 3 mails and 3 links", stats, err)
	}
	checkLeftovers(t, d, data)
}

// Mail comes from all sides while the disk crosses the watermark again and again:
// each is delivered whole, with its link and its blob, or as it came.
func TestCrossingTheWatermarkLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	const senders, each = 4, 40
	d := newDaemon(t, fmt.Sprintf("store: {low_space: %d}\n", watermark)+linkAll)
	data := mountData(t, d)
	d.start()
	p := startPostfix(t, d.MilterAddr)

	ended := make(chan struct{})
	var crossing, sending sync.WaitGroup
	crossing.Go(func() {
		for {
			free := ballast(t, data)
			time.Sleep(lookTime)
			free()
			select {
			case <-ended:
				return
			case <-time.After(lookTime):
			}
		}
	})
	sent := make(map[string][]byte) // by subject
	contents := make(map[[32]byte]bool)
	for s := range senders {
		var mails [][]byte
		for n := range each {
			subject := fmt.Sprintf("crossing-%d-%d", s, n)
			content := random(20<<10, int64(1000*s+n))
			msg := compose(alice, []string{bob}, subject, file{subject + ".pdf", "application/pdf", content})
			sent[subject], contents[sha256.Sum256(content)] = msg, true
			mails = append(mails, msg)
		}
		sending.Go(func() {
			for _, msg := range mails {
				send(t, p, alice, []string{bob}, toCRLF(msg))
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	sending.Wait()
	close(ended)
	crossing.Wait()

	linked := 0
	for _, got := range mailbox(t, p, bob, senders*each) {
		subject, _, _ := strings.Cut(string(got[bytes.Index(got, []byte("\nSubject: "))+len("\nSubject: "):]), "\n")
		msg, known := sent[subject]
		if !known {
			t.Fatalf("a mail about %q was delivered twice, or never sent", subject)
		}
		delete(sent, subject)
		l := links(got)
		if len(l) == 0 {
			if !bytes.Equal(unheaded(got), unheaded(msg)) {
				t.Errorf("%s has no link, and is not as it came", subject)
			}
			continue
		}
		linked++
		if sums := download(t, l[0]); len(sums) != 1 || !contents[sums[0]] {
			t.Errorf("%s: the link leads to %x", subject, sums)
		}
	}
	if len(sent) != 0 || linked == 0 || linked == senders*each {
		t.Errorf("%d of %d mails were linked, %d are missing", linked, senders*each, len(sent))
	}
	out, _, _ := d.run(nil, "store", "stats", "--json")
	var stats struct {
		Mails int
		Store struct{ Links, Blobs int }
	}
	if err := json.Unmarshal([]byte(out), &stats); err != nil || stats.Mails != linked || stats.Store.Links != linked || stats.Store.Blobs != linked {
		t.Errorf("%d mails have links, and the books %+v (%v)", linked, stats, err)
	}
	t.Logf("%d of %d mails linked", linked, senders*each)
	checkLeftovers(t, d, data)
}

func (c *adminClient) page(path string) (int, string) {
	c.t.Helper()
	return c.do("GET", path, nil)
}
