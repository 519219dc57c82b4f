package message

// The scanner under ParseValue: one pass over an unfolded field value, with
// comments, quotes, and what takes their place in broken mail.

import (
	"strings"
)

const wsp = " \t"

// maxLooseName is how far, in bytes, a name may reach that shows a missing
// semicolon; the longest registered parameter names have about 20.
const maxLooseName = 40

// maxLooseValue bounds, in bytes, the second reading of an unquoted value that
// seems to run into the next parameter. No reader shows a longer file name.
const maxLooseValue = 1024

// writtenParam is one parameter as scanned: a whole one or an RFC 2231 segment.
type writtenParam struct {
	name    string   // in lower case, markers removed
	segment int      // number of the segment; -1 for a whole parameter
	star    bool     // percent-encoded: the name ended in "*"
	raw     string   // without quotes
	text    string   // escapes undone
	also    []string // the text as other readers see it
}

// newWrittenParam splits the RFC 2231 markers off a name in lower case.
func newWrittenParam(name, raw string) writtenParam {
	p := writtenParam{name: name, segment: -1, raw: raw}
	p.text = unescape(raw, false)
	p.addReading(unescape(raw, true))
	base, marker, ok := strings.Cut(name, "*")
	if !ok || base == "" {
		return p
	}
	p.name = base
	digits, star := strings.CutSuffix(marker, "*")
	p.star = star || marker == ""
	if n, ok := segmentNumber(digits); ok {
		p.segment = n
	}
	return p
}

