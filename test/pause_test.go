package test

// The brake: mail passes untouched at once, over a restart too, while links,
// uploads and co-existence go on.

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// attached is a mail with one attachment.
func attached(id, to string) []byte {
	return []byte(strings.ReplaceAll("From: alice@acmecorp.test\nTo: "+to+"\nSubject: "+id+"\nMessage-ID: <"+id+"@acmecorp.test>\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 +0000\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"+
		"--b\nContent-Type: text/plain\n\nhello\n--b\nContent-Type: application/pdf; name=plan.pdf\n"+
		"Content-Disposition: attachment; filename=plan.pdf\nContent-Transfer-Encoding: base64\n\n"+
		"JVBERi0xLjQgYSBwbGFuIHRoYXQgc2hhbGwgYmUga2VwdCBvdXQgb2YgdGhlIG1haWw=\n--b--\n", "\n", "\r\n"))
}

// bodyOf is what follows a message's header, with LF line ends.
func bodyOf(msg []byte) string {
	_, body, _ := bytes.Cut(bytes.ReplaceAll(msg, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	return string(body)
}

func TestPauseLetsMailPassAtOnceAndLinksGoOn(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(freePorts(t, 1)[0])
	d := newDaemon(t, "admin: {listen: 127.0.0.1:"+port+"}\n"+linkAll+
		"  - name: no circulars\n    if: subject.contains('circular')\n    reject: {}\n")
	d.start()
	p := startPostfix(t, d.running.MilterAddr())

	send(t, p, alice, []string{bob}, attached("before", bob))
	link := links(mailbox(t, p, bob, 1)[0])
	if len(link) != 1 {
		t.Fatalf("links before the pause: %v", link)
	}

	out, errs, code := d.run(nil, "pause", "--why", "broken PDFs")
	if code != 0 || errs != "" {
		t.Fatalf("pause: exit code %d\n%s%s", code, out, errs)
	}
	for _, want := range []string{"broken PDFs", "the daemon obeys", "1 link rule rests", "1 rule that refuses mail rests", "no circulars", "cloakroom resume"} {
		if !strings.Contains(out, want) {
			t.Errorf("pause does not say %q:\n%s", want, out)
		}
	}
	time.Sleep(time.Second) // what is promised
	original := attached("during", bob)
	send(t, p, alice, []string{bob}, original)
	if got, want := bodyOf(mailbox(t, p, bob, 2)[1]), bodyOf(original); strings.TrimRight(got, "\n") != strings.TrimRight(want, "\n") {
		t.Errorf("the mail did not pass as it was:\n%s\nwant\n%s", got, want)
	}
	send(t, p, alice, []string{bob}, attached("circular", bob)) // the rule that refuses it rests
	if len(download(t, link[0])) != 1 {
		t.Error("a link from before the pause does not work")
	}
	d.waitLog("paused: mail passes untouched")
	d.waitLog("reason=paused")
	assertPaused(t, "http://127.0.0.1:"+port, "1")

	d.stop() // holds over a restart
	d.start()
	send(t, p, alice, []string{bob}, attached("after the restart", bob))
	if got := links(mailbox(t, p, bob, 4)[3]); len(got) != 0 {
		t.Errorf("after a restart the pause is over: %v", got)
	}

	out, errs, code = d.run(nil, "resume")
	if code != 0 || !strings.Contains(out, "mail goes by the rules again, after a pause of") {
		t.Fatalf("resume: exit code %d\n%s%s", code, out, errs)
	}
	time.Sleep(time.Second)
	send(t, p, alice, []string{bob}, attached("afterwards", bob))
	if got := links(mailbox(t, p, bob, 5)[4]); len(got) != 1 {
		t.Errorf("links after the pause: %v", got)
	}
	d.waitLog("resumed: mail goes by the rules again")
	assertPaused(t, "http://127.0.0.1:"+port, "0")
	out, _, _ = d.run(nil, "audit")
	for _, want := range []string{"pause", "broken PDFs", "resume", "paused since"} {
		if !strings.Contains(out, want) {
			t.Errorf("the audit does not tell %q:\n%s", want, out)
		}
	}
	if out, _, code = d.run(nil, "resume"); code != 0 || !strings.Contains(out, "there was no pause") {
		t.Errorf("resume without a pause: exit code %d\n%s", code, out)
	}
}

// assertPaused looks at what the listener for administrators tells of a pause.
func assertPaused(t *testing.T, admin, gauge string) {
	t.Helper()
	_, metrics := get(t, admin+"/metrics")
	if !strings.Contains(string(metrics), "\ncloakroom_paused "+gauge+"\n") {
		t.Errorf("the gauge is not %s", gauge)
	}
	paused := gauge == "1"
	_, page := get(t, admin+"/queue")
	if got := strings.Contains(string(page), "<strong>Paused:</strong>"); got != paused {
		t.Errorf("the banner is there: %v, want %v", got, paused)
	}
	time.Sleep(time.Second) // the age that results of checks may have
	resp, err := http.Get(admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Contains(string(body), "attention  pause: mail passes untouched"); got != paused || resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %s tells of it: %v, want %v\n%s", resp.Status, got, paused, body)
	}
}

func TestPauseEndsByItself(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.running.MilterAddr())
	out, errs, code := d.run(nil, "pause", "--for", "4s", "--json")
	var told struct {
		Since, Until time.Time
		Running      bool `json:"daemon_runs"`
	}
	if err := json.Unmarshal([]byte(out), &told); code != 0 || err != nil || told.Until.Sub(told.Since) != 4*time.Second || !told.Running {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, out, errs)
	}
	d.waitLog("paused: mail passes untouched")
	d.waitLog("the pause ended by itself")
	send(t, p, alice, []string{bob}, attached("later", bob))
	if got := links(mailbox(t, p, bob, 1)[0]); len(got) != 1 {
		t.Errorf("links after the pause: %v", got)
	}
	if _, errs, code := d.run(nil, "pause", "--for", "soon"); code != 64 || !strings.Contains(errs, "--for") {
		t.Errorf("a wrong duration: exit code %d\n%s", code, errs)
	}
}

