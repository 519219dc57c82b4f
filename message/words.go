package message

// Encoded words (RFC 2047) as real mail has them: anywhere in the text, inside
// quotes, glued to other text, and split in the middle of a character.

import (
	"strings"
)

// maxWordCharset bounds the charset label in an encoded word, in bytes. RFC
// 2047 allows 75 for the whole word; real names stay far below.
const maxWordCharset = 64

// DecodeWords gives header text as readers show it: folds undone, encoded
// words of any charset decoded, the white space between adjacent ones dropped.
// A word that cannot be decoded stays as written. Raw 8-bit text is guessed to
// be UTF-8 or windows-1252. The result is valid UTF-8, without control
// characters.
func DecodeWords(s string) string {
	s = decodeWords(unfold(s), false)
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// decodeWords decodes unfolded text. With anyCharset words of an unknown
// charset are guessed at, as some readers do. Control characters remain.
func decodeWords(s string, anyCharset bool) string {
	if !strings.Contains(s, "=?") {
		return guessText(s)
	}
	d := wordDecoder{anyCharset: anyCharset}
	text := 0 // start of the plain text before the next word
	for pos := 0; ; {
		i := strings.Index(s[pos:], "=?")
		if i < 0 {
			break
		}
		pos += i
		w, ok := scanWord(s[pos:])
		if !ok || !d.knows(w.charset) {
			pos += w.length
			continue
		}
		d.addText(s[text:pos])
		d.addWord(w)
		pos += w.length
		text = pos
	}
	d.addText(s[text:])
	d.flush()
	return strings.ToValidUTF8(d.out.String(), "\uFFFD")
}

// word is one encoded word: its charset, its bytes, and its length in the text.
// For what is no encoded word, length is how far to look for the next one.
type word struct {
	charset string
	bytes   []byte
	length  int
}

// scanWord reads the encoded word s begins with ("=?charset?encoding?text?=").
// It never looks beyond the next "=?", which keeps decoding linear.
func scanWord(s string) (word, bool) {
	const start = len("=?")
	no := word{length: 1}
	end := start
	for end < len(s) && end-start <= maxWordCharset && isCharsetByte(s[end]) {
		end++
	}
	if end == start || end+2 >= len(s) || s[end] != '?' || s[end+2] != '?' {
		return no, false
	}
	charset, _, _ := strings.Cut(s[start:end], "*") // a language may follow: RFC 2231 section 5
	encoding, text := s[end+1], end+3
	stop := wordEnd(s, text)
	if stop < 0 {
		return word{length: text - 1}, false // "?=" or "=?" may begin at that last "?"
	}
	w := word{charset: charset, length: stop + len("?=")}
	ok := true
	switch encoding {
	case 'q', 'Q':
		w.bytes = decodeQ(s[text:stop])
	case 'b', 'B':
		w.bytes, ok = decodeB(s[text:stop])
	default:
		ok = false
	}
	return w, ok
}

// wordEnd finds the "?=" that ends the encoded text from i on; -1 if another
// word begins, or the text ends, before it.
func wordEnd(s string, i int) int {
	for ; i+1 < len(s); i++ {
		if s[i] == '?' && s[i+1] == '=' {
			return i
		}
		// The "=" before "?=" is base64 padding; before anything else "=?"
		// opens the next word.
		if s[i] == '=' && s[i+1] == '?' && (i+2 >= len(s) || s[i+2] != '=') {
			return -1
		}
	}
	return -1
}

// isCharsetByte tells the bytes of a token in RFC 2047 section 2, and "*".
func isCharsetByte(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune(`()<>@,;:"/[]?=`, rune(c))
}

// wordDecoder joins adjacent words before it decodes them: senders split the
// bytes of one character between two words, although they must not.
type wordDecoder struct {
	out        strings.Builder
	anyCharset bool

	label   string // charset of the run of words not yet decoded
	pending []byte
	inRun   bool
}

func (d *wordDecoder) knows(label string) bool {
	if d.anyCharset {
		return true
	}
	_, ok := LookupCharset(label)
	return ok
}

func (d *wordDecoder) addWord(w word) {
	if d.inRun && !strings.EqualFold(d.label, w.charset) {
		d.flush()
	}
	d.inRun = true
	d.label = w.charset
	d.pending = append(d.pending, w.bytes...)
}

func (d *wordDecoder) addText(s string) {
	if d.inRun && strings.Trim(s, " \t\r\n") == "" {
		// White space between words is no text; after the last one it is, but
		// then it is at the end of the field and says nothing.
		return
	}
	d.flush()
	d.out.WriteString(guessText(s))
}

func (d *wordDecoder) flush() {
	if !d.inRun {
		return
	}
	if c, ok := LookupCharset(d.label); ok {
		d.out.WriteString(c.Decode(d.pending))
	} else {
		d.out.WriteString(guessText(string(d.pending)))
	}
	d.pending = d.pending[:0]
	d.inRun = false
}

// decodeQ decodes the Q encoding (RFC 2047 section 4.2). A "=" without two hex
// digits stands for itself.
func decodeQ(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '_':
			out = append(out, ' ')
		case '=':
			b, ok := hexByte(s[i+1:])
			if !ok {
				out = append(out, c)
				continue
			}
			out = append(out, b)
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}

// decodeB decodes base64 as readers do: padding may be missing or in the
// middle, other bytes are skipped (RFC 2045 section 6.8). Text in which not
// one byte is encoded is refused.
func decodeB(s string) ([]byte, bool) {
	out := make([]byte, 0, len(s)*3/4)
	acc, bits := 0, 0
	for i := 0; i < len(s); i++ {
		if s[i] == '=' {
			acc, bits = 0, 0
			continue
		}
		v := base64Value(s[i])
		if v < 0 {
			continue
		}
		acc = acc<<6 | v
		if bits += 6; bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
			acc &= 1<<bits - 1
		}
	}
	return out, len(out) > 0 || s == ""
}

// hexByte reads the two hex digits s begins with.
func hexByte(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	hi, lo := hexValue(s[0]), hexValue(s[1])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// unfold undoes header folding (RFC 5322 section 2.2.3): a line end before
// white space goes, any other becomes a space.
func unfold(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\r' && s[i] != '\n' {
			out.WriteByte(s[i])
			continue
		}
		for i+1 < len(s) && (s[i+1] == '\r' || s[i+1] == '\n') {
			i++
		}
		if i+1 < len(s) && s[i+1] != ' ' && s[i+1] != '\t' {
			out.WriteByte(' ')
		}
	}
	return out.String()
}
