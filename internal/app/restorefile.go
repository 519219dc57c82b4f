package app

// Restored mails as files: one .eml for each, or one mbox for all.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cloakroom/ledger"
)

// emlFolder writes every mail to a file of its own.
type emlFolder struct{ dir string }

// NewEMLFolder writes to a folder, which is made when it is missing.
func NewEMLFolder(dir string) (Sink, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder for restored mail: %w", err)
	}
	return &emlFolder{dir}, nil
}

// emlName tells when the mail came, and which it is.
func emlName(m *ledger.Mail) string {
	return m.Received.UTC().Format("20060102-150405-") + m.Key.String()[:12] + ".eml"
}

// Put never writes over a file. The same mail twice is no error.
func (f *emlFolder) Put(ctx context.Context, o *Original) (where string, was bool, err error) {
	path := filepath.Join(f.dir, emlName(o.Mail))
	temp, err := os.CreateTemp(f.dir, ".restore-*") // mode 0600
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w (the command runs as the owner of the data folder: let it write there, or use --mbox)", err)
	}
	if err != nil {
		return "", false, &StopError{err}
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	if _, err = io.Copy(temp, o.Reader()); err == nil {
		err = temp.Sync()
	}
	if err == nil {
		err = os.Link(temp.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		if same, err := hasSum(path, o.Sum); err != nil || !same {
			return "", false, errors.Join(err, fmt.Errorf("%s is there already, and is something else", path))
		}
		return path, true, nil
	}
	if err != nil { // the disk is full, or broken
		return "", false, &StopError{err}
	}
	return path, false, nil
}

func hasSum(path string, want ledger.Hash) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	return ledger.Hash(h.Sum(nil)) == want, nil
}

func (f *emlFolder) Close(context.Context) error {
	d, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// stream writes mails one after the other, as they are.
type stream struct {
	w    io.Writer
	name string
	used bool
}

// NewEML writes a single mail to w, which is called name.
func NewEML(w io.Writer, name string) Sink { return &stream{w: w, name: name} }

func (s *stream) Put(ctx context.Context, o *Original) (string, bool, error) {
	if s.used {
		return "", false, &StopError{errors.New("one .eml file holds one mail: name a folder, or use --mbox")}
	}
	s.used = true
	if _, err := io.Copy(s.w, o.Reader()); err != nil {
		return "", false, &StopError{err}
	}
	return s.name, false, nil
}

func (s *stream) Close(context.Context) error { return syncWriter(s.w) }

func syncWriter(w io.Writer) error {
	if f, ok := w.(*os.File); ok && syncable(f) {
		return f.Sync()
	}
	return nil
}

// syncable tells a regular file from a pipe or a terminal.
func syncable(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// mbox writes the format mboxrd: what stands for a line "From " within a mail is
// quoted so that it can be unquoted.
type mbox struct {
	w       *bufio.Writer
	counted *counter
	file    io.Writer
	name    string
	whole   int64 // bytes of whole mails in the file
}

// NewMbox writes mails to w, which is called name. Line ends become LF, as they
// are in such files.
func NewMbox(w io.Writer, name string) Sink {
	c := &counter{w: w}
	return &mbox{w: bufio.NewWriterSize(c, 64<<10), counted: c, file: w, name: name}
}

// Put leaves only whole mails in the file, also where the disk gets full.
func (b *mbox) Put(ctx context.Context, o *Original) (string, bool, error) {
	err := b.write(o)
	if err == nil {
		return b.name, false, nil
	}
	if f, ok := b.file.(*os.File); ok && syncable(f) {
		err = errors.Join(err, f.Truncate(b.whole))
	}
	return "", false, &StopError{fmt.Errorf("write %s, which has whole mails up to byte %d: %w", b.name, b.whole, err)}
}

func (b *mbox) write(o *Original) error {
	from := "MAILER-DAEMON"
	if o.Mail.Sender != "" {
		from = strings.Map(func(r rune) rune {
			if r <= ' ' || r == 0x7f {
				return '-'
			}
			return r
		}, o.Mail.Sender)
	}
	fmt.Fprintf(b.w, "From %s %s\n", from, o.Mail.Received.UTC().Format(time.ANSIC))
	if err := quoteFrom(b.w, o.Reader()); err != nil {
		return err
	}
	if err := b.w.WriteByte('\n'); err != nil {
		return err
	}
	if err := b.w.Flush(); err != nil {
		return err
	}
	b.whole = b.counted.n
	return nil
}

// counter counts what is written through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// quoteFrom copies a message, each line that begins with any number of > and
// then "From " with one > more. The last line gets an end.
func quoteFrom(w *bufio.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	begin := true // of a line
	for {
		chunk, err := in.ReadSlice('\n')
		if begin && bytes.HasPrefix(bytes.TrimLeft(chunk, ">"), []byte("From ")) {
			w.WriteByte('>')
		}
		if n := len(chunk); n > 0 {
			if begin = chunk[n-1] == '\n'; begin && n > 1 && chunk[n-2] == '\r' {
				chunk = append(chunk[:n-2], '\n')
			}
		}
		if _, werr := w.Write(chunk); werr != nil {
			return werr
		}
		switch {
		case errors.Is(err, io.EOF):
			if !begin {
				return w.WriteByte('\n')
			}
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

func (b *mbox) Close(context.Context) error { return syncWriter(b.file) }
