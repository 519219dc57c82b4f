package ftps

// A server whose disk is full.

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"cloakroom/internal/spool/smalldisk"
	"cloakroom/internal/testserver"
	"cloakroom/vault"
	"cloakroom/vault/vaulttest"
)

func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("run it as root: the server's account must own the small disk")
		}
		t.Skip("SKIPPED: only root can give a small disk to the server's account")
	}
	disk := smalldisk.Dir(t)
	if disk == "" {
		return
	}
	// The server's account must be able to reach it.
	if err := os.Chmod(filepath.Dir(disk), 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := testserver.StartProFTPDAt(t.Context(), "", disk)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	f := open(t, s, nil)
	kept := vaulttest.Bytes(400_000, 1)
	if err := put(t, f.Destination, "bob/kept", kept); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantScope(t, put(t, f.Destination, "bob/large", vaulttest.Bytes(900_000, 2)), vault.Target, "make room")
	}
	if left, err := os.ReadDir(f.Root + "/.cloakroom-upload"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if got, err := os.ReadFile(f.Root + "/bob/kept"); err != nil || !bytes.Equal(got, kept) {
		t.Errorf("an older file changed: %d bytes, %v", len(got), err)
	}
	if err := put(t, f.Destination, "bob/small", vaulttest.Bytes(300_000, 3)); err != nil {
		t.Errorf("what failed takes space: %v", err)
	}
}
