package vaulttest

// What puts make, and what they leave alone.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/vault"
)

func sizes(t *testing.T, f Fixture) {
	for i, size := range []int{0, 1, 57, 4096, 32<<10 + 1, 1_000_003, largeSize} {
		put(t, f, fmt.Sprintf("bob/2026/11/%d bytes.bin", size), Bytes(size, uint64(i)))
	}
	text := []byte("line\nline\r\nlone\rend\x00\xff\xf4\x1a") // no protocol may take it for text
	put(t, f, "bob/as it is.txt", text)
}

// awkward are names that are valid on any Unix file system.
var awkward = []string{
	"plain.pdf",
	"with space.pdf",
	"  two blanks in front",
	"two blanks behind  ",
	`it's a "quote" here.txt`,
	"umlaut äöü ß € 日本語 😀.docx", // NFC
	"a,b;c=d&e%20f#g+h@i!.txt",
	"[glob]*?{a,b}.txt",
	"back`tick$HOME$(x)|y>z<.txt",
	"~tilde",
	"_-dash",
	"dot.",
	"..two dots in front",
	`back\slash.txt`,
	"nbsp\u00a0and\u2028separator",
	strings.Repeat("x", 251) + ".txt",
	strings.Repeat("é", 125) + ".long", // 255 bytes
}

func names(t *testing.T, f Fixture) {
	for i, name := range awkward {
		paths := []string{"names/" + name, "folders/" + name + "/" + name}
		if strings.Contains(name, "*") { // ProFTPD makes no such folder
			paths = paths[:1]
		}
		for _, p := range paths {
			b := Bytes(100+i, uint64(i))
			if err := f.Destination.Put(t.Context(), p, Content(b), Attempt()); err != nil {
				t.Errorf("put %q: %v", p, err)
				continue
			}
			f.wantFile(t, p, b)
			if ok, err := f.Destination.Same(t.Context(), p, Content(b)); err != nil || !ok {
				t.Errorf("same %q: %v, %v", p, ok, err)
			}
			if err := f.Destination.Put(t.Context(), p, Content(b), Attempt()); !errors.Is(err, vault.ErrTaken) {
				t.Errorf("put %q again: %v", p, err)
			}
		}
	}
	if entries, err := os.ReadDir(f.file("names")); err != nil || len(entries) != len(awkward) {
		t.Errorf("%d names instead of %d, %v", len(entries), len(awkward), err)
	}
}

func badPaths(t *testing.T, f Fixture) {
	c := Content([]byte("x"))
	for _, p := range []string{"", ".", "..", "../out", "a/../../out", "/etc/out", "a//b", "a/", "a/./b", "a\r\nDELE b", "a\x00b"} {
		if err := f.Destination.Put(t.Context(), p, c, Attempt()); err == nil || errors.Is(err, vault.ErrTaken) {
			t.Errorf("put %q: %v", p, err)
		}
		if ok, err := f.Destination.Same(t.Context(), p, c); err == nil || ok {
			t.Errorf("same %q: %v, %v", p, ok, err)
		}
		if err := f.Destination.Remove(t.Context(), p); err == nil {
			t.Errorf("remove %q: no error", p)
		}
	}
	f.wantNothing(t)
}

func folders(t *testing.T, f Fixture) {
	const puts = 8
	var wg sync.WaitGroup
	for i := range puts {
		wg.Go(func() {
			p := fmt.Sprintf("new space/2026/11/file %d", i)
			if err := f.Destination.Put(t.Context(), p, Content(Bytes(1000+i, uint64(i))), Attempt()); err != nil {
				t.Errorf("put %q: %v", p, err)
			}
		})
	}
	wg.Wait()
	for i := range puts {
		f.wantFile(t, fmt.Sprintf("new space/2026/11/file %d", i), Bytes(1000+i, uint64(i)))
	}
}

func fileInTheWay(t *testing.T, f Fixture) {
	b := []byte("a file")
	put(t, f, "bob/report", b)
	err := f.Destination.Put(t.Context(), "bob/report/2026/x.txt", Content([]byte("x")), Attempt())
	wantFault(t, err, vault.ThisPath)
	f.wantFile(t, "bob/report", b)
	f.wantNothing(t, "bob/report")
}

