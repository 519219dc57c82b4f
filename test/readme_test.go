package test

// The first page of README.md: what it says leads to a link.

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// firstLink are the snippets of "Five minutes to the first link", by language,
// with ports that are free here.
func firstLink(t *testing.T) map[string]string {
	t.Helper()
	_, text, _ := strings.Cut(mustRead(t, filepath.Join(root, "README.md")), "\n## Five minutes to the first link\n")
	text, _, _ = strings.Cut(text, "\n## ")
	out := map[string]string{}
	for _, s := range blocks(text) {
		out[s.language] += s.text
	}
	ports := strings.NewReplacer("127.0.0.1:8891", freeAddress(t), "127.0.0.1:8080", freeAddress(t), "acmecorp.com", "acmecorp.test", "example.org", "ext.test")
	for language := range out {
		out[language] = ports.Replace(out[language])
	}
	return out
}

func TestTheReadmeLeadsToALink(t *testing.T) {
	t.Parallel()
	snippets := firstLink(t)
	dir := t.TempDir()
	config := snippets["yaml"] + "admin: {listen: \"\"}\n" // one port cannot serve several daemons
	pdf := random(2<<20, 91)
	mail := compose(alice, []string{dave}, "first", file{"plan.pdf", "application/pdf", pdf}, file{"NDA.pdf", "application/pdf", random(2<<20, 92)})
	for name, text := range map[string][]byte{"try.yaml": []byte(config), "mail.eml": mail} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(line string) string {
		t.Helper()
		cmd := exec.Command("sh", "-e", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", line, err, out, complaint.Bytes())
		}
		return string(out)
	}

	said := ""
	for line := range strings.Lines(snippets["sh"]) {
		if strings.HasPrefix(line, "cloakroom serve ") {
			serveReadme(t, dir)
			continue
		}
		said += run(line)
	}
	for _, want := range []string{"no mistakes", "large files become links", "contracts stay in the mail", "Available without a time limit."} {
		if !strings.Contains(said, want) {
			t.Errorf("the commands do not say %q:\n%.3000s", want, said)
		}
	}

	extra := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+) = (.+)$`).FindAllStringSubmatch(snippets[""], -1) {
		extra[m[1]] = m[2]
	}
	p, err := testserver.StartPostfix(t.Context(), testserver.PostfixOptions{Mailboxes: []string{bob, dave}, Extra: extra})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}()
	send(t, p, alice, []string{dave}, toCRLF(mail))
	found := links(mailbox(t, p, dave, 1)[0])
	found = append(found, links([]byte(said))...) // those of the filter
	if len(found) != 2 {
		t.Fatalf("links %v, want one by the milter and one by the filter", found)
	}
	for _, link := range found {
		if sums := download(t, link); len(sums) != 1 || sums[0] != sha256.Sum256(pdf) {
			t.Errorf("%s gives %x", link, sums)
		}
	}
	if list := run("cloakroom links list --config try.yaml"); !strings.Contains(list, "first") {
		t.Errorf("links list: %s", list)
	}
}

// serveReadme runs the daemon as README.md says, until the test ends.
func serveReadme(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command(binary, "serve", "--config", "try.yaml")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.Close() // the daemon has it open
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the daemon ended with %v:\n%s", err, mustRead(t, log.Name()))
		}
	})
	for end := time.Now().Add(20 * time.Second); !strings.Contains(mustRead(t, log.Name()), "msg=ready"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the daemon is not ready:\n%s", mustRead(t, log.Name()))
		}
	}
}
