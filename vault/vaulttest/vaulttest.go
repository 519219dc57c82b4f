// Package vaulttest holds the properties that every vault destination must have.
// A destination's own tests call Run.
package vaulttest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/vault"
)

const (
	// largeSize is the size in bytes of a large file: many times the buffer or
	// packet of any protocol, and no multiple of one.
	largeSize = 5<<20 + 13
	// cancelLimit bounds the end of a call after that of its context.
	cancelLimit = 5 * time.Second
	// slack is what a busy machine adds to a timeout.
	slack = 10 * time.Second
)

// Fixture is a fresh destination, and its files as seen from the other side.
type Fixture struct {
	Destination vault.Destination
	// Root is the folder of this machine that is the destination's base: empty
	// but for what the destination keeps there for itself.
	Root string

	// Kill, if there is one, ends all connections as a crash of the server would;
	// new ones can be made when it returns.
	Kill func(t *testing.T)
	// Pause and Resume, if there are such, halt the server and let it go on, as a
	// hung machine would: connections stay open, nothing is answered. Resume is
	// harmless where nothing was paused.
	Pause, Resume func(t *testing.T)
	// Timeout is within what a call against a paused server fails.
	Timeout time.Duration
}

// Start starts what destinations need, such as a server, until the end of t. What
// it gives opens a fresh Fixture.
type Start func(t *testing.T) (open func(t *testing.T) Fixture)

// property is one that every destination has.
type property struct {
	name string
	run  func(t *testing.T, f Fixture)
}

// harmless leave the server alone.
var harmless = []property{
	{"what is put is there, of any size", sizes},
	{"awkward names", names},
	{"paths that leave the base are refused", badPaths},
	{"folders are made, by many at once", folders},
	{"a file in the way of a folder is a fault of the path", fileInTheWay},
	{"nobody sees a part of a file", neverPartial},
	{"what exists is not replaced", taken},
	{"of puts to one path at once exactly one wins", race},
	{"same", same},
	{"same does not believe the time or the size", sameTampered},
	{"copy", copies},
	{"copy of what users changed", copyTampered},
	{"copy does not replace", copyTaken},
	{"content that is not what was announced", badContent},
	{"a failed put can be followed by success", retry},
	{"a cancelled put", cancelled},
	{"a context that has ended does nothing", ended},
	{"temporary files are hidden and gone after success", temporary},
	{"sweep removes old temporary files and nothing else", sweep},
	{"remove", remove},
	{"after close every call fails", closed},
	{"close ends calls under way", closeUnderWay},
	{"progress is monotone and ends at the size", progress},
}

// harmful kill or halt the server, so each has one of its own. They wait much,
// and do so beside the others.
var harmful = []property{
	{"a killed connection leaves all or nothing", killed},
	{"a server that hangs", hung},
}

// Run checks a destination.
func Run(t *testing.T, start Start) {
	open := start(t)
	// It measures the heap of the whole process, so nothing may run beside it.
	t.Run("memory does not grow with the file", func(t *testing.T) { memory(t, open(t)) })
	t.Run("beside each other", func(t *testing.T) {
		t.Run("harmless", func(t *testing.T) {
			t.Parallel()
			for _, p := range harmless {
				t.Run(p.name, func(t *testing.T) { p.run(t, open(t)) })
			}
		})
		for _, p := range harmful {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				p.run(t, start(t)(t))
			})
		}
	})
}

var attempts atomic.Int64

// Attempt is a new name for an attempt.
func Attempt() string { return fmt.Sprintf("job-%08d-A%d", attempts.Add(1), os.Getpid()) }

// put makes path hold the content, or fails the test.
func put(t *testing.T, f Fixture, path string, b []byte) {
	t.Helper()
	if err := f.Destination.Put(t.Context(), path, Content(b), Attempt()); err != nil {
		t.Fatalf("put %q: %v", path, err)
	}
	f.wantFile(t, path, b)
}

func (f Fixture) file(path string) string { return filepath.Join(f.Root, filepath.FromSlash(path)) }

func (f Fixture) wantFile(t *testing.T, path string, b []byte) {
	t.Helper()
	got, err := os.ReadFile(f.file(path))
	if err != nil {
		t.Errorf("%q: %v", path, err)
	} else if !bytes.Equal(got, b) {
		t.Errorf("%q holds %d bytes %x, want %d bytes %x", path, len(got), sha256.Sum256(got), len(b), sha256.Sum256(b))
	}
}

// wantNothing checks that no file can be seen below the base but those named.
func (f Fixture) wantNothing(t *testing.T, but ...string) {
	t.Helper()
	known := map[string]bool{}
	for _, path := range but {
		known[path] = true
	}
	visible, _ := f.list(t)
	for _, path := range visible {
		if !known[path] {
			t.Errorf("%q is there", path)
		}
	}
}

// list gives the files below the base: those that users see, and those that
// are hidden or in a hidden folder.
func (f Fixture) list(t *testing.T) (visible, hidden []string) {
	t.Helper()
	err := filepath.WalkDir(f.Root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		path, err = filepath.Rel(f.Root, path)
		path = filepath.ToSlash(path)
		if strings.Contains("/"+path, "/.") {
			hidden = append(hidden, path)
		} else {
			visible = append(visible, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return visible, hidden
}

// holding lists the hidden files with attempt in their name.
func (f Fixture) holding(t *testing.T, attempt string) (found []string) {
	t.Helper()
	_, hidden := f.list(t)
	for _, path := range hidden {
		if strings.Contains(path, attempt) {
			found = append(found, path)
		}
	}
	return found
}

// wantFault checks that err is a Fault, of one of the scopes if there are any.
func wantFault(t *testing.T, err error, scopes ...vault.Scope) {
	t.Helper()
	var fault *vault.Fault
	if !errors.As(err, &fault) {
		t.Errorf("got %v, which is no Fault", err)
		return
	}
	for _, scope := range scopes {
		if fault.Scope == scope {
			return
		}
	}
	if len(scopes) > 0 {
		t.Errorf("the scope is %d, want one of %d: %v", fault.Scope, scopes, err)
	}
}
