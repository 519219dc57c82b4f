package message

import (
	"bytes"
	"encoding/base64"
	"slices"
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
	if b.HTML != nil { // first: it may tell the language of both
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

// intoText puts the notice into a text/plain body. Characters of names that its
// charset lacks become "?" where the HTML beside it shows them right (lossy);
// otherwise such a body does not take the notice.
func (r *rewriter) intoText(p *Part, lossy bool) (Splice, bool, error) {
	cs, ok := takesNotice(p)
	if !ok {
		return Splice{}, false, nil
	}
	block, ok, err := r.textBlock(p, cs, lossy)
	if !ok || err != nil {
		return Splice{}, false, err
	}
	raw, text, err := r.readText(p)
	if err != nil {
		return Splice{}, false, err
	}
	at := textPlace(text)
	lead := ""
	if isFlowed(p) && flowsOn(text[:at]) {
		lead = "\r\n" // the empty line alone would belong to the line before
	}
	if at < len(text) {
		if above := text[:at]; len(above) > 0 && (lead != "" || !isBlank(above[lineBefore(above, at):])) {
			lead += "\r\n"
		}
		return r.insert(p, raw, text, at, lead+block+"\r\n"), true, nil
	}
	if p.Encoding == "base64" {
		return Splice{p.Body, r.base64(p, append(text, lead+gap(p, text)+block...))}, true, nil
	}
	if p.Encoding == "quoted-printable" {
		block = encodeQP(block, "\r\n")
	}
	return Splice{Span{p.Body.End, p.Body.End}, r.lines(lead + gap(p, raw) + block)}, true, nil
}

// textBlock is the notice in the charset of text p, with CRLF line ends.
func (r *rewriter) textBlock(p *Part, cs Charset, lossy bool) (string, bool, error) {
	lines, err := r.text(r.texts)
	if err != nil {
		return "", false, err
	}
	ascii := p.Encoding == "7bit"
	block, ok := encodeLines(p, cs, lines, ascii, false)
	if !ok && r.texts.ascii != nil {
		if lines, err = r.text(r.texts.ascii); err != nil {
			return "", false, err
		}
		block, ok = encodeLines(p, cs, lines, ascii, false)
	}
	if !ok && lossy {
		block, ok = encodeLines(p, cs, lines, ascii, true)
	}
	return block, ok, nil
}

func encodeLines(p *Part, cs Charset, lines []string, ascii, lossy bool) (string, bool) {
	flowed := isFlowed(p)
	var text strings.Builder
	for _, line := range lines {
		if flowed {
			line = stuffed(line)
		}
		encoded, err := encodeLine(cs, line, ascii, lossy)
		if err != nil {
			return "", false
		}
		text.Write(encoded)
		text.WriteString("\r\n")
	}
	return text.String(), true
}

// readText returns the body of text p, encoded and decoded; they are the same
// bytes where nothing is encoded, and raw is nil for base64.
func (r *rewriter) readText(p *Part) (raw, text []byte, err error) {
	if p.Encoding == "base64" {
		text, err = p.decode(r.src, maxBodyText)
		return nil, text, err
	}
	raw = make([]byte, 0, p.Body.Len())
	if err = copySpan((*sliceWriter)(&raw), r.src, p.Body); err != nil {
		return nil, nil, err
	}
	if p.Encoding == "quoted-printable" {
		return raw, unquote(raw), nil
	}
	return raw, raw, nil
}

// insert puts block, in lines that end in CRLF, where a line of text begins.
func (r *rewriter) insert(p *Part, raw, text []byte, at int, block string) Splice {
	switch p.Encoding {
	case "base64":
		return Splice{p.Body, r.base64(p, slices.Concat(text[:at], []byte(block), text[at:]))}
	case "quoted-printable":
		if at = qpOffset(raw, at); at > 0 && raw[at-1] != '\n' { // the line end before is encoded itself
			block = "=\r\n" + encodeQP(block, "\r\n")
		} else {
			block = encodeQP(block, "\r\n")
		}
	}
	start := p.Body.Start + int64(at)
	return Splice{Span{start, start}, r.lines(block)}
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

// intoHTML puts the notice into a text/html body.
func (r *rewriter) intoHTML(p *Part) (Splice, bool, error) {
	cs, ok := takesNotice(p)
	if !ok {
		return Splice{}, false, nil
	}
	raw, text, err := r.readText(p)
	if err != nil {
		return Splice{}, false, err
	}
	page := readPage(text, cs)
	r.adopt(page.lang)
	if !page.ok {
		return Splice{}, false, nil
	}
	lines, err := r.html(page.rtl)
	if err != nil {
		return Splice{}, false, err
	}
	block := strings.Join(lines, "\r\n")
	switch p.Encoding {
	case "quoted-printable":
		return r.intoQuotedHTML(p, raw, qpOffset(raw, page.at), block), true, nil
	case "base64":
		return Splice{p.Body, r.base64(p, slices.Concat(text[:page.at], []byte("\r\n"+block+"\r\n"), text[page.at:]))}, true, nil
	}
	at := p.Body.Start + int64(page.at)
	return Splice{Span{at, at}, r.lines("\r\n" + block + "\r\n")}, true, nil
}

// intoQuotedHTML inserts block at an offset of raw, the encoded body of p.
func (r *rewriter) intoQuotedHTML(p *Part, raw []byte, offset int, block string) Splice {
	at, soft := p.Body.Start+int64(offset), "="
	// Soft line breaks keep the lines around it within 76 characters.
	lead := "=" + r.eol
	if offset == 0 || offset == len(raw) {
		lead = r.eol
	}
	if offset == len(raw) {
		soft = ""
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

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