// The file alone is the brake: made by hand, unreadable, or with the database
// broken, it holds.
func TestPauseWorksWhenLittleElseDoes(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.running.MilterAddr())
	flag := filepath.Join(d.Folder, "data", "paused")
	for name, content := range map[string]string{"touched": "", "garbage": "{nonsense"} {
		if err := os.WriteFile(flag, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		breakStore(t, d) // mail that needs the store would be put off
		send(t, p, alice, []string{carol}, attached(name, carol))
		mendStore(t, d)
		if err := os.Remove(flag); err != nil {
			t.Fatal(err)
		}
	}
	for _, msg := range mailbox(t, p, carol, 2) {
		if got := links(msg); len(got) != 0 {
			t.Errorf("links during a pause: %v", got)
		}
	}
	// The filter is in the way of mail too.
	if _, _, code := d.run(nil, "pause"); code != 0 {
		t.Fatalf("pause: exit code %d", code)
	}
	in := attached("filtered", bob)
	out, errs, code := d.run(bytes.NewReader(in), "filter", "--from", alice, "--to", bob, "--auth", "alice")
	if code != 0 || out != string(in) {
		t.Errorf("filter during a pause: exit code %d, changed %v\n%s", code, out != string(in), errs)
	}
	d.stop()
	if err := os.Truncate(filepath.Join(d.Folder, "data", "cloakroom.db"), 100); err != nil {
		t.Fatal(err)
	}
	_, errs, code = d.run(nil, "pause", "--why", "no database")
	if code != 1 || !strings.Contains(errs, "not written into the audit") {
		t.Errorf("pause without a database: exit code %d\n%s", code, errs)
	}
	if text := mustRead(t, flag); !strings.Contains(text, "no database") {
		t.Errorf("the file says %q", text)
	}
}
