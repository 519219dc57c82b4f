package message

import (
	"bytes"
	"io"
	"strings"
)

// qpReader decodes quoted-printable content (RFC 2045 section 6.7) pushed in
// chunks. It refuses what decoders treat differently.
type qpReader struct {
	out    io.Writer
	buf    []byte
	state  qpState
	high   byte // first digit of an escape
	space  bool // the last character was a blank
	defect string
}

type qpState uint8

const (
	qpText   qpState = iota
	qpEscape         // after =
	qpDigit          // after = and a digit
	qpSoft           // after = CR
)

const qpBlock = 4 << 10 // decoded bytes given out at a time

func (d *qpReader) reset(out io.Writer) {
	buf := d.buf
	if buf == nil {
		buf = make([]byte, 0, qpBlock)
	}
	*d = qpReader{out: out, buf: buf[:0]}
}

func (d *qpReader) Write(b []byte) (int, error) {
	for _, c := range b {
		d.next(c)
	}
	return len(b), nil
}

func (d *qpReader) next(c byte) {
	switch d.state {
	case qpText:
		switch {
		case c == '=':
			d.state, d.space = qpEscape, false
		case c == '\r' || c == '\n':
			if d.space {
				d.defect = "quoted-printable with blanks before a line end"
			}
			d.space = false
			d.put(c)
		default:
			d.space = c == ' ' || c == '\t'
			d.put(c)
		}
	case qpEscape:
		switch {
		case c == '\n':
			d.state = qpText
		case c == '\r':
			d.state = qpSoft
		case unhex(c) < 16:
			d.high, d.state = unhex(c), qpDigit
		default:
			d.malformed(c)
		}
	case qpDigit:
		if unhex(c) > 15 {
			d.malformed(c)
			return
		}
		d.put(d.high<<4 | unhex(c))
		d.state = qpText
	case qpSoft:
		d.state = qpText
		if c != '\n' {
			d.malformed(c)
		}
	}
}

func (d *qpReader) malformed(c byte) {
	d.defect = "malformed quoted-printable"
	d.state = qpText
	d.put(c)
}

func (d *qpReader) put(c byte) {
	if len(d.buf) == qpBlock {
		d.flush()
	}
	d.buf = append(d.buf, c)
}

func (d *qpReader) flush() {
	d.out.Write(d.buf)
	d.buf = d.buf[:0]
}

func (d *qpReader) close() {
	if d.space {
		d.defect = "quoted-printable with blanks before a line end"
	}
	if d.state == qpDigit {
		d.defect = "malformed quoted-printable"
	}
	d.flush()
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// unquote decodes quoted-printable without defects.
func unquote(raw []byte) []byte {
	text := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		n, c, data := qpUnit(raw)
		if data {
			text = append(text, c)
		}
		raw = raw[n:]
	}
	return text
}

// qpOffset is where the encoded form of decoded byte i begins; the length of
// raw if there are not so many.
func qpOffset(raw []byte, i int) int {
	at := 0
	for at < len(raw) {
		n, _, data := qpUnit(raw[at:])
		if data {
			if i--; i < 0 {
				break
			}
		}
		at += n
	}
	return at
}

// qpUnit reads what raw begins with: a byte of the text, or a soft line break.
func qpUnit(raw []byte) (n int, c byte, data bool) {
	if raw[0] == '=' {
		switch rest := raw[1:]; {
		case len(rest) >= 2 && unhex(rest[0]) < 16 && unhex(rest[1]) < 16:
			return 3, unhex(rest[0])<<4 | unhex(rest[1]), true
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return 3, 0, false
		case bytes.HasPrefix(rest, []byte("\n")):
			return 2, 0, false
		}
	}
	return 1, raw[0], true
}

// encodeQP encodes text whose lines end in CRLF (RFC 2045 section 6.7). No line
// begins with what means something else on the way: a delimiter, a lone dot,
// the From of a mailbox file.
func encodeQP(text, eol string) string {
	const digits = "0123456789ABCDEF"
	const width = 75 // and the = of a soft line break
	var out strings.Builder
	col := 0
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		if strings.HasPrefix(rest, "\r\n") {
			out.WriteString(eol)
			col = 0
			i++
			continue
		}
		c := rest[0]
		last := len(rest) == 1 || strings.HasPrefix(rest[1:], "\r\n")
		literal := c > ' ' && c <= '~' && c != '=' || c == ' ' && !last
		if col+1 > width || !literal && col+3 > width {
			out.WriteString("=" + eol)
			col = 0
		}
		if col == 0 && (c == '-' || c == '.' || strings.HasPrefix(rest, "From ")) {
			literal = false
		}
		if literal {
			out.WriteByte(c)
			col++
			continue
		}
		out.Write([]byte{'=', digits[c>>4], digits[c&15]})
		col += 3
	}
	return out.String()
}
