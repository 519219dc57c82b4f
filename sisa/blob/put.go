package blob

// Local.Put: temp file, sync, rename, sync of the directory.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Put implements Store. Of several Puts of one blob in this process one
// writes, the others wait for it and take what it made; another process writes
// its own copy, and the two files are the same whoever renames last.
func (s *Local) Put(ctx context.Context, ref Ref, content func(io.Writer) error) (existed bool, err error) {
	return s.put(ctx, ref, sha256.New(), content)
}

// PutHashed is Put of what its caller has hashed already: ref.SHA256 must be the
// hash of exactly these bytes.
func (s *Local) PutHashed(ctx context.Context, ref Ref, content []byte) (existed bool, err error) {
	return s.put(ctx, ref, nil, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// put compares the content with ref.SHA256, but for a sum that is nil.
func (s *Local) put(ctx context.Context, ref Ref, sum hash.Hash, content func(io.Writer) error) (existed bool, err error) {
	end, err := s.begin(ctx, ref.SHA256)
	if err != nil {
		return false, err
	}
	defer end()
	there, err := s.durable(ref)
	if err != nil || there {
		return there, err
	}
	dir, _ := s.path(ref.SHA256)
	if err := s.fanOut(); err != nil {
		return false, fmt.Errorf("blob store: %w", err)
	}
	temp, err := s.write(ctx, dir, ref, sum, content)
	if err != nil {
		return false, err
	}
	return false, s.name(temp, ref)
}

// begin waits until no other Put of this blob is under way.
func (s *Local) begin(ctx context.Context, sha [32]byte) (end func(), err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		other, busy := s.putting[sha]
		if !busy {
			mine := make(chan struct{})
			s.putting[sha] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.putting, sha)
				s.mu.Unlock()
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// durable tells whether the blob is there for good. A complete file may be
// there because another process has just renamed it and not yet synced the
// directory, so it is synced here unless that was done before: the sync takes
// about a millisecond even where there is nothing to write.
// A file of the wrong size is damaged, and is replaced.
func (s *Local) durable(ref Ref) (bool, error) {
	if ref.Size < 0 {
		return false, fmt.Errorf("%w: negative size", ErrMismatch)
	}
	s.mu.Lock()
	doubted := s.doubted[ref.SHA256]
	s.mu.Unlock()
	if doubted {
		return false, nil
	}
	dir, path := s.path(ref.SHA256)
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("blob store: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() != ref.Size {
		return false, nil
	}
	if s.known.has(ref.SHA256, st) {
		return true, nil
	}
	if err := s.fanOut(); err != nil {
		return false, fmt.Errorf("blob store: %w", err)
	}
	if err := syncDir(dir); err != nil {
		s.doubt(ref.SHA256, true)
		return false, fmt.Errorf("blob store: sync directory: %w", err)
	}
	s.known.add(ref.SHA256, st)
	return true, nil
}

func (s *Local) doubt(sha [32]byte, doubted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if doubted {
		s.doubted[sha] = true
	} else {
		delete(s.doubted, sha)
	}
}

// fanOut makes the subdirectories and, once per process, their names durable:
// they may have been made by a process that did not live to sync them. All at
// once, so that one sync serves every mail to come.
func (s *Local) fanOut() error {
	if s.fannedOut.Load() {
		return nil
	}
	for first := range 256 {
		if err := os.Mkdir(filepath.Join(s.dir, fmt.Sprintf("%02x", first)), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	s.fannedOut.Store(true)
	return nil
}

// write makes a synced temporary file with the content and returns its name.
func (s *Local) write(ctx context.Context, dir string, ref Ref, sum hash.Hash, content func(io.Writer) error) (name string, err error) {
	f, err := os.CreateTemp(dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("blob store: %w", err)
	}
	kept := false
	defer func() {
		if !kept {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	buf := s.buffers.Get().(*[bufferSize]byte)
	w := &sink{ctx: ctx, file: f, hash: sum, want: ref.Size, buf: buf[:]}
	err = content(w)
	if err == nil {
		err = w.finish(ref)
	} else if w.err != nil {
		err = w.err // whatever content made of it
	}
	w.err = errors.New("blob store: written to after the content function returned")
	s.buffers.Put(buf)
	if err != nil {
		return "", err
	}
	// A failed sync is never tried again: the kernel may have dropped the
	// pages, and a second one would report success.
	if err := f.Sync(); err != nil {
		return "", fmt.Errorf("blob store: sync: %w", err)
	}
	if err := f.Close(); err != nil {
		return "", fmt.Errorf("blob store: %w", err)
	}
	kept = true
	return f.Name(), nil
}

// sink gathers, hashes and writes content. It refuses the first byte too many
// instead of filling the disk with it.
type sink struct {
	ctx  context.Context
	file *os.File
	hash hash.Hash // nil: the caller knows it
	size int64     // accepted so far
	want int64
	buf  []byte
	n    int   // bytes in buf
	err  error // the first error; every later Write returns it
}

func (w *sink) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if int64(len(p)) > w.want-w.size {
		w.err = fmt.Errorf("%w: more than %d bytes", ErrMismatch, w.want)
		return 0, w.err
	}
	w.size += int64(len(p))
	done := len(p)
	for len(p) > 0 {
		if w.n == 0 && (len(p) >= len(w.buf) || w.hash == nil) {
			w.flush(p)
			p = nil
		} else {
			n := copy(w.buf[w.n:], p)
			w.n += n
			p = p[n:]
			if w.n == len(w.buf) {
				w.flush(w.buf)
				w.n = 0
			}
		}
		if w.err != nil {
			return 0, w.err
		}
	}
	return done, nil
}

func (w *sink) flush(p []byte) {
	if w.err = w.ctx.Err(); w.err != nil {
		return
	}
	if w.hash != nil {
		w.hash.Write(p)
	}
	if _, err := w.file.Write(p); err != nil {
		w.err = fmt.Errorf("blob store: %w", err)
	}
}

// finish writes what is left and compares.
func (w *sink) finish(ref Ref) error {
	if w.err == nil {
		w.flush(w.buf[:w.n])
	}
	if w.err != nil {
		return w.err
	}
	if w.size != ref.Size {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrMismatch, w.size, ref.Size)
	}
	if w.hash != nil && [32]byte(w.hash.Sum(nil)) != ref.SHA256 {
		return fmt.Errorf("%w: another SHA-256", ErrMismatch)
	}
	return nil
}
