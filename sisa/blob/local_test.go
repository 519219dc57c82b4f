package blob_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/sisa/blob"
	"cloakroom/sisa/blob/blobtest"
)

func openLocal(t testing.TB, dir string) *blob.Local {
	t.Helper()
	s, err := blob.OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLocal(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		dir := filepath.Join(t.TempDir(), "blobs")
		t.Cleanup(func() {
			for _, name := range temps(t, dir) {
				t.Errorf("left behind: %s", name)
			}
		})
		return openLocal(t, dir)
	})
}

// temps lists the files that are not blobs.
func temps(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && len(e.Name()) != 64 {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func filePath(dir string, ref blob.Ref) string {
	name := hex.EncodeToString(ref.SHA256[:])
	return filepath.Join(dir, name[:2], name)
}

func mustPut(t testing.TB, s *blob.Local, b []byte) blob.Ref {
	t.Helper()
	ref := blobtest.RefOf(b)
	if _, err := s.Put(context.Background(), ref, blobtest.Writer(b, 64<<10)); err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestFilesAreOnlyForTheOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	path := filePath(dir, mustPut(t, openLocal(t, dir), []byte("x")))
	for p, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700, dir: 0o700} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", p, st.Mode(), err)
		}
	}
}

func TestBlobsOutliveTheStore(t *testing.T) {
	dir := t.TempDir()
	b := blobtest.Content(1000, 1)
	mustPut(t, openLocal(t, dir), b)
	existed, err := openLocal(t, dir).Put(t.Context(), blobtest.RefOf(b), nil)
	if err != nil || !existed {
		t.Errorf("existed %v, %v", existed, err)
	}
}

