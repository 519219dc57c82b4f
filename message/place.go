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
	if b.partial {
		return false, nil
	}
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
	cs, ok := takesNotice(p)
	if !ok {
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
	if p.Encoding == "base64" {
		old, err := p.decode(r.src, maxBodyText)
		if err != nil {
			return Splice{}, false, err
		}
		return Splice{p.Body, r.base64(p, append(old, gap(p, old)+block...))}, true, nil
	}
	end, err := readSpan(r.src, Span{max(p.Body.Start, p.Body.End-int64(len("=\r\n"))), p.Body.End})
	if err != nil {
		return Splice{}, false, err
	}
	if p.Encoding == "quoted-printable" {
		block = encodeQP(block, "\r\n")
	}
	return Splice{Span{p.Body.End, p.Body.End}, r.lines(gap(p, end) + block)}, true, nil
}

// gap is what stands, encoded, between the end of a text and the notice: an
// empty line.
func gap(p *Part, end []byte) string {
	switch qp := p.Encoding == "quoted-printable"; {
	case len(end) == 0:
		return ""
	case qp && bytes.HasSuffix(end, []byte("=")): // a soft line break that wants its line end
		return "\r\n\r\n\r\n"
	case qp && (bytes.HasSuffix(end, []byte("=\n")) || bytes.HasSuffix(end, []byte("=\r\n"))):
		return "\r\n\r\n"
	case bytes.HasSuffix(end, []byte("\n")):
		return "\r\n"
	}
	return "\r\n\r\n"
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

// takesNotice tells whether lines of ASCII may be put into text p.
func takesNotice(p *Part) (Charset, bool) {
	cs, ok := LookupCharset(p.Type.Get("charset"))
	switch {
	case !ok, !cs.ASCIICompatible(), p.Content.Defect != "", !p.fits(maxBodyText):
		return cs, false
	case p.Header.Has("Content-Md5"), p.Header.Has("Content-Length"): // they would tell a lie (RFC 1864)
		return cs, false
	}
	return cs, true
}

// intoHTML inserts the notice before the last </body>, or </html>, or at the
// end of a text/html body.
func (r *rewriter) intoHTML(p *Part) (Splice, bool, error) {
	if _, ok := takesNotice(p); !ok {
		return Splice{}, false, nil
	}
	raw, err := readSpan(r.src, p.Body)
	if err != nil {
		return Splice{}, false, err
	}
	text, offsets := raw, []int(nil)
	switch p.Encoding {
	case "quoted-printable":
		text, offsets = decodeQPOffsets(raw)
	case "base64":
		if text, err = p.decode(r.src, maxBodyText); err != nil {
			return Splice{}, false, err
		}
	}
	i, ok := htmlEnd(text)
	if !ok {
		return Splice{}, false, nil
	}
	block := strings.Join(r.notice.HTML(), "\r\n")
	switch p.Encoding {
	case "quoted-printable":
		return r.intoQuotedHTML(p, offsets, i, block), true, nil
	case "base64":
		s := string(text[:i]) + "\r\n" + block + "\r\n" + string(text[i:])
		return Splice{p.Body, r.base64(p, []byte(s))}, true, nil
	}
	at := p.Body.Start + int64(i)
	return Splice{Span{at, at}, r.lines("\r\n" + block + "\r\n")}, true, nil
}

// intoQuotedHTML inserts block where decoded byte i of p begins.
func (r *rewriter) intoQuotedHTML(p *Part, offsets []int, i int, block string) Splice {
	at, soft := p.Body.End, ""
	if i < len(offsets) {
		at, soft = p.Body.Start+int64(offsets[i]), "="
	}
	// Soft line breaks keep the lines around it within 76 characters.
	lead := "=" + r.eol
	if at == p.Body.Start || i == len(offsets) {
		lead = r.eol
	}
	return Splice{Span{at, at}, []byte(lead + encodeQP(block, r.eol) + soft + r.eol)}
}

// lines gives s the line ends of the message.
func (r *rewriter) lines(s string) []byte {
	return []byte(strings.ReplaceAll(s, "\r\n", r.eol))
}

// base64 encodes b as the new body of p.
func (r *rewriter) base64(p *Part, b []byte) []byte {
	out := encodeBase64(b, r.eol)
	if p.Body.Len() == 0 { // the delimiter behind may have no line break of its own
		out = append(out, r.eol...)
	}
	return out
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

func readSpan(src io.ReaderAt, s Span) ([]byte, error) {
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
