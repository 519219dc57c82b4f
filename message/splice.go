package message

import (
	"fmt"
	"io"
	"slices"
	"sync"
)

// Splice exchanges a span of the body for other bytes; an empty span inserts.
type Splice struct {
	Span
	New []byte
}

// Spliced is a body with some spans exchanged; everything between them is the
// original, read from src when it is written out.
type Spliced struct {
	src     io.ReaderAt
	size    int64
	splices []Splice
}

// NewSpliced orders the splices and refuses such that overlap or lie outside
// the size bytes of src.
func NewSpliced(src io.ReaderAt, size int64, splices []Splice) (*Spliced, error) {
	s := slices.Clone(splices)
	slices.SortStableFunc(s, func(a, b Splice) int {
		if a.Start != b.Start {
			return int(min(1, max(-1, a.Start-b.Start)))
		}
		return int(min(1, max(-1, a.End-b.End)))
	})
	at := int64(0)
	for _, x := range s {
		if x.Start < at || x.End < x.Start || x.End > size {
			return nil, fmt.Errorf("splice %d-%d overlaps another or lies outside the body of %d bytes", x.Start, x.End, size)
		}
		at = x.End
	}
	return &Spliced{src: src, size: size, splices: s}, nil
}

// Size is the number of bytes WriteTo writes.
func (s *Spliced) Size() int64 {
	n := s.size
	for _, x := range s.splices {
		n += int64(len(x.New)) - x.Len()
	}
	return n
}

// Splices returns what is exchanged, in order.
func (s *Spliced) Splices() []Splice { return s.splices }

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// WriteTo writes the new body.
func (s *Spliced) WriteTo(w io.Writer) (int64, error) {
	out := &countingWriter{w: w}
	at := int64(0)
	for _, x := range s.splices {
		if err := copySpan(out, s.src, Span{at, x.Start}); err != nil {
			return out.n, err
		}
		if _, err := out.Write(x.New); err != nil {
			return out.n, err
		}
		at = x.End
	}
	err := copySpan(out, s.src, Span{at, s.size})
	return out.n, err
}

func copySpan(w io.Writer, src io.ReaderAt, span Span) error {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	for at := span.Start; at < span.End; {
		n, err := src.ReadAt(buf[:min(int64(len(buf)), span.End-at)], at)
		if n == 0 && err != nil {
			return fmt.Errorf("read body at %d: %w", at, err)
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
