package message

// The three forms a parameter's value has in mail: quoted, quoted without an
// end, and not quoted at all.

import (
	"strings"
)

// quoted reads the value between the quotes at start-1 and end.
func (sc *valueScanner) quoted(name string, start, end int) writtenParam {
	raw := sc.s[start:end]
	if strings.IndexByte(raw, ';') >= 0 {
		sc.hidden = true
	}
	i := sc.afterQuote(end + 1)
	sc.pos = i
	if sc.skipBlank(end+1) >= i {
		return newWrittenParam(name, raw)
	}

	// `"a "b" c.txt"`: quotes inside that nobody escaped. Strict readers stop
	// at the second quote, others at the last.
	sc.value.note(defectAfterQuote)
	sc.hidden = true
	whole := strings.TrimRight(sc.s[start:i], wsp)
	inner := !isWSP(sc.s[end+1]) && strings.IndexByte(whole[len(raw)+1:], '"') >= 0
	whole = strings.TrimSuffix(whole, `"`)
	p := newWrittenParam(name, raw)
	if inner && namesFile(p.name) {
		p = newWrittenParam(name, whole)
		p.addReading(raw)
	}
	p.addReading(whole)
	p.addReading(strings.ReplaceAll(whole, `"`, ""))
	return p
}

// afterQuote finds the end of a parameter behind its closing quote: a
// semicolon, the end, or the next parameter where the semicolon is missing.
func (sc *valueScanner) afterQuote(i int) int {
	for start := i; i < len(sc.s) && sc.s[i] != ';'; i++ {
		if end, ok := sc.closing[i]; ok {
			i = end
			continue
		}
		if (i == start || isWSP(sc.s[i-1]) || sc.s[i-1] == ')') && sc.paramAt(i) {
			sc.value.note(defectNoSemicolon)
			break
		}
	}
	return min(i, len(sc.s))
}

// unterminated reads a value whose closing quote is missing: up to what looks
// like the next parameter. Other readers go on to the end.
func (sc *valueScanner) unterminated(name string, start int) writtenParam {
	sc.value.note(defectUnterminated)
	sc.hidden = true
	end := start
	for end < len(sc.s) {
		if sc.s[end] == ';' && sc.paramAt(sc.skipWSP(end+1)) {
			break
		}
		end++
	}
	sc.pos = end
	p := newWrittenParam(name, trimLoose(sc.s[start:end]))
	p.addReading(trimLoose(sc.s[start:]))
	return p
}

// trimLoose trims white space and the quote that an escape has disarmed, as in
// "C:\temp\".
func trimLoose(s string) string {
	return strings.TrimRight(strings.TrimSuffix(strings.TrimRight(s, wsp), `"`), wsp)
}

// unquoted reads a value that is not quoted, although it may need to be:
// filename=My File (1).pdf.
func (sc *valueScanner) unquoted(name string, start int) writtenParam {
	stop, next := sc.unquotedEnd(start)
	sc.pos = next
	raw := sc.s[start:stop]
	p := newWrittenParam(name, raw)
	file := namesFile(p.name)
	if strings.ContainsAny(raw, wsp) {
		sc.value.note(defectUnquoted)
	}

	if file && next > stop {
		// White space, a comment or another parameter ended it. For readers
		// who only look for semicolons it goes on.
		if end := strings.IndexByte(sc.s[next:], ';'); end >= 0 {
			next += end
		} else {
			next = len(sc.s)
		}
		if next-start <= maxLooseValue {
			p.addReading(strings.Trim(sc.s[start:next], wsp))
		}
	}
	p.addReading(sc.strictToken(raw, start, file))
	if quote := strings.IndexByte(raw, '"'); quote >= 0 {
		p.addReading(strings.ReplaceAll(raw, `"`, ""))
		// Readers may know quotes in the middle too: a";b".exe
		if end := sc.closeQuote(start + quote); end > stop {
			more, _, _ := strings.Cut(sc.s[end:], ";")
			p.addReading(sc.s[start:end] + more)
		}
	}
	if len(raw) > 2 && raw[0] == '\'' && raw[len(raw)-1] == '\'' {
		p.addReading(raw[1 : len(raw)-1])
	}
	return p
}

// unquotedEnd finds where an unquoted value stops, and where what follows it
// begins.
func (sc *valueScanner) unquotedEnd(i int) (stop, next int) {
	s := sc.s
	for i < len(s) && s[i] != ';' {
		if !isWSP(s[i]) {
			i++
			continue
		}
		next := sc.skipWSP(i)
		if next == len(s) || s[next] == ';' {
			return i, next
		}
		if _, ok := sc.closing[next]; ok {
			after := sc.skipBlank(next)
			if after == len(s) || s[after] == ';' || sc.paramAt(after) {
				return i, after
			}
			i = after // "My File (1).pdf": parentheses in a name
			continue
		}
		if sc.paramAt(next) {
			sc.value.note(defectNoSemicolon)
			return i, next
		}
		i = next
	}
	return i, i
}

// strictToken is what a strict reader takes of an unquoted value that begins
// at start: up to white space or a comment, in file names up to any byte that
// is not of a token. Other parameters, boundaries above all, are written
// unquoted so often that all readers accept every byte in them.
func (sc *valueScanner) strictToken(raw string, start int, file bool) string {
	for i := 0; i < len(raw); i++ {
		if isWSP(raw[i]) || file && raw[i] < 0x80 && !isTokenByte(raw[i]) {
			return raw[:i]
		}
		if _, ok := sc.closing[start+i]; ok {
			return raw[:i]
		}
	}
	return raw
}
