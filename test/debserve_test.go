package test

// The installed program at work: as shipped, and over the data of an older version.

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// startInside runs the installed daemon as its account, with the folder as its
// root, until stop is called, which expects a clean end.
func startInside(t *testing.T, s *system, uid, gid string) (stop func()) {
	t.Helper()
	cmd, err := testserver.AsRoot(nil, "chroot", "--userspec="+uid+":"+gid, s.dir, "/usr/bin/cloakroom", "serve")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.Close() // the daemon has it open
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM) }) // ended already, unless the test failed
	for end := time.Now().Add(20 * time.Second); !strings.Contains(mustRead(t, log.Name()), "msg=ready"); time.Sleep(20 * time.Millisecond) {
		if len(ended) > 0 || time.Now().After(end) {
			t.Fatalf("the daemon is not ready:\n%s", mustRead(t, log.Name()))
		}
	}
	return func() {
		t.Helper()
		// The lock file names the daemon, whatever stands between it and us.
		pid := strings.TrimSpace(s.must("cat", s.path("var/lib/cloakroom/lock")))
		if _, err := strconv.Atoi(pid); err != nil {
			t.Fatal(err)
		}
		s.must("kill", "-TERM", pid)
		if err := <-ended; err != nil {
			t.Errorf("the daemon ended with %v:\n%s", err, mustRead(t, log.Name()))
		}
	}
}

// serveInside runs the installed daemon, and downloads what a link of the older
// version leads to.
func serveInside(t *testing.T, s *system, uid, gid, link string) {
	t.Helper()
	stop := startInside(t, s, uid, gid)
	var want [sha256.Size]byte
	if _, err := hex.Decode(want[:], []byte(oldContent)); err != nil {
		t.Fatal(err)
	}
	if sums := download(t, link); len(sums) != 1 || sums[0] != want {
		t.Errorf("downloaded %x, want %x", sums, want)
	}
	stop()
}

// serveShipped runs the daemon on the configuration of the package, in which an
// admin has filled in what he is asked for, and has it observe a mail. Only the
// ports are others.
func serveShipped(t *testing.T, s *system, uid, gid string) {
	t.Helper()
	milter, web, admin := freeAddress(t), freeAddress(t), freeAddress(t)
	shipped := s.must("cat", s.path("etc/cloakroom/cloakroom.yaml"))
	config := shipped
	for _, line := range [][2]string{
		{"\ndomains: [example.com]\n", "\ndomains: [acmecorp.test]\n"},
		{"\n  url: https://files.example.com\n", "\n  url: http://" + web + "\n"},
		{"\n  #listen: inet:127.0.0.1:8891\n", "\n  listen: inet:" + milter + "\n"},
		{"\n  #listen: 127.0.0.1:8080\n", "\n  listen: " + web + "\n"},
		{"\n  #listen: 127.0.0.1:9091\n", "\n  listen: " + admin + "\n"},
	} {
		if strings.Count(config, line[0]) != 1 {
			t.Fatalf("the shipped configuration has no line %q", line[0])
		}
		config = strings.Replace(config, line[0], line[1], 1)
	}
	edited := filepath.Join(t.TempDir(), "cloakroom.yaml")
	if err := os.WriteFile(edited, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("cp", edited, s.path("etc/cloakroom/cloakroom.yaml"))
	stop := startInside(t, s, uid, gid)
	if status, body := get(t, "http://"+admin+"/readyz"); status != 200 {
		t.Errorf("/readyz: %d\n%s", status, body)
	}
	p := startPostfix(t, "inet:"+milter)
	msg := compose(alice, []string{bob}, "shipped", file{"plan.pdf", "application/pdf", random(6<<20, 81)})
	send(t, p, alice, []string{bob}, toCRLF(msg))
	if got := mailbox(t, p, bob, 1)[0]; bodyOf(got) != bodyOf(msg) {
		t.Error("the configuration of the package changes mail")
	}
	if _, page := get(t, "http://"+admin+"/"); !bytes.Contains(page, []byte("mode observe")) {
		t.Errorf("the dashboard shows:\n%s", page)
	}
	stop() // which writes down what was counted
	if out := s.inside("report"); !strings.Contains(out, "would-be links              1") || !strings.Contains(out, "large files become links") {
		t.Errorf("the report says:\n%s", out)
	}
	if err := os.WriteFile(edited, []byte(shipped), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("cp", edited, s.path("etc/cloakroom/cloakroom.yaml"))
}
