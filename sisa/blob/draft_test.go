package blob_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"cloakroom/sisa/blob"
)

func mustDraft(t *testing.T, s *blob.Local, b []byte) (*blob.Draft, blob.Ref) {
	t.Helper()
	d, err := s.Draft()
	if err != nil {
		t.Fatal(err)
	}
	for rest := b; len(rest) > 0; {
		n := min(len(rest), 3<<20)
		if _, err := d.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	return d, blob.Ref{SHA256: sha256.Sum256(b), Size: int64(len(b))}
}

func content(t *testing.T, s *blob.Local, ref blob.Ref) []byte {
	t.Helper()
	f, err := s.Open(t.Context(), ref.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAKeptDraftIsABlob(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	large := bytes.Repeat([]byte("0123456789abcdef"), 600<<10) // more than is written behind at once
	for _, b := range [][]byte{nil, []byte("short"), large} {
		d, ref := mustDraft(t, s, b)
		if existed, err := d.Keep(t.Context(), ref); existed || err != nil {
			t.Fatalf("existed %v, %v", existed, err)
		}
		if got := content(t, s, ref); !bytes.Equal(got, b) {
			t.Errorf("%d bytes read back, %d written", len(got), len(b))
		}
		again, _ := mustDraft(t, s, b)
		if existed, err := again.Keep(t.Context(), ref); !existed || err != nil {
			t.Errorf("the same again: existed %v, %v", existed, err)
		}
	}
	if left := temps(t, dir); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestADraftThatIsNotKeptLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	d, ref := mustDraft(t, s, []byte("content"))
	ref.Size++
	if _, err := d.Keep(t.Context(), ref); !errors.Is(err, blob.ErrMismatch) {
		t.Errorf("another size: %v", err)
	}
	d, ref = mustDraft(t, s, []byte("content"))
	d.Discard()
	d.Discard()
	if _, err := d.Write([]byte("more")); err == nil {
		t.Error("a draft is written after its end")
	}
	if _, err := d.Keep(t.Context(), ref); err == nil {
		t.Error("a draft is kept after its end")
	}
	if left := temps(t, dir); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
	if _, err := s.Stat(t.Context(), ref.SHA256); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("a blob was made: %v", err)
	}
}

func TestSweepRemovesDraftsOfADeadProcess(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	d, _ := mustDraft(t, s, []byte("content")) // and the process dies
	if n, err := s.Sweep(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("a young draft: %d swept, %v", n, err)
	}
	if n, err := s.Sweep(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("%d swept, %v", n, err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, ".put-*")); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
	d.Discard()
}

func TestDraftsAndPutsOfOneBlobMeet(t *testing.T) {
	s := openLocal(t, t.TempDir())
	b := bytes.Repeat([]byte("x"), 1<<20)
	ref := blob.Ref{SHA256: sha256.Sum256(b), Size: int64(len(b))}
	var all sync.WaitGroup
	for i := range 8 {
		d, _ := mustDraft(t, s, b)
		all.Go(func() {
			var err error
			if i%2 == 0 {
				_, err = d.Keep(t.Context(), ref)
			} else {
				d.Discard()
				_, err = s.Put(t.Context(), ref, func(w io.Writer) error { _, err := w.Write(b); return err })
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if !bytes.Equal(content(t, s, ref), b) {
		t.Error("the blob differs")
	}
}

func TestADraftOnAReadOnlyStoreIsAnError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := openLocal(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Draft(); err == nil {
		t.Error("a draft was begun without a place for it")
	}
}
