package sftp_test

// What goes wrong on the server and on the way to it.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"cloakroom/internal/testserver"
	"cloakroom/vault"
	"cloakroom/vault/sftp"
	"cloakroom/vault/vaulttest"
)

// TestAKilledSessionNeverLeavesAPartUnderTheName kills the server's processes
// at random moments while another reads along.
func TestAKilledSessionNeverLeavesAPartUnderTheName(t *testing.T) {
	t.Parallel()
	const rounds, size = 50, 3<<20 + 11
	s := startSSHD(t)
	base, root := space(t, s)
	cfg := configFor(s)
	cfg.Base = base
	d := open(t, cfg)
	b := vaulttest.Bytes(size, 5)
	c := vaulttest.Content(b)
	began := time.Now()
	if err := d.Put(t.Context(), "bob/first", c, vaulttest.Attempt()); err != nil {
		t.Fatal(err)
	}
	usual := time.Since(began)

	reading, stop := context.WithCancel(t.Context())
	var reader sync.WaitGroup
	defer func() { stop(); reader.Wait() }()
	reader.Go(func() {
		known := map[string]os.FileInfo{} // files that were read, as they were
		for reading.Err() == nil {
			names, _ := filepath.Glob(filepath.Join(root, "bob", "[!.]*"))
			for _, name := range names {
				info, err := os.Stat(name)
				if was := known[name]; err != nil || was != nil && os.SameFile(was, info) && was.Size() == info.Size() && was.ModTime().Equal(info.ModTime()) {
					continue
				}
				if got, err := os.ReadFile(name); err == nil && !bytes.Equal(got, b) {
					t.Errorf("%s has %d bytes that are not the content", name, len(got))
				}
				known[name] = info
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	failed := 0
	for round := range rounds {
		p := fmt.Sprintf("bob/%03d", round)
		var kill sync.WaitGroup
		done := make(chan struct{})
		kill.Go(func() {
			select {
			case <-time.After(rand.N(2 * usual)):
			case <-done: // too late: the next round begins with a dead connection
			}
			if _, err := s.KillSessions(); err != nil {
				t.Error(err)
			}
		})
		err := d.Put(t.Context(), p, c, vaulttest.Attempt())
		close(done)
		kill.Wait()
		got, readErr := os.ReadFile(filepath.Join(root, p))
		switch {
		case readErr == nil && !bytes.Equal(got, b):
			t.Fatalf("%s has %d bytes that are not the content", p, len(got))
		case readErr != nil && err == nil:
			t.Fatalf("%s: success was told, and %v", p, readErr)
		case err != nil:
			failed++
			var fault *vault.Fault
			if !errors.As(err, &fault) || fault.Scope != vault.OneFile && fault.Scope != vault.Target {
				t.Errorf("%s: %v", p, err)
			}
		}
	}
	t.Logf("%d of %d uploads failed", failed, rounds)
	if failed == 0 {
		t.Error("no upload was hit")
	}
	// What is left is hidden, and swept.
	time.Sleep(1100 * time.Millisecond) // the server tells seconds
	if _, err := d.Sweep(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	wantStagingEmpty(t, root)
}

func wantStagingEmpty(t *testing.T, root string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(root, ".cloakroom-upload"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the staging folder: %v, %v", left, err)
	}
}

func TestAHungFileServerIsLeftInTime(t *testing.T) {
	s := startSSHD(t)
	base, _ := space(t, s)
	cfg := configFor(s)
	cfg.Base, cfg.Timeout, cfg.Keepalive = base, time.Second, 200*time.Millisecond
	d := open(t, cfg)
	put := func(c vault.Content) error {
		return d.Put(t.Context(), "bob/"+vaulttest.Attempt(), c, vaulttest.Attempt())
	}
	if err := put(vaulttest.Content([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	// SSH goes on answering, only files hang: keepalives alone would wait for ever.
	if err := s.PauseSFTP(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	fault := wantFault(t, put(vaulttest.Content(vaulttest.Bytes(8<<20, 1))), vault.Target)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if !strings.Contains(fault.Hint, "hangs") {
		t.Errorf("the hint is %q", fault.Hint)
	}
	if err := put(vaulttest.Content([]byte("x"))); err != nil {
		t.Errorf("by a new connection: %v", err)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
}

func TestADeadIdleConnectionIsNoticed(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	d, proxy := far(t, s, func(c *sftp.Config) { c.Timeout, c.Keepalive = 5*time.Second, 200*time.Millisecond })
	put := func() error {
		return d.Put(t.Context(), "bob/"+vaulttest.Attempt(), vaulttest.Content([]byte("x")), vaulttest.Attempt())
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	proxy.Stall() // as a firewall that has forgotten it
	time.Sleep(2 * time.Second)
	proxy.Cut()
	proxy.Flow()
	began := time.Now()
	if err := put(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestASlowLineIsNoHang(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	d, proxy := far(t, s, func(c *sftp.Config) {
		c.Timeout, c.Keepalive, c.Verify = 2*time.Second, 600*time.Millisecond, sftp.VerifySize
	})
	proxy.SetBandwidth(512 << 10)
	began := time.Now()
	if err := d.Put(t.Context(), "bob/slow", vaulttest.Content(vaulttest.Bytes(2<<20, 1)), vaulttest.Attempt()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it took %v: the line was not slow", took)
	}
}

func TestASlowSourceIsNoHang(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	base, _ := space(t, s)
	cfg := configFor(s)
	cfg.Base, cfg.Timeout = base, 2*time.Second // more than a busy machine takes to connect
	var paused sync.Once
	c := vaulttest.Watched(vaulttest.Bytes(200<<10, 1), 64<<10, func(read int64) error {
		if read >= 64<<10 {
			paused.Do(func() { time.Sleep(2500 * time.Millisecond) }) // a bandwidth limit does that
		}
		return nil
	})
	if err := open(t, cfg).Put(t.Context(), "bob/slow", c, vaulttest.Attempt()); err != nil {
		t.Error(err)
	}
}

func TestServersThatAreAway(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp4", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, address := range map[string]string{
		"refuses":      gone.Addr().String(),
		"is silent":    silent.Addr().String(),
		"has no name":  "vault.invalid",
		"is no server": startChatter(t),
	} {
		key, _, public := newKey(t, "")
		cfg := sftp.DefaultConfig()
		cfg.Address, cfg.User, cfg.KeyFile, cfg.Timeout = address, "bob", key, time.Second
		cfg.HostKey = []string{ssh.FingerprintSHA256(public)}
		began := time.Now()
		err := tryPut(t, cfg)
		if fault := wantFault(t, err, vault.Target); fault.Hint == "" {
			t.Errorf("%s: no hint: %v", name, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}

// startChatter serves something that is not SSH.
func startChatter(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
			conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestFoldersThatAreNotThereOrNotOurs(t *testing.T) {
	s := startSSHD(t)
	base, root := space(t, s)
	cfg := configFor(s)
	cfg.Base = base + "/missing"
	if fault := wantFault(t, tryPut(t, cfg), vault.Access); !strings.Contains(fault.Hint, "base") {
		t.Errorf("the hint is %q", fault.Hint)
	}
	if os.Geteuid() != 0 {
		return // the server runs as we do, and what we close we can open
	}
	closed := filepath.Join(root, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil { // root's
		t.Fatal(err)
	}
	cfg.Base = base
	d := open(t, cfg)
	c := vaulttest.Content([]byte("x"))
	for _, p := range []string{"closed/a", "closed/new/a"} {
		if fault := wantFault(t, d.Put(t.Context(), p, c, vaulttest.Attempt()), vault.ThisPath); fault.Hint == "" {
			t.Error("no hint")
		}
	}
	_, err := d.Same(t.Context(), "closed/a", c)
	wantFault(t, err, vault.ThisPath)
	wantStagingEmpty(t, root)
	if err := d.Put(t.Context(), "open/a", c, vaulttest.Attempt()); err != nil {
		t.Error(err)
	}

	cfg.Base = base + "/closed"
	wantFault(t, tryPut(t, cfg), vault.Access)
}

func TestANameThatIsTooLongIsAFaultOfThePath(t *testing.T) {
	s := startSSHD(t)
	base, root := space(t, s)
	cfg := configFor(s)
	cfg.Base = base
	d := open(t, cfg)
	c := vaulttest.Content([]byte("x"))
	if err := d.Put(t.Context(), "bob/before", c, vaulttest.Attempt()); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"bob/" + strings.Repeat("x", 300), strings.Repeat("y", 300) + "/a", "bob/" + strings.Repeat("z", 300) + "/a"} {
		wantFault(t, d.Put(t.Context(), p, c, vaulttest.Attempt()), vault.ThisPath)
	}
	wantStagingEmpty(t, root)
	if hidden, _ := filepath.Glob(filepath.Join(root, "bob", ".*")); len(hidden) > 0 {
		t.Errorf("left behind: %q", hidden)
	}
}

// startWithDisk starts a server with a small disk at "disk".
func startWithDisk(t *testing.T, size int64) *testserver.SSHD {
	t.Helper()
	s, err := testserver.StartSSHDWithDisk(t.Context(), "", size)
	if err != nil {
		if os.Getenv("CI") != "" || os.Geteuid() == 0 && !strings.Contains(err.Error(), "unshare") && !strings.Contains(err.Error(), "mount") {
			t.Fatal(err)
		}
		t.Skipf("a small disk cannot be mounted here (it takes root, and the right to mount): %v", err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestAFullDiskConcernsTheTarget(t *testing.T) {
	s := startWithDisk(t, 4<<20)
	cfg := configFor(s)
	cfg.Base = "disk"
	d := open(t, cfg)
	root := filepath.Join(s.Root(), "disk")
	small := vaulttest.Content(vaulttest.Bytes(1<<20, 1))
	if err := d.Put(t.Context(), "bob/small", small, vaulttest.Attempt()); err != nil {
		t.Fatal(err)
	}
	fault := wantFault(t, d.Put(t.Context(), "bob/large", vaulttest.Content(vaulttest.Bytes(6<<20, 1)), vaulttest.Attempt()), vault.Target)
	if !strings.Contains(fault.Err.Error(), "full") {
		t.Errorf("it says %v", fault)
	}
	wantStagingEmpty(t, root)
	if _, err := os.Stat(filepath.Join(root, "bob", "large")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
	if err := d.Put(t.Context(), "bob/second", small, vaulttest.Attempt()); err != nil {
		t.Errorf("there is room again, but: %v", err)
	}
}

func TestSpacesOnAnotherDisk(t *testing.T) {
	t.Parallel()
	s := startWithDisk(t, 64<<20)
	cfg := configFor(s)
	d := open(t, cfg)
	root := s.Root()
	b := vaulttest.Bytes(1<<20, 1)
	for i, p := range []string{"disk/bob/2026/a", "disk/bob/2026/b", "disk/bob/c"} {
		c := vaulttest.Content(b)
		if i > 0 {
			opened := 0
			inner := c.Open
			c.Open = func() (io.ReadSeekCloser, error) { opened++; return inner() }
			defer func() {
				if p == "disk/bob/2026/b" && opened != 1 {
					t.Errorf("%s was sent %d times", p, opened)
				}
			}()
		}
		if err := d.Put(t.Context(), p, c, vaulttest.Attempt()); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(root, p)); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: %d bytes, %v", p, len(got), err)
		}
		if err := d.Put(t.Context(), p, vaulttest.Content([]byte("other")), vaulttest.Attempt()); !errors.Is(err, vault.ErrTaken) {
			t.Errorf("%s again: %v", p, err)
		}
	}
	if err := d.Copy(t.Context(), "disk/bob/c", "alice/copy", vaulttest.Content(b), vaulttest.Attempt()); err != nil {
		t.Errorf("copy from disk to disk: %v", err)
	}

	// A crash in between leaves a hidden file beside, which Sweep finds by its note.
	attempt := vaulttest.Attempt()
	broken := vaulttest.Watched(b, 64<<10, func(read int64) error {
		if read == 512<<10 {
			if _, err := s.KillSessions(); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err := d.Put(t.Context(), "disk/bob/2026/late", broken, attempt); err == nil {
		t.Error("the upload survived")
	}
	hidden := filepath.Join(root, "disk/bob/2026", ".cloakroom-"+attempt+".part")
	if _, err := os.Stat(hidden); err != nil {
		t.Fatalf("no hidden file beside: %v", err)
	}
	if n, err := d.Sweep(t.Context(), time.Hour); err != nil || n != 0 {
		t.Errorf("swept %d young files, %v", n, err)
	}
	time.Sleep(2100 * time.Millisecond)
	if n, err := d.Sweep(t.Context(), time.Second); err != nil || n == 0 {
		t.Errorf("swept %d, %v", n, err)
	}
	if _, err := os.Stat(hidden); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the hidden file is still there: %v", err)
	}
	wantStagingEmpty(t, root)
}

func TestSweepRemovesWhatDiedUploadsHeld(t *testing.T) {
	s := startSSHD(t)
	base, root := space(t, s)
	cfg := configFor(s)
	cfg.Base = base
	d := open(t, cfg)
	if err := d.Put(t.Context(), "bob/precious", vaulttest.Content([]byte("x")), vaulttest.Attempt()); err != nil {
		t.Fatal(err)
	}
	staging := filepath.Join(root, ".cloakroom-upload")
	if err := os.Chmod(staging, 0o777); err != nil { // so that the server may remove what is ours
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	plant := func(name, text string) {
		t.Helper()
		path := filepath.Join(staging, name)
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.Mkdir(path, 0o777)
		} else {
			err = os.WriteFile(path, []byte(text), 0o666)
		}
		if err == nil {
			err = os.Chmod(path, 0o777)
		}
		if err == nil {
			err = os.Chtimes(path, old, old)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	plant("lock-0123/", "")
	plant("probe-1", "")
	plant("note-gone", "bob/.cloakroom-gone.part")
	plant("note-empty", "")
	plant("a-1.part", "text")
	if n, err := d.Sweep(t.Context(), time.Minute); err != nil || n != 4 {
		t.Errorf("swept %d, %v; want 4 files", n, err)
	}
	wantStagingEmpty(t, root)

	// A note that we did not write removes nothing.
	plant("note-forged", "bob/precious")
	plant("note-outside", "../../.cloakroom-x")
	plant("b-1.part", "text")
	n, err := d.Sweep(t.Context(), time.Minute)
	if err == nil || n != 1 {
		t.Errorf("swept %d, %v; want the file, and to be told of the notes", n, err)
	}
	if _, err := os.Stat(filepath.Join(root, "bob/precious")); err != nil {
		t.Error(err)
	}
}