// segmentNumber reads a decimal of up to three digits: no field has more
// segments than maxParams.
func segmentNumber(s string) (int, bool) {
	if s == "" || len(s) > 3 {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

func (p *writtenParam) addReading(text string) {
	if text != p.text && text != "" {
		p.also = append(p.also, text)
	}
}

// unescape removes the backslashes of quoted pairs (RFC 5322 section 3.2.1).
// Unless strict, one before a letter or digit is kept: software that escapes
// those is not known, software that puts Windows paths into quotes is.
func unescape(s string, strict bool) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if strict || !isAlphanumeric(s[i+1]) {
				i++
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80
}

// isTokenByte tells the bytes of a token (RFC 2045 section 5.1).
func isTokenByte(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?=`, rune(c))
}

func isWSP(c byte) bool { return c == ' ' || c == '\t' }

type valueScanner struct {
	s       string
	pos     int
	value   *Value      // takes the defects
	closing map[int]int // "(" -> its ")"; those without one are not in it
	noQuote bool        // there is no closing quote from here to the end
	hidden  bool        // a quote or comment holds a semicolon
}

func newValueScanner(s string, v *Value) *valueScanner {
	return &valueScanner{s: s, value: v, closing: matchComments(s)}
}

// matchComments pairs the parentheses of s: comments nest (RFC 5322 section
// 3.2.2), and to look for the end of each one anew would take quadratic time.
func matchComments(s string) map[int]int {
	if strings.IndexByte(s, '(') < 0 {
		return nil
	}
	closing := make(map[int]int)
	var open []int
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			open = append(open, i)
		case ')':
			if n := len(open); n > 0 {
				closing[open[n-1]] = i
				open = open[:n-1]
			}
		}
	}
	return closing
}

func (sc *valueScanner) skipWSP(i int) int {
	for i < len(sc.s) && isWSP(sc.s[i]) {
		i++
	}
	return i
}

// skipBlank skips white space and comments.
func (sc *valueScanner) skipBlank(i int) int {
	for i < len(sc.s) {
		if isWSP(sc.s[i]) {
			i++
			continue
		}
		end, ok := sc.closing[i]
		if !ok {
			return i
		}
		if strings.IndexByte(sc.s[i:end], ';') >= 0 {
			sc.hidden = true
		}
		i = end + 1
	}
	return i
}

// closeQuote finds the quote that closes the one at i; -1 if none does.
func (sc *valueScanner) closeQuote(i int) int {
	if sc.noQuote {
		return -1
	}
	for i++; i < len(sc.s); i++ {
		switch sc.s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	sc.noQuote = true
	return -1
}

// mainValue reads what stands before the first parameter.
func (sc *valueScanner) mainValue() string {
	s := sc.s
	i := sc.skipBlank(0)
	if i == len(s) {
		sc.pos = i
		return ""
	}
	var text []byte
	if s[i] == '"' {
		if end := sc.closeQuote(i); end > 0 {
			text = []byte(s[i+1 : end])
			i = end + 1
		}
	}
	for i < len(s) && (isTokenByte(s[i]) || s[i] == '/') {
		text = append(text, s[i])
		i++
		// White space and comments may stand around the slash, nowhere else.
		if j := sc.skipBlank(i); j > i && j < len(s) && (s[j] == '/' || text[len(text)-1] == '/') {
			i = j
		}
	}
	next := sc.skipBlank(i)
	if next < len(s) && s[next] == '=' { // parameters only
		sc.value.note(defectMain)
		return ""
	}
	if next < len(s) && s[next] != ';' {
		sc.value.note(defectNoSemicolon)
	}
	sc.pos = next
	if next == i && i < len(s) && (s[i] >= 0x80 || s[i] < ' ') {
		text = nil // no delimiter, the word itself is broken
	}
	if !usableMain(text) {
		sc.value.note(defectMain)
		return ""
	}
	return strings.ToLower(string(text))
}

// usableMain tells a token, or two with a slash between.
func usableMain(text []byte) bool {
	slash := 0
	for i, c := range text {
		if c == '/' {
			slash++
			if i == 0 || i == len(text)-1 {
				return false
			}
		} else if !isTokenByte(c) {
			return false
		}
	}
	return len(text) > 0 && slash <= 1
}

// next reads the next parameter.
func (sc *valueScanner) next() (writtenParam, bool) {
	name := ""
	for sc.pos < len(sc.s) {
		switch c := sc.s[sc.pos]; {
		case c == ';' || c == ',':
			if name != "" {
				sc.value.note(defectNoValue)
			}
			name = ""
			sc.pos++
		case c == '=':
			sc.pos++
			if name != "" {
				return sc.paramValue(strings.ToLower(name)), true
			}
			sc.value.note(defectNoName)
		case isWSP(c):
			sc.pos++
		case isTokenByte(c):
			if name != "" {
				sc.value.note(defectJunk)
			}
			end := sc.pos
			for end < len(sc.s) && isTokenByte(sc.s[end]) {
				end++
			}
			name = sc.s[sc.pos:end]
			sc.pos = end
		default:
			name = sc.skipStray(name)
		}
	}
	if name != "" {
		sc.value.note(defectNoValue)
	}
	return writtenParam{}, false
}

// skipStray skips a comment, or what has no place before a "=", and gives what
// is left of the name.
func (sc *valueScanner) skipStray(name string) string {
	if end := sc.skipBlank(sc.pos); end > sc.pos {
		sc.pos = end
		return name
	}
	sc.value.note(defectJunk)
	if sc.s[sc.pos] == '"' {
		if end := sc.closeQuote(sc.pos); end > 0 {
			sc.hidden = true
			sc.pos = end + 1
			return ""
		}
	}
	sc.pos++
	return name
}

// paramAt tells whether "name=" stands at i, as it does after a missing
// semicolon. Base64 padding and encoded words look alike, and are not.
func (sc *valueScanner) paramAt(i int) bool {
	start := i
	for i < len(sc.s) && i-start <= maxLooseName && isTokenByte(sc.s[i]) {
		i++
	}
	if i == start || i >= len(sc.s) || sc.s[i] != '=' || !isAlphanumeric(sc.s[start]) {
		return false
	}
	rest := sc.s[i+1:]
	return !strings.HasPrefix(rest, "?=") && !strings.HasPrefix(rest, "=?=") && !strings.HasPrefix(rest, "==")
}

// paramValue reads the value after "name=".
func (sc *valueScanner) paramValue(name string) writtenParam {
	i := sc.skipWSP(sc.pos)
	if i < len(sc.s) && sc.s[i] == '(' {
		// filename=(1).pdf is no comment; filename=(x)"1.pdf" has one.
		if j := sc.skipBlank(i); j < len(sc.s) && sc.s[j] == '"' {
			i = j
		}
	}
	if i == len(sc.s) || sc.s[i] != '"' {
		return sc.unquoted(name, i)
	}
	end := sc.closeQuote(i)
	if end < 0 {
		return sc.unterminated(name, i+1)
	}
	return sc.quoted(name, i+1, end)
}