// neverPartial reads all along while files appear. The disk of the poller's
// machine is the server's.
func neverPartial(t *testing.T, f Fixture) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wants := map[string][32]byte{}
	contents := map[string][]byte{}
	for i := range 3 {
		p := fmt.Sprintf("bob/whole %d.bin", i)
		contents[p] = Bytes(largeSize+i, uint64(i))
		wants[p] = sha256.Sum256(contents[p])
	}
	seen := map[string]int{}
	wg.Go(func() {
		for last := false; ; {
			for p, want := range wants {
				if seen[p] > 3 {
					continue
				}
				file, err := os.Open(f.file(p))
				if err != nil {
					continue
				}
				h := sha256.New()
				n, err := io.Copy(h, file)
				file.Close()
				if seen[p]++; err != nil || [32]byte(h.Sum(nil)) != want {
					t.Errorf("%q had %d bytes that are not its content (%v)", p, n, err)
				}
			}
			if last {
				return
			}
			select {
			case <-stop:
				last = true // one more look
			case <-time.After(time.Millisecond):
			}
		}
	})
	for p, b := range contents {
		if err := f.Destination.Put(t.Context(), p, Content(b), Attempt()); err != nil {
			t.Errorf("put %q: %v", p, err)
		}
	}
	close(stop)
	wg.Wait()
	for p := range wants {
		if seen[p] == 0 {
			t.Errorf("%q was never seen", p)
		}
	}
}

func taken(t *testing.T, f Fixture) {
	first := Bytes(10_000, 1)
	put(t, f, "bob/a.txt", first)
	put(t, f, "bob/folder/b.txt", first)
	put(t, f, "bob/empty", nil)
	for p, b := range map[string][]byte{
		"bob/a.txt":  Bytes(10_000, 2),
		"bob/folder": Bytes(10, 3),
		"bob":        Bytes(10, 4),
		"bob/empty":  nil,
	} {
		if err := f.Destination.Put(t.Context(), p, Content(b), Attempt()); !errors.Is(err, vault.ErrTaken) {
			t.Errorf("put %q: %v", p, err)
		}
	}
	if err := f.Destination.Put(t.Context(), "bob/a.txt", Content(first), Attempt()); !errors.Is(err, vault.ErrTaken) {
		t.Errorf("put the same again: %v", err)
	}
	f.wantFile(t, "bob/a.txt", first)
	f.wantFile(t, "bob/folder/b.txt", first)
	f.wantNothing(t, "bob/a.txt", "bob/folder/b.txt", "bob/empty")
	if _, hidden := f.list(t); len(hidden) != 0 {
		t.Errorf("left behind: %q", hidden)
	}
}

func race(t *testing.T, f Fixture) {
	const puts = 8
	for round := range 3 {
		p := fmt.Sprintf("bob/race %d", round)
		errs := make([]error, puts)
		var wg sync.WaitGroup
		for i := range puts {
			wg.Go(func() {
				errs[i] = f.Destination.Put(t.Context(), p, Content(Bytes(50_000+i, uint64(i))), Attempt())
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Errorf("both %d and %d were told that they won", winner, i)
			case !errors.Is(err, vault.ErrTaken):
				t.Errorf("put %d: %v", i, err)
			}
		}
		if winner < 0 {
			t.Fatal("nobody won")
		}
		f.wantFile(t, p, Bytes(50_000+winner, uint64(winner)))
	}
	if _, hidden := f.list(t); len(hidden) != 0 {
		t.Errorf("left behind: %q", hidden)
	}
}

func same(t *testing.T, f Fixture) {
	b := Bytes(100_000, 1)
	put(t, f, "bob/a.bin", b)
	put(t, f, "bob/empty", nil)
	if err := os.Symlink("a.bin", f.file("bob/link")); err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err) // a folder of the server's account may not be ours
	}
	for _, c := range []struct {
		path    string
		content []byte
		want    bool
	}{
		{"bob/a.bin", b, true},
		{"bob/a.bin", Bytes(100_000, 2), false},
		{"bob/a.bin", b[1:], false},
		{"bob/a.bin", nil, false},
		{"bob/empty", nil, true},
		{"bob/empty", b, false},
		{"bob", b, false},
		{"bob", nil, false},
		{"bob/link", b, false},
	} {
		if c.path == "bob/link" {
			if _, err := os.Lstat(f.file(c.path)); err != nil {
				continue
			}
		}
		if got, err := f.Destination.Same(t.Context(), c.path, Content(c.content)); err != nil || got != c.want {
			t.Errorf("same %q of %d bytes: %v, %v", c.path, len(c.content), got, err)
		}
	}
	for _, p := range []string{"bob/missing", "nobody/missing", "nobody/at all/missing"} {
		if got, err := f.Destination.Same(t.Context(), p, Content(b)); !errors.Is(err, fs.ErrNotExist) || got {
			t.Errorf("same %q: %v, %v", p, got, err)
		}
	}
}

func sameTampered(t *testing.T, f Fixture) {
	b := Bytes(1_000_000, 1)
	put(t, f, "bob/a.bin", b)
	tamper(t, f.file("bob/a.bin"), len(b)-1)
	if got, err := f.Destination.Same(t.Context(), "bob/a.bin", Content(b)); err != nil || got {
		t.Errorf("same: %v, %v", got, err)
	}
}

// tamper changes one byte, and neither size nor times.
func tamper(t *testing.T, name string, offset int) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var b [1]byte
	if _, err := file.ReadAt(b[:], int64(offset)); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := file.WriteAt(b[:], int64(offset)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
}
