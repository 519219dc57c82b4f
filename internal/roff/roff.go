// Package roff writes manual pages in the man(7) macros. Text is taken as it is:
// nothing in it is markup, so that an expression full of asterisks and
// backslashes arrives as it was written.
package roff

import (
	"fmt"
	"strings"
)

// Page is a manual page being written.
type Page struct{ b strings.Builder }

// New begins a page: its name, its section of the manual, what the page belongs
// to (shown at the bottom) and the manual's title (at the top).
func New(name string, section int, source, manual string) *Page {
	p := &Page{}
	fmt.Fprintf(&p.b, ".TH %s %d \"\" %s %s\n", quote(strings.ToUpper(name)), section, quote(source), quote(manual))
	// Left-aligned and without hyphens: commands and keys stay as they are typed.
	p.b.WriteString(".nh\n.ad l\n")
	return p
}

// Name writes the NAME section in the form that whatis(1) reads.
func (p *Page) Name(name, summary string) {
	p.Section("NAME")
	fmt.Fprintf(&p.b, "%s \\- %s\n", escape(name), escape(lowerFirst(summary)))
}

// Section begins a section.
func (p *Page) Section(title string) { fmt.Fprintf(&p.b, ".SH %s\n", quote(strings.ToUpper(title))) }

// Text writes paragraphs. An empty line ends one; lines that are indented stand
// as they are.
func (p *Page) Text(text string) {
	indented := false
	set := func(on bool) {
		if on != indented {
			p.b.WriteString(map[bool]string{true: ".PP\n.RS 4\n.nf\n", false: ".fi\n.RE\n"}[on])
		}
		indented = on
	}
	fresh := true // the next line begins a paragraph
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			fresh = true
			continue
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			if indented && fresh {
				p.b.WriteString("\n")
			}
			set(true)
			line = strings.TrimPrefix(line, "  ")
		default:
			set(false)
			if fresh {
				p.b.WriteString(".PP\n")
			}
		}
		fresh = false
		p.b.WriteString(escape(line) + "\n")
	}
	set(false)
}

// Code writes lines that stand as they are.
func (p *Page) Code(text string) {
	p.b.WriteString(".PP\n.RS 4\n.nf\n")
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		p.b.WriteString(escape(line) + "\n")
	}
	p.b.WriteString(".fi\n.RE\n")
}

// Term writes a term in bold with its explanation below, indented; further
// paragraphs of it stay indented.
func (p *Page) Term(term, text string) {
	fmt.Fprintf(&p.b, ".TP\n\\fB%s\\fR\n", escapeInline(term))
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			p.b.WriteString(".IP\n")
		}
		p.b.WriteString(escape(strings.Join(strings.Fields(paragraph), " ")) + "\n")
	}
}

// String is the page so far.
func (p *Page) String() string { return p.b.String() }

// escapes are the characters that roff would read as its own, or show as
// typographic ones.
var escapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

func escapeInline(text string) string { return escapes.Replace(text) }

// escape also protects the beginning of a line, where a dot begins a request.
func escape(text string) string {
	text = escapeInline(text)
	if strings.HasPrefix(text, ".") {
		return `\&` + text
	}
	return text
}

// quote makes one argument of a macro.
func quote(text string) string {
	return `"` + strings.ReplaceAll(escapeInline(text), `"`, `\(dq`) + `"`
}

func lowerFirst(text string) string {
	if len(text) > 1 && text[0] >= 'A' && text[0] <= 'Z' && (text[1] < 'A' || text[1] > 'Z') {
		return string(text[0]+'a'-'A') + text[1:]
	}
	return text
}
