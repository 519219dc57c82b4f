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
func (f *emlFolder) Put(ctx context.Context, o *Original) (string, error) {
	path := filepath.Join(f.dir, emlName(o.Mail))
	temp, err := os.CreateTemp(f.dir, ".restore-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("%w (the command runs as the owner of the data folder: let it write there, or use --mbox)", err)
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
			return "", errors.Join(err, fmt.Errorf("%s is there already, and is something else", path))
		}
		return path + " (was there)", nil
	}
	if err != nil {
		return "", err
	}
	return path, nil
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

func (f *emlFolder) Close() error {
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

func (s *stream) Put(ctx context.Context, o *Original) (string, error) {
	if s.used {
		return "", errors.New("one .eml file holds one mail: name a folder, or use --mbox")
	}
	s.used = true
	if _, err := io.Copy(s.w, o.Reader()); err != nil {
		return "", err
	}
	return s.name, nil
}

func (s *stream) Close() error { return syncWriter(s.w) }

func syncWriter(w io.Writer) error {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return f.Sync()
}

// mbox writes the format mboxrd: what stands for a line "From " within a mail is
// quoted so that it can be unquoted.
type mbox struct {
	w    *bufio.Writer
	file io.Writer
	name string
}

// NewMbox writes mails to w, which is called name. Line ends become LF, as they
// are in such files.
func NewMbox(w io.Writer, name string) Sink {
	return &mbox{w: bufio.NewWriterSize(w, 64<<10), file: w, name: name}
}

func (b *mbox) Put(ctx context.Context, o *Original) (string, error) {
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
		return "", err
	}
	if err := b.w.WriteByte('\n'); err != nil {
		return "", err
	}
	return b.name, b.w.Flush()
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

func (b *mbox) Close() error { return errors.Join(b.w.Flush(), syncWriter(b.file)) }
