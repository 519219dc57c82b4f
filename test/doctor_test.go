package test

// cloakroom doctor beside a real Postfix: a healthy host, and then one thing after
// the other broken.

import (
	"fmt"
	"io/fs"
	"os"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cloakroom/internal/testserver"
)

func TestDoctorOfAHealthyHostIsAllOKAndLeavesNoTrace(t *testing.T) {
	p := newPatient(t)
	send(t, p.mta, alice, []string{bob}, attached("before", bob))
	mailbox(t, p.mta, bob, 1)
	waitFiles(t, p.vault, 2)
	before, log := p.settled(), p.running.Log()
	e, code := p.examine()
	if code != 0 || e.State != "ok" || e.Schema != 1 || e.Host == "" {
		t.Errorf("exit code %d, state %s of %s, schema %d", code, e.State, e.Host, e.Schema)
	}
	var checks []string
	for _, l := range e.Lines {
		checks = append(checks, l.Check)
		if l.State != "ok" {
			t.Errorf("%s %s: %s -> %s", l.State, l.Check, l.Text, l.Fix)
		}
	}
	if want := "config daemon mta milter data space database secret store web certificate dns vault vault directory limits"; strings.Join(checks, " ") != want {
		t.Errorf("lines %v, want %s", checks, want)
	}
	for check, text := range map[string]string{"daemon": "; ready", "milter": "test message", "secret": "links were made with", "web": "is this Cloakroom", "dns": "192.0.2.25",
		"mta": "Cloakroom", "directory": "1 users", "vault": "assets"} {
		if !e.has(check, "ok", text) {
			t.Errorf("the line %s does not say %q: %+v", check, text, e.Lines)
		}
	}
	if after := p.traces(); after != before {
		t.Errorf("the examination left traces:\n%s\nbefore\n%s", after, before)
	}
	if more := strings.TrimPrefix(p.running.Log(), log); more != "" {
		t.Errorf("the daemon logged:\n%s", more)
	}
	p.breakThingsOneByOne()
}

// settled are the traces once what mail began is over.
func (p *patient) settled() string {
	p.t.Helper()
	for last, tries := "", 0; ; tries++ {
		now := p.traces()
		if now == last {
			return now
		}
		if tries == 50 {
			p.t.Fatalf("what mail began does not end:\n%s", now)
		}
		last = now
		time.Sleep(200 * time.Millisecond)
	}
}

// traces are what mail leaves.
func (p *patient) traces() string {
	p.t.Helper()
	var all []string
	_, metrics := get(p.t, "http://127.0.0.1:"+p.adminPort()+"/metrics")
	for line := range strings.Lines(string(metrics)) {
		if strings.HasPrefix(line, "cloakroom_mail") || strings.HasPrefix(line, "cloakroom_attach") || strings.HasPrefix(line, "cloakroom_recipients") || strings.HasPrefix(line, "cloakroom_stored") {
			all = append(all, line)
		}
	}
	for _, command := range [][]string{{"links", "list", "--json"}, {"queue", "list", "--json"}} {
		out, errs, code := p.run(nil, command...)
		if code != 0 {
			p.t.Fatalf("%v: exit code %d\n%s", command, code, errs)
		}
		all = append(all, out)
	}
	p.must(filepath.WalkDir(p.data("."), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !strings.HasSuffix(path, "-wal") && !strings.HasSuffix(path, "-shm") {
			all = append(all, path)
		}
		return err
	}))
	journal, err := filepath.Glob(p.data("journal/*"))
	p.must(err)
	for _, name := range journal {
		all = append(all, mustRead(p.t, name))
	}
	return strings.Join(all, "\n")
}

func (p *patient) adminPort() string {
	_, rest, _ := strings.Cut(p.config, "127.0.0.1:")
	port, _, _ := strings.Cut(rest, "\"")
	return port
}

