package db

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestHeldTellsOfALockAndLeavesItAlone(t *testing.T) {
	dir := t.TempDir()
	want := func(when string, held bool, pid int) {
		t.Helper()
		if h, p, err := Held(dir); h != held || p != pid || err != nil {
			t.Errorf("%s: %v by %d, %v; want %v by %d", when, h, p, err, held, pid)
		}
	}
	want("before anything", false, 0)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("something was made: %v %v", entries, err)
	}
	lock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	want("while it is held", true, os.Getpid())
	if err := os.Truncate(filepath.Join(dir, "lock"), 0); err != nil {
		t.Fatal(err)
	}
	want("by somebody who says nothing", true, 0)
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	want("afterwards", false, 0)
	if again, err := Lock(dir); err != nil {
		t.Errorf("a look keeps the lock: %v", err)
	} else {
		again.Unlock()
	}
}

func TestCheckFindsDamageInAnOpenDatabase(t *testing.T) {
	path := fileOf(t)
	d, err := Open(t.Context(), Options{Path: path, Frozen: true}, testSchema...)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Check(t.Context()); err != nil {
		t.Errorf("of a sound one: %v", err)
	}
	d.Close()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, 4096), st.Size()-2*4096)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(t.Context(), Options{Path: path, Frozen: true}, testSchema...); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Check(t.Context()); err == nil {
		t.Error("a page of zeros is nothing to tell of")
	}
}
