package message

// Which parts the HTML of a message shows in place (RFC 2392).

import (
	"bytes"
	"html"
	"io"
	"net/url"
	"strings"
)

// cidSet tells of each Content-ID in a message whether it is shown. A nil set
// shows all.
type cidSet map[string]bool

// spellings are the forms of a Content-ID to compare. To take a part for shown
// that is not keeps it in the mail; the opposite breaks a picture. So neither
// case nor percent-encoding counts.
func spellings(id string) []string {
	all := []string{strings.ToLower(id)}
	if u, err := url.PathUnescape(id); err == nil && u != id {
		all = append(all, strings.ToLower(u))
	}
	return all
}

// mark takes an id as written in a cid: URL.
func (s cidSet) mark(id string) {
	for _, k := range spellings(id) {
		if _, ours := s[k]; ours {
			s[k] = true
		}
	}
}

func (s cidSet) shows(id string) bool {
	for _, k := range spellings(id) {
		if s[k] {
			return true
		}
	}
	return s == nil
}

// references collects the Content-IDs that HTML in the message shows, and XML,
// which takes its place in messages between programs. It is nil when some of
// it could not be read.
func references(root *Part, src io.ReaderAt) cidSet {
	cids := make(cidSet)
	root.Walk(func(p *Part) {
		if p.ContentID != "" && inRelated(p) {
			for _, k := range spellings(p.ContentID) {
				cids[k] = false
			}
		}
	})
	if len(cids) == 0 {
		return cids
	}
	ok := true
	root.Walk(func(p *Part) {
		t := p.Type.Text
		if p.IsMultipart() || t != "text/html" && !strings.HasSuffix(t, "xml") || !inRelated(p) {
			return
		}
		text, err := p.decode(src, maxBodyText)
		if err != nil || p.Content.Defect != "" {
			ok = false
			return
		}
		if cs, known := LookupCharset(p.Type.Get("charset")); known && !cs.ASCIICompatible() {
			text = []byte(cs.Decode(text))
		}
		cids.collect(text)
		if bytes.IndexByte(text, '&') >= 0 { // url(&quot;cid:…&quot;) in a style attribute
			cids.collect([]byte(html.UnescapeString(string(text))))
		}
	})
	if !ok {
		return nil
	}
	return cids
}

// collect marks what text refers to.
func (s cidSet) collect(text []byte) {
	lower := asciiLower(text)
	for at := 0; ; {
		i := bytes.Index(lower[at:], []byte("cid:"))
		if i < 0 {
			return
		}
		at += i + len("cid:")
		end := bytes.IndexAny(text[at:], "\"'<>() \t\r\n")
		if end < 0 {
			end = len(text) - at
		}
		id := string(text[at : at+end])
		s.mark(id)
		if j := bytes.LastIndex(lower[at:at+end], []byte("cid:")); j >= 0 { // the first was the end of a word
			s.mark(id[j+len("cid:"):])
		}
		at += end
	}
}

// asciiLower is a copy of b in lower case, with every byte in its place.
func asciiLower(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}
