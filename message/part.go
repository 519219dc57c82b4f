package message

// Span is a half-open range [Start, End) of byte offsets in a message body
// (the bytes after the blank line that ends the header).
type Span struct{ Start, End int64 }

// Len is the number of bytes in the span.
func (s Span) Len() int64 { return s.End - s.Start }

// Part is one MIME entity (RFC 2045 section 2.4) of a message, as byte spans
// of the message body. The root part is the message itself.
type Part struct {
	Index    int // place in a depth-first walk; the root is 0
	Depth    int // the root is 0
	Parent   *Part
	Children []*Part

	Header     Header
	HeaderSpan Span // the header with its closing blank line; empty for the root
	// Entity runs from the first byte of the delimiter line that opens the part
	// to the first byte of the next delimiter line of the same multipart.
	// Cutting it takes the part out and leaves a well-formed multipart.
	Entity Span
	// Body is the encoded content. The line break that precedes a delimiter
	// belongs to the delimiter (RFC 2046 section 5.1.1) and not to the body.
	Body Span

	Type        Value  // Content-Type; Text is "text/plain" (or "message/rfc822" in a digest) when absent
	Disposition Value  // Content-Disposition; Text is "" when absent
	Encoding    string // Content-Transfer-Encoding in lower case; "7bit" when absent
	ContentID   string // without the angle brackets

	Name  string   // the one file name shown to people; "" when the part names none
	Names []string // every candidate any reader might pick, for policy

	// Closed tells that a multipart's close delimiter was there.
	Closed bool

	Role Role   // set by Assess
	Keep string // why this leaf stays in the mail whatever policy says; set by Assess

	Content *Content // what a leaf holds; nil for a multipart
}

// Content is what is known of a leaf part once its body went by.
type Content struct {
	SHA256  [32]byte // of the decoded bytes; valid when Defect is ""
	Size    int64    // decoded bytes
	Sniffed string   // media type told by the first bytes
	Layout  Layout   // how to make the encoded form again
	// Defect says why readers may disagree on the decoded bytes, or that they
	// cannot be decoded at all; such a part is never taken out.
	Defect string
}

// IsMultipart tells whether the part has a multipart media type.
func (p *Part) IsMultipart() bool { return p.Content == nil }

// Walk calls f for p and everything below it, depth first.
func (p *Part) Walk(f func(*Part)) {
	f(p)
	for _, c := range p.Children {
		c.Walk(f)
	}
}

// Tree is the structure of one message.
type Tree struct {
	Root *Part
	Size int64  // bytes of the body
	EOL  string // the message's line end: "\r\n" or "\n"
	// Opaque says why the structure is not to be touched: an ambiguity that
	// readers resolve differently, or a limit. Root is then a single leaf.
	Opaque string
	// Digest identifies the body: each byte of it was hashed once, encoded or
	// decoded. It does not depend on policy.
	Digest [32]byte
}
