package message

import "io"

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
