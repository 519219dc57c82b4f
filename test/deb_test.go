package test

// The Debian package: built, installed into a folder with an account database
// of its own, run there, upgraded over the data of an older version, removed
// and purged. Nothing of it touches this machine's packages.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// system is a folder that packages are installed into.
type system struct {
	t   *testing.T
	dir string
}

// newSystem makes what dpkg and the account tools need to find.
func newSystem(t *testing.T) *system {
	t.Helper()
	dir, err := os.MkdirTemp("", "cloakroom-root-")
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, dir: dir}
	t.Cleanup(func() {
		if _, err := s.asRoot("rm", "-rf", dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"etc", "srv", "tmp", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n",
		"var/lib/dpkg/status": "", "var/lib/dpkg/available": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// asRoot runs a command with root's rights.
func (s *system) asRoot(argv ...string) (string, error) {
	s.t.Helper()
	programs, libraries := testserver.SystemdPath()
	env := []string{"DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}
	path := strings.Join(append(programs, "/usr/local/sbin", "/usr/sbin", "/sbin", os.Getenv("PATH")), ":")
	env = append(env, "PATH="+path)
	if len(libraries) > 0 {
		env = append(env, "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	}
	cmd, err := testserver.AsRoot(env, argv...)
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must runs a command that has to succeed, and gives what it says.
func (s *system) must(argv ...string) string {
	s.t.Helper()
	out, err := s.asRoot(argv...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// dpkg works on the folder's packages; their scripts are told of it by DPKG_ROOT.
func (s *system) dpkg(args ...string) string {
	s.t.Helper()
	return s.must(append([]string{"dpkg", "--root=" + s.dir, "--log=" + filepath.Join(s.dir, "var/log/dpkg.log"),
		"--force-script-chrootless", "--force-depends", "--force-confold"}, args...)...)
}

// inside runs the installed program with the folder as its root.
func (s *system) inside(args ...string) string {
	s.t.Helper()
	return s.must(append([]string{"chroot", s.dir, "/usr/bin/cloakroom"}, args...)...)
}

// path is where a file of the folder is.
func (s *system) path(name string) string { return filepath.Join(s.dir, name) }

// stat tells mode and owner of a file in words of stat(1), such as "750 0 998".
func (s *system) stat(name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.must("stat", "-c", "%a %u %g", s.path(name)))
}

// account is the uid and gid that the package made.
func (s *system) account() (uid, gid string) {
	s.t.Helper()
	m := regexp.MustCompile(`(?m)^cloakroom:[^:]*:(\d+):(\d+):[^:]*:/var/lib/cloakroom:/usr/sbin/nologin$`).
		FindStringSubmatch(mustRead(s.t, s.path("etc/passwd")))
	if m == nil {
		s.t.Fatalf("no account:\n%s", mustRead(s.t, s.path("etc/passwd")))
	}
	return m[1], m[2]
}

// packages are those that were built, by version.
var packages sync.Map

// buildDeb builds the package of the program under test, once for each version.
func buildDeb(t *testing.T, version string) string {
	t.Helper()
	build, _ := packages.LoadOrStore(version, sync.OnceValues(func() (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, filepath.Join(root, "deploy/packaging/build.sh"), binary, filepath.Dir(binary))
		cmd.Env = append(os.Environ(), "VERSION="+version)
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("build.sh: %w\n%s", err, complaint.String())
		}
		return strings.TrimSpace(string(out)), nil
	}))
	file, err := build.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPackage(t *testing.T) {
	t.Parallel()
	first, second := buildDeb(t, "v1.0.0"), buildDeb(t, "v1.0.0-3-gabc")
	t.Run("is upgraded over data, removed and purged", func(t *testing.T) { livePackage(t, first, second) })
	t.Run("leaves nothing where nothing was stored", func(t *testing.T) { unusedPackage(t, first) })
}

func livePackage(t *testing.T, first, second string) {
	s := newSystem(t)
	said := s.dpkg("--install", first)
	if !strings.Contains(said, "not started") {
		t.Errorf("the installation does not say what to do next:\n%s", said)
	}
	checkInstalled(t, s)
	uid, gid := s.account()
	serveShipped(t, s, uid, gid)

	// The admin configures; the data is that of an older version.
	old := t.TempDir()
	extract(t, oldData(t)[0], old)
	s.must("sh", "-c", "rm -r "+s.path("var/lib/cloakroom")+"/*")
	s.must("cp", "-r", filepath.Join(old, "data")+"/.", s.path("var/lib/cloakroom"))
	s.must("chown", "-R", uid+":"+gid, s.path("var/lib/cloakroom"))
	web, milter := freeAddress(t), freeAddress(t)
	config := "domains: [acmecorp.test]\nmilter:\n  listen: inet:" + milter + "\nweb:\n  listen: " + web + "\n  url: http://" + web + "\n"
	edited := filepath.Join(t.TempDir(), "cloakroom.yaml")
	if err := os.WriteFile(edited, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("cp", edited, s.path("etc/cloakroom/cloakroom.yaml"))

	said = s.dpkg("--install", second)
	if strings.Contains(said, "not started") || !strings.Contains(said, "over (1.0.0)") {
		t.Errorf("the upgrade says:\n%s", said)
	}
	if got := s.must("cat", s.path("etc/cloakroom/cloakroom.yaml")); got != config {
		t.Errorf("the upgrade changed the configuration:\n%s", got)
	}
	if out := s.inside("links", "list"); !strings.Contains(out, "the plans") {
		t.Errorf("links list after the upgrade: %s", out)
	}
	serveInside(t, s, uid, gid, "http://"+web+oldLink(t, old))
	if n := strings.TrimSpace(s.must("find", s.path("var/lib/cloakroom"), "!", "-user", uid)); n != "" {
		t.Errorf("not the account's: %s", n)
	}

	s.dpkg("--remove", "cloakroom")
	if out := s.must("find", s.dir, "-path", s.path("usr")+"/*", "-name", "*cloakroom*"); out != "" {
		t.Errorf("left after the removal:\n%s", out)
	}
	s.must("test", "-s", s.path("etc/cloakroom/cloakroom.yaml"))
	said = s.dpkg("--purge", "cloakroom")
	if !strings.Contains(said, "is kept") {
		t.Errorf("the purge does not tell that it keeps the data:\n%s", said)
	}
	s.must("test", "-s", s.path("var/lib/cloakroom/cloakroom.db"))
	s.must("test", "!", "-e", s.path("etc/cloakroom"))
}

func unusedPackage(t *testing.T, deb string) {
	s := newSystem(t)
	s.dpkg("--install", deb)
	said := s.dpkg("--purge", "cloakroom")
	if strings.Contains(said, "is kept") {
		t.Errorf("the purge says:\n%s", said)
	}
	for _, folder := range []string{"etc/cloakroom", "var/lib/cloakroom", "usr/share/doc/cloakroom"} {
		s.must("test", "!", "-e", s.path(folder))
	}
}

// checkInstalled looks at what the package brought.
func checkInstalled(t *testing.T, s *system) {
	t.Helper()
	uid, gid := s.account()
	for name, want := range map[string]string{
		"etc/cloakroom":                                            "750 0 " + gid,
		"etc/cloakroom/cloakroom.yaml":                             "640 0 " + gid,
		"etc/cloakroom/secrets":                                    "700 0 0",
		"var/lib/cloakroom":                                        "700 " + uid + " " + gid,
		"usr/bin/cloakroom":                                        "755 0 0",
		"usr/lib/systemd/system/cloakroom.service":                 "644 0 0",
		"usr/share/man/man1/cloakroom-config-check.1.gz":           "644 0 0",
		"usr/share/man/man5/cloakroom.yaml.5.gz":                   "644 0 0",
		"usr/share/zsh/vendor-completions/_cloakroom":              "644 0 0",
		"usr/share/fish/vendor_completions.d/cloakroom.fish":       "644 0 0",
		"usr/share/cloakroom/policies/research/cloakroom.yaml":     "644 0 0",
		"usr/share/doc/cloakroom/examples/policies/README.md":      "644 0 0",
		"usr/share/doc/cloakroom/examples/postfix/main.cf.example": "644 0 0",
		"usr/share/doc/cloakroom/examples/grafana/cloakroom.json":  "644 0 0",
		"usr/share/doc/cloakroom/docs/operations.md":               "644 0 0",
		"usr/share/doc/cloakroom/copyright":                        "644 0 0",
		"usr/share/doc/cloakroom/licences.gz":                      "644 0 0",
		"usr/share/cloakroom/grafana/cloakroom.json":               "644 0 0",
		"usr/share/cloakroom/prometheus/cloakroom.rules.yml":       "644 0 0",
	} {
		if got := s.stat(name); got != want {
			t.Errorf("%s has %s, want %s", name, got, want)
		}
	}
	for _, folder := range []string{"policies", "grafana", "prometheus"} {
		if want, err := os.ReadDir(filepath.Join(root, "deploy", folder)); err == nil {
			if got := s.must("ls", "-A", s.path("usr/share/cloakroom/"+folder)); len(strings.Fields(got)) != len(want) {
				t.Errorf("deploy/%s is installed as %q", folder, got)
			}
		}
	}
	checkLicences(t, s)
	if out := s.inside("version"); !strings.Contains(out, "cloakroom ") {
		t.Errorf("version: %s", out)
	}
	if out := s.inside("config", "check"); !strings.Contains(out, "no mistakes") {
		t.Errorf("the shipped configuration: %s", out)
	}
	shown := s.inside("config", "show")
	for _, line := range []string{"mode: observe\n", "data: /var/lib/cloakroom\n"} {
		if !strings.Contains(shown, line) {
			t.Errorf("the shipped configuration has no %q:\n%s", line, shown)
		}
	}
	if strings.Contains(shown, "mx.example.com") {
		t.Errorf("the shipped configuration invents a host name:\n%s", shown)
	}
	if out := s.inside("policy", "test", "--config", "/usr/share/cloakroom/policies/large-attachments/cloakroom.yaml", "/usr/share/cloakroom/policies/large-attachments/tests"); !strings.Contains(out, " 0 failed") {
		t.Errorf("an example policy where it is installed: %s", out)
	}
	completion := "set -e; source " + s.path("usr/share/bash-completion/completions/cloakroom") + "; complete -p cloakroom"
	if out, err := exec.Command("bash", "-c", completion).CombinedOutput(); err != nil || !strings.Contains(string(out), "__start_cloakroom cloakroom") {
		t.Errorf("bash completion: %v %s", err, out)
	}
}

// checkLicences looks for the licence of each module in the program, and for an
// invented owner.
func checkLicences(t *testing.T, s *system) {
	t.Helper()
	licences := s.must("zcat", s.path("usr/share/doc/cloakroom/licences.gz"))
	built, err := exec.Command("go", "version", "-m", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := regexp.MustCompile(`(?m)^\tdep\t(\S+)`).FindAllSubmatch(built, -1)
	for _, m := range modules {
		if !strings.Contains(licences, "\n"+string(m[1])+" v") {
			t.Errorf("the licence of %s is missing", m[1])
		}
	}
	if len(modules) < 10 || !strings.Contains(licences, "The Go Authors") {
		t.Errorf("%d modules, %d bytes of licences", len(modules), len(licences))
	}
	if text := mustRead(t, s.path("usr/share/doc/cloakroom/copyright")); !strings.Contains(text, "License: ") {
		t.Errorf("copyright:\n%s", text)
	}
	status := mustRead(t, s.path("var/lib/dpkg/status"))
	if !regexp.MustCompile(`(?m)^Maintainer: Cloakroom maintainers <[a-z]+@localhost>$`).MatchString(status) {
		t.Errorf("the maintainer is somebody:\n%s", grep(status, "Maintainer"))
	}
}

// freeAddress is an address of the loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	return address(freePorts(t, 1)[0])
}
