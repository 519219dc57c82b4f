package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestABlobSetAsideComesBackOrEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	s, err := OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	content := "something"
	ref := Ref{SHA256: sha256.Sum256([]byte(content)), Size: int64(len(content))}
	put := func() (existed bool) {
		t.Helper()
		existed, err := s.Put(ctx, ref, func(w io.Writer) error { _, err := io.WriteString(w, content); return err })
		if err != nil {
			t.Fatal(err)
		}
		return existed
	}
	there := func() bool {
		t.Helper()
		_, err := s.Stat(ctx, ref.SHA256)
		if err != nil && !errors.Is(err, ErrNotExist) {
			t.Fatal(err)
		}
		return err == nil
	}
	do := func(f func(context.Context, [32]byte) error) {
		t.Helper()
		if err := f(ctx, ref.SHA256); err != nil {
			t.Fatal(err)
		}
	}
	aside := func() int {
		t.Helper()
		list, err := s.Aside(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}

	for _, f := range []func(context.Context, [32]byte) error{s.SetAside, s.TakeBack, s.Drop, s.Quarantine} {
		do(f) // of what is not there
	}
	put()
	do(s.SetAside)
	if there() || aside() != 1 {
		t.Errorf("set aside: there %v, aside %d", there(), aside())
	}
	if err := s.Walk(ctx, func(r Ref) error { t.Errorf("%s is walked", r); return nil }); err != nil {
		t.Error(err)
	}
	do(s.TakeBack)
	if !there() || aside() != 0 {
		t.Errorf("taken back: there %v, aside %d", there(), aside())
	}
	do(s.SetAside)
	if put() {
		t.Error("what is aside is said to exist")
	}
	do(s.TakeBack) // it was put again meanwhile
	if !there() || aside() != 0 {
		t.Errorf("put and taken back: there %v, aside %d", there(), aside())
	}
	do(s.SetAside)
	do(s.Drop)
	if there() || aside() != 0 {
		t.Errorf("dropped: there %v, aside %d", there(), aside())
	}
	put()
	do(s.Quarantine)
	files, err := os.ReadDir(filepath.Join(dir, "damaged"))
	if err != nil || len(files) != 1 || there() || aside() != 0 {
		t.Errorf("quarantined: %v, there %v, aside %d, %v", files, there(), aside(), err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for _, f := range []func(context.Context, [32]byte) error{s.SetAside, s.TakeBack, s.Drop, s.Quarantine} {
		if err := f(ended, ref.SHA256); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
	}
}
