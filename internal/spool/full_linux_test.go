package spool

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"cloakroom/internal/spool/smalldisk"
)

func TestFullDisk(t *testing.T) {
	dir := smalldisk.Dir(t)
	if dir == "" {
		return
	}
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := d.New(1 << 30)
	want := body(600 << 10)
	if _, err := b.Write(want); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := b.Write(body(600 << 10)); n != 0 || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("on a full disk: %d, %v", n, err)
		}
	}
	if got, err := io.ReadAll(b.Reader()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was written before is not there: %v", err)
	}
	b.Close()
	after := d.New(1 << 30)
	defer after.Close()
	if _, err := after.Write(want); err != nil {
		t.Errorf("Close did not give the disk free: %v", err)
	}
}
