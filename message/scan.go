package message

import (
	"bytes"
	"strings"
)

// Sink receives every byte of a body exactly once and in order, sorted into
// what is the content of a leaf and what is not. Slices are only lent.
type Sink interface {
	// Outside gets preambles, delimiters, part headers and epilogues, and
	// everything after the structure turned out to be opaque.
	Outside(b []byte)
	// Content gets the encoded content of leaf p, without the line break that
	// belongs to the delimiter behind it.
	Content(p *Part, b []byte)
	// End tells that the content of leaf p is complete.
	End(p *Part)
}

// Scanner takes a message body apart (RFC 2046 section 5.1) in one pass,
// pushed in chunks of any size, and keeps spans instead of bytes: its memory
// is that of the tree. What readers may disagree on makes the whole message
// opaque; it is never guessed at.
type Scanner struct {
	sink  Sink
	tree  *Tree
	stack []multipart // the open multiparts, outermost first
	state scanState
	part  *Part // the leaf or the part whose header is being read
	parts int
	heads int // bytes of part headers so far

	off   int64  // body offset of the next byte to be given out
	bol   bool   // that byte begins a line
	carry []byte // bytes not decided on yet: a line break, a partial line
	head  []byte // header of the part being read
}

type multipart struct {
	part     *Part
	boundary []byte
	closed   bool
}

type scanState uint8

const (
	inHeader   scanState = iota // of a part
	inContent                   // of a leaf
	inPreamble                  // before the first delimiter of a multipart
	inEpilogue                  // after a close delimiter
	inOpaque                    // structure given up
)

// NewScanner starts a scan of the body that follows header h. A header that
// cannot be read makes the message opaque.
func NewScanner(h Header, sink Sink) *Scanner {
	s := &Scanner{sink: sink, bol: true}
	root := &Part{Header: h}
	s.tree = &Tree{Root: root, EOL: lineEnd(h.Raw)}
	s.part, s.parts = root, 1
	if h.Err != nil {
		s.giveUp("malformed message header")
		return s
	}
	s.beginBody(root)
	return s
}

// lineEnd tells which line end a block of header fields uses.
func lineEnd(raw []byte) string {
	if i := bytes.IndexByte(raw, '\n'); i == 0 || i > 0 && raw[i-1] != '\r' {
		return "\n"
	}
	return "\r\n"
}

// Write takes the next bytes of the body. It never fails.
func (s *Scanner) Write(b []byte) (int, error) {
	n := len(b)
	s.tree.Size += int64(n)
	for len(b) > 0 {
		if len(s.carry) > 0 && s.flushLineBreak(b) {
			continue
		}
		if len(s.carry) == 0 {
			done := s.process(b, false)
			s.carry = append(s.carry[:0], b[done:]...)
			break
		}
		take := bytes.IndexByte(b, '\n') + 1
		if take == 0 {
			take = min(len(b), maxDelimiterLine)
		}
		s.carry = append(s.carry, b[:take]...)
		b = b[take:]
		done := s.process(s.carry, false)
		s.carry = s.carry[:copy(s.carry, s.carry[done:])]
	}
	return n, nil
}

// flushLineBreak gives out a held line break when b shows that no delimiter
// follows it, so that the rest of b need not be copied. It reports whether it
// did.
func (s *Scanner) flushLineBreak(b []byte) bool {
	c := s.carry
	if s.state == inHeader || c[0] == '-' || c[len(c)-1] != '\n' || len(c) > 2 {
		return false
	}
	if b[0] == '-' && (len(b) == 1 || b[1] == '-') {
		return false
	}
	s.give(c)
	s.carry = c[:0]
	return true
}

// Close ends the body and returns the tree.
func (s *Scanner) Close() *Tree {
	if len(s.carry) > 0 {
		s.process(s.carry, true)
		s.carry = nil
	}
	switch s.state {
	case inHeader:
		s.giveUp("message ends inside a part header")
	case inPreamble:
		s.giveUp("multipart without a delimiter")
	case inContent:
		if len(s.stack) > 0 && s.bol && s.part.Encoding != "base64" {
			// Some readers take the last line break for part of the delimiter
			// that is missing.
			s.part.Content.Defect = "last part without a delimiter behind it"
		}
		s.endLeaf(s.off)
	}
	// A missing close delimiter at the very end is the one omission that all
	// readers take alike.
	if s.state != inOpaque {
		s.endMultiparts(0, s.off, s.off)
	}
	s.tree.Root.Entity = Span{0, s.off}
	s.tree.Root.Body = Span{0, s.off}
	return s.tree
}

// process takes what can be decided of data and returns how many bytes that
// was. With eof nothing is left undecided.
func (s *Scanner) process(data []byte, eof bool) int {
	done := 0
	for done < len(data) {
		var n int
		switch s.state {
		case inHeader:
			n = s.header(data[done:], eof)
		case inOpaque:
			n = len(data) - done
			s.give(data[done:])
		default:
			n = s.body(data[done:], eof)
		}
		done += n
		if n == 0 && s.state != inOpaque {
			break
		}
	}
	return done
}

// give passes b on according to the state.
func (s *Scanner) give(b []byte) {
	if len(b) == 0 {
		return
	}
	if s.state == inContent {
		s.sink.Content(s.part, b)
	} else {
		s.sink.Outside(b)
	}
	s.off += int64(len(b))
	s.bol = b[len(b)-1] == '\n'
}

