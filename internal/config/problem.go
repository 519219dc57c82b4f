package config

// What is said about a configuration that is wrong: where, which key, why, and
// the line itself with a caret under the place.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Problem is one thing wrong (or, in a Warning, doubtful) in a configuration file.
type Problem struct {
	File    string
	Line    int    // from 1; 0 when nothing in the file stands for it, such as a missing key
	Column  int    // from 1, in characters
	Key     string // dotted path, such as milter.listen or rules[0].if; "" for the file as a whole
	Message string
	Excerpt string // the source line and a caret, ending in a newline; "" without a place
}

// String gives `file:line:col: key: message` and, on the lines below, the excerpt.
func (p Problem) String() string { return p.text("") }

// Headline is the first line of String: the form editors and log readers know.
func (p Problem) Headline() string { return p.headline("") }

func (p Problem) text(kind string) string {
	text := p.headline(kind)
	if p.Excerpt != "" {
		text += "\n" + strings.TrimSuffix(p.Excerpt, "\n")
	}
	return text
}

func (p Problem) headline(kind string) string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": " + kind)
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Warning is something the daemon runs with but an admin should look at.
type Warning struct{ Problem }

const warningMark = "warning: "

// String is that of a Problem, marked as a warning.
func (w Warning) String() string { return w.text(warningMark) }

// Headline is the first line of String.
func (w Warning) Headline() string { return w.headline(warningMark) }

// Error is a configuration that cannot be used: all that is wrong with it, in
// the order of the file.
type Error struct {
	File     string
	Problems []Problem // at least one
}

// Error lists every problem with its excerpt.
func (e *Error) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.String()
	}
	return strings.Join(texts, "\n")
}

// Summary is the error in one line.
func (e *Error) Summary() string {
	if len(e.Problems) == 1 {
		return fmt.Sprintf("%s has 1 mistake", e.File)
	}
	return fmt.Sprintf("%s has %d mistakes", e.File, len(e.Problems))
}

// problems collects what is found while one file is read.
type problems struct {
	source *source
	errors []Problem
	warns  []Warning
}

func (ps *problems) add(at place, key, format string, args ...any) {
	ps.errors = append(ps.errors, ps.problem(at, key, fmt.Sprintf(format, args...)))
}

func (ps *problems) warn(at place, key, format string, args ...any) {
	ps.warns = append(ps.warns, Warning{ps.problem(at, key, fmt.Sprintf(format, args...))})
}

func (ps *problems) problem(at place, key, message string) Problem {
	return Problem{
		File: ps.source.name, Line: at.line, Column: at.column,
		Key: key, Message: message, Excerpt: ps.source.excerpt(at),
	}
}

// err gives what was collected, sorted by place; nil when all is well.
func (ps *problems) err() error {
	if len(ps.errors) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.errors, compareProblems)
	return &Error{File: ps.source.name, Problems: ps.errors}
}

func (ps *problems) warnings() []Warning {
	slices.SortStableFunc(ps.warns, func(a, b Warning) int { return compareProblems(a.Problem, b.Problem) })
	return ps.warns
}

func compareProblems(a, b Problem) int {
	if (a.Line == 0) != (b.Line == 0) { // what has no place comes last
		return cmp.Compare(b.Line, a.Line)
	}
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// place is a position in the file, both from 1; the zero value is nowhere.
type place struct{ line, column int }

// source is the file as it was read, by lines.
type source struct {
	name  string
	lines [][]rune // without line ends
}

func newSource(name, text string) *source {
	s := &source{name: name}
	for line := range strings.SplitSeq(text, "\n") {
		s.lines = append(s.lines, []rune(line))
	}
	return s
}

// The part of a long line that an excerpt shows, in characters: together with
// the line number it fits a terminal of 100 columns.
const (
	excerptWidth  = 90
	excerptBefore = 60 // at most so much of it stands before the caret
)

// excerpt shows the line of at, the one before it, and a caret.
func (s *source) excerpt(at place) string {
	if at.line < 1 || at.line > len(s.lines) {
		return ""
	}
	from := max(0, at.column-1-excerptBefore)
	margin := len(fmt.Sprint(at.line))
	var b strings.Builder
	if at.line > 1 && strings.TrimSpace(string(s.lines[at.line-2])) != "" {
		fmt.Fprintf(&b, "  %*d | %s\n", margin, at.line-1, window(s.lines[at.line-2], from))
	}
	fmt.Fprintf(&b, "  %*d | %s\n", margin, at.line, window(s.lines[at.line-1], from))
	fmt.Fprintf(&b, "  %*s | %s^\n", margin, "", strings.Repeat(" ", max(0, at.column-1-from)))
	return b.String()
}

// window cuts a line to what an excerpt shows and makes it safe for a terminal:
// every character stands for itself in one column or is a question mark.
func window(line []rune, from int) string {
	line = line[min(from, len(line)):]
	line = line[:min(excerptWidth, len(line))]
	shown := make([]rune, len(line))
	for i, r := range line {
		switch {
		case r == '\t':
			shown[i] = ' '
		case unicode.IsPrint(r):
			shown[i] = r
		default:
			shown[i] = '?'
		}
	}
	return strings.TrimRight(string(shown), " ")
}
