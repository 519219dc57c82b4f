package main

// Printing: headings, sentences, quotations and verdicts, in at most 100
// columns. Colour only on a terminal that wants it.

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"cloakroom/message"
)

const (
	width  = 100 // columns, of a terminal that is not small
	margin = "    "
)

// screen is where the tour is printed, and keeps count of the verdicts.
type screen struct {
	w      io.Writer
	colour bool
	steps  int
	held   int
	failed []string // what did not hold
}

func newScreen(f *os.File) *screen {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	return &screen{w: f, colour: terminal && os.Getenv("NO_COLOR") == ""}
}

// Styles, as parameters of ECMA-48's Select Graphic Rendition.
const (
	bold  = "1"
	faint = "2"
	red   = "1;31"
	green = "32"
)

func (s *screen) style(style, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (s *screen) line(text string) { fmt.Fprintln(s.w, strings.TrimRight(text, " ")) }

// title is the first line of all.
func (s *screen) title(text string) {
	s.line(s.style(bold, text))
	s.line(s.style(bold, strings.Repeat("=", utf8.RuneCountInString(text))))
}

// step begins the next numbered step.
func (s *screen) step(text string) {
	s.steps++
	s.line("")
	s.line("")
	s.line(s.style(bold, fmt.Sprintf("%2d  %s", s.steps, text)))
}

// say prints a paragraph.
func (s *screen) say(format string, args ...any) {
	s.line("")
	for _, l := range wrap(fmt.Sprintf(format, args...), width-len(margin), "") {
		s.line(margin + l)
	}
}

// command shows what to type, in a form that can be copied. A word with blanks
// in it stays on one line.
func (s *screen) command(words ...string) {
	const blank = "\x00" // stands for one that is no place to break
	for i, w := range words {
		words[i] = strings.ReplaceAll(w, " ", blank)
	}
	lines := wrap("$"+blank+strings.Join(words, " "), width-len(margin)-len(` \`), "    ")
	s.line("")
	s.line(margin + s.style(bold, strings.ReplaceAll(strings.Join(lines, " \\\n"+margin), blank, " ")))
}

// table prints names and what they stand for.
func (s *screen) table(rows ...[2]string) {
	s.line("")
	for _, row := range rows {
		s.line(fmt.Sprintf("%s%-11s%s", margin, row[0], row[1]))
	}
}

// verbatim shows what a program or file says, as it is but for lines that are
// too long, which continue further in.
func (s *screen) verbatim(text string) {
	for l := range strings.Lines(strings.Trim(text, "\n") + "\n") {
		l = strings.TrimRight(l, " \r\n")
		indent := l[:len(l)-len(strings.TrimLeft(l, " "))]
		for _, piece := range wrap(l, width-len(margin), indent+"    ") {
			s.line(margin + piece)
		}
	}
}

// quote shows text as it was delivered, set off by a bar.
func (s *screen) quote(text string) {
	s.line("")
	for l := range strings.Lines(strings.Trim(text, "\r\n") + "\n") {
		s.line(margin + s.style(faint, "| ") + strings.TrimRight(l, "\r\n"))
	}
}

// tree shows the parts of a mail with their sizes.
func (s *screen) tree(caption string, parts []part, total int) {
	s.line("")
	s.row(s.style(bold, caption), len(caption), message.FormatSize(int64(total)))
	for _, p := range parts {
		left := strings.Repeat("  ", p.depth+1) + p.mediaType
		if p.name != "" {
			left = fmt.Sprintf("%-34s%s", left, p.name)
		}
		if p.inline {
			left += " (in the text)"
		}
		size := ""
		if p.content != nil {
			size = message.FormatSize(int64(len(p.content)))
		}
		s.row(left, len(left), size)
	}
}

// row sets text to the left and a size to the right of a column.
func (s *screen) row(left string, length int, right string) {
	const column = 76
	s.line(margin + left + fmt.Sprintf("%*s", column-length, right))
}

// pair shows two values one below the other and whether they are equal.
func (s *screen) pair(what, name1, value1, name2, value2 string) {
	verdict := s.judge(value1 == value2, what, "equal", "NOT EQUAL")
	s.line("")
	s.line(margin + what)
	s.line(fmt.Sprintf("%s  %-12s%s", margin, name1, value1))
	s.line(fmt.Sprintf("%s  %-12s%s  %s", margin, name2, value2, verdict))
}

// check tells whether something that was promised holds.
func (s *screen) check(ok bool, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	s.line(margin + s.judge(ok, what, "ok      ", "NOT OK  ") + what)
}

// judge counts a verdict, and gives the word for it.
func (s *screen) judge(ok bool, what, yes, no string) string {
	if ok {
		s.held++
		return s.style(green, yes)
	}
	s.failed = append(s.failed, what)
	return s.style(red, no)
}

// wrap breaks a line at blanks; the lines after the first begin with indent.
// Words longer than a line stay whole, so that they can be copied.
func wrap(text string, columns int, indent string) []string {
	var lines []string
	for utf8.RuneCountInString(text) > columns {
		lead := len(text) - len(strings.TrimLeft(text, " "))
		at := strings.LastIndexByte(text[:min(columns+1, len(text))], ' ')
		if at <= lead {
			next := strings.IndexByte(text[lead:], ' ')
			if next < 0 {
				break
			}
			at = lead + next
		}
		lines = append(lines, strings.TrimRight(text[:at], " "))
		text = indent + strings.TrimLeft(text[at:], " ")
	}
	return append(lines, text)
}
