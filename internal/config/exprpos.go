package config

// From a position inside a text value back to the file. YAML folds lines,
// strips indentation and undoes quotes and escapes, but it never reorders: the
// n-th character of the value that is not white space is the n-th such
// character of its source, in every style.

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// placeInside gives the place in the file of character column (from 1) on line
// (from 1) of the text that node stands for. Where white space or the end of
// the text is meant it is the place behind the last character before it. When
// the two texts cannot be matched it is where the value begins.
func (s *source) placeInside(node ast.Node, text string, line, column int) place {
	start := nodePlace(node)
	target := characterIndex(text, line, column)
	source := s.styled(node)
	behind := start // where the last matched character ends
	for i, want := range []rune(text) {
		if isBlank(want) {
			if i == target {
				return behind
			}
			continue
		}
		got, at, ok := source.next()
		if !ok || got != want {
			return start
		}
		if i == target {
			return at
		}
		behind = place{at.line, source.column + 1}
	}
	return behind
}

// characterIndex counts the characters before a position in text.
func characterIndex(text string, line, column int) int {
	lines := strings.Split(text, "\n")
	index := 0
	for _, l := range lines[:min(max(line-1, 0), len(lines))] {
		index += len([]rune(l)) + 1
	}
	return index + max(column-1, 0)
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' }

// styledReader reads the characters of a scalar from its source as YAML
// understands them, white space left out.
type styledReader struct {
	lines        [][]rune
	line, column int // of the next character, both from 0
	quote        rune
}

func (s *source) styled(node ast.Node) *styledReader {
	at := nodePlace(node)
	r := &styledReader{lines: s.lines, line: at.line - 1, column: at.column - 1}
	if _, block := node.(*ast.LiteralNode); block { // the text begins below | or >
		r.line, r.column = r.line+1, 0
		return r
	}
	switch node.GetToken().Type {
	case token.SingleQuoteType:
		r.quote = '\''
		r.column++
	case token.DoubleQuoteType:
		r.quote = '"'
		r.column++
	}
	return r
}

// next gives one character and where it stands. Afterwards r.column is behind
// all of it, escapes included.
func (r *styledReader) next() (rune, place, bool) {
	for r.line >= 0 && r.line < len(r.lines) {
		if r.column >= len(r.lines[r.line]) {
			r.line, r.column = r.line+1, 0
			continue
		}
		at := place{r.line + 1, r.column + 1}
		c := r.lines[r.line][r.column]
		r.column++
		switch {
		case r.quote == '\'' && c == '\'': // doubled inside single quotes
			r.column++
		case r.quote == '"' && c == '\\':
			c = r.escape()
		}
		if !isBlank(c) {
			return c, at, true
		}
	}
	return 0, place{}, false
}

// escape reads what follows a backslash in double quotes (YAML 1.2, 5.7); an
// escaped line end counts as white space.
func (r *styledReader) escape() rune {
	line := r.lines[r.line]
	if r.column >= len(line) {
		return '\n'
	}
	c := line[r.column]
	r.column++
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[c]
	if digits > 0 {
		value := rune(0)
		for range digits {
			if r.column >= len(line) {
				break
			}
			value = value<<4 | rune(strings.IndexRune("0123456789abcdef", line[r.column]|0x20))
			r.column++
		}
		return value
	}
	plain := map[rune]rune{
		'0': 0, 'a': '\a', 'b': '\b', 't': '\t', 'n': '\n', 'v': '\v', 'f': '\f', 'r': '\r',
		'e': 0x1b, 'N': 0x85, '_': 0xa0, 'L': 0x2028, 'P': 0x2029,
	}
	if decoded, ok := plain[c]; ok {
		return decoded
	}
	return c
}
