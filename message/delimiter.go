package message

// Finding and taking the delimiter lines of multiparts (RFC 2046 section 5.1.1).

import "bytes"

// dashes finds the next line in data, from index from on, that begins with
// "--", or with a "-" that ends data. bol tells whether data begins a line.
// It looks for dashes rather than for line ends: encoded content has none.
func dashes(data []byte, from int, bol bool) int {
	for from < len(data) {
		i := bytes.IndexByte(data[from:], '-')
		if i < 0 {
			return -1
		}
		at := from + i
		if at == 0 && bol || at > 0 && data[at-1] == '\n' {
			if at+1 == len(data) || data[at+1] == '-' {
				return at
			}
		}
		j := bytes.IndexByte(data[at:], '\n')
		if j < 0 {
			return -1
		}
		from = at + j + 1
	}
	return -1
}

// lineAt returns the end of the line that begins at index at, looking no
// further than a delimiter line can be, and whether its line end was seen.
func lineAt(data []byte, at int) (end int, whole bool) {
	limit := min(len(data), at+maxDelimiterLine)
	if i := bytes.IndexByte(data[at:limit], '\n'); i >= 0 {
		return at + i + 1, true
	}
	return limit, false
}

// breakBefore returns where the line break that ends just before at begins.
func breakBefore(data []byte, at int) int {
	if at > 0 && data[at-1] == '\n' {
		at--
		if at > 0 && data[at-1] == '\r' {
			at--
		}
	}
	return at
}

type delimiterKind uint8

const (
	notDelimiter delimiterKind = iota
	openDelimiter
	closeDelimiter
	fuzzyDelimiter // begins like one, and some readers would take it for one
)

// match compares a line that begins with "--" with the open boundaries,
// innermost first. Only trailing white space may follow one.
func (s *Scanner) match(line []byte) (level int, kind delimiterKind) {
	text := bytes.TrimRight(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), " \t")
	if len(text) < 2 {
		return 0, notDelimiter
	}
	for i := len(s.stack) - 1; i >= 0; i-- {
		rest, ok := bytes.CutPrefix(text[2:], s.stack[i].boundary)
		if !ok {
			continue
		}
		switch {
		case len(rest) == 0:
			return i, openDelimiter
		case string(rest) == "--":
			return i, closeDelimiter
		}
		kind = fuzzyDelimiter
	}
	return 0, kind
}

// delimiter takes a delimiter line of the multipart at level, and the line
// break that belongs to it.
func (s *Scanner) delimiter(level int, kind delimiterKind, lineBreak, line []byte) {
	end := s.off // of the content before it
	var reason string
	for _, m := range s.stack[level+1:] {
		if !m.closed {
			reason = "multipart not closed before its parent's delimiter"
		}
	}
	if s.stack[level].closed {
		reason = "delimiter after the close delimiter"
	}
	if kind == openDelimiter && s.parts == MaxParts {
		reason = "number of parts over the limit"
	}
	if reason != "" {
		s.giveUp(reason)
		s.give(lineBreak)
		s.give(line)
		return
	}
	if s.state == inContent {
		s.endLeaf(end)
	}
	s.state = inEpilogue // the delimiter itself is outside
	s.give(lineBreak)
	s.endMultiparts(level+1, end, s.off)
	parent := s.stack[level].part
	if n := len(parent.Children); n > 0 {
		parent.Children[n-1].Entity.End = s.off
	}
	start := s.off
	s.give(line)
	s.bol = true
	if kind == closeDelimiter {
		if len(parent.Children) == 0 {
			s.giveUp("multipart without parts")
			return
		}
		s.stack[level].closed = true
		parent.Closed = true
		return
	}
	p := &Part{Index: s.parts, Depth: parent.Depth + 1, Parent: parent}
	p.Entity.Start = start
	p.HeaderSpan = Span{s.off, s.off}
	parent.Children = append(parent.Children, p)
	s.parts++
	s.part, s.state = p, inHeader
}
