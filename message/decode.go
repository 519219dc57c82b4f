package message

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrTooLarge is returned when a part does not fit the limit it was asked for.
var ErrTooLarge = errors.New("part over the limit")

type decoder struct {
	in  [64 << 10]byte
	b64 base64Reader
	qp  qpReader
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// DecodeTo writes the decoded content of leaf p to w. src holds the body.
// Nothing is checked here that Content does not tell: compare size and hash.
func (p *Part) DecodeTo(w io.Writer, src io.ReaderAt) error {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	out := &stickyWriter{w: w}
	var to io.Writer = out
	switch p.Encoding {
	case "base64":
		d.b64.reset(out, io.Discard)
		to = &d.b64
	case "quoted-printable":
		d.qp.reset(out)
		to = &d.qp
	}
	for at := p.Body.Start; at < p.Body.End; {
		n, err := src.ReadAt(d.in[:min(int64(len(d.in)), p.Body.End-at)], at)
		if n == 0 && err != nil {
			return fmt.Errorf("read part %d: %w", p.Index, err)
		}
		to.Write(d.in[:n])
		if out.err != nil {
			return out.err
		}
		at += int64(n)
	}
	switch p.Encoding {
	case "base64":
		d.b64.close()
	case "quoted-printable":
		d.qp.close()
	}
	return out.err
}

// fits tells whether decode takes leaf p under limit.
func (p *Part) fits(limit int64) bool {
	return p.Content.Size <= limit && p.Body.Len() <= 4*limit
}

// decode returns the decoded content of leaf p, if it has at most limit bytes.
func (p *Part) decode(src io.ReaderAt, limit int64) ([]byte, error) {
	if !p.fits(limit) {
		return nil, ErrTooLarge
	}
	b := make(sliceWriter, 0, p.Content.Size)
	err := p.DecodeTo(&b, src)
	return b, err
}

type sliceWriter []byte

func (s *sliceWriter) Write(b []byte) (int, error) {
	*s = append(*s, b...)
	return len(b), nil
}

// stickyWriter remembers the first error, for writers in between that do not.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	var n int
	n, s.err = s.w.Write(b)
	return n, s.err
}
