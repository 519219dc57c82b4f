package imapbox

// A message as IMAP wants it: lines that end in CRLF, and no NUL.

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"time"
)

// Message is what is put into a mailbox.
type Message struct {
	Body     io.ReaderAt // header and body
	Size     int64
	Received time.Time // its INTERNALDATE; never zero
}

// ErrNUL is returned for a message that IMAP cannot carry (RFC 9051 section 9,
// CHAR8).
var ErrNUL = errors.New("it has NUL bytes, which IMAP cannot carry")

// reader gives the message with CRLF at the end of each line. A server would make
// it so itself, and count other sizes than we do.
func (m Message) reader() io.Reader {
	return &CRLF{In: bufio.NewReaderSize(io.NewSectionReader(m.Body, 0, m.Size), 64<<10)}
}

// measured is what a server will say of a message.
type measured struct {
	mark
	header [sha256.Size]byte
}

// mark is the part of it that needs no look into the message.
type mark struct {
	size int64
	date int64 // seconds since 1970
}

// measure reads a message once.
func (m Message) measure() (measured, error) {
	out := measured{mark: mark{date: m.Received.Unix()}}
	header := &headerSum{}
	in := m.reader()
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		if bytes.IndexByte(buf[:n], 0) >= 0 {
			return out, ErrNUL
		}
		out.size += int64(n)
		header.add(buf[:n])
		switch {
		case errors.Is(err, io.EOF):
			out.header = header.sum()
			return out, nil
		case err != nil:
			return out, err
		}
	}
}

// headerSum hashes the header at the beginning of what is added, in CRLF lines,
// without the empty line after it: servers differ about whether they give that.
type headerSum struct {
	text  []byte
	ended bool
}

func (h *headerSum) add(p []byte) {
	if h.ended {
		return
	}
	from := max(0, len(h.text)-3)
	h.text = append(h.text, p...)
	if bytes.HasPrefix(h.text, []byte("\r\n")) {
		h.text, h.ended = nil, true
		return
	}
	if i := bytes.Index(h.text[from:], []byte("\r\n\r\n")); i >= 0 {
		h.text, h.ended = h.text[:from+i], true
	}
}

func (h *headerSum) sum() [sha256.Size]byte { return sha256.Sum256(bytes.TrimRight(h.text, "\r\n")) }

// CRLF reads text with a CR before each LF: where one is missing, it is added.
type CRLF struct {
	In *bufio.Reader

	line []byte // what of it is still to be read
	buf  []byte
	last byte // that was read from In
}

func (c *CRLF) Read(p []byte) (int, error) {
	if len(c.line) == 0 {
		line, err := c.In.ReadSlice('\n')
		if len(line) == 0 && err != nil {
			return 0, err
		}
		c.buf = append(c.buf[:0], line...)
		k := len(line)
		before := c.last
		if k > 1 {
			before = line[k-2]
		}
		if line[k-1] == '\n' && before != '\r' {
			c.buf = append(c.buf[:k-1], '\r', '\n')
		}
		c.last = line[k-1]
		c.line = c.buf
	}
	n := copy(p, c.line)
	c.line = c.line[n:]
	return n, nil
}
