package message

import (
	"bytes"
	stdbase64 "encoding/base64"
	"fmt"
	"io"
	"sync"

	"github.com/segmentio/asm/base64"
)

// base64Reader decodes base64 content (RFC 2045 section 6.8) pushed in chunks
// and learns its layout on the way. What comes out depends on the content
// alone, never on the chunks.
type base64Reader struct {
	out io.Writer // decoded bytes
	raw io.Writer // encoded bytes from where the layout cannot tell them
	buf []byte    // characters without line ends, base64Block of them at most
	dec []byte
	mem *base64Memory // what buf and dec lie in; nil before reset and after close

	layout    Layout
	col       int  // characters in the current line
	lines     int  // complete lines
	cr        bool // a CR that waits for its LF
	trailer   []byte
	ending    bool   // the last line ended; only line breaks may follow
	broken    bool   // the layout is irregular from here on
	prefix    string // what the layout was until then
	unchecked bool   // buf has characters that nobody looked at yet
	bufCol    int    // col of the first character in buf
	bufLines  int    // lines before it
	blocks    int64  // decoded before it
	done      bool   // failed: everything else goes to raw
	defect    string
}

// base64Block is how many characters are decoded at a time; a multiple of 4.
const base64Block = 32 << 10

// base64Memory is what a reader works in, lent for the time of one part.
type base64Memory struct {
	buf [base64Block]byte
	dec [base64Block / 4 * 3]byte
}

var base64Memories = sync.Pool{New: func() any { return new(base64Memory) }}

func (d *base64Reader) reset(out, raw io.Writer) {
	mem := d.mem
	if mem == nil {
		mem = base64Memories.Get().(*base64Memory)
	}
	*d = base64Reader{out: out, raw: raw, mem: mem, buf: mem.buf[:0], dec: mem.dec[:], trailer: d.trailer[:0]}
	d.layout.kind = layoutBase64
}

func (d *base64Reader) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		switch {
		case d.done:
			d.raw.Write(b)
			b = nil
		case d.broken:
			b = d.loose(b)
		case d.col == 0 && !d.cr && !d.ending && d.layout.width > 0:
			b = d.fast(b)
			if !d.broken && !d.done {
				b = d.step(b)
			}
		default:
			b = d.step(b)
		}
	}
	return n, nil
}

// fast takes whole lines of the known width, and leaves the look at their
// characters to the decoder.
func (d *base64Reader) fast(b []byte) []byte {
	width, eol := d.layout.width, len(d.layout.eol)
	stride := width + eol
	for {
		if len(d.buf) == base64Block {
			if len(b) < stride || !isBase64(b[0]) {
				return b
			}
			if d.flush(); d.done || d.broken {
				return b
			}
		}
		k := min(len(b)/stride, (base64Block-len(d.buf))/width)
		window := b[:k*stride]
		if k == 0 || bytes.Count(window, lf) != k || bytes.Count(window, cr) != k*(eol-1) {
			return b
		}
		buf := d.buf
		for ; k > 0; k-- {
			if b[stride-1] != '\n' || eol == 2 && b[width] != '\r' {
				break
			}
			buf = append(buf, b[:width]...)
			b = b[stride:]
			d.lines++
		}
		d.buf, d.unchecked = buf, true
		if k > 0 {
			return b
		}
	}
}

var lf, cr = []byte{'\n'}, []byte{'\r'}

// step takes one line or less, character by character.
func (d *base64Reader) step(b []byte) []byte {
	for i, c := range b {
		switch {
		case c == '\n':
			if !d.lineEnd() {
				return d.breakAt(b[i:])
			}
			if d.col == 0 && !d.ending {
				return b[i+1:] // at a line's start the fast way may go on
			}
		case d.cr:
			return d.breakAt(b[i:]) // a CR without LF
		case c == '\r':
			d.cr = true
		case d.ending || !isBase64(c) || d.layout.width > 0 && d.col == d.layout.width:
			return d.breakAt(b[i:])
		default:
			if len(d.buf) == base64Block {
				if d.flush(); d.done || d.broken {
					return b[i:]
				}
			}
			d.buf = append(d.buf, c)
			d.col++
		}
	}
	return nil
}

// lineEnd takes an LF; false if the layout does not allow it here.
func (d *base64Reader) lineEnd() bool {
	eol := "\n"
	if d.cr {
		eol = "\r\n"
	}
	if d.ending || d.col == 0 {
		if d.lines == 0 && !d.ending {
			return false // content begins with a blank line
		}
		if len(d.trailer) == 0 { // the line break before belongs to the trailer too
			d.trailer = append(d.trailer, d.layout.eol...)
		}
		if len(d.trailer)+len(eol) > maxTrailer {
			return false
		}
		d.ending = true
		d.trailer = append(d.trailer, eol...)
		d.cr = false
		return true
	}
	if d.layout.width == 0 {
		d.layout.width, d.layout.eol = d.col, eol
	}
	if eol != d.layout.eol {
		return false
	}
	d.cr = false
	if d.col < d.layout.width {
		d.ending = true
		d.trailer = append(d.trailer, eol...)
	}
	d.col = 0
	d.lines++
	return true
}

