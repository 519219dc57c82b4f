package message

// Reading the decoded content of a part at any offset, in bounded memory.

import (
	"errors"
	"fmt"
	"io"
)

const (
	// contentWindow is how many decoded bytes behind the last ones read a
	// ContentReader keeps, so that small steps back cost nothing: the end of a
	// zip with its longest comment fits (64 KB and a little).
	contentWindow = 68 << 10
	// MaxRewinds is how often a ContentReader decodes a part again from its
	// beginning. A zip takes two or three; a hostile file that sends its reader
	// back and forth stops here.
	MaxRewinds = 16
)

// ErrTooManyRewinds is returned by ContentReader for content that is read back
// and forth more than MaxRewinds allows.
var ErrTooManyRewinds = errors.New("the content is read back and forth too often")

// ContentReader reads the decoded content of a leaf at any offset. It decodes
// forward and begins anew to go back, so it is fast for those who mostly read
// on. It is not safe for use by several goroutines.
type ContentReader struct {
	part    *Part
	src     io.ReaderAt // the body
	decoder *decoder    // nil where the content is not encoded
	to      io.Writer

	at      int64         // offset in src of what is decoded next
	start   int64         // decoded offset of window[0]
	window  contentBuffer // decoded bytes
	ended   bool
	rewinds int
}

var _ io.ReaderAt = (*ContentReader)(nil)

// contentBuffer takes what the decoders give.
type contentBuffer []byte

func (b *contentBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// OpenContent returns a reader of the decoded content of leaf p, which has
// p.Content.Size bytes. src holds the body. Close it.
func (p *Part) OpenContent(src io.ReaderAt) *ContentReader {
	r := &ContentReader{part: p, src: src}
	switch p.Encoding {
	case "base64", "quoted-printable":
		r.decoder = decoders.Get().(*decoder)
		r.begin()
	}
	return r
}

// Close gives the decoder back.
func (r *ContentReader) Close() {
	if r.decoder != nil {
		decoders.Put(r.decoder)
		r.decoder, r.ended, r.window = nil, true, nil
	}
}

func (r *ContentReader) begin() {
	r.at, r.start, r.window, r.ended = r.part.Body.Start, 0, r.window[:0], false
	if r.part.Encoding == "base64" {
		r.decoder.b64.reset(&r.window, io.Discard)
		r.to = &r.decoder.b64
		return
	}
	r.decoder.qp.reset(&r.window)
	r.to = &r.decoder.qp
}

// ReadAt implements io.ReaderAt on the decoded content. Errors other than
// io.EOF are those of the source, and ErrTooManyRewinds.
func (r *ContentReader) ReadAt(b []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read part %d at offset %d", r.part.Index, off)
	}
	if r.decoder == nil {
		return r.plain(b, off)
	}
	for n < len(b) {
		pos := off + int64(n) - r.start
		switch {
		case pos < 0:
			if r.rewinds++; r.rewinds > MaxRewinds {
				return n, ErrTooManyRewinds
			}
			r.begin()
		case pos < int64(len(r.window)):
			n += copy(b[n:], r.window[pos:])
		case r.ended:
			return n, io.EOF
		default:
			if err := r.decode(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// plain reads content that is its own encoding.
func (r *ContentReader) plain(b []byte, off int64) (int, error) {
	left := r.part.Body.Len() - off
	if r.ended || left <= 0 {
		return 0, io.EOF
	}
	n, err := r.src.ReadAt(b[:min(left, int64(len(b)))], r.part.Body.Start+off)
	switch {
	case n == len(b):
		return n, nil
	case int64(n) == left:
		return n, io.EOF
	}
	return n, r.failed(err)
}

// decode moves the window on by one chunk of the source.
func (r *ContentReader) decode() error {
	if drop := len(r.window) - contentWindow; drop > 0 {
		r.window = r.window[:copy(r.window, r.window[drop:])]
		r.start += int64(drop)
	}
	if r.at >= r.part.Body.End {
		r.ended = true
		if r.part.Encoding == "base64" {
			r.decoder.b64.close()
		} else {
			r.decoder.qp.close()
		}
		return nil
	}
	chunk := r.decoder.in[:min(int64(len(r.decoder.in)), r.part.Body.End-r.at)]
	n, err := r.src.ReadAt(chunk, r.at)
	if n == 0 {
		return r.failed(err)
	}
	r.to.Write(chunk[:n])
	r.at += int64(n)
	return nil
}

func (r *ContentReader) failed(err error) error {
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read part %d: %w", r.part.Index, err)
}
