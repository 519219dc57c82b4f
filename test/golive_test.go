package test

// docs/golive.md, from observing to all users and out again: its configurations
// are those of the daemon, and its commands are run, with a real Postfix.

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// goLiveVault is what the configurations of the document have besides: a vault,
// so that there are uploads to go on.
const goLiveVault = "vault:\n  targets:\n    assets: {dir: {base: BASE}, delay: 0s, path: \"{space}/{name}\"}\n"

// goLive is somebody who does as the document says.
type goLive struct {
	t        *testing.T
	d        *daemon
	p        *testserver.Postfix
	base     string               // of the vault
	sections map[string][]snippet // by heading
	env      []string
	sent     map[string]int // mails by recipient
}

func newGoLive(t *testing.T) *goLive {
	t.Helper()
	w := &goLive{t: t, base: t.TempDir(), sections: map[string][]snippet{}, sent: map[string]int{}}
	for _, part := range strings.Split(mustRead(t, filepath.Join(root, "docs/golive.md")), "\n## ")[1:] {
		heading, text, _ := strings.Cut(part, "\n")
		w.sections[heading] = snippets(t, text)
	}
	w.d = newDaemon(t, w.config("1. Observe a week of mail"))
	w.d.Files = map[string]string{"users.yaml": "users:\n  - {address: alice@acmecorp.test, groups: [pilot]}\n  - {address: bob@acmecorp.test}\n  - {address: carol@acmecorp.test}\n"}
	w.d.start()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var err error
	if w.p, err = testserver.StartPostfix(ctx, testserver.PostfixOptions{Mailboxes: []string{bob, carol, dave}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of postfix:\n%s", w.p.Log())
		}
		if err := w.p.Stop(); err != nil {
			t.Errorf("stop postfix: %v", err)
		}
	})
	w.environment(ctx)
	return w
}

// environment makes the commands of the document mean this daemon and this Postfix.
func (w *goLive) environment(ctx context.Context) {
	w.t.Helper()
	postfix, env, err := testserver.PostfixCommands(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	shims := w.t.TempDir()
	systemctl := "#!/bin/sh\n[ \"$1\" != reload ] || kill -HUP \"$(cat " + filepath.Join(w.d.Folder, "data", "lock") + ")\"\n"
	if err := os.WriteFile(filepath.Join(shims, "systemctl"), []byte(systemctl), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(shims, 0o755); err != nil {
		w.t.Fatal(err)
	}
	path := strings.Join([]string{shims, filepath.Dir(binary), postfix, os.Getenv("PATH")}, ":")
	w.env = append(env, "PATH="+path, "MAIL_CONFIG="+filepath.Join(w.p.Folder(), "etc"), "CLOAKROOM_CONFIG="+filepath.Join(w.d.Folder, "cloakroom.yaml"))
}

// config is the configuration of a section, but for what the harness gives.
func (w *goLive) config(section string) string {
	w.t.Helper()
	for _, s := range w.sections[section] {
		if s.language == "yaml" {
			config := regexp.MustCompile(`(?m)^(domains|web):.*\n`).ReplaceAllString(s.text, "")
			if strings.Contains(config, "\nrules:") {
				config += "  - {name: bob keeps his, if: \"owner.address == 'bob@acmecorp.test'\", vault: {target: assets}}\n"
			}
			return strings.Replace(goLiveVault, "BASE", w.base, 1) + config
		}
	}
	w.t.Fatalf("docs/golive.md has no configuration in %q", section)
	return ""
}

// run runs the nth block of commands in a section, and gives what they print.
func (w *goLive) run(section string, n int) string {
	w.t.Helper()
	for _, s := range w.sections[section] {
		if s.language != "sh" {
			continue
		}
		if n--; n >= 0 {
			continue
		}
		// Where the package has the policies.
		return w.shell(strings.ReplaceAll(s.text, "/usr/share/cloakroom/policies", filepath.Join(root, "deploy/policies")))
	}
	w.t.Fatalf("docs/golive.md has no such block of commands in %q", section)
	return ""
}

// shell runs commands as an administrator does.
func (w *goLive) shell(text string) string {
	w.t.Helper()
	cmd, err := testserver.AsRoot(w.env, "sh", "-e", "-c", text)
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v\n%s\n%s", err, text, out)
	}
	return string(out)
}

// mail sends one with a large attachment, and gives the links that arrive.
func (w *goLive) mail(from, to, subject string) []string {
	w.t.Helper()
	msg := compose(from, []string{to}, subject, file{"plan.pdf", "application/pdf", plan(subject)})
	send(w.t, w.p, from, []string{to}, toCRLF(msg))
	w.sent[to]++
	got := mailbox(w.t, w.p, to, w.sent[to])[w.sent[to]-1]
	found := links(got)
	if len(found) == 0 && bodyOf(got) != bodyOf(msg) {
		w.t.Errorf("%s: it has no link, and yet is not what was sent", subject)
	}
	return found
}

// expect sends a mail that has to arrive with or without a link.
func (w *goLive) expect(n int, from, to, subject string) {
	w.t.Helper()
	if found := w.mail(from, to, subject); len(found) != n {
		w.t.Errorf("%s: %d links, want %d", subject, len(found), n)
	}
}

func (w *goLive) says(out string, texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			w.t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
}

func TestGoingLiveAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	w := newGoLive(t)
	main := filepath.Join(w.p.Folder(), "etc", "main.cf")
	before := mustRead(t, main)

	const observe = "1. Observe a week of mail"
	w.says(w.run(observe, 0), "no mistakes", "smtpd_milters")
	w.says(mustRead(t, main), strings.TrimPrefix(w.d.MilterAddr, "inet:"))
	w.settle()
	w.expect(0, alice, bob, "observed")
	w.d.waitLog("would be changed")
	w.d.stop() // which writes down what was counted
	w.says(w.run(observe, 1), "would-be links              1", "large files become links", `"mode": "observe"`)

	const pilot = "2. A pilot group"
	w.d.start()
	if err := w.d.running.Configure(w.config(pilot)); err != nil {
		t.Fatal(err)
	}
	w.says(w.run(pilot, 0), "no mistakes", " 0 failed")
	w.d.waitLog("configuration reloaded")
	piloted := w.mail(alice, dave, "from the pilot")
	w.expect(0, carol, dave, "from somebody else")
	w.expect(0, alice, dave, "[whole] the pilot says no")

	const watch = "3. Watch, and pause"
	w.says(w.run(watch, 0), "a customer gets broken PDFs", "the daemon obeys")
	time.Sleep(time.Second) // what is promised
	w.expect(0, alice, dave, "while it is paused")
	w.says(w.run(watch, 1), "goes by the rules again", "resume")
	time.Sleep(time.Second)
	w.expect(1, alice, dave, "after the pause")

	const everybody = "4. Everybody"
	command(t, w.d, "target assets is held", "queue", "hold", "--target", "assets")
	if err := w.d.running.Configure(w.config(everybody)); err != nil {
		t.Fatal(err)
	}
	w.run(everybody, 0)
	w.d.waitLog("rules=4") // of the second reload
	all := w.mail(carol, bob, "everybody has links now")
	w.expect(0, carol, bob, "[whole] anybody can say no")

	w.leave(main, before, append(piloted, all...))
}

