package blob

// Local: blobs as files of one directory tree.

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

const (
	// bufferSize is the size in bytes of the buffer content is gathered in:
	// decoders write in small pieces, the disk takes large ones.
	bufferSize = 128 << 10
	// tempPrefix begins the name of a file that is not a blob yet.
	tempPrefix = ".put-"
)

// Local keeps blobs as files <dir>/ab/abcdef…, named by the hash. A file under
// such a name is complete: it was written and synced under another name first.
type Local struct {
	dir     string
	buffers sync.Pool // *[bufferSize]byte
	// fannedOut tells that all subdirectories are there, and their names durable.
	fannedOut atomic.Bool

	mu      sync.Mutex
	putting map[[32]byte]chan struct{} // closed when that Put ends
	// doubted holds blobs whose directory could not be synced: a second sync
	// of the same change may report success for what the disk has lost, so
	// they are written anew instead.
	doubted map[[32]byte]bool

	known known
}

var _ Store = (*Local)(nil)

// OpenLocal opens the store in dir and makes the directory (mode 0700) when
// it is missing.
func OpenLocal(dir string) (*Local, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("blob store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob store: %w", err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, fmt.Errorf("blob store: %w", err)
	}
	return &Local{
		dir:     dir,
		buffers: sync.Pool{New: func() any { return new([bufferSize]byte) }},
		putting: make(map[[32]byte]chan struct{}),
		doubted: make(map[[32]byte]bool),
	}, nil
}

// path returns the blob's directory and file.
func (s *Local) path(sha [32]byte) (dir, file string) {
	name := hex.EncodeToString(sha[:])
	dir = filepath.Join(s.dir, name[:2])
	return dir, filepath.Join(dir, name)
}

// Open implements Store.
func (s *Local) Open(ctx context.Context, sha [32]byte) (File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, path := s.path(sha)
	f, err := os.Open(path)
	if err != nil {
		return nil, notExist(err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("blob store: %w", err)
	}
	return &localFile{f, st.Size()}, nil
}

type localFile struct {
	*os.File
	size int64
}

func (f *localFile) Size() int64 { return f.size }

// Stat implements Store.
func (s *Local) Stat(ctx context.Context, sha [32]byte) (Ref, error) {
	if err := ctx.Err(); err != nil {
		return Ref{}, err
	}
	_, path := s.path(sha)
	st, err := os.Lstat(path)
	if err != nil {
		return Ref{}, notExist(err)
	}
	if !st.Mode().IsRegular() {
		return Ref{}, fmt.Errorf("blob store: %s is not a regular file", path)
	}
	return Ref{SHA256: sha, Size: st.Size()}, nil
}

// Delete implements Store. The removal itself is not synced: a blob that
// comes back after a power failure is found by the next look for blobs that
// nothing refers to.
func (s *Local) Delete(ctx context.Context, sha [32]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, path := s.path(sha)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob store: %w", err)
	}
	return nil
}

// notExist turns the file system's word for a missing file into ErrNotExist.
func notExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotExist
	}
	return fmt.Errorf("blob store: %w", err)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
