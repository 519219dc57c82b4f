package unixsocket

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketGetsItsMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := Listen(path, 0o620)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o620 {
		t.Errorf("mode %o", got)
	}
}

func TestSocketOfAProcessThatIsGoneIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	ln, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
}

func TestWhatIsNotAStaleSocketStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	live, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if _, err := Listen(path, 0o600); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a socket in use: %v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the listener in use was cut off: %v", err)
	} else {
		c.Close()
	}

	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("mail"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file, 0o600); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
	if info, err := os.Lstat(file); err != nil || info.Mode().Type() == fs.ModeSocket || info.Size() != 4 {
		t.Errorf("the file was touched: %v", err)
	}
}
