package spool

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
)

func testDir(t testing.TB) (*Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spool")
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

func body(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	d, path := testDir(t)
	for _, size := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, MemoryLimit - 1, MemoryLimit, MemoryLimit + 1, 3*MemoryLimit + 7} {
		for _, step := range []int{1000, 65535, size + 1} {
			b, want := d.New(1<<30), body(size)
			for rest := want; len(rest) > 0; {
				n, err := b.Write(rest[:min(step, len(rest))])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if b.Size() != int64(size) {
				t.Fatalf("size %d, want %d", b.Size(), size)
			}
			if inFile := b.file != nil; inFile != (size > MemoryLimit) {
				t.Errorf("%d bytes in a file: %v", size, inFile)
			}
			if inFile := b.file != nil; inFile == (len(b.chunks) > 0) && size > 0 {
				t.Errorf("%d bytes are held twice", size)
			}
			if got, err := io.ReadAll(b.Reader()); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes in steps of %d: read something else (%v)", size, step, err)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestReaderKeepsToTheRules(t *testing.T) {
	d, _ := testDir(t)
	for _, size := range []int{0, 3*chunkSize + 5, MemoryLimit + 1} {
		b := d.New(1 << 30)
		want := body(size)
		b.Write(want)
		if err := iotest.TestReader(b.Reader(), want); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		b.Close()
	}
}

func TestSpilledFileHasNoName(t *testing.T) {
	d, path := testDir(t)
	b := d.New(1 << 30)
	defer b.Close()
	if _, err := b.Write(body(MemoryLimit + 1)); err != nil {
		t.Fatal(err)
	}
	if b.file == nil {
		t.Fatal("not in a file")
	}
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 0 {
		t.Errorf("visible: %v, %v", entries, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", st.Mode(), err)
	}
}

func TestFallbackFileHasNoName(t *testing.T) {
	path := t.TempDir()
	f, err := unlinkedFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 0 {
		t.Errorf("visible: %v, %v", entries, err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Error(err)
	}
}

func TestMaximum(t *testing.T) {
	d, _ := testDir(t)
	for _, max := range []int{0, 10, MemoryLimit, 2 * MemoryLimit} {
		b := d.New(int64(max))
		if n, err := b.Write(body(max)); n != max || err != nil {
			t.Fatalf("%d bytes: %d, %v", max, n, err)
		}
		for range 2 {
			if n, err := b.Write([]byte("x")); n != 0 || !errors.Is(err, ErrTooLarge) {
				t.Errorf("one byte over %d: %d, %v", max, n, err)
			}
		}
		if b.Size() != int64(max) {
			t.Errorf("size %d", b.Size())
		}
		if got, err := io.ReadAll(b.Reader()); err != nil || !bytes.Equal(got, body(max)) {
			t.Errorf("what was written before is not there: %v", err)
		}
		b.Close()
	}
}

func TestReadAtTheEdges(t *testing.T) {
	d, _ := testDir(t)
	for _, size := range []int{100, MemoryLimit + 100} {
		b := d.New(1 << 30)
		want := body(size)
		b.Write(want)
		p := make([]byte, 10)
		if n, err := b.ReadAt(p, int64(size)-4); n != 4 || err != io.EOF || !bytes.Equal(p[:4], want[size-4:]) {
			t.Errorf("across the end: %d, %v", n, err)
		}
		if n, err := b.ReadAt(p, int64(size)); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		if _, err := b.ReadAt(p, -1); err == nil || err == io.EOF {
			t.Errorf("before the start: %v", err)
		}
		if n, err := b.ReadAt(p, int64(size)-10); n != 10 || (err != nil && err != io.EOF) {
			t.Errorf("up to the end: %d, %v", n, err)
		}
		b.Close()
	}
}

func TestClose(t *testing.T) {
	d, _ := testDir(t)
	for _, size := range []int{100, MemoryLimit + 100} {
		b := d.New(1 << 30)
		b.Write(body(size))
		for range 2 {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := b.ReadAt(make([]byte, 1), 0); err != ErrClosed {
			t.Errorf("read after close: %v", err)
		}
		if _, err := b.Write([]byte("x")); err != ErrClosed {
			t.Errorf("write after close: %v", err)
		}
	}
}

// Freed memory goes to the next mail: a reader must never see that.
func TestCloseDuringReadsNeverShowsAnotherMail(t *testing.T) {
	d, _ := testDir(t)
	for range 50 {
		a := d.New(1 << 20)
		a.Write(bytes.Repeat([]byte{'a'}, MemoryLimit))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				p := make([]byte, MemoryLimit)
				for {
					n, err := a.ReadAt(p, 0)
					if i := bytes.IndexByte(p[:n], 'b'); i >= 0 {
						t.Errorf("byte %d is another mail's", i)
					}
					if err != nil {
						return
					}
				}
			})
		}
		a.Close()
		b := d.New(1 << 20)
		b.Write(bytes.Repeat([]byte{'b'}, MemoryLimit))
		wg.Wait()
		b.Close()
	}
}

func TestDirectoryThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(file); err == nil {
		t.Error("a file was taken for a directory")
	}
	d, path := testDir(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	b := d.New(1 << 30)
	defer b.Close()
	if n, err := b.Write(body(MemoryLimit + 1)); n != 0 || err == nil {
		t.Errorf("wrote %d, %v without a directory", n, err)
	}
}

func BenchmarkBuffer(b *testing.B) {
	for name, size := range map[string]int{"10KB": 10 << 10, "200KB": 200 << 10, "10MB": 10 << 20} {
		b.Run(name, func(b *testing.B) {
			d, _ := testDir(b)
			chunk := body(min(size, 65535))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				buf := d.New(1 << 30)
				for left := size; left > 0; left -= len(chunk) {
					buf.Write(chunk[:min(left, len(chunk))])
				}
				buf.Close()
			}
		})
	}
}
