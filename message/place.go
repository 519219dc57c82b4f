package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
)

// intoBodies puts the notice into the text and the HTML body, in the charset
// and encoding of each. Nothing is placed unless every body that there is can
// take it.
func (r *rewriter) intoBodies(b Bodies) (placed bool, err error) {
	var splices []Splice
	if b.HTML != nil {
		s, ok, err := r.intoHTML(b.HTML)
		if !ok || err != nil {
			return false, err
		}
		splices = append(splices, s)
	}
	if b.Text != nil {
		s, ok, err := r.intoText(b.Text, b.HTML != nil)
		if !ok || err != nil {
			return false, err
		}
		splices = append(splices, s)
	}
	r.splices = append(r.splices, splices...)
	return len(splices) > 0, nil
}

// intoText appends the notice to a text/plain body. Characters its charset
// lacks become "?" where the HTML beside it shows them right (lossy);
// otherwise such a body does not take the notice.
func (r *rewriter) intoText(p *Part, lossy bool) (Splice, bool, error) {
	cs, ok := LookupCharset(p.Type.Get("charset"))
	if !ok || !cs.ASCIICompatible() || p.Content.Defect != "" {
		return Splice{}, false, nil
	}
	var text strings.Builder
	for _, line := range r.notice.Text() {
		encoded, err := encodeLine(cs, line, p.Encoding == "7bit", lossy)
		if err != nil {
			return Splice{}, false, nil
		}
		text.Write(encoded)
		text.WriteString("\r\n")
	}
	block := text.String()
	gap, err := r.gap(p)
	if err != nil {
		return Splice{}, false, err
	}
	at := Span{p.Body.End, p.Body.End}
	switch p.Encoding {
	case "7bit", "8bit", "binary":
		return Splice{at, r.lines(gap + block)}, true, nil
	case "quoted-printable":
		return Splice{at, []byte(strings.ReplaceAll(gap, "\r\n", r.eol) + encodeQP(block, r.eol))}, true, nil
	}
	old, err := p.decode(r.src, maxBodyText)
	if err == ErrTooLarge {
		return Splice{}, false, nil
	}
	if err != nil {
		return Splice{}, false, err
	}
	return Splice{p.Body, encodeBase64(append(old, gap+block...), r.eol)}, true, nil
}

// gap is what stands between the end of a text and the notice: an empty line.
func (r *rewriter) gap(p *Part) (string, error) {
	if p.Body.Len() == 0 {
		return "", nil
	}
	var last [1]byte
	if _, err := r.src.ReadAt(last[:], p.Body.End-1); err != nil && err != io.EOF {
		return "", err
	}
	if last[0] == '\n' && p.Encoding != "base64" {
		return "\r\n", nil
	}
	return "\r\n\r\n", nil
}

// encodeLine encodes one line for a charset; with ascii, for a 7bit body.
func encodeLine(cs Charset, line string, ascii, lossy bool) ([]byte, error) {
	encode := func(s string) ([]byte, error) {
		if ascii && !isASCII(s) {
			return nil, errNotASCII
		}
		return cs.Encode(s)
	}
	b, err := encode(line)
	if err == nil || !lossy {
		return b, err
	}
	var out []byte
	for _, c := range line {
		if b, err = encode(string(c)); err != nil {
			b = []byte{'?'}
		}
		out = append(out, b...)
	}
	return out, nil
}

type charsetError string

func (e charsetError) Error() string { return string(e) }

const errNotASCII = charsetError("character beyond ASCII")

