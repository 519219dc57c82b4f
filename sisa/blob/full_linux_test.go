package blob_test

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"cloakroom/internal/spool/smalldisk"
	"cloakroom/sisa/blob/blobtest"
)

func TestFullDisk(t *testing.T) {
	dir := smalldisk.Dir(t)
	if dir == "" {
		return
	}
	s := openLocal(t, dir)
	kept := blobtest.Content(400_000, 1)
	ref := mustPut(t, s, kept)
	large := blobtest.Content(900_000, 2)
	for range 2 {
		existed, err := s.Put(t.Context(), blobtest.RefOf(large), blobtest.Writer(large, 10_000))
		if existed || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("on a full disk: existed %v, %v", existed, err)
		}
		if left := temps(t, dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	if got, err := os.ReadFile(filePath(dir, ref)); err != nil || !bytes.Equal(got, kept) {
		t.Errorf("an older blob changed: %d bytes, %v", len(got), err)
	}
	mustPut(t, s, blobtest.Content(400_000, 3)) // what failed takes no space
}