func TestDamagedFileIsReplaced(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	b := blobtest.Content(1000, 1)
	ref := mustPut(t, s, b)
	path := filePath(dir, ref)
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	existed, err := s.Put(t.Context(), ref, blobtest.Writer(b, 100))
	if err != nil || existed {
		t.Fatalf("existed %v, %v", existed, err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b) {
		t.Errorf("not replaced: %d bytes, %v", len(got), err)
	}
}

func TestWriterIsUselessAfterItsPut(t *testing.T) {
	s := openLocal(t, t.TempDir())
	b := blobtest.Content(1000, 1)
	var kept io.Writer
	_, err := s.Put(t.Context(), blobtest.RefOf(b), func(w io.Writer) error {
		kept = w
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Write([]byte("late")); err == nil {
		t.Error("a late write was accepted")
	}
}

func TestPanicOfTheContentLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	b := blobtest.Content(1000, 1)
	func() {
		defer func() { recover() }()
		s.Put(t.Context(), blobtest.RefOf(b), func(w io.Writer) error {
			w.Write(b[:10])
			panic("decoder")
		})
	}()
	if left := temps(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.Put(ctx, blobtest.RefOf(b), blobtest.Writer(b, 100)); err != nil {
		t.Errorf("the blob is blocked: %v", err)
	}
}

func TestSweepRemovesOldTemporaryFilesOnly(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	ref := mustPut(t, s, []byte("x"))
	fan := filepath.Dir(filePath(dir, ref))
	now := time.Now()
	for name, age := range map[string]time.Duration{".put-old": 48 * time.Hour, ".put-new": time.Minute, "note.txt": 48 * time.Hour} {
		path := filepath.Join(fan, name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filePath(dir, ref), now.Add(-48*time.Hour), now.Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	n, err := s.Sweep(t.Context(), now.Add(-24*time.Hour))
	if err != nil || n != 1 {
		t.Errorf("%d removed, %v", n, err)
	}
	got := strings.Join(temps(t, dir), " ")
	if strings.Contains(got, "old") || !strings.Contains(got, "new") || !strings.Contains(got, "note") {
		t.Errorf("left: %s", got)
	}
	if _, err := s.Stat(t.Context(), ref.SHA256); err != nil {
		t.Error(err)
	}
	seen := 0
	s.Walk(t.Context(), func(blob.Ref) error { seen++; return nil })
	if seen != 1 {
		t.Errorf("walk saw %d blobs", seen)
	}
}

func TestTwoProcessesPutTheSame(t *testing.T) {
	dir := t.TempDir()
	a, b := openLocal(t, dir), openLocal(t, dir)
	content := blobtest.Content(3<<20, 1)
	ref := blobtest.RefOf(content)
	errs := make(chan error, 2)
	for _, s := range []*blob.Local{a, b} {
		go func() {
			_, err := s.Put(context.Background(), ref, blobtest.Writer(content, 10_000))
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got, err := os.ReadFile(filePath(dir, ref)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if left := temps(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestStoreThatCannotBeOpened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.OpenLocal(file); err == nil {
		t.Error("a file was taken for a store")
	}
}

const killDir = "CLOAKROOM_TEST_KILL_DIR"

// TestKilledProcess is its own child: with killDir set it puts blobs until it
// is killed in the midst of them.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		putForever(dir)
	}
	for round := range 4 {
		dir := t.TempDir()
		acknowledged := killAfter(t, dir, 5+5*round)
		s := openLocal(t, dir)
		stored := make(map[string]bool)
		err := s.Walk(t.Context(), func(r blob.Ref) error {
			name := hex.EncodeToString(r.SHA256[:])
			stored[name] = true
			b, err := os.ReadFile(filePath(dir, r))
			if err != nil || blobtest.RefOf(b) != r {
				t.Errorf("%s has other content (%d bytes, %v)", name, len(b), err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range acknowledged {
			if !stored[name] {
				t.Errorf("%s was acknowledged and is not there", name)
			}
		}
		if _, err := s.Sweep(t.Context(), time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		if left := temps(t, dir); len(left) != 0 {
			t.Errorf("left after the sweep: %v", left)
		}
	}
}

func putForever(dir string) {
	s, err := blob.OpenLocal(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	for g := range uint64(4) {
		go func() {
			for i := uint64(0); ; i++ {
				b := blobtest.Content(700_000, g<<32|i)
				ref := blobtest.RefOf(b)
				if _, err := s.Put(context.Background(), ref, blobtest.Writer(b, 10_000)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(3)
				}
				fmt.Println(hex.EncodeToString(ref.SHA256[:]))
			}
		}()
	}
	select {}
}

// killAfter runs the child, kills it once it acknowledged n blobs, and
// returns all that it acknowledged.
func killAfter(t *testing.T, dir string, n int) (names []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(out); in.Scan(); {
		names = append(names, in.Text())
		if len(names) == n {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if len(names) < n {
		t.Fatalf("the child ended by itself after %d blobs", len(names))
	}
	return names
}

func BenchmarkPut(b *testing.B) {
	for name, size := range map[string]int{"100KB": 100 << 10, "1MB": 1 << 20, "10MB": 10 << 20} {
		content := blobtest.Content(size, 1)
		b.Run("new/"+name, func(b *testing.B) {
			s := openLocal(b, b.TempDir())
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				copy(content, fmt.Sprint(i, " "))
				ref := blobtest.RefOf(content)
				b.StartTimer()
				if _, err := s.Put(b.Context(), ref, blobtest.Writer(content, 64<<10)); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				s.Delete(b.Context(), ref.SHA256)
				b.StartTimer()
			}
		})
		b.Run("existing/"+name, func(b *testing.B) {
			s := openLocal(b, b.TempDir())
			ref := mustPut(b, s, content)
			b.ReportAllocs()
			for b.Loop() {
				if existed, err := s.Put(b.Context(), ref, nil); err != nil || !existed {
					b.Fatal(existed, err)
				}
			}
		})
	}
}

func TestContentOfAKnownHashIsStoredAsItIs(t *testing.T) {
	s := openLocal(t, t.TempDir())
	for _, b := range [][]byte{[]byte("short"), bytes.Repeat([]byte("0123456789abcdef"), 30<<10)} {
		ref := blob.Ref{SHA256: sha256.Sum256(b), Size: int64(len(b))}
		wrong := ref
		wrong.Size--
		if _, err := s.PutHashed(t.Context(), wrong, b); !errors.Is(err, blob.ErrMismatch) {
			t.Errorf("a byte too many: %v", err)
		}
		if existed, err := s.PutHashed(t.Context(), ref, b); existed || err != nil {
			t.Fatalf("existed %v, %v", existed, err)
		}
		if got := content(t, s, ref); !bytes.Equal(got, b) {
			t.Errorf("%d bytes read back, %d written", len(got), len(b))
		}
		if existed, err := s.PutHashed(t.Context(), ref, b); !existed || err != nil {
			t.Errorf("again: existed %v, %v", existed, err)
		}
	}
}
