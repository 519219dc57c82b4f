package test

// The report: what mode: observe says would become of the mail is what enforce
// then makes of the same mail.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cloakroom/internal/testserver"
)

// reported has rules of every kind.
const reported = `vault:
  targets:
    assets: {dir: {base: %s}, delay: 0s, path: "{space}/{name}"}
rules:
  - name: no circulars
    if: subject.contains('circular')
    reject: {}
  - name: not from him
    if: from == 'mallory@ext.test'
    reject: {text: go away}
  - name: outside is told
    if: direction == 'inbound'
    tag: "[OUTSIDE]"
  - name: sounds stay
    if: attachment.extension == 'mp3'
    link: false
  - name: files become links
    link: {}
  - name: bob keeps his
    if: owner.address == 'bob@acmecorp.test'
    vault: {target: assets}
`

// report is what cloakroom report --json says of one mode.
type modeReport struct {
	Mode  string
	Mails int64
	Links struct {
		Mails, Parts, Bytes int64
		Repeated            int64 `json:"repeated_bytes"`
		Uncompared          int64 `json:"uncompared_bytes"`
		Stored              int64 `json:"stored_bytes"`
	}
	Rules []struct {
		Rule, Action        string
		Mails, Parts, Bytes int64
	}
	Vault []struct {
		Target        string
		Copies, Bytes int64
	}
	Stays               []struct{ Parts, Bytes int64 }
	Senders, Recipients []struct {
		Who                 string
		Mails, Parts, Bytes int64
	}
	ByDay []struct{ Mails, Links int64 } `json:"by_day"`
}

// signed is a mail whose attachment must stay, as it is signed.
func signed(subject string, content file) []byte {
	return bytes.Replace(compose(alice, []string{dave}, subject, content),
		[]byte("multipart/mixed;"), []byte("multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256;"), 1)
}

// sendReported sends ten mails of all kinds, and tells which of them were refused.
func sendReported(t *testing.T, p *testserver.Postfix) (refused []string) {
	t.Helper()
	plan := file{"plan.pdf", "application/pdf", random(60_000, 71)}
	other := file{"other.pdf", "application/pdf", random(30_000, 72)}
	for _, m := range []struct {
		from string
		to   []string
		msg  []byte
	}{
		{alice, []string{dave}, compose(alice, []string{dave}, "first", plan)},
		{alice, []string{bob, carol}, compose(alice, []string{bob, carol}, "again", plan)},
		{carol, []string{bob}, compose(carol, []string{bob}, "two", plan, other)},
		{carol, []string{dave}, compose(carol, []string{dave}, "sound", file{"a.mp3", "audio/mpeg", random(9_000, 73)})},
		{dave, []string{bob}, compose(dave, []string{bob}, "inbound", other)},
		{alice, []string{dave}, signed("signed", plan)},
		{alice, []string{bob}, []byte("From: " + alice + "\nTo: " + bob + "\nSubject: plain\n\nhello\n")},
		{carol, []string{bob}, compose(carol, []string{bob}, "circular", other)},
		{"mallory@ext.test", []string{bob}, compose("mallory@ext.test", []string{bob}, "evil", other)},
	} {
		reply, err := testserver.SendSMTP(t.Context(), p.SMTPAddr(), m.from, m.to, bytes.NewReader(toCRLF(m.msg)))
		if err != nil {
			refused = append(refused, fmt.Sprint(m.from, " ", reply.Code))
		}
	}
	return refused
}

// readReport gives the report of a mode.
func readReport(t *testing.T, d *daemon, mode string) modeReport {
	t.Helper()
	out, errs, code := d.run(nil, "report", "--json")
	var all struct{ Modes []modeReport }
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		t.Fatalf("report: %v, exit code %d\n%s%s", err, code, out, errs)
	}
	at := slices.IndexFunc(all.Modes, func(m modeReport) bool { return m.Mode == mode })
	if at < 0 {
		t.Fatalf("the report has no mode %s:\n%s", mode, out)
	}
	return all.Modes[at]
}

func TestWhatObserveReportsIsWhatEnforceDoes(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	config := fmt.Sprintf(reported, base)
	d := newDaemon(t, "mode: observe\n"+config)
	d.start()
	p := startPostfix(t, d.MilterAddr)

	if refused := sendReported(t, p); len(refused) > 0 {
		t.Errorf("refused in mode: observe: %v", refused)
	}
	for _, msg := range mailbox(t, p, bob, 6) {
		if len(links(msg)) > 0 || bytes.Contains(msg, []byte("[OUTSIDE]")) {
			t.Errorf("changed in mode: observe:\n%s", msg[:500])
		}
	}
	d.stop() // which writes down what was counted
	seen := readReport(t, d, "observe")
	if files, err := os.ReadDir(base); err != nil || len(files) > 0 {
		t.Errorf("the vault got %v (%v)", files, err)
	}
	if n := bytesBelow(t, filepath.Join(d.Folder, "data", "blobs")); n > 0 {
		t.Errorf("%d bytes were stored in mode: observe", n)
	}
	text, _, _ := d.run(nil, "report")
	for _, want := range []string{"nothing was changed; this is what would have become", "would-be links", "files become links", "would become links",
		"would be kept in assets", "would be refused", "would be tagged", "bob@acmecorp.test", "@ext.test", "signed"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}

	d.Config = config
	d.start()
	if refused := sendReported(t, p); !slices.Equal(refused, []string{carol + " 550", "mallory@ext.test 550"}) {
		t.Errorf("refused: %v", refused)
	}
	mailbox(t, p, bob, 10)
	d.stop()
	done := readReport(t, d, "enforce")
	compareReports(t, seen, done)
	if t.Failed() {
		text, _, _ = d.run(nil, "report")
		t.Logf("the report:\n%s", text)
	}
}

// compareReports compares what would have been with what was done.
func compareReports(t *testing.T, seen, done modeReport) {
	t.Helper()
	links := done.Links
	if links.Mails != 4 || links.Parts != 5 || links.Bytes != 3*60_000+2*30_000 || links.Stored != 90_000 {
		t.Errorf("enforce made %+v", links)
	}
	if seen.Links.Mails != links.Mails || seen.Links.Parts != links.Parts || seen.Links.Bytes != links.Bytes {
		t.Errorf("observe promised %+v, enforce made %+v", seen.Links, links)
	}
	if new := seen.Links.Bytes - seen.Links.Repeated; new != links.Stored || seen.Links.Uncompared != 0 {
		t.Errorf("observe promised %d bytes in the store, enforce put %d there", new, links.Stored)
	}
	for name, pair := range map[string][2]any{
		"rules": {seen.Rules, done.Rules}, "vault": {seen.Vault, done.Vault}, "stays": {seen.Stays, done.Stays},
		"senders": {seen.Senders, done.Senders}, "recipients": {seen.Recipients, done.Recipients}, "days": {seen.ByDay, done.ByDay},
	} {
		if a, b := fmt.Sprint(pair[0]), fmt.Sprint(pair[1]); a != b || a == "[]" {
			t.Errorf("%s: observe promised\n%s\nenforce did\n%s", name, a, b)
		}
	}
}
