package message

// The history that a reply quotes, in HTML: mail readers fold it away, so that
// a notice behind it is not seen.

import (
	"bytes"

	"golang.org/x/net/html/atom"
)

// mark is what an element says about the quoted history.
type mark uint8

const (
	noMark       mark = iota
	quoteElement      // the element is the history, as long as nothing follows it
	quotePrefix       // the line above it, such as "Bob wrote:"
	quoteBegin        // everything from here on is the history
)

// markOf knows how the mail readers in use mark what they quote.
func markOf(kind atom.Atom, id, class, style []byte) mark {
	switch kind {
	case atom.Div, atom.Blockquote, atom.Span:
	default:
		return noMark
	}
	switch string(id) {
	case "appendonsend", "divRplyFwdMsg", // Outlook on the web, new Outlook
		"mail-editor-reference-message-container", // Outlook for phones and Mac
		"OLK_SRC_BODY_SECTION":
		return quoteBegin
	}
	for c := range bytes.FieldsSeq(class) {
		switch string(c) {
		case "gmail_quote", "gmail_quote_container", "protonmail_quote", "zmail_extra", "tutanota_quote":
			return quoteElement
		case "moz-cite-prefix":
			return quotePrefix
		case "moz-forward-container", "OutlookMessageHeader":
			return quoteBegin
		}
		if bytes.HasSuffix(c, []byte("yahoo_quoted")) { // with a prefix of its own in each mail
			return quoteElement
		}
	}
	// Outlook for Windows draws a line above the header it repeats.
	if kind == atom.Div && (bytes.Contains(style, []byte("border-top:solid#e1e1e11.0pt")) || bytes.Contains(style, []byte("border-top:solid#b5c4df1.0pt"))) {
		return quoteBegin
	}
	return noMark
}

// quote follows a document to the begin of the history at its end.
type quote struct {
	at    int  // where it begins; -1: none so far
	final bool // whatever follows belongs to it
	depth int  // of the element that is the history; -1: it is closed

	// run is where a chain of tags began that show nothing themselves (or a
	// line, or an empty one), as they stand before a quote; -1: none.
	run int
	// prefix is the begin of a line above the history, and its depth.
	prefix, prefixDepth int
}

func (q *quote) reset() { *q = quote{at: -1, depth: -1, run: -1, prefix: -1, prefixDepth: -1} }

// start is told of each element that begins. certain says whether the notice
// may stand here.
func (q *quote) start(kind atom.Atom, m mark, at, depth int, certain bool) {
	if q.final || q.at >= 0 && q.depth >= 0 {
		return
	}
	begin := at
	if q.run >= 0 {
		begin = q.run
	}
	switch {
	case !certain || kind != atom.Div && m == noMark:
		q.run = -1
		return
	case m == quotePrefix:
		q.prefix, q.prefixDepth, q.run = begin, depth, -1
		return
	case m == noMark:
		q.run = begin
		return
	}
	switch {
	case q.at >= 0: // a quote right behind another
		begin = q.at
	case q.prefix >= 0 && q.prefixDepth < 0:
		begin = q.prefix
	}
	q.at, q.final, q.depth = begin, m == quoteBegin, depth
}

// void is told of elements without content.
func (q *quote) void(kind atom.Atom, id string, at int, certain bool) {
	if q.final || q.depth >= 0 {
		return
	}
	switch {
	case certain && kind == atom.Hr && (id == "stopSpelling" || id == "zwchr"): // Hotmail, Zimbra
		q.at, q.final = at, true
	case certain && (kind == atom.Hr || kind == atom.Br):
		if q.run < 0 {
			q.run = at
		}
	case kind != atom.Wbr && kind != atom.Meta && kind != atom.Link:
		q.run = -1
	}
}

// end is told that the elements from a depth on are closed.
func (q *quote) end(depth int) {
	q.run = -1
	if q.depth >= depth {
		q.depth = -1
	}
	if q.prefixDepth >= depth {
		q.prefixDepth = -1
	}
}

// text is told of text that is shown.
func (q *quote) text() {
	q.run = -1
	if q.final || q.depth >= 0 {
		return
	}
	q.at = -1 // there is an answer below the quote
	if q.prefixDepth < 0 {
		q.prefix = -1
	}
}
