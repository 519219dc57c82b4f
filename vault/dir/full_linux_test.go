package dir

// File systems that are full or read-only.

import (
	"bytes"
	"os"
	"syscall"
	"testing"

	"cloakroom/internal/spool/smalldisk"
	"cloakroom/vault"
	"cloakroom/vault/vaulttest"
)

func TestFullDisk(t *testing.T) {
	base := smalldisk.Dir(t)
	if base == "" {
		return
	}
	f := open(t, base, nil)
	kept := vaulttest.Bytes(600_000, 1)
	if err := put(t, f.Destination, "bob/kept", kept); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantScope(t, put(t, f.Destination, "bob/large", vaulttest.Bytes(900_000, 2)), vault.Target, "make room")
		wantScope(t, f.Destination.Copy(t.Context(), "bob/kept", "bob/copy 1", vaulttest.Content(kept), "a"), vault.Target, "make room")
	}
	if left, err := os.ReadDir(base + "/.cloakroom-upload"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if got, err := os.ReadFile(base + "/bob/kept"); err != nil || !bytes.Equal(got, kept) {
		t.Errorf("an older file changed: %d bytes, %v", len(got), err)
	}
	if err := put(t, f.Destination, "bob/small", vaulttest.Bytes(300_000, 3)); err != nil {
		t.Errorf("what failed takes space: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	base := smalldisk.Dir(t)
	if base == "" {
		return
	}
	f := open(t, base, nil)
	if err := put(t, f.Destination, "bob/a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", base, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	wantScope(t, put(t, f.Destination, "bob/b", []byte("x")), vault.Target, "read-only")
	if same, err := f.Destination.Same(t.Context(), "bob/a", vaulttest.Content([]byte("x"))); err != nil || !same {
		t.Errorf("same: %v, %v", same, err)
	}
}

func TestMountInASpace(t *testing.T) {
	base := smalldisk.Dir(t)
	if base == "" {
		return
	}
	if err := os.Mkdir(base+"/other", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", base+"/other", "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	f := open(t, base, nil)
	wantScope(t, put(t, f.Destination, "other/a", []byte("x")), vault.ThisPath, "target of its own")
}
