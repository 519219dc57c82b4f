package message

import (
	"bytes"
	"io"
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
type Bodies struct {
	Text, HTML *Part
	// partial tells that readers may show an alternative that is neither: what
	// stands in Text and HTML does not reach everybody.
	partial bool
}

// Assess gives every leaf of t its Role, and the reason to keep it where there
// is one. alone is not empty when nothing in the body may be edited at all.
// src holds the body.
func Assess(t *Tree, src io.ReaderAt) (b Bodies, alone string) {
	if t.Opaque != "" {
		t.Root.Role = RoleBody
		t.Root.Keep = t.Opaque
		return b, t.Opaque
	}
	// Not the scanner's business: a digest must not change with what is thought
	// of readers.
	odd := unusual(t.Root)
	b.find(t.Root)
	if alone = leaveAlone(t.Root); alone == "" {
		alone = odd
	}
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
	if alone == "" && invite {
		// Programs show the invitation itself, and may show no text beside it:
		// a notice there would not be seen.
		alone = "calendar invitation"
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
			before := *b
			if b.find(c); *b == before && !isCalendar(c) {
				b.partial = true
			}
		}
	case isSealed(p):
	default:
		for _, c := range p.Children {
			before := *b
			if b.find(c); b.Text != before.Text || b.HTML != before.HTML {
				return
			}
		}
	}
}

// isSealed tells the multiparts of which nothing inside may change: signatures
// (RFC 1847) cover every byte, and reports (RFC 6522) are for programs.
func isSealed(p *Part) bool {
	switch p.Type.Text {
	case "multipart/signed", "multipart/encrypted", "multipart/report":
		return true
	}
	return false
}

func isCalendar(p *Part) bool {
	return p.Type.Text == "text/calendar" || p.Type.Text == "application/ics"
}

// isBodyText tells a text that is read in place from one that is a file. A
// name alone makes no file of what takes the place of the body.
func isBodyText(p *Part) bool {
	if p.Type.Text != "text/plain" && p.Type.Text != "text/html" || p.Disposition.Text == "attachment" {
		return false
	}
	return p.Name == "" || p.Parent == nil || p.Parent.Type.Text == "multipart/alternative" || isRelatedRoot(p)
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
	if start := strings.Trim(p.Type.Get("start"), "<> \t"); start != "" {
		for _, c := range p.Children {
			if c.ContentID == start {
				return c
			}
		}
	}
	return p.Children[0]
}

func isRelatedRoot(p *Part) bool {
	return p.Parent != nil && p.Parent.Type.Text == "multipart/related" && relatedRoot(p.Parent) == p
}

// leaveAlone says why a message of this kind is never edited.
func leaveAlone(root *Part) string {
	switch t := root.Type.Text; {
	case isSealed(root), t == "message/partial", t == "message/external-body":
		return t
	}
	return crypto(root)
}

// crypto says what a part of S/MIME (RFC 8551) or PGP/MIME (RFC 3156) is; ""
// for others.
func crypto(p *Part) string {
	switch t := p.Type.Text; t {
	case "application/pkcs7-mime", "application/x-pkcs7-mime",
		"application/pkcs7-signature", "application/x-pkcs7-signature",
		"application/pgp-encrypted", "application/pgp-signature", "application/pgp-keys":
		return t
	}
	switch Extension(p.Name) {
	case "p7m", "p7s", "p7c", "p7z": // RFC 8551 section 3.9: the name is enough
		return "S/MIME"
	}
	if p.Parent != nil {
		for _, c := range p.Parent.Children {
			if c.Type.Text == "application/pgp-encrypted" {
				// A gateway made multipart/mixed of it. Readers know to repair that.
				return "beside application/pgp-encrypted"
			}
		}
	}
	return ""
}

func role(p *Part, cids cidSet) Role {
	switch {
	case isBodyText(p):
		return RoleBody
	case p.Disposition.Text != "attachment" && p.ContentID != "" && inRelated(p) && cids.shows(p.ContentID):
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
		if isSealed(a) {
			return "inside " + a.Type.Text
		}
	}
	if reason := crypto(p); reason != "" && p.Role != RoleBody {
		return reason
	}
	switch t := p.Type.Text; {
	case p.Role == RoleBody:
		return "text of the message"
	case p.Role == RoleInline:
		return "shown inside the HTML"
	case t == "message/partial", t == "message/external-body", t == "message/delivery-status",
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
	case isRelatedRoot(p):
		return "root of multipart/related"
	}
	return ""
}

// isPGP tells whether the text of p is signed or encrypted in place: not a
// byte may be added to it. A text that is too large to look at takes none.
func isPGP(p *Part, src io.ReaderAt) bool {
	if p == nil {
		return false
	}
	text, err := p.decode(src, maxBodyText)
	if err != nil {
		return err != ErrTooLarge
	}
	return bytes.Contains(text, []byte("-----BEGIN PGP "))
}