// breakAt ends the regular layout before b; from there on the encoded bytes
// are given to raw as well.
func (d *base64Reader) breakAt(b []byte) []byte {
	if d.unchecked && bytes.ContainsFunc(d.buf, func(r rune) bool { return r > 'z' || !isBase64(byte(r)) }) {
		d.replay() // the layout was broken earlier than was seen
		return b
	}
	d.unchecked = false
	d.prefix = d.sofar()
	d.broken = true
	d.layout = Layout{}
	d.raw.Write(d.buf) // its layout is forgotten, and it may never decode
	if d.cr {
		d.raw.Write(cr)
		d.cr = false
	}
	return b
}

// sofar tells everything about the encoded bytes up to here that the decoded
// ones do not.
func (d *base64Reader) sofar() string {
	return fmt.Sprintf("%s %q %d %d %d", d.layout, d.trailer, d.lines, d.col, d.blocks*base64Block+int64(len(d.buf)))
}

// loose takes content whose lines follow no pattern: white space is skipped,
// as all readers do; anything else that is no base64 makes them disagree.
func (d *base64Reader) loose(b []byte) []byte {
	for i, c := range b {
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case isBase64(c):
			if len(d.buf) == base64Block {
				d.flush()
			}
			if !d.done {
				d.buf = append(d.buf, c)
			}
		default:
			d.fail("base64 with characters outside its alphabet")
		}
		if d.done {
			d.raw.Write(b[:i])
			return b[i:]
		}
	}
	d.raw.Write(b)
	return nil
}

// flush decodes a full block. No padding can be in it: more follows.
func (d *base64Reader) flush() {
	n, err := base64.StdEncoding.Decode(d.dec, d.buf)
	if err != nil || n != len(d.buf)/4*3 {
		if d.replay(); !d.broken && !d.done {
			d.fail("base64 that does not decode")
		}
		return
	}
	d.out.Write(d.dec[:n])
	d.blocks++
	d.buf, d.bufCol, d.bufLines, d.unchecked = d.buf[:0], d.col, d.lines, false
}

// replay takes the block in buf once more, character by character, so that
// what the decoder refused is met where it stands. It does nothing when that
// was done already.
func (d *base64Reader) replay() {
	if !d.unchecked {
		return
	}
	var raw []byte
	col := d.bufCol
	for _, c := range d.buf {
		if col == d.layout.width {
			raw, col = append(raw, d.layout.eol...), 0
		}
		raw, col = append(raw, c), col+1
	}
	switch {
	case d.ending:
		raw = append(raw, d.trailer...)
	case d.col == 0 && col > 0:
		raw = append(raw, d.layout.eol...)
	}
	if d.cr {
		raw = append(raw, '\r')
	}
	d.buf, d.col, d.lines, d.unchecked = d.buf[:0], d.bufCol, d.bufLines, false
	d.trailer, d.ending, d.cr = d.trailer[:0], false, false
	for len(raw) > 0 && !d.done {
		if d.broken {
			raw = d.loose(raw)
		} else {
			raw = d.step(raw)
		}
	}
	if d.done {
		d.raw.Write(raw)
	}
}

func (d *base64Reader) fail(reason string) {
	if !d.broken {
		d.raw.Write(d.buf)
	}
	if d.prefix == "" {
		d.prefix = d.sofar()
	}
	d.done = true
	d.defect = reason
	d.layout = Layout{}
	d.buf = d.buf[:0]
}

// close decodes what is left, settles layout and defect, and gives the memory
// back.
func (d *base64Reader) close() {
	d.end()
	if d.mem != nil {
		base64Memories.Put(d.mem)
		d.mem, d.buf, d.dec = nil, nil, nil
	}
}

func (d *base64Reader) end() {
	if d.done {
		return
	}
	n, err := stdbase64.StdEncoding.Decode(d.dec, d.buf)
	if err != nil || bytes.ContainsAny(d.buf, "\r\n") {
		if d.unchecked {
			d.replay()
			d.end()
			return
		}
		d.fail("base64 that does not decode")
		return
	}
	if d.cr {
		d.breakAt(nil)
	}
	if !d.broken {
		if len(d.trailer) == 0 && d.col == 0 && d.lines > 0 {
			d.trailer = append(d.trailer, d.layout.eol...)
		}
		d.layout.trailer = string(d.trailer)
	}
	d.out.Write(d.dec[:n])
	if _, err := stdbase64.StdEncoding.Strict().Decode(d.dec, d.buf); err != nil && !d.broken {
		// Bits behind the last byte are set: everybody decodes it alike, but
		// an encoder would not write it.
		d.prefix = d.layout.String()
		d.raw.Write(d.buf)
		d.layout = Layout{}
	}
}

func isBase64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '='
}
