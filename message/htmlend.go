package message

// Where the notice belongs in an HTML document, and what the document says of
// its language.

import (
	"bytes"
	"io"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/text/unicode/bidi"
)

// page is what a walk through an HTML document found.
type page struct {
	// at is where the notice belongs: before the history that a reply quotes,
	// else before the last </body>, else </html>, else at the end.
	at int
	// ok is false when what is put there would not be shown, because a comment,
	// a script, a hidden element or the like is left open.
	ok   bool
	lang string // of the html or body element
	rtl  bool   // it is read from right to left
}

// maxSample is how much of a document's text is looked at for its direction, in
// bytes.
const maxSample = 8 << 10

// walk is one way through a document. What the elements nest in is reckoned
// like browsers do, as far as it matters here; where it is in doubt nothing is
// certain, and the notice goes to the end.
type walk struct {
	z    *html.Tokenizer
	open []element
	// count tells how many elements of a kind are open.
	count map[uint64]int
	// hidden and unsure are how many open elements hide what is in them, or are
	// no plain frames around text.
	hidden, unsure int
	revealed       int // <![if …]> that are open: not every reader shows what follows

	page           page
	dir            string // of the html or body element
	body, root     int    // where </body> and </html> begin; -1: not seen
	bodyOK, rootOK bool
	bodyLang       string
	quote          quote
	sample         []byte // text, in the document's charset
	name           []byte // of the element at hand, in lower case
	style          []byte // the style attribute at hand, squeezed
}

// element is one that is open.
type element struct {
	kind          atom.Atom // 0: none that HTML knows
	name          uint64
	hides, unsure bool
}

// readPage walks through a document in charset cs, which is ASCII-compatible.
func readPage(text []byte, cs Charset) page {
	// A tag put behind the document shows whether tags are seen there.
	const probe = "<p>"
	w := &walk{z: html.NewTokenizer(io.MultiReader(bytes.NewReader(text), strings.NewReader(probe))),
		count: make(map[uint64]int), body: -1, root: -1}
	w.quote.reset()
	end := false
	for pos := 0; ; {
		kind := w.z.Next()
		if kind == html.ErrorToken {
			break
		}
		start, size := pos, len(w.z.Raw())
		pos += size
		if start == len(text) {
			end = kind == html.StartTagToken
			break
		}
		w.token(kind, start)
	}
	p := &w.page
	switch {
	case w.quote.at >= 0:
		p.at, p.ok = w.quote.at, true
	case w.body >= 0:
		p.at, p.ok = w.body, w.bodyOK
	case w.root >= 0:
		p.at, p.ok = w.root, w.rootOK
	default:
		p.at, p.ok = len(text), end && w.hidden == 0
	}
	if p.lang == "" {
		p.lang = w.bodyLang
	}
	p.rtl = w.dir == "rtl" || w.dir == "" && runsRightToLeft(html.UnescapeString(cs.Decode(w.sample)))
	return *p
}

func (w *walk) token(kind html.TokenType, start int) {
	switch kind {
	case html.StartTagToken, html.SelfClosingTagToken:
		w.startTag(start)
	case html.EndTagToken:
		w.endTag(w.element(w.z.Raw()[len("</"):]), start)
	case html.CommentToken:
		switch raw := bytes.ToLower(w.z.Raw()[:min(len(w.z.Raw()), 10)]); { // Word's <![if !mso]>
		case bytes.HasPrefix(raw, []byte("<![if")):
			w.revealed++
		case bytes.HasPrefix(raw, []byte("<![endif")):
			w.revealed = max(0, w.revealed-1)
		}
	case html.TextToken:
		if n := len(w.open); n > 0 && isRaw(w.open[n-1].kind) {
			return
		}
		raw := w.z.Raw()
		if room := maxSample - len(w.sample); room > 0 && w.quote.at < 0 {
			w.sample = append(w.sample, raw[:min(len(raw), room)]...)
		}
		if !isBlankHTML(raw) {
			w.quote.text()
		}
	}
}