// header takes one line of a part header.
func (s *Scanner) header(data []byte, eof bool) int {
	i := bytes.IndexByte(data, '\n')
	if i < 0 {
		if len(data)+len(s.head) > MaxPartHeader {
			return s.giveUp("part header over the limit")
		}
		if eof {
			s.give(data)
			return len(data)
		}
		return 0
	}
	line := data[:i+1]
	if len(s.head)+len(line) > MaxPartHeader || s.heads+len(line) > MaxHeaders {
		return s.giveUp("part header over the limit")
	}
	if bytes.HasPrefix(line, []byte("--")) {
		if _, kind := s.match(line); kind != notDelimiter {
			return s.giveUp("delimiter inside a part header")
		}
	}
	s.give(line)
	s.heads += len(line)
	if len(line) > 2 || line[0] != '\n' && line[0] != '\r' {
		s.head = append(s.head, line...)
		return len(line)
	}
	s.endHeader()
	return len(line)
}

// endHeader describes the part whose header is complete.
func (s *Scanner) endHeader() {
	p := s.part
	h, err := ParseHeader(bytes.Clone(s.head))
	s.head = s.head[:0]
	p.Header = h
	p.HeaderSpan.End = s.off
	if err != nil || bytes.IndexByte(bareCR(h.Raw), '\r') >= 0 {
		s.giveUp("malformed part header")
		return
	}
	s.beginBody(p)
}

// bareCR cuts b down to its first CR that no LF follows, if there is one.
func bareCR(b []byte) []byte {
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			return nil
		}
		if i+1 == len(b) || b[i+1] != '\n' {
			return b[i:]
		}
		b = b[i+2:]
	}
}

// beginBody decides what the body of p is, by its header.
func (s *Scanner) beginBody(p *Part) {
	p.Body.Start = s.off
	if reason := p.describe(); reason != "" {
		s.giveUp(reason)
		return
	}
	s.part = p
	if !strings.HasPrefix(p.Type.Text, "multipart/") {
		p.Content = new(Content)
		s.state = inContent
		return
	}
	boundary, reason := s.boundary(p)
	if reason != "" {
		s.giveUp(reason)
		return
	}
	s.stack = append(s.stack, multipart{part: p, boundary: boundary})
	s.state = inPreamble
}

// boundary returns the boundary of multipart p, or why it cannot be trusted.
func (s *Scanner) boundary(p *Part) ([]byte, string) {
	all := p.Type.All("boundary")
	switch {
	case p.Type.Get("boundary") == "":
		return nil, "multipart without a boundary"
	case len(all) > 1:
		return nil, "contradicting boundary parameters"
	case len(all[0]) > MaxBoundary:
		return nil, "boundary over the limit"
	case strings.TrimSpace(all[0]) != all[0] || strings.ContainsAny(all[0], "\r\n\x00"):
		return nil, "malformed boundary"
	case len(s.stack) >= MaxDepth:
		return nil, "nesting over the limit"
	case p.Encoding != "7bit" && p.Encoding != "8bit" && p.Encoding != "binary":
		return nil, "encoded multipart"
	}
	for _, m := range s.stack {
		if string(m.boundary) == all[0] {
			return nil, "boundary of a nested multipart repeats its parent's"
		}
	}
	return []byte(all[0]), ""
}

// body takes what can be decided of data in content, preamble or epilogue:
// everything up to and including the next delimiter line.
func (s *Scanner) body(data []byte, eof bool) int {
	if len(s.stack) == 0 { // a message without parts has no delimiters
		s.give(data)
		return len(data)
	}
	for from := 0; ; {
		at := dashes(data, from, s.bol)
		if at < 0 {
			break
		}
		end, whole := lineAt(data, at)
		if !whole && !eof && end < at+maxDelimiterLine {
			keep := breakBefore(data, at)
			s.give(data[:keep])
			return keep
		}
		level, kind := s.match(data[at:end])
		if kind != notDelimiter && !whole && (end < len(data) || !eof) {
			kind = fuzzyDelimiter
		}
		switch kind {
		case notDelimiter:
			from = at + 2
			continue
		case fuzzyDelimiter:
			body := breakBefore(data, at)
			s.give(data[:body])
			s.giveUp("boundary line with trailing text")
			return body
		}
		body := breakBefore(data, at)
		s.give(data[:body])
		s.delimiter(level, kind, data[body:at], data[at:end])
		return end
	}
	keep := len(data)
	if !eof {
		keep = breakBefore(data, len(data))
		if keep == len(data) && data[keep-1] == '\r' {
			keep--
		}
	}
	s.give(data[:keep])
	return keep
}

// endLeaf closes the current leaf, whose content ends at end.
func (s *Scanner) endLeaf(end int64) {
	s.part.Body.End = end
	s.part.Entity.End = end
	s.sink.End(s.part)
}

// endMultiparts closes the multiparts from level on: their bodies end at
// end, the entities of what they hold at next.
func (s *Scanner) endMultiparts(level int, end, next int64) {
	for i := len(s.stack) - 1; i >= level; i-- {
		p := s.stack[i].part
		p.Body.End = end
		p.Entity.End = next
		if n := len(p.Children); n > 0 && !s.stack[i].closed {
			p.Children[n-1].Entity.End = next
		}
	}
	s.stack = s.stack[:level]
}

// giveUp makes the message one opaque part. It returns 0, so that the caller
// leaves its data to be passed on from the new state.
func (s *Scanner) giveUp(reason string) int {
	if s.state == inOpaque {
		return 0
	}
	if s.state == inContent {
		s.part.Content.Defect = reason
		s.part.Body.End = s.off
		s.sink.End(s.part)
	}
	s.state = inOpaque
	s.tree.Opaque = reason
	root := &Part{Header: s.tree.Root.Header, Content: &Content{Defect: reason}}
	root.describe()
	s.tree.Root = root
	s.stack, s.part = nil, root
	return 0
}
