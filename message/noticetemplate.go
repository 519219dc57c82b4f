package message

// Notices by an admin's own templates. Whatever a template makes of a mail, the
// reader finds every file and the link: what does not name them is not used.

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const (
	// MaxNoticeTemplate bounds a template, in bytes; the built-in HTML has 2 KB.
	MaxNoticeTemplate = 64 << 10
	// maxCustom and maxCustomFile bound what a template makes, in bytes, apart
	// from names: it is part of every mail.
	maxCustom     = 64 << 10
	maxCustomFile = 4 << 10
)

// NoticeData is what a template of the notice is given.
type NoticeData struct {
	Heading  string // "2 attachments of this message are kept at files.acmecorp.com:"
	Site     string // host name of the link
	URL      string
	Expiry   string    // "Available until 2 March 2026, 00:30 UTC."
	Expires  time.Time // zero: never
	Language string    // of the texts, such as "en"
	Dir      string    // "ltr" or "rtl": how the texts run
	BodyDir  string    // the same of the mail around the notice
	Files    []NoticeDataFile
}

// NoticeDataFile is a file in a NoticeData.
type NoticeDataFile struct {
	Name   string
	Size   string // "3.0 MB"
	Bytes  int64
	SHA256 string // 64 hex digits
}

func (n Notice) data(t *Texts, rtl bool) NoticeData {
	d := NoticeData{Heading: n.heading(t), Site: n.Site, URL: n.URL, Expiry: n.expiry(t), Expires: n.Expires,
		Language: t.Code, Dir: direction(t.RTL), BodyDir: direction(rtl)}
	for _, f := range n.Files {
		d.Files = append(d.Files, NoticeDataFile{f.label(t), t.size(f.Size), f.Size, f.sum()})
	}
	return d
}

// tryTemplates makes notices of several kinds.
func (w *Wording) tryTemplates() error {
	one := Notice{URL: "https://files.acmecorp.example/d/AbCdEfGhIjKlMnOpQrStUv", Site: "files.acmecorp.example", Wording: w,
		Files: []NoticeFile{{Name: "Plan & <Entwurf>.pdf", Size: 3 << 20, SHA256: [32]byte{0xab}}}}
	two := one
	two.Expires = time.Date(2026, 3, 1, 23, 30, 0, 0, time.UTC)
	two.Files = append(two.Files[:1:1], NoticeFile{Name: strings.Repeat("長", 60) + " It's +1.docx", Size: 17, SHA256: [32]byte{0xcd}}, NoticeFile{Size: 1})
	for _, t := range w.languages {
		for _, n := range []Notice{one, two} {
			if w.html != nil {
				for _, rtl := range []bool{false, true} {
					if _, err := w.customHTML(n, t, rtl); err != nil {
						return fmt.Errorf("HTML template, in language %s: %w", t.Code, err)
					}
				}
			}
			if w.text != nil {
				if _, err := w.customText(n, t); err != nil {
					return fmt.Errorf("text template, in language %s: %w", t.Code, err)
				}
			}
		}
	}
	return nil
}

// names fails unless text has all that a reader needs.
func (d NoticeData) names(text string) error {
	for _, f := range d.Files {
		for _, s := range []string{f.Name, f.SHA256} {
			if !strings.Contains(text, s) {
				return fmt.Errorf("%q does not stand in it: write {{range .Files}}, and {{.Name}} and {{.SHA256}} within", s)
			}
		}
	}
	if !strings.Contains(text, d.URL) {
		return errors.New("the link does not stand in it: write {{.URL}}")
	}
	return nil
}

// limitedBuilder fails beyond a number of bytes.
type limitedBuilder struct {
	strings.Builder
	limit int
}

func (b *limitedBuilder) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("the notice is larger than %d bytes", b.limit)
	}
	return b.Builder.Write(p)
}

func customLimit(files int) int { return maxCustom + files*maxCustomFile }

func (w *Wording) customText(n Notice, t *Texts) ([]string, error) {
	d := n.data(t, t.RTL)
	b := &limitedBuilder{limit: customLimit(len(n.Files))}
	if err := w.text.Execute(b, d); err != nil {
		return nil, err
	}
	text := strings.Trim(strings.ReplaceAll(b.String(), "\r\n", "\n"), "\n")
	if err := d.names(text); err != nil {
		return nil, err
	}
	if i := strings.IndexFunc(text, isForbidden); i >= 0 {
		return nil, fmt.Errorf("it has the character %U", text[i])
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		// A blank at the end would make the line flow (RFC 3676 section 4.1).
		lines[i] = strings.TrimRight(line, " \t")
	}
	if longest := longestLine(lines); longest > maxLine {
		return nil, fmt.Errorf("it has a line of %d bytes, allowed are %d", longest, maxLine)
	}
	return lines, nil
}

// isForbidden tells control characters that have no place in a mail's text.
func isForbidden(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }

func (w *Wording) customHTML(n Notice, t *Texts, rtl bool) ([]string, error) {
	d := n.data(t, rtl)
	b := &limitedBuilder{limit: customLimit(len(n.Files))}
	if err := w.html.Execute(b, d); err != nil {
		return nil, err
	}
	markup := strings.Trim(strings.ReplaceAll(b.String(), "\r\n", "\n"), "\n")
	text, err := checkFragment(markup)
	if err != nil {
		return nil, err
	}
	if err := d.names(text); err != nil {
		return nil, err
	}
	if i := strings.IndexFunc(markup, isForbidden); i >= 0 {
		return nil, fmt.Errorf("it has the character %U", markup[i])
	}
	lines := foldHTML(asciiReferences(markup))
	if longest := longestLine(lines); longest > maxLine {
		return nil, fmt.Errorf("it has a tag of %d bytes, allowed are %d", longest, maxLine)
	}
	return lines, nil
}

// checkFragment fails unless markup is a piece of HTML that may stand anywhere
// in the text of a document: elements of harmless kinds, all of them closed. It
// returns the text in it.
func checkFragment(markup string) (string, error) {
	const probe = "<hr>" // seen only if nothing before it is left open
	z := html.NewTokenizer(strings.NewReader(markup + probe))
	var open []string
	var text strings.Builder
	for pos := 0; ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			return "", errors.New("a comment, a tag or an attribute is not closed")
		}
		if pos == len(markup) && kind == html.StartTagToken {
			break
		}
		pos += len(z.Raw())
		token := z.Token()
		switch kind {
		case html.TextToken:
			text.WriteString(token.Data)
		case html.StartTagToken:
			if !inFragment(token.DataAtom) {
				return "", fmt.Errorf("it has a <%s>, which does not belong into the text of a mail", token.Data)
			}
			if !isVoid(token.DataAtom) {
				open = append(open, token.Data)
			}
		case html.SelfClosingTagToken:
			if !inFragment(token.DataAtom) || !isVoid(token.DataAtom) {
				return "", fmt.Errorf("it has a <%s/>, which does not belong into the text of a mail", token.Data)
			}
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != token.Data {
				return "", fmt.Errorf("</%s> does not close what was opened last", token.Data)
			}
			open = open[:len(open)-1]
		case html.DoctypeToken:
			return "", errors.New("it has a document type: write a piece of HTML, no document")
		}
	}
	if len(open) > 0 {
		return "", fmt.Errorf("<%s> is not closed", open[len(open)-1])
	}
	return text.String(), nil
}

// inFragment tells the elements that mail readers show, and let stand.
func inFragment(a atom.Atom) bool {
	switch a {
	case atom.A, atom.B, atom.Bdi, atom.Bdo, atom.Big, atom.Blockquote, atom.Br, atom.Center, atom.Code, atom.Col, atom.Colgroup, atom.Dd, atom.Div,
		atom.Dl, atom.Dt, atom.Em, atom.Font, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Hr, atom.I, atom.Img, atom.Li, atom.Ol, atom.P,
		atom.Small, atom.Span, atom.Strong, atom.Sub, atom.Sup, atom.Table, atom.Tbody, atom.Td, atom.Tfoot, atom.Th, atom.Thead, atom.Tr, atom.Tt,
		atom.U, atom.Ul, atom.Wbr:
		return true
	}
	return false
}

// isVoid tells the elements that have no end tag.
func isVoid(a atom.Atom) bool {
	switch a {
	case atom.Area, atom.Base, atom.Br, atom.Col, atom.Embed, atom.Hr, atom.Img, atom.Input, atom.Link, atom.Meta, atom.Param, atom.Source, atom.Track, atom.Wbr:
		return true
	}
	return false
}

// foldHTML splits markup into lines that are short enough. They break inside of
// tags only, where a reader sees nothing of it.
func foldHTML(markup string) []string {
	const width = 500 // and the longest tag without a break, which nobody splits
	var b strings.Builder
	col := 0
	put := func(s string) {
		b.WriteString(s)
		if i := strings.LastIndexByte(s, '\n'); i >= 0 {
			col, s = 0, s[i+1:]
		}
		col += len(s)
	}
	z := html.NewTokenizer(strings.NewReader(markup))
	for {
		kind := z.Next()
		raw := string(z.Raw())
		switch {
		case kind == html.ErrorToken:
			put(raw)
			return strings.Split(b.String(), "\n")
		case kind == html.TextToken:
			for raw != "" {
				n := 1
				if end := strings.IndexByte(raw[:min(len(raw), maxReference)], ';'); raw[0] == '&' && end > 0 {
					n = end + 1
				}
				if col+n > width {
					put("<wbr\n>")
				}
				put(raw[:n])
				raw = raw[n:]
			}
		case kind == html.CommentToken || col+len(raw) <= width:
			put(raw)
		default:
			at := strings.IndexAny(raw, " \n") // between the name and the first attribute
			if at < 0 {
				at = len(raw) - 1
			}
			put(raw[:at] + "\n" + raw[at:])
		}
	}
}

// maxReference is the longest character reference that escaping makes, in bytes.
const maxReference = len("&#1114111;")
