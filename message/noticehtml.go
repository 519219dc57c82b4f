package message

// The notice in HTML that all mail readers show alike: tables for Outlook,
// which lays mail out with Word's engine (padding on cells only, no margins),
// styles on each element for readers that drop everything else, no images,
// and nothing that needs a style sheet or the head of the document.

import (
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The colours have a contrast of 4.5 or more (WCAG 2.2, level AA), also when a
// dark mode inverts them. No pure black and white: what they become differs the
// most between readers. Each cell has both colours, as a reader may change one
// by looking at the other.
const (
	colorText  = "#1f2933"
	colorMuted = "#4a5560"
	colorLink  = "#0b4a9e"
	colorBack  = "#eef1f5"
	colorLine  = "#b9c2cd"
)

// html writes the notice for a document that is read from right to left (rtl)
// or not.
func (n Notice) html(t *Texts, rtl bool) []string {
	if w := n.Wording; w != nil && w.html != nil {
		if lines, err := w.customHTML(n, t, rtl); err == nil {
			return lines
		}
	}
	b := block{dir: "ltr", align: "left"}
	if rtl {
		b.dir, b.align = "rtl", "right"
	}
	if t.RTL != rtl { // the sentences run against the document
		b.open, b.close = `<span dir="`+direction(t.RTL)+`">`, `</span>`
	}
	const table = `<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"`
	lines := make([]string, 0, 8+2*len(n.Files))
	lines = append(lines,
		table+` lang="`+t.Code+`" dir="`+b.dir+`"><tr><td style="padding:16px 0">`,
		table+` bgcolor="`+colorBack+`" style="max-width:600px;border:1px solid `+colorLine+`;background-color:`+colorBack+`;word-break:break-word">`,
		b.cell("12px 16px 4px", "bold 14px/20px", colorText)+b.sentence(n.heading(t))+"</td></tr>")
	file := b.cell("4px 16px", "14px/20px", colorText) + "<bdi>"
	for _, f := range n.Files {
		lines = labelHTML(lines, file, f.label(t), "</bdi> ("+b.sentence(t.size(f.Size))+")<br>")
		lines = append(lines, `<span dir="ltr" style="font:11px/16px monospace;color:`+colorMuted+`;word-break:break-all">SHA-256 `+f.sum()+"</span></td></tr>")
	}
	u := asciiHTML(n.URL)
	lines = append(lines, b.cell("8px 16px 4px", "14px/20px", colorText))
	if n.Wording.plainURL() {
		lines = append(lines, `<span dir="ltr" style="word-break:break-all">`+u+"</span></td></tr>")
	} else {
		lines = append(lines, `<a dir="ltr" href="`+u+`"`,
			`style="color:`+colorLink+`;background-color:`+colorBack+`;word-break:break-all">`+u+"</a></td></tr>")
	}
	return append(lines,
		b.cell("4px 16px 12px", "12px/18px", colorMuted)+b.sentence(n.expiry(t))+"</td></tr>",
		"</table></td></tr></table>")
}

// block is what the cells of one notice share.
type block struct {
	dir, align  string
	open, close string // around a sentence
}

// cell opens a row of one cell. Word takes the height of a line as the least
// unless it is told before.
func (b block) cell(padding, font, color string) string {
	return `<tr><td align="` + b.align + `" style="padding:` + padding + `;mso-line-height-rule:exactly;font:` + font +
		` Arial,sans-serif;color:` + color + `;background-color:` + colorBack + `">`
}

func (b block) sentence(s string) string { return b.open + asciiHTML(s) + b.close }

func direction(rtl bool) string {
	if rtl {
		return "rtl"
	}
	return "ltr"
}

// labelHTML appends a file name between line and end to lines, in as many as it
// needs. They break inside of tags only, where a reader sees nothing of it.
func labelHTML(lines []string, line, label, end string) []string {
	const perLine = 70 // characters, each of 10 bytes at most
	for count, i := 0, 0; i < len(label); count++ {
		if count == perLine {
			lines = append(lines, line+asciiHTML(label[:i])+"<wbr")
			line, label, count, i = ">", label[i:], 0, 0
		}
		_, size := utf8.DecodeRuneInString(label[i:])
		i += size
	}
	return append(lines, line+asciiHTML(label)+end)
}

// asciiHTML escapes s for HTML text and attributes, in ASCII.
func asciiHTML(s string) string { return asciiReferences(html.EscapeString(s)) }

// asciiReferences writes what is beyond ASCII as character references.
func asciiReferences(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
		} else {
			b.WriteString("&#" + strconv.Itoa(int(r)) + ";")
		}
	}
	return b.String()
}
