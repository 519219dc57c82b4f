package testserver

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// logIn opens an SFTP session.
func logIn(t *testing.T, s *SSHD) *sftp.Client {
	t.Helper()
	check, err := knownhosts.New(s.KnownHostsFile())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePrivateKey([]byte(mustRead(t, s.KeyFile())))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ssh.Dial("tcp", s.Address(), &ssh.ClientConfig{
		User: s.User(), Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: check, HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestOpenSSHServesFilesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	began := time.Now()
	s, err := StartSSHD(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	t.Logf("ready after %v", time.Since(began))

	files := logIn(t, s)
	if err := files.Mkdir("folder"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(s.Root(), "folder")); err != nil || !info.IsDir() {
		t.Errorf("the folder: %v, %v", info, err)
	}

	// A new host key takes the place of the old one; sessions stay.
	before, err := s.HostKeyFingerprint()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ReplaceHostKey(ctx); err != nil {
		t.Fatal(err)
	}
	if after, err := s.HostKeyFingerprint(); err != nil || after == before {
		t.Errorf("the fingerprint is %s again, %v", after, err)
	}
	if _, err := files.Stat("folder"); err != nil {
		t.Errorf("the old session: %v", err)
	}
	files = logIn(t, s)

	// Sessions can be halted, and killed, alone.
	if err := s.PauseSFTP(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { _, err := files.Stat("folder"); answered <- err }()
	select {
	case err := <-answered:
		t.Errorf("a halted session answers: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if n, err := s.KillSessions(); err != nil || n == 0 {
		t.Errorf("killed %d, %v", n, err)
	}
	if err := <-answered; err == nil {
		t.Error("a killed session answers")
	}
	logIn(t, s)
	pids := append(descendants(s.pid), s.pid)
	if len(pids) < 2 {
		t.Errorf("there is a session, but only processes %v", pids)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil { // paused, with sessions
		t.Fatal(err)
	}
	assertGone(t, s.folder, pids)
}

func TestOpenSSHHasASmallDisk(t *testing.T) {
	t.Parallel()
	if !isRoot() {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can mount a small disk: run the tests as root")
		}
		t.Skip("only root can mount a small disk")
	}
	s, err := StartSSHDWithDisk(testContext(t), "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	name := filepath.Join(s.Root(), "disk", "large")
	if err := os.WriteFile(name, make([]byte, 2<<20), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("2 MB on a disk of 1 MB: %v", err)
	}
	state, err := logIn(t, s).StatVFS("disk")
	if err != nil || state.Bavail != 0 {
		t.Errorf("the server says %+v, %v", state, err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	assertGone(t, s.folder, []int{s.pid})
}

func TestProxyDelaysStallsAndCuts(t *testing.T) {
	echo, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b := make([]byte, 1<<16)
				for {
					n, err := conn.Read(b)
					if err != nil {
						return
					}
					conn.Write(b[:n])
				}
			}()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p, err := StartProxy(ctx, echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	conn, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	roundTrip := func(n int) time.Duration {
		t.Helper()
		began := time.Now()
		if _, err := conn.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < n; {
			m, err := conn.Read(make([]byte, n))
			if err != nil {
				t.Fatal(err)
			}
			got += m
		}
		return time.Since(began)
	}
	roundTrip(1)
	p.SetRoundTrip(100 * time.Millisecond)
	if took := roundTrip(1); took < 100*time.Millisecond || took > 2*time.Second {
		t.Errorf("a round trip of 100 ms takes %v", took)
	}
	p.SetRoundTrip(0)
	p.SetBandwidth(100 << 10)
	roundTrip(50 << 10)
	if took := roundTrip(50 << 10); took < 400*time.Millisecond {
		t.Errorf("50 KB at 100 KB/s take %v", took)
	}
	p.SetBandwidth(0)
	roundTrip(1)

	p.Stall()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a stalled proxy: %v", err)
	}
	conn.SetReadDeadline(time.Time{})
	p.Flow()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("when data flows again: %v", err)
	}
	if n := p.Cut(); n != 1 {
		t.Errorf("cut %d connections", n)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a cut connection gives data")
	}
}

func TestSSHDServesTheStockClient(t *testing.T) {
	t.Parallel()
	s, err := StartSSHD(testContext(t), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := os.WriteFile(filepath.Join(s.Root(), "plan.pdf"), []byte("a plan"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, err := s.SFTP(t.Context(), "ls -1 *.pdf\n")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nplan.pdf\n") {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.Contains(s.Log(), "Accepted publickey for "+s.User()) {
		t.Errorf("the log: %s", s.Log())
	}
}
