// Package spool buffers one message body: in memory while it is small, in an
// unlinked temporary file once it is not.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

const (
	// MemoryLimit is the size in bytes up to which a body stays in memory.
	// Most mail is smaller; larger bodies mean attachments.
	MemoryLimit = 256 << 10
	// chunkSize is the unit of memory in bytes, so that a short mail does not
	// take what a long one would.
	chunkSize = 32 << 10
)

var (
	// ErrTooLarge is returned by Write when the body would exceed its maximum.
	ErrTooLarge = errors.New("message body exceeds the maximum size")
	// ErrClosed is returned by Write and ReadAt after Close.
	ErrClosed = errors.New("spool: already closed")
)

// Dir makes buffers that spill into one directory.
type Dir struct {
	path string
	free sync.Pool // *[chunkSize]byte

	mu    sync.Mutex
	files []*os.File // of bodies that are gone, to be written over
}

const (
	// keptFiles is how many files of earlier bodies are kept open to be written
	// over: their pages are in memory already, and making new ones costs more than
	// copying the body into them.
	keptFiles = 4
	// keptSize is the largest of them, in bytes; more is given back to the disk.
	keptSize = 16 << 20
)

// file gives an unlinked file for a body. What an earlier body left in it is
// never read: a buffer reads what was written to it.
func (d *Dir) file() (*os.File, error) {
	d.mu.Lock()
	if n := len(d.files); n > 0 {
		f := d.files[n-1]
		d.files = d.files[:n-1]
		d.mu.Unlock()
		return f, nil
	}
	d.mu.Unlock()
	return tempFile(d.path)
}

// done takes a file back.
func (d *Dir) done(f *os.File, size int64) error {
	if size > keptSize {
		return f.Close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.files) >= keptFiles {
		return f.Close()
	}
	d.files = append(d.files, f)
	return nil
}

// OpenDir makes the directory if it is missing, closes it to everyone else
// (mode 0700), and proves that a file can be made there: a milter should fail
// at its start and not at the first large mail.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("spool directory: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return nil, fmt.Errorf("spool directory: %w", err)
	}
	f, err := tempFile(path)
	if err != nil {
		return nil, fmt.Errorf("spool directory %s is not usable: %w", path, err)
	}
	f.Close()
	return &Dir{path: path}, nil
}

// New returns an empty buffer that takes at most max bytes. It holds nothing
// until it is written to.
func (d *Dir) New(max int64) *Buffer { return &Buffer{dir: d, max: max} }

func (d *Dir) chunk() *[chunkSize]byte {
	if c, ok := d.free.Get().(*[chunkSize]byte); ok {
		return c
	}
	return new([chunkSize]byte)
}

// Buffer is one message body. It is written first, by one goroutine, and read
// then, by any number; Close may come at any time. Its contents are neither
// durable nor visible to anyone else, and are gone with the process.
type Buffer struct {
	dir *Dir
	max int64

	mu     sync.RWMutex // keeps Close from freeing memory that is being read
	chunks []*[chunkSize]byte
	file   *os.File // once set, it holds the whole body
	size   int64
	failed error // the first error of Write; every later Write returns it
}

var (
	_ io.WriteCloser = (*Buffer)(nil)
	_ io.ReaderAt    = (*Buffer)(nil)
)

// Size is the number of bytes written.
func (b *Buffer) Size() int64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.size
}

// Reader returns a new reader over what was written so far.
func (b *Buffer) Reader() *io.SectionReader { return io.NewSectionReader(b, 0, b.Size()) }

// Write appends p, or nothing: after an error (ErrTooLarge; one that wraps
// syscall.ENOSPC on a full disk) the buffer takes no more.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		return 0, b.failed
	}
	if int64(len(p)) > b.max-b.size {
		b.failed = fmt.Errorf("%w of %d bytes", ErrTooLarge, b.max)
		return 0, b.failed
	}
	if b.file == nil && b.size+int64(len(p)) > MemoryLimit {
		if err := b.spill(); err != nil {
			b.failed = b.explain(err)
			return 0, b.failed
		}
	}
	if b.file == nil {
		b.keep(p)
	} else if _, err := b.file.WriteAt(p, b.size); err != nil {
		b.failed = b.explain(err)
		return 0, b.failed
	}
	b.size += int64(len(p))
	return len(p), nil
}

// keep copies p behind what is in memory.
func (b *Buffer) keep(p []byte) {
	for at := b.size; len(p) > 0; {
		if int(at/chunkSize) == len(b.chunks) {
			b.chunks = append(b.chunks, b.dir.chunk())
		}
		n := copy(b.chunks[at/chunkSize][at%chunkSize:], p)
		p, at = p[n:], at+int64(n)
	}
}

// spill moves what is in memory to a new file.
func (b *Buffer) spill() error {
	f, err := b.dir.file()
	if err != nil {
		return err
	}
	for at := int64(0); at < b.size; at += chunkSize {
		c := b.chunks[at/chunkSize]
		if _, err := f.WriteAt(c[:min(chunkSize, b.size-at)], at); err != nil {
			f.Close()
			return err
		}
	}
	b.file = f
	b.release()
	return nil
}

func (b *Buffer) release() {
	for _, c := range b.chunks {
		b.dir.free.Put(c)
	}
	b.chunks = nil
}

func (b *Buffer) explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("spool directory %s is full: %w", b.dir.path, err)
	}
	return fmt.Errorf("spool: %w", err)
}

// ReadAt implements io.ReaderAt over the bytes written so far.
func (b *Buffer) ReadAt(p []byte, off int64) (int, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	switch {
	case b.failed == ErrClosed:
		return 0, ErrClosed
	case off < 0:
		return 0, errors.New("spool: negative offset")
	case len(p) == 0:
		return 0, nil
	case off >= b.size:
		return 0, io.EOF
	}
	want := int(min(int64(len(p)), b.size-off))
	n, err := b.read(p[:want], off)
	if err == nil && want < len(p) {
		err = io.EOF
	}
	return n, err
}

// read fills p, which lies within the body.
func (b *Buffer) read(p []byte, off int64) (int, error) {
	if b.file != nil {
		n, err := b.file.ReadAt(p, off)
		if err != nil {
			return n, fmt.Errorf("spool: %w", noEOF(err))
		}
		return n, nil
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		n += copy(p[n:], b.chunks[at/chunkSize][at%chunkSize:])
	}
	return n, nil
}

// noEOF: an end within the body is a damaged file, not the end of the body.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Close frees memory and file. Closing again does nothing.
func (b *Buffer) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == ErrClosed {
		return nil
	}
	b.failed = ErrClosed
	b.release()
	if b.file == nil {
		return nil
	}
	f := b.file
	b.file = nil
	return b.dir.done(f, b.size)
}