// isBlankHTML tells whether text shows nothing.
func isBlankHTML(raw []byte) bool {
	for len(raw) > 0 {
		switch {
		case raw[0] == ' ' || raw[0] == '\t' || raw[0] == '\r' || raw[0] == '\n' || raw[0] == 0xa0: // in latin1
			raw = raw[1:]
		case bytes.HasPrefix(raw, []byte("\xc2\xa0")):
			raw = raw[2:]
		case bytes.HasPrefix(raw, []byte("&nbsp;")), bytes.HasPrefix(raw, []byte("&#160;")):
			raw = raw[6:]
		default:
			return false
		}
	}
	return true
}

// isRaw tells the elements whose content is not text that people read.
func isRaw(a atom.Atom) bool {
	switch a {
	case atom.Style, atom.Script, atom.Title, atom.Textarea, atom.Iframe, atom.Noembed, atom.Noframes, atom.Noscript, atom.Xmp:
		return true
	}
	return false
}

func (w *walk) startTag(start int) {
	raw := w.z.Raw()
	e := w.element(raw[len("<"):])
	mark := noMark
	var id, class []byte
	open := false
	w.style = w.style[:0]
	// Reading attributes is most of the work: only where one could matter.
	for more := bearsMarks(e.kind) || saysHidden(raw); more; {
		var key, value []byte
		key, value, more = w.z.TagAttr()
		switch string(key) {
		case "id":
			id = value
		case "class":
			class = value
		case "style":
			w.style = appendSqueezed(w.style, value)
		case "type":
			if e.kind == atom.Blockquote && bytes.EqualFold(value, []byte("cite")) {
				mark = quoteElement
			}
		case "hidden":
			e.hides = true
		case "open":
			open = true
		case "lang", "xml:lang":
			w.setLang(e.kind, value)
		case "dir":
			w.setDir(e.kind, value)
		}
	}
	if isVoid(e.kind) {
		w.quote.void(e.kind, string(id), start, w.certain())
		return
	}
	switch n := len(w.open); {
	case n == 0:
	case w.open[n-1].kind == atom.P && endsParagraph(e.kind), w.open[n-1].kind == atom.Head && e.kind == atom.Body:
		w.pop(n - 1) // its end tag may be left out
	}
	if m := markOf(e.kind, id, class, w.style); m != noMark {
		mark = m
	}
	w.quote.start(e.kind, mark, start, len(w.open), w.certain())
	e.hides = e.hides || hides(e.kind) && !open || isHiddenStyle(w.style)
	e.unsure = !isFrame(e.kind)
	w.push(e)
}

// element is the one whose name raw begins with. The tokenizer tells the same,
// with an allocation for each.
func (w *walk) element(raw []byte) element {
	end := bytes.IndexAny(raw, " \n\r\t\f/>")
	if end < 0 {
		end = len(raw)
	}
	name := append(w.name[:0], raw[:end]...)
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
	w.name = name
	if a := atom.Lookup(name); a != 0 {
		return element{kind: a, name: uint64(a)}
	}
	hash := uint64(14695981039346656037) // FNV-1a
	for _, c := range name {
		hash = (hash ^ uint64(c)) * 1099511628211
	}
	return element{name: hash | 1<<63} // atoms have 32 bits
}

// bearsMarks tells the elements of which an attribute may say where they belong.
func bearsMarks(a atom.Atom) bool {
	switch a {
	case atom.Html, atom.Body, atom.Div, atom.Blockquote, atom.Span, atom.Hr, atom.Details, atom.Dialog:
		return true
	}
	return false
}

// saysHidden tells whether a tag may hide its element.
func saysHidden(raw []byte) bool {
	for i := 0; i+4 <= len(raw); i++ {
		switch raw[i] | 0x20 {
		case 'n':
			if bytes.EqualFold(raw[i:i+4], []byte("none")) {
				return true
			}
		case 'h':
			if bytes.EqualFold(raw[i:i+3], []byte("hid")) {
				return true
			}
		}
	}
	return false
}

