package message

import (
	"bytes"
	"html"
	"io"
	"net/url"
	"strings"
)

// Role is what a leaf is to the people who read the message.
type Role uint8

const (
	RoleNone       Role = iota // a multipart
	RoleBody                   // text that is read as the message
	RoleInline                 // shown inside the HTML body
	RoleAttachment             // a document of its own
)

func (r Role) String() string {
	return [...]string{"multipart", "body", "inline", "attachment"}[r]
}

// maxBodyText is how many decoded bytes of a text body are looked at or
// edited in memory.
const maxBodyText = 1 << 20

// Bodies are the texts that a reader sees first; either may be nil.
type Bodies struct{ Text, HTML *Part }

// Assess gives every leaf of t its Role, and the reason to keep it where there
// is one. alone is not empty when nothing in the body may be edited at all.
// src holds the body.
func Assess(t *Tree, src io.ReaderAt) (b Bodies, alone string) {
	if t.Opaque != "" {
		t.Root.Role = RoleBody
		t.Root.Keep = t.Opaque
		return b, t.Opaque
	}
	b.find(t.Root)
	alone = leaveAlone(t.Root)
	cids := references(t.Root, src)
	invite := false
	t.Root.Walk(func(p *Part) {
		if p.IsMultipart() {
			return
		}
		p.Role = role(p, cids)
		p.Keep = keepReason(p)
		if p.Type.Text == "text/calendar" && p.Type.Get("method") != "" {
			invite = true
		}
	})
	if invite {
		t.Root.Walk(func(p *Part) {
			if t := p.Type.Text; t == "text/calendar" || t == "application/ics" || Extension(p.Name) == "ics" {
				p.Keep = "calendar invitation"
			}
		})
	}
	if alone == "" && (isPGP(b.Text, src) || isPGP(b.HTML, src)) {
		alone = "PGP inside the text"
	}
	return b, alone
}

// find looks for the first text and HTML body in the order a reader does
// (RFC 2046 section 5.1).
func (b *Bodies) find(p *Part) {
	switch {
	case !p.IsMultipart():
		if isBodyText(p) {
			if p.Type.Text == "text/plain" && b.Text == nil {
				b.Text = p
			}
			if p.Type.Text == "text/html" && b.HTML == nil {
				b.HTML = p
			}
		}
	case p.Type.Text == "multipart/related":
		b.find(relatedRoot(p))
	case p.Type.Text == "multipart/alternative":
		for _, c := range p.Children {
			b.find(c)
		}
	default:
		for _, c := range p.Children {
			if b.find(c); b.Text != nil || b.HTML != nil {
				return
			}
		}
	}
}

// isBodyText tells a text that is read in place from one that is a file.
func isBodyText(p *Part) bool {
	return (p.Type.Text == "text/plain" || p.Type.Text == "text/html") &&
		p.Disposition.Text != "attachment" && (p.Name == "" || p.Parent == nil)
}

// CanCarryAttachments tells by its header whether a message may hold anything
// but text; false saves looking at the body.
func CanCarryAttachments(h Header) bool {
	p := &Part{Header: h, Content: new(Content)}
	return p.describe() != "" || !isBodyText(p)
}

// relatedRoot returns the part that a multipart/related shows (RFC 2387
// section 3.2).
func relatedRoot(p *Part) *Part {
	if start := strings.Trim(p.Type.Get("start"), "<>"); start != "" {
		for _, c := range p.Children {
			if c.ContentID == start {
				return c
			}
		}
	}
	return p.Children[0]
}

// leaveAlone says why a message of this kind is never edited.
func leaveAlone(root *Part) string {
	switch t := root.Type.Text; t {
	case "multipart/report", "multipart/signed", "multipart/encrypted", "message/partial", "message/external-body":
		return t
	}
	if isCrypto(root) {
		return root.Type.Text
	}
	return ""
}

// isCrypto tells the types of S/MIME (RFC 8551) and PGP/MIME (RFC 3156).
func isCrypto(p *Part) bool {
	switch p.Type.Text {
	case "application/pkcs7-mime", "application/x-pkcs7-mime",
		"application/pkcs7-signature", "application/x-pkcs7-signature",
		"application/pgp-encrypted", "application/pgp-signature", "application/pgp-keys":
		return true
	}
	return false
}

func role(p *Part, cids map[string]bool) Role {
	switch {
	case isBodyText(p):
		return RoleBody
	case p.Disposition.Text != "attachment" && p.ContentID != "" && inRelated(p) && (cids == nil || cids[p.ContentID]):
		return RoleInline
	}
	return RoleAttachment
}

func inRelated(p *Part) bool {
	for a := p.Parent; a != nil; a = a.Parent {
		if a.Type.Text == "multipart/related" {
			return true
		}
	}
	return false
}

// keepReason says why leaf p is not to be taken out, whatever policy says.
func keepReason(p *Part) string {
	for a := p.Parent; a != nil; a = a.Parent {
		switch a.Type.Text {
		case "multipart/signed", "multipart/encrypted", "multipart/report":
			return "inside " + a.Type.Text
		}
	}
	switch t := p.Type.Text; {
	case p.Role == RoleBody:
		return "text of the message"
	case p.Role == RoleInline:
		return "shown inside the HTML"
	case isCrypto(p), t == "message/partial", t == "message/external-body", t == "message/delivery-status",
		t == "message/disposition-notification", t == "message/feedback-report":
		return t
	case t == "application/ms-tnef" || t == "application/vnd.ms-tnef" || strings.EqualFold(p.Name, "winmail.dat"):
		return "TNEF"
	case p.Content.Defect != "":
		return p.Content.Defect
	case p.Content.Size == 0:
		return "empty"
	case p.Parent != nil && p.Parent.Type.Text == "multipart/alternative":
		return "one of several alternatives"
	case p.Parent != nil && p.Parent.Type.Text == "multipart/related" && relatedRoot(p.Parent) == p:
		return "root of multipart/related"
	}
	return ""
}

// references collects the Content-IDs that HTML in the message shows (RFC
// 2392). It is nil when some HTML could not be read: then every part with a
// Content-ID may be shown.
func references(root *Part, src io.ReaderAt) map[string]bool {
	cids := make(map[string]bool)
	ok := true
	root.Walk(func(p *Part) {
		if p.IsMultipart() || p.Type.Text != "text/html" || !inRelated(p) {
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
		collectCIDs(cids, text)
	})
	if !ok {
		return nil
	}
	return cids
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

func collectCIDs(cids map[string]bool, text []byte) {
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
		id := html.UnescapeString(string(text[at : at+end]))
		cids[id] = true
		if u, err := url.PathUnescape(id); err == nil {
			cids[u] = true
		}
	}
}

// isPGP tells whether the text of p is signed or encrypted in place: not a
// byte may be added to it.
func isPGP(p *Part, src io.ReaderAt) bool {
	if p == nil {
		return false
	}
	text, err := p.decode(src, maxBodyText)
	return err == nil && bytes.Contains(text, []byte("-----BEGIN PGP "))
}
