package test

// A host for the doctor: a daemon, its MTA, vault, directory and DNS, all of which
// can be broken and mended.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/internal/testserver"
)

// examined is what doctor printed with --json.
type examined struct {
	Schema int
	State  string
	Host   string
	Took   int `json:"took_ms"`
	Lines  []struct{ Check, State, Text, Fix string }
}

// has tells whether a line says something.
func (e *examined) has(check, state, text string) bool {
	for _, l := range e.Lines {
		if l.Check == check && l.State == state && strings.Contains(l.Text, text) && (l.Fix != "") == (state != "ok") {
			return true
		}
	}
	return false
}

// patient is a daemon with its MTA, and what is needed to examine them.
type patient struct {
	*daemon
	t      *testing.T
	mta    *testserver.Postfix
	env    []string
	dns    *testserver.DNS
	sshd   *testserver.SSHD
	config string // the healthy one
	vault  string
}

func newPatient(t *testing.T) *patient {
	t.Helper()
	p := &patient{t: t, vault: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var err error
	p.sshd, err = testserver.StartSSHD(ctx, "")
	p.must(err)
	t.Cleanup(func() { p.sshd.Stop() })
	p.config = fmt.Sprintf("admin: {listen: \"127.0.0.1:%d\"}\ndirectory: {file: users.yaml}\nvault:\n  targets:\n    assets:\n      delay: 0s\n      dir: {base: %s}\n"+
		"      path: \"{space}/{name}\"\n    far:\n      sftp: {address: %q, user: %s, key_file: vault_key, known_hosts: known_hosts}\n      path: \"{space}/{name}\"\n"+
		"%s  - {name: to the vault, vault: {target: assets}}\n", freePorts(t, 1)[0], p.vault, p.sshd.Address(), p.sshd.User(), linkAll)
	p.daemon = newDaemon(t, p.config)
	p.Files = map[string]string{"users.yaml": "users:\n  - {address: bob@acmecorp.test}\n",
		"known_hosts": mustRead(t, p.sshd.KnownHostsFile()), "vault_key": mustRead(t, p.sshd.KeyFile())}
	p.start()
	p.mta = startPostfix(t, p.MilterAddr)
	commands, env, err := testserver.PostfixCommands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.env = append(append(os.Environ(), env...), "PATH="+commands+":"+os.Getenv("PATH"))
	if p.dns, err = testserver.StartDNS("mx.acmecorp.test. A 192.0.2.25\n", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.dns.Stop)
	return p
}

// examine runs doctor; the clock and the disk of the host are not ours to judge.
func (p *patient) examine(args ...string) (*examined, int) {
	p.t.Helper()
	argv := []string{"--config", filepath.Join(p.Folder, "cloakroom.yaml"), "doctor", "--json", "--postfix-config", filepath.Join(p.mta.Folder(), "etc"),
		"--resolver", p.dns.Addr, "--skip", "clock,fsync"}
	cmd := exec.Command(binary, append(argv, args...)...)
	cmd.Env = p.env
	out, errs, code := result(p.t, cmd)
	var e examined
	if err := json.Unmarshal([]byte(out), &e); err != nil || errs != "" {
		p.t.Fatalf("exit code %d, %v\n%s%s", code, err, out, errs)
	}
	return &e, code
}

// broken breaks something, and expects that a line of a check tells of it.
func (p *patient) broken(what string, breakIt func() (mend func()), check, state, text string, args ...string) *examined {
	p.t.Helper()
	mend := breakIt()
	e, code := p.examine(args...)
	mend()
	want := map[string]int{"warning": 1, "wrong": 2}[state]
	if code != want || e.State != state || !e.has(check, state, text) {
		p.t.Errorf("%s: exit code %d, want %d, and the line %s %s %q in\n%+v", what, code, want, state, check, text, e.Lines)
	}
	return e
}

// configured breaks the configuration file alone: the daemon goes on.
func (p *patient) configured(config string) func() func() {
	return func() func() {
		p.must(p.running.Configure(config))
		return func() { p.must(p.running.Configure(p.config)) }
	}
}

// edited replaces a file's content for a while, in its place and with its owner.
func (p *patient) edited(path string, edit func([]byte) []byte) func() func() {
	return func() func() {
		was, err := os.ReadFile(path)
		p.must(err)
		p.must(os.WriteFile(path, edit(bytes.Clone(was)), 0o600))
		return func() { p.must(os.WriteFile(path, was, 0o600)) }
	}
}

// postconf sets parameters of Postfix, and takes main.cf back afterwards.
func (p *patient) postconf(lines string) func() func() {
	main := filepath.Join(p.mta.Folder(), "etc/main.cf")
	return func() func() {
		was := mustRead(p.t, main)
		p.asRoot("sh", "-c", "printf '%s\\n' \"$1\" >> "+main, "sh", lines)
		return func() { p.asRoot("sh", "-c", "printf %s \"$1\" > "+main, "sh", was) }
	}
}

func (p *patient) asRoot(argv ...string) string {
	p.t.Helper()
	cmd, err := testserver.AsRoot(nil, argv...)
	p.must(err)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

func (p *patient) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) data(name string) string { return filepath.Join(p.Folder, "data", name) }

// anyFile is one of those in the store.
func (p *patient) anyFile() (path string) {
	p.t.Helper()
	p.must(filepath.WalkDir(p.data("blobs"), func(at string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			path = at
		}
		return err
	}))
	return path
}
