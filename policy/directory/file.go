package directory

// Users from a file.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// File answers from a YAML or CSV file, which it reads at OpenFile and at each
// Reload. Lookups never wait.
type File struct {
	path       string
	delimiters string
	log        *slog.Logger
	reload     sync.Mutex
	now        atomic.Pointer[snapshot]
}

// OpenFile reads the file at path: YAML if its name ends in .yaml or .yml, CSV
// if in .csv. delimiters are Config.Subaddress. If the file cannot be used the
// error is a *FileError, which names all places that are wrong, or tells that
// it could not be read.
func OpenFile(path, delimiters string, log *slog.Logger) (*File, error) {
	f := &File{path: path, delimiters: delimiters, log: log}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reload reads the file again. If it cannot be used, what was read before
// stays and the error is as OpenFile's.
func (f *File) Reload() error {
	f.reload.Lock()
	defer f.reload.Unlock()
	began := time.Now()
	s, err := readFile(f.path, f.now.Load().sizes())
	if err != nil {
		if f.now.Load() != nil {
			f.log.Error("directory file not reloaded; the users read before stay", "file", f.path, "error", err)
		}
		return err
	}
	f.now.Store(s)
	f.log.Info("directory file read", "file", f.path, "users", len(s.users), "addresses", len(s.addresses),
		"took", time.Since(began).Round(time.Millisecond))
	return nil
}

// Lookup implements Source. It does not fail.
func (f *File) Lookup(_ context.Context, addresses []string) (map[string]*User, error) {
	s := f.now.Load()
	found := make(map[string]*User, len(addresses))
	for _, asked := range addresses {
		if u := s.lookup(asked, f.delimiters); u != nil {
			found[asked] = u
		}
	}
	return found, nil
}

// All calls yield with each user in the order of the file, until it returns
// false. A Reload meanwhile does not show.
func (f *File) All(yield func(*User) bool) {
	s := f.now.Load()
	for i := range s.users {
		if !yield(s.user(uint32(i))) {
			return
		}
	}
}

// Len is the number of users.
func (f *File) Len() int { return len(f.now.Load().users) }

var errChanged = errors.New("the file changed while it was read; write a new file beside it and rename that")

// readFile reads a file as a whole or fails. like is what it may hold.
func readFile(path string, like sizes) (*snapshot, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("directory file: %w", err)
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("directory file: %w", err)
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("directory file: %s is not a regular file", path)
	}
	read, err := readerOf(path)
	if err != nil {
		return nil, err
	}
	ps := &problems{file: path}
	b, err := read(file, before.Size(), like, ps)
	if err != nil {
		return nil, fmt.Errorf("directory file %s: %w", path, err)
	}
	// A file that is written in place may end at any line, and the users after
	// it would be strangers.
	after, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("directory file: %w", err)
	}
	if after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return nil, fmt.Errorf("directory file %s: %w", path, errChanged)
	}
	if err := ps.err(); err != nil {
		return nil, err
	}
	return b.finish(), nil
}

// reader reads the users of a file of a size in bytes, about as many as like.
// What is wrong with its content goes to ps; an error is of the reading itself.
type reader func(file io.ReadSeeker, size int64, like sizes, ps *problems) (*builder, error)

func readerOf(path string) (reader, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml":
		return readYAML, nil
	case ".csv":
		return readCSV, nil
	}
	return nil, fmt.Errorf("directory file: the name of %s tells neither YAML (.yaml, .yml) nor CSV (.csv)", path)
}