// settle waits until Postfix has taken up what it was told by a reload.
func (w *goLive) settle() { time.Sleep(time.Second) }

// leave takes Cloakroom out, by command and by hand, and looks at what goes on.
func (w *goLive) leave(main, before string, sent []string) {
	t := w.t
	const out = "Out again, with the links kept"
	w.run(out, 0)
	if mustRead(t, main) != before {
		t.Errorf("main.cf is not what it was:\n%s", mustRead(t, main))
	}
	w.shell("postconf -e smtpd_milters=" + w.d.MilterAddr + " && postfix reload") // in again, to leave by hand
	w.run(out, 1)
	w.settle()
	w.d.Config = w.config(out)
	w.d.stop()
	w.d.start()
	w.expect(0, carol, dave, "after it all")
	w.says(w.run(out, 2), "there are no rules", "waiting", "everybody has links now")
	if len(sent) != 2 {
		t.Fatalf("links %v", sent)
	}
	for _, link := range sent {
		if len(download(t, link)) != 1 {
			t.Errorf("%s does not work any more", link)
		}
	}
	if strings.Contains(w.d.running.Log(), "queue_id=") {
		t.Errorf("a mail came by the milter:\n%s", w.d.running.Log())
	}
	command(t, w.d, "target assets is released", "queue", "release", "--target", "assets")
	waitQueue(t, w.d, 0, "--state", "waiting,running")
	kept := map[string]bool{} // of two mails that bob got, in any order
	for _, name := range []string{"plan.pdf", "plan (2).pdf"} {
		kept[mustRead(t, filepath.Join(w.base, bob, name))] = true
	}
	for _, subject := range []string{"everybody has links now", "[whole] anybody can say no"} {
		if !kept[string(plan(subject))] {
			t.Errorf("the vault does not have the file of %q", subject)
		}
	}
}

// plan is the file that a mail has, by its subject.
func plan(subject string) []byte { return random(1_200_000, int64(len(subject))) }
