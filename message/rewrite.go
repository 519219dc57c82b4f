package message

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Rewrite is everything that changes in a message: header fields and body.
type Rewrite struct {
	Header []HeaderEdit
	Body   *Spliced
}

// CannotRewriteError says why the parts cannot be taken out of this message;
// it is then delivered as it is.
type CannotRewriteError struct{ Reason string }

func (e *CannotRewriteError) Error() string { return "cannot rewrite the message: " + e.Reason }

// rewriter holds what the steps of one Remove share.
type rewriter struct {
	tree    *Tree
	src     io.ReaderAt
	notice  Notice
	eol     string
	taken   map[*Part]bool
	splices []Splice
	// texts are the words of the notice; they change no more once told.
	texts *Texts
	told  bool
	// boundary is that of the notice as a part of its own.
	boundary string
}

// Remove takes parts out of the message and puts the notice in: into the text
// and the HTML body where both can take it, otherwise as a part of its own in
// the place of the first part taken. seed makes the boundary of such a part
// unique. Assess must have run. The error is a *CannotRewriteError when this
// message offers no place for the notice.
func Remove(t *Tree, src io.ReaderAt, b Bodies, taken []*Part, n Notice, seed string) (*Rewrite, error) {
	r := &rewriter{tree: t, src: src, notice: n, eol: t.EOL, taken: make(map[*Part]bool)}
	taken = slices.SortedFunc(slices.Values(taken), func(a, b *Part) int { return a.Index - b.Index })
	for _, p := range taken {
		r.taken[p] = true
	}
	var ok bool
	if r.boundary, ok = freeBoundary(t, seed); !ok {
		return nil, &CannotRewriteError{"every boundary for the notice begins like one of the message's own"}
	}
	r.texts = n.Wording.fallback()
	r.adopt(t.Root.Header.Get("Content-Language"))
	if r.taken[t.Root] {
		return r.whole()
	}
	placed, err := r.intoBodies(b)
	if err != nil {
		return nil, err
	}
	if !placed {
		p := ownPlace(taken)
		if p == nil {
			return nil, &CannotRewriteError{"no text can take the notice, and no multipart/mixed a part of its own"}
		}
		if err := r.replace(p); err != nil {
			return nil, err
		}
	}
	for _, p := range taken {
		// A multipart must keep one part (RFC 2046 section 5.1.1).
		if r.taken[p] && r.emptied(p.Parent) {
			if err := r.replace(p); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range taken {
		if r.taken[p] {
			r.cut(p)
		}
	}
	body, err := NewSpliced(src, t.Size, r.splices)
	if err != nil {
		return nil, err
	}
	return &Rewrite{Body: body}, nil
}

// freeBoundary makes a boundary that begins like none in the message: readers
// would take its lines for theirs.
func freeBoundary(t *Tree, seed string) (string, bool) {
	const prefixes = "0123456789abcdefghijklmnopqrstuvwxyz"
	boundary := "=_cloakroom_" + seed
	for i := -1; i < len(prefixes); i++ {
		candidate, free := boundary, true
		if i >= 0 {
			candidate = prefixes[i:i+1] + boundary
		}
		t.Root.Walk(func(p *Part) {
			if p.IsMultipart() && strings.HasPrefix(candidate, p.Type.Get("boundary")) {
				free = false
			}
		})
		if free {
			return candidate, true
		}
	}
	return "", false
}

// ownPlace chooses the part that the notice takes the place of: the first that
// every reader is shown, else the first that those are shown who saw it before.
func ownPlace(taken []*Part) *Part {
	var second *Part
	for _, p := range taken {
		if !isMixed(p.Parent) {
			continue
		}
		a := p.Parent
		for a != nil && isMixed(a) {
			a = a.Parent
		}
		if a == nil {
			return p
		}
		if second == nil {
			second = p
		}
	}
	return second
}

// isMixed tells whether every part of p is shown on its own. Multipart types
// nobody knows are treated as mixed (RFC 2046 section 5.1.7).
func isMixed(p *Part) bool {
	switch p.Type.Text {
	case "multipart/alternative", "multipart/related", "multipart/digest", "multipart/form-data",
		"multipart/appledouble", "multipart/x-mixed-replace", "multipart/byteranges":
		return false
	}
	return true
}

// emptied tells whether nothing of multipart p would be left.
func (r *rewriter) emptied(p *Part) bool {
	for _, c := range p.Children {
		if !r.taken[c] {
			return false
		}
	}
	return true
}

// cut takes p out with its delimiter.
func (r *rewriter) cut(p *Part) {
	s := Splice{Span: p.Entity}
	siblings := p.Parent.Children
	if !p.Parent.Closed && siblings[len(siblings)-1] == p {
		// Nothing follows that would end the part before: close it.
		s.New = []byte("--" + p.Parent.Type.Get("boundary") + "--" + r.eol)
	}
	r.splices = append(r.splices, s)
}

// replace puts the notice, as a part of its own, in the place of p.
func (r *rewriter) replace(p *Part) error {
	header, body, err := r.ownPart()
	if err != nil {
		return err
	}
	r.taken[p] = false
	r.splices = append(r.splices, Splice{
		Span: Span{p.HeaderSpan.Start, p.Body.End},
		New:  []byte(header + r.eol + body),
	})
	return nil
}

// ownPart makes a multipart/alternative of the notice.
func (r *rewriter) ownPart() (header, body string, err error) {
	plain, err := r.text(r.texts)
	if err != nil {
		return "", "", err
	}
	markup, err := r.html(r.texts.RTL)
	if err != nil {
		return "", "", err
	}
	boundary, e := r.boundary, r.eol
	header = `Content-Type: multipart/alternative; boundary="` + boundary + `"` + e
	leaf := func(subtype string, lines []string) string {
		text := strings.Join(lines, "\r\n") + "\r\n"
		encoding := "7bit"
		if !isASCII(text) {
			text, encoding = encodeQP(text, e), "quoted-printable"
		} else {
			text = strings.ReplaceAll(text, "\r\n", e)
		}
		return "--" + boundary + e +
			"Content-Type: text/" + subtype + "; charset=utf-8" + e +
			"Content-Transfer-Encoding: " + encoding + e + e + text + e
	}
	body = leaf("plain", plain) + leaf("html", markup) + "--" + boundary + "--" + e
	return header, body, nil
}

// adopt takes the first language that the message tells and there are texts for.
func (r *rewriter) adopt(list string) {
	if r.told || list == "" {
		return
	}
	if t := r.notice.Wording.match(list); t != nil {
		r.texts, r.told = t, true
	}
}

func (r *rewriter) text(t *Texts) ([]string, error) { return shortEnough(r.notice.text(t)) }

func (r *rewriter) html(rtl bool) ([]string, error) { return shortEnough(r.notice.html(r.texts, rtl)) }

func shortEnough(lines []string) ([]string, error) {
	if n := longestLine(lines); n > maxLine {
		return nil, &CannotRewriteError{fmt.Sprintf("the notice needs a line of %d bytes, allowed are %d", n, maxLine)}
	}
	return lines, nil
}

// whole replaces a message that is nothing but one attachment.
func (r *rewriter) whole() (*Rewrite, error) {
	root := r.tree.Root
	header, text, err := r.ownPart()
	if err != nil {
		return nil, err
	}
	ct := strings.TrimSpace(strings.TrimPrefix(header, "Content-Type:"))
	edits := []HeaderEdit{{Index: min(1, len(root.Header.Values("Content-Type"))), Name: "Content-Type", Value: ct}}
	for _, name := range []string{"Content-Transfer-Encoding", "Content-Disposition", "Content-Id", "Content-Description",
		"Content-Md5", "Content-Location", "Content-Length"} {
		for i := len(root.Header.Values(name)); i > 0; i-- { // the last first: no index moves
			edits = append(edits, HeaderEdit{Index: i, Name: fieldName(root.Header, name)})
		}
	}
	if !root.Header.Has("Mime-Version") {
		edits = append(edits, HeaderEdit{Name: "MIME-Version", Value: "1.0"})
	}
	body, err := NewSpliced(r.src, r.tree.Size, []Splice{{Span: Span{0, r.tree.Size}, New: []byte(text)}})
	if err != nil {
		return nil, err
	}
	return &Rewrite{Header: edits, Body: body}, nil
}

// fieldName returns the name of a field as it is spelled in h.
func fieldName(h Header, canonical string) string {
	if raw, err := h.Header.Raw(canonical); err == nil {
		if name, _, ok := strings.Cut(string(raw), ":"); ok {
			return strings.TrimSpace(name)
		}
	}
	return canonical
}

// ApplyHeader makes the edits in a raw header, as an MTA would.
func ApplyHeader(h Header, edits []HeaderEdit) []byte {
	eol := lineEnd(h.Raw)
	out := append([]byte(nil), h.Raw...)
	for _, e := range edits {
		line := ""
		if e.Value != "" {
			line = fmt.Sprintf("%s: %s%s", e.Name, e.Value, eol)
		}
		span, ok := findField(out, e)
		if !ok {
			if e.Top {
				out = append([]byte(line), out...)
				continue
			}
			if n := len(out); n > 0 && line != "" && out[n-1] != '\n' {
				out = append(out, eol...) // a header that ends with the file
			}
			out = append(out, line...)
			continue
		}
		rest := string(out[span.End:])
		out = append(append(out[:span.Start:span.Start], line...), rest...)
	}
	return out
}

// findField finds the field an edit names.
func findField(raw []byte, e HeaderEdit) (Span, bool) {
	seen, start, found := 0, 0, false
	for at := 0; at < len(raw); {
		end := at + bytes.IndexByte(raw[at:], '\n') + 1
		if end == at {
			end = len(raw)
		}
		if c := raw[at]; c != ' ' && c != '\t' {
			if found {
				return Span{int64(start), int64(at)}, true
			}
			name, _, _ := strings.Cut(string(raw[at:end]), ":")
			if strings.EqualFold(strings.TrimSpace(name), e.Name) {
				if seen++; seen == e.Index {
					found, start = true, at
				}
			}
		}
		at = end
	}
	return Span{int64(start), int64(len(raw))}, found
}