// As root the looks that the daemon has to be able to make itself are those of its
// account, and nothing of root's stays behind.
func TestDoctorAsRootLooksAsTheDaemonsAccount(t *testing.T) {
	d := newDaemon(t, linkAll)
	d.start()
	d.stop()
	for _, folder := range []string{d.Folder, filepath.Dir(binary)} {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := osuser.Current()
	if err == nil && owner.Uid == "0" {
		owner, err = osuser.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(d.Folder, "data")
	root := func(argv ...string) (string, int) {
		t.Helper()
		cmd, err := testserver.AsRoot(nil, argv...)
		if err != nil {
			t.Fatal(err)
		}
		out, errs, code := result(t, cmd)
		return out + errs, code
	}
	doctor := []string{binary, "--config", filepath.Join(d.Folder, "cloakroom.yaml"), "doctor"}
	if out, code := root("chown", "-R", owner.Uid, data); code != 0 {
		t.Fatal(out)
	}
	out, code := root(append(doctor, "--only", "config,data,space,database,secret,store")...)
	if code != 0 || !strings.Contains(out, "all of 6 are ok") || strings.Index(out, "space ") < strings.Index(out, "data ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	err = filepath.WalkDir(data, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || fmt.Sprint(st.Uid) != owner.Uid {
			t.Errorf("%s belongs to uid %d, %v", path, st.Uid, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, code := root("sh", "-c", "chown 0 \"$1\" && chmod 600 \"$1\"", "sh", filepath.Join(d.Folder, "cloakroom.yaml")); code != 0 {
		t.Fatal(out)
	}
	out, code = root(append(doctor, "--only", "secret", "--brief")...)
	if code != 2 || !strings.HasPrefix(out, "wrong: 1, warnings: 0, of 1: config\n") || !strings.Contains(out, "as "+owner.Username+", to whom the data belongs") || !strings.Contains(out, "permission denied") {
		t.Errorf("a configuration that only root can read: exit code %d\n%s", code, out)
	}
}

func TestDoctorRefusesWhatItDoesNotKnow(t *testing.T) {
	for flags, want := range map[string]string{
		"--only moon":             `there is no check "moon"; there are config, daemon`,
		"--skip moon":             `there is no check "moon"`,
		"--only mta --skip mta":   "nothing to look at",
		"--timeout 1s":            "--timeout",
		"--directory-age tuesday": "--directory-age",
		"--json --brief":          "json brief",
	} {
		_, errs, code := cloakroom(t, append([]string{"doctor"}, strings.Fields(flags)...)...)
		if code != 64 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, want 64 and %q\n%s", flags, code, want, errs)
		}
	}
	out, _, code := cloakroom(t, "--config", filepath.Join(t.TempDir(), "none.yaml"), "doctor", "--brief", "--only", "clock")
	if code != 2 || !strings.HasPrefix(out, "wrong: 1, warnings: 0, of 1: config\n") || !strings.Contains(out, "config example >") {
		t.Errorf("without a configuration: exit code %d\n%s", code, out)
	}
	var x unix.Timex
	if _, err := unix.Adjtimex(&x); err != nil {
		t.Fatal(err)
	}
	d := newDaemon(t, linkAll)
	d.start()
	if out, _, _ := d.run(nil, "doctor", "--only", "fsync"); !strings.Contains(out, "fsync takes") {
		t.Errorf("the disk is not measured:\n%s", out)
	}
	out, _, code = d.run(nil, "doctor", "--only", "clock")
	if kept := x.Status&unix.STA_UNSYNC == 0; kept != (code == 0) || kept == strings.Contains(out, "nobody keeps it") {
		t.Errorf("the clock is kept: %v; exit code %d\n%s", kept, code, out)
	}
}

func TestTheDocumentOfTheDoctorHasEachCheck(t *testing.T) {
	out, _, _ := cloakroom(t, "doctor", "--help")
	_, names, found := strings.Cut(out, "The names of the checks:\n")
	names, _, _ = strings.Cut(names, "\n")
	var headings []string
	_, lines, _ := strings.Cut(mustRead(t, filepath.Join(root, "docs/doctor.md")), "\n## Each line\n")
	lines, _, _ = strings.Cut(lines, "\n## ")
	for line := range strings.Lines(lines) {
		if name, ok := strings.CutPrefix(line, "### "); ok {
			headings = append(headings, strings.TrimSpace(name))
		}
	}
	if !found || !slices.Equal(headings, strings.Fields(names)) {
		t.Errorf("docs/doctor.md has %v, the command %q", headings, names)
	}
}