// appendSqueezed appends s in lower case and without blanks.
func appendSqueezed(out, s []byte) []byte {
	for _, c := range s {
		switch {
		case c >= 'A' && c <= 'Z':
			out = append(out, c+'a'-'A')
		case c > ' ':
			out = append(out, c)
		}
	}
	return out
}

// certain tells that a table put here is shown to everybody, as a block of its
// own.
func (w *walk) certain() bool { return w.unsure == 0 && w.hidden == 0 && w.revealed == 0 }

func (w *walk) push(e element) {
	w.open = append(w.open, e)
	w.count[e.name]++
	if e.hides {
		w.hidden++
	}
	if e.unsure {
		w.unsure++
	}
}

// pop closes all elements from index n on.
func (w *walk) pop(n int) {
	for _, e := range w.open[n:] {
		w.count[e.name]--
		if e.hides {
			w.hidden--
		}
		if e.unsure {
			w.unsure--
		}
	}
	w.open = w.open[:n]
	w.quote.end(n)
}

func (w *walk) endTag(e element, start int) {
	switch e.kind {
	case atom.Body:
		w.body, w.bodyOK = start, w.hidden == 0
	case atom.Html:
		w.root, w.rootOK = start, w.hidden == 0
	}
	if w.count[e.name] == 0 {
		return // it closes nothing
	}
	n := len(w.open) - 1
	for w.open[n].name != e.name {
		n--
	}
	w.pop(n)
}

func (w *walk) setLang(kind atom.Atom, value []byte) {
	value = value[:min(len(value), maxLanguages)]
	switch {
	case kind == atom.Html && w.page.lang == "":
		w.page.lang = string(value)
	case kind == atom.Body && w.bodyLang == "":
		w.bodyLang = string(value)
	}
}

func (w *walk) setDir(kind atom.Atom, value []byte) {
	if kind != atom.Html && kind != atom.Body {
		return
	}
	switch {
	case bytes.EqualFold(value, []byte("rtl")):
		w.dir = "rtl"
	case bytes.EqualFold(value, []byte("ltr")):
		w.dir = "ltr"
	}
}

// runsRightToLeft tells whether most letters of s belong to scripts that do.
func runsRightToLeft(s string) bool {
	if isASCII(s) {
		return false
	}
	left, right := 0, 0
	for i := 0; i < len(s); {
		p, size := bidi.LookupString(s[i:])
		switch p.Class() {
		case bidi.L:
			left++
		case bidi.R, bidi.AL:
			right++
		}
		i += max(size, 1)
	}
	return right > left
}

// isFrame tells the elements in which a table may stand like in the body.
func isFrame(a atom.Atom) bool {
	switch a {
	case atom.Html, atom.Body, atom.Div, atom.Center, atom.Section, atom.Article, atom.Main, atom.Span, atom.Font:
		return true
	}
	return false
}

// hides tells the elements whose content is not shown, or not at once.
func hides(a atom.Atom) bool {
	switch a {
	case atom.Template, atom.Select, atom.Datalist, atom.Details, atom.Dialog, atom.Object, atom.Audio, atom.Video, atom.Canvas, atom.Svg, atom.Math,
		atom.Frameset, atom.Noscript, atom.Option:
		return true
	}
	return false
}

// isHiddenStyle tells a squeezed style that hides its element.
func isHiddenStyle(style []byte) bool {
	for _, s := range []string{"display:none", "visibility:hidden", "mso-hide:all"} {
		if bytes.Contains(style, []byte(s)) {
			return true
		}
	}
	return false
}

// endsParagraph tells the elements whose begin ends a <p>.
func endsParagraph(a atom.Atom) bool {
	switch a {
	case atom.Div, atom.P, atom.Table, atom.Blockquote, atom.Center, atom.Ul, atom.Ol, atom.Dl, atom.Pre, atom.Section, atom.Article, atom.Main,
		atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Form, atom.Hr:
		return true
	}
	return false
}
