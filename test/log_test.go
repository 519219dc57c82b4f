package test

// The log with hashed addresses: whatever comes, it names nobody and nothing of
// what the mails say.

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// loggedConfig has all that logs: links, a vault, refusals of recipients and of
// mails, a rule that fails.
const loggedConfig = `log: {level: debug, addresses: hashed}
vault:
  targets:
    assets:
      dir: {base: %s}
      delay: 0s
      path: "{space}/{name}"
rules:
  - name: not from him
    if: from == 'mallory.quarterdeck@ext.test'
    reject: {text: go away}
  - name: no programs
    if: attachment.extension == 'exe'
    reject: {text: no programs}
  - name: a number
    if: attachment.extension == 'zip' && int(attachment.name) == 3
    link: false
  - name: all
    link: {}
  - name: keep
    vault: {target: assets}
`

func TestAHashedLogNamesNobody(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	d := newDaemon(t, fmt.Sprintf(loggedConfig, base))
	d.start()
	p := startPostfix(t, d.MilterAddr)
	zoe := "zoe.quarterdeck@acmecorp.test"
	words := []string{bob, carol, dave, alice, zoe, "mallory", "quarterdeck", "marmalade", "Bilanz", "Q3=", "seekrit", "overture"}
	mail := func(from string, to []string, subject, name string) []byte {
		content := append([]byte("seekrit contents "), random(300<<10, int64(len(name)))...)
		return toCRLF(compose(from, to, subject, file{name, "application/octet-stream", content}))
	}
	// What names a folder of the vault is a file: the uploads there fail.
	if err := os.WriteFile(filepath.Join(base, carol), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	send(t, p, zoe, []string{bob}, mail(zoe, []string{bob}, "Bilanz eins", "marmalade.pdf"))
	send(t, p, zoe, []string{bob, carol}, mail(zoe, []string{bob, carol}, "Bilanz zwei", "marmalade overture.docx"))
	send(t, p, dave, []string{carol}, mail(dave, []string{carol}, "Bilanz drei", "overture (1).zip"))
	send(t, p, alice, []string{dave}, toCRLF([]byte("From: "+alice+"\nTo: "+dave+"\nSubject: Bilanz vier\n\nseekrit\n")))
	mallory := "mallory.quarterdeck@ext.test"
	sendRefused(t, p, mallory, []string{bob}, mail(mallory, []string{bob}, "Bilanz", "marmalade.pdf"))
	sendRefused(t, p, zoe, []string{bob}, mail(zoe, []string{bob}, "Bilanz", "marmalade.exe"))
	breakStore(t, d)
	sendRefused(t, p, zoe, []string{bob}, mail(zoe, []string{bob}, "Bilanz", "overture.pdf"))
	mendStore(t, d)

	var tokens []string
	for _, got := range mailbox(t, p, bob, 2) {
		for _, link := range links(got) {
			download(t, link)
			tokens = append(tokens, link[strings.LastIndexByte(link, '/')+1:])
		}
	}
	if len(tokens) == 0 {
		t.Fatal("no links were made")
	}
	get(t, d.running.WebURL()+"/d/AAAAAAAAAAAAAAAAAAAAAA")
	if resp, err := http.PostForm(d.running.WebURL()+"/d/"+tokens[0], url.Values{"file": {"marmalade"}}); err == nil {
		resp.Body.Close()
	}
	d.waitLog("file is in the vault")
	d.waitLog("job failed")
	d.waitLog("attachments linked")
	time.Sleep(time.Second) // what is logged behind the answers
	d.stop()

	log := d.running.Log()
	for _, word := range append(words, append(tokens, "AAAAAAAAAAAAAAAAAAAAAA")...) {
		if found := grepLines(log, "(?i)"+regexp.QuoteMeta(word)); len(found) > 0 {
			t.Errorf("%q is in the log:\n%s", word, strings.Join(found, "\n"))
		}
	}
	for _, event := range []string{"recipient refused", "mail refused", "message deferred", "rule failed", "mail passes", "download started"} {
		if !strings.Contains(log, `msg="`+event) {
			t.Errorf("nothing was logged about %q: this test shows less than it should", event)
		}
	}
	hash, _, code := d.run(nil, "log", "hash", strings.ToUpper(zoe))
	if hash = strings.TrimSpace(hash); code != 0 || len(grepLines(log, "attachments linked.* from="+hash+" ")) != 2 {
		t.Errorf("the log has not two mails from %q (%d):\n%s", hash, code, grep(log, "linked"))
	}
}

// One line tells what became of a mail, and how long each step took.
func TestOneLineSumsUpEachMail(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	content := random(50_000, 9)
	for range 2 { // the second time the file is there already
		send(t, p, alice, []string{bob, carol}, toCRLF(compose(alice, []string{bob, carol}, "summary", file{"a.pdf", "application/pdf", content})))
	}
	send(t, p, alice, []string{bob}, toCRLF(compose(alice, []string{bob}, "plain")))
	mailbox(t, p, bob, 3)
	log := d.running.Log()
	const steps = ` receive_ms=\d+ decide_ms=\d+ store_ms=\d+ total_ms=\d+$`
	for _, want := range []string{
		`msg="attachments linked" queue_id=\w+ from=alice@acmecorp\.test recipients=2 parts=2 bytes=\d{5} linked=1 linked_bytes=50000 stored_bytes=50000 saved_bytes=0 rules=\[everything\]` + steps,
		`msg="attachments linked" queue_id=\w+ from=alice@acmecorp\.test recipients=2 parts=2 bytes=\d{5} linked=1 linked_bytes=50000 stored_bytes=0 saved_bytes=50000 rules=\[everything\]` + steps,
		`msg="mail passes" queue_id=\w+ from=alice@acmecorp\.test recipients=1 parts=1 bytes=\d+ linked=0 .*` + steps,
	} {
		if found := grepLines(log, want); len(found) != 1 {
			t.Errorf("%d lines are like %s:\n%s", len(found), want, grep(log, "queue_id"))
		}
	}
	if lines := grepLines(log, "queue_id="); len(lines) != 3 {
		t.Errorf("%d lines about three mails:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}