// intoHTML inserts the notice before the last </body>, or </html>, or at the
// end of a text/html body.
func (r *rewriter) intoHTML(p *Part) (Splice, bool, error) {
	cs, ok := LookupCharset(p.Type.Get("charset"))
	if !ok || !cs.ASCIICompatible() || p.Content.Defect != "" {
		return Splice{}, false, nil
	}
	raw, err := readSpan(r.src, p.Body, 4*maxBodyText)
	if err == ErrTooLarge || p.Content.Size > maxBodyText {
		return Splice{}, false, nil
	}
	if err != nil {
		return Splice{}, false, err
	}
	block := strings.Join(r.notice.HTML(), "\r\n")
	switch p.Encoding {
	case "7bit", "8bit", "binary":
		at := p.Body.Start + int64(htmlEnd(raw))
		return Splice{Span{at, at}, r.lines("\r\n" + block + "\r\n")}, true, nil
	case "quoted-printable":
		text, offsets := decodeQPOffsets(raw)
		i := htmlEnd(text)
		at, soft := p.Body.End, ""
		if i < len(text) {
			at, soft = p.Body.Start+int64(offsets[i]), "="
		}
		// Soft line breaks keep the lines around it within 76 characters.
		lead := "=" + r.eol
		if at == p.Body.Start || i == len(text) {
			lead = r.eol
		}
		return Splice{Span{at, at}, []byte(lead + encodeQP(block, r.eol) + soft + r.eol)}, true, nil
	}
	old, err := p.decode(r.src, maxBodyText)
	if err != nil {
		return Splice{}, false, err
	}
	i := htmlEnd(old)
	text := string(old[:i]) + "\r\n" + block + "\r\n" + string(old[i:])
	return Splice{p.Body, encodeBase64([]byte(text), r.eol)}, true, nil
}

// lines gives s the line ends of the message.
func (r *rewriter) lines(s string) []byte {
	return []byte(strings.ReplaceAll(s, "\r\n", r.eol))
}

// htmlEnd finds where a block at the end of an HTML document belongs.
func htmlEnd(text []byte) int {
	lower := asciiLower(text)
	for _, tag := range []string{"</body", "</html"} {
		if i := bytes.LastIndex(lower, []byte(tag)); i >= 0 {
			return i
		}
	}
	return len(text)
}

// decodeQPOffsets decodes quoted-printable and tells for each decoded byte
// where its encoded form begins.
func decodeQPOffsets(raw []byte) (text []byte, offsets []int) {
	for i := 0; i < len(raw); {
		n, c, data := 1, raw[i], true
		if c == '=' {
			switch rest := raw[i+1:]; {
			case len(rest) >= 2 && unhex(rest[0]) < 16 && unhex(rest[1]) < 16:
				n, c = 3, unhex(rest[0])<<4|unhex(rest[1])
			case bytes.HasPrefix(rest, []byte("\r\n")):
				n, data = 3, false
			case bytes.HasPrefix(rest, []byte("\n")):
				n, data = 2, false
			}
		}
		if data {
			text, offsets = append(text, c), append(offsets, i)
		}
		i += n
	}
	return text, offsets
}

// encodeQP encodes text whose lines end in CRLF (RFC 2045 section 6.7).
func encodeQP(text, eol string) string {
	const digits = "0123456789ABCDEF"
	const width = 75 // and the = of a soft line break
	var out strings.Builder
	col := 0
	put := func(s string) {
		if col+len(s) > width {
			out.WriteString("=" + eol)
			col = 0
		}
		out.WriteString(s)
		col += len(s)
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		lineEnd := strings.HasPrefix(text[i+1:], "\r\n") || i+1 == len(text)
		switch {
		case c == '\r' && i+1 < len(text) && text[i+1] == '\n':
			out.WriteString(eol)
			col = 0
			i++
		case c == '=' || c < ' ' || c > '~' || c == ' ' && lineEnd:
			put(string([]byte{'=', digits[c>>4], digits[c&15]}))
		default:
			put(string(c))
		}
	}
	return out.String()
}

// encodeBase64 encodes b in lines of 76 characters, without a line end behind
// the last one.
func encodeBase64(b []byte, eol string) []byte {
	s := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for len(s) > 76 {
		out.WriteString(s[:76] + eol)
		s = s[76:]
	}
	out.WriteString(s)
	return []byte(out.String())
}

func readSpan(src io.ReaderAt, s Span, limit int64) ([]byte, error) {
	if s.Len() > limit {
		return nil, ErrTooLarge
	}
	var b sliceWriter
	err := copySpan(&b, src, s)
	return b, err
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
