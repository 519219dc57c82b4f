package blob

// Local.Draft: content that is written before its hash is known, while the mail
// still comes in.

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Draft is content on its way into the store. It is written by one goroutine,
// and ends with Keep or Discard; a draft of a process that died is swept.
type Draft struct {
	store   *Local
	file    *os.File
	size    int64
	written int64 // of which the disk was told to begin writing
	err     error // the first error; every later Write returns it
}

// writeBehind is after how many bytes the disk is told to begin, so that the
// sync at the end finds little left to do.
const writeBehind = 4 << 20

// Draft begins one. What it costs is lost when the content turns out to be in
// the store already.
func (s *Local) Draft() (*Draft, error) {
	f, err := os.CreateTemp(s.dir, tempPrefix+"*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("blob store: %w", err)
	}
	return &Draft{store: s, file: f}, nil
}

// Write takes the next bytes. Large pieces are better than small ones.
func (d *Draft) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.file.Write(p)
	d.size += int64(n)
	if err != nil {
		d.err = fmt.Errorf("blob store: %w", err)
		return n, d.err
	}
	if d.size-d.written >= writeBehind {
		startWriting(d.file, d.written, d.size-d.written)
		d.written = d.size
	}
	return n, nil
}

// Keep makes the draft the blob ref, as Put would: ref.SHA256 must be the hash
// of exactly what was written, which only its writer has seen go by. The draft is
// gone afterwards, whatever the error.
func (d *Draft) Keep(ctx context.Context, ref Ref) (existed bool, err error) {
	defer d.Discard()
	if d.err != nil {
		return false, d.err
	}
	if d.size != ref.Size {
		return false, fmt.Errorf("%w: %d bytes instead of %d", ErrMismatch, d.size, ref.Size)
	}
	s := d.store
	end, err := s.begin(ctx, ref.SHA256)
	if err != nil {
		return false, err
	}
	defer end()
	there, err := s.durable(ref)
	if err != nil || there {
		return there, err
	}
	if err := s.fanOut(); err != nil {
		return false, fmt.Errorf("blob store: %w", err)
	}
	// A failed sync is never tried again, see write.
	if err := d.file.Sync(); err != nil {
		return false, fmt.Errorf("blob store: sync: %w", err)
	}
	if err := s.name(d.file.Name(), ref); err != nil {
		return false, err
	}
	err = d.file.Close()
	d.file = nil
	if err != nil {
		return false, fmt.Errorf("blob store: %w", err)
	}
	return false, nil
}

// Discard ends a draft that is not wanted.
func (d *Draft) Discard() {
	if d.file == nil {
		return
	}
	name := d.file.Name()
	d.file.Close()
	os.Remove(name)
	d.file, d.err = nil, errors.New("blob store: the draft has ended")
}

// name gives a synced file its name as a blob, for good.
func (s *Local) name(temp string, ref Ref) error {
	dir, path := s.path(ref.SHA256)
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		return fmt.Errorf("blob store: %w", err)
	}
	if err := syncDir(dir); err != nil {
		s.doubt(ref.SHA256, true)
		return fmt.Errorf("blob store: sync directory: %w", err)
	}
	s.doubt(ref.SHA256, false)
	return nil
}
