package test

// A reader of the spaces who looks all along, as users do: whatever has its
// final name must be complete, and one of the files that were sent.

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// reader looks through the folders of a target.
type reader struct {
	root  string
	books ledger

	mu     sync.Mutex
	known  map[string]identity // by path
	looks  int
	wrong  []string
	ended  chan struct{}
	closed sync.WaitGroup
}

// identity is what a file on disk is known by.
type identity struct {
	inode, size uint64
	changed     time.Time
	sum         [32]byte
}

// lookEvery is how long the reader rests between two looks.
const lookEvery = 10 * time.Millisecond

func startReader(root string, books ledger) *reader {
	r := &reader{root: root, books: books, known: make(map[string]identity), ended: make(chan struct{})}
	r.closed.Go(func() {
		for {
			r.look()
			select {
			case <-r.ended:
				return
			case <-time.After(lookEvery):
			}
		}
	})
	return r
}

// stop ends the reader, who looks a last time.
func (r *reader) stop() {
	close(r.ended)
	r.closed.Wait()
	r.look()
}

func (r *reader) complain(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wrong) < 20 {
		r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
	}
}

// count is how many files there are, as the last look told.
func (r *reader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.known)
}

// isOurs tells the names in which uploads are prepared, and what fills the disk.
func isOurs(name string) bool { return strings.HasPrefix(name, ".cloakroom") || name == ballastName }

// look reads what is new, and misses what is gone.
func (r *reader) look() {
	found := make(map[string]bool)
	err := filepath.WalkDir(r.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if isOurs(d.Name()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(r.root, path)
		if err != nil {
			return err
		}
		found[rel] = true
		return r.read(path, rel)
	})
	if err != nil {
		r.complain("look: %v", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	for path := range r.known {
		if !found[path] {
			r.wrong = append(r.wrong, path+" is gone")
			delete(r.known, path)
		}
	}
}

// read reads a file that is new or not the same any more.
func (r *reader) read(path, rel string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // missed by look, if it was known
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	now := identity{inode: info.Sys().(*syscall.Stat_t).Ino, size: uint64(info.Size()), changed: info.ModTime()}
	r.mu.Lock()
	before, old := r.known[rel]
	r.mu.Unlock()
	if now.sum = before.sum; old && now == before {
		return nil
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	h.Sum(now.sum[:0])
	now.size = uint64(n)
	if isSidecar(rel) {
		r.readSidecar(path, rel)
	}
	if old {
		r.complain("%s changed, from %d to %d bytes", rel, before.size, n)
	}
	space, file, _ := strings.Cut(rel, "/")
	if !isSidecar(rel) && !r.books.allows(space, file, now.sum) {
		r.complain("%s has %d bytes that nobody sent by this name", rel, n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[rel] = now
	return nil
}

// isSidecar tells the files that describe others.
func isSidecar(name string) bool { return strings.HasSuffix(name, ".json") }

// readSidecar checks that a description is complete, and is of a file that came
// before it.
func (r *reader) readSidecar(path, rel string) {
	var about struct{ File, SHA256 string }
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &about)
	}
	if err != nil {
		r.complain("%s: %v", rel, err)
		return
	}
	described, err := os.ReadFile(filepath.Join(r.root, about.File))
	if sum := sha256.Sum256(described); err != nil || hex.EncodeToString(sum[:]) != about.SHA256 {
		r.complain("%s tells of %s with the SHA-256 %s, which it has not (%v)", rel, about.File, about.SHA256, err)
	}
}

// settle compares everything with what must be there: each file once.
func (r *reader) settle() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.wrong
	have := make(map[string]map[[32]byte]int)
	for rel, file := range r.known {
		space, name, _ := strings.Cut(rel, "/")
		if isSidecar(name) {
			continue
		}
		if have[space] == nil {
			have[space] = make(map[[32]byte]int)
		}
		have[space][file.sum]++
	}
	for space, contents := range r.books {
		for sum, names := range contents {
			if n := have[space][sum]; n != len(names) {
				out = append(out, fmt.Sprintf("%s has %d files with the SHA-256 %x, want %d: %v", space, n, sum[:8], len(names), names))
			}
		}
	}
	return out
}
