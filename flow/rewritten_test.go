package flow_test

// What must hold of every message that was rewritten, for its bytes and for
// those who read it.

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cloakroom/message"
)

func sha256Sum(b []byte) [32]byte { return sha256.Sum256(b) }

// maxLine is the longest line in bytes, without its end, that may be sent
// (RFC 5321 section 4.5.3.1.6).
const maxLine = 998

// checkSplices builds the new body from the old one and the splices, and says
// what a splice exchanges that it must not.
func (s *linkedSample) checkSplices(body []byte) error {
	var built []byte
	at := int64(0)
	for _, x := range s.first.splices {
		if x.Start < at || x.End > int64(len(body)) {
			return fmt.Errorf("splice %d-%d is out of order", x.Start, x.End)
		}
		built = append(append(built, body[at:x.Start]...), x.New...)
		at = x.End
		if err := s.checkSplice(x); err != nil {
			return fmt.Errorf("splice %d-%d: %w", x.Start, x.End, err)
		}
	}
	if built = append(built, body[at:]...); !bytes.Equal(built, s.first.body) {
		return errors.New("the new body is not the old one with the splices")
	}
	for _, p := range s.parts() {
		if !s.taken(p) {
			continue
		}
		gone := slices.ContainsFunc(s.first.splices, func(x message.Splice) bool {
			return x.Start <= p.Body.Start && p.Body.End <= x.End
		})
		if !gone {
			return fmt.Errorf("part %d has a link, and is still in the mail", p.Index)
		}
	}
	return nil
}

// checkSplice fails unless x lies within a part that is taken, inserts into a
// text body, or encodes a text body anew.
func (s *linkedSample) checkSplice(x message.Splice) error {
	allowed := false
	for _, p := range s.parts() {
		body := p == s.bodies.Text || p == s.bodies.HTML
		within := func(span message.Span) bool { return span.Start <= x.Start && x.End <= span.End }
		switch {
		case s.taken(p) && within(p.Entity):
			allowed = true
		case body && x.Len() == 0 && within(p.Body):
			allowed = true
		case body && p.Encoding == "base64" && x.Span == p.Body:
			allowed = true
		}
	}
	if !allowed {
		return errors.New("exchanges what is neither a taken part nor a text body")
	}
	for line := range bytes.Lines(x.New) {
		text, crlf := bytes.CutSuffix(line, []byte("\r\n"))
		text, lf := bytes.CutSuffix(text, []byte("\n"))
		if s.tree.EOL == "\r\n" && lf || s.tree.EOL == "\n" && crlf || bytes.IndexByte(text, '\r') >= 0 {
			return fmt.Errorf("line %q has another line end than the message", line)
		}
		if len(text) > maxLine {
			return fmt.Errorf("line of %d bytes", len(text))
		}
	}
	return nil
}

// scanned is the structure of a message.
func scanned(raw []byte) *message.Tree {
	h, body := split(raw)
	scan := message.NewScanner(h, message.NewInspector())
	scan.Write(body)
	return scan.Close()
}

// checkScan fails if the new message is one that we would not touch ourselves,
// for a reason that the old one did not have.
func (s *linkedSample) checkScan() error {
	defects := func(t *message.Tree) map[string]int {
		out := map[string]int{}
		t.Root.Walk(func(p *message.Part) {
			if !p.IsMultipart() && p.Content.Defect != "" {
				out[p.Content.Defect]++
			}
		})
		return out
	}
	tree := scanned(s.first.raw())
	if tree.Opaque != "" {
		return fmt.Errorf("the new message is opaque: %s", tree.Opaque)
	}
	before := defects(s.tree)
	for defect, n := range defects(tree) {
		if n > before[defect] {
			return fmt.Errorf("the new message has a part that readers may see differently: %s", defect)
		}
	}
	return nil
}

// checkHeader fails unless every field that no edit names is as it was.
func (s *linkedSample) checkHeader(h message.Header) error {
	edited := map[string]bool{}
	for _, e := range s.first.edits {
		edited[strings.ToLower(e.Name)] = true
		if !s.taken(s.tree.Root) {
			return fmt.Errorf("edits %s although the message itself is not the attachment", e.Name)
		}
	}
	if before, after := otherFields(h.Block(), edited), otherFields(s.first.head, edited); before != after {
		return fmt.Errorf("header was\n%s\nand became\n%s", before, after)
	}
	return nil
}

// otherFields is a header without the fields named.
func otherFields(head []byte, without map[string]bool) string {
	var out strings.Builder
	skip := false
	for line := range bytes.Lines(head) {
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			skip = without[strings.ToLower(strings.TrimSpace(string(name)))]
		}
		if !skip {
			out.Write(line)
		}
	}
	return out.String()
}

// checkReaders compares what others see in the messages before and after.
func (run *corpusRun) checkReaders() {
	t := run.t
	dir := t.TempDir()
	var paths []string
	for i, s := range run.linked {
		for _, f := range []struct {
			name string
			raw  []byte
		}{{"old", s.raw}, {"new", s.first.raw()}} {
			path := filepath.Join(dir, strconv.Itoa(i)+"."+f.name)
			if err := os.WriteFile(path, f.raw, 0o600); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
	}
	byPython := python(t, paths)
	compared, unread := 0, 0
	for i, s := range run.linked {
		n, err := s.compare(byPython[2*i], byPython[2*i+1])
		if err != nil {
			t.Errorf("%s: Python: %v", s, err)
		}
		compared += n
		n, err = s.compare(goMessage(s.raw), goMessage(s.first.raw()))
		if cannot := new(cannotReadError); errors.As(err, &cannot) {
			// What one reader does not read at all says nothing; Python read it.
			t.Logf("%s: go-message: %v", s, err)
			unread++
		} else if err != nil {
			t.Errorf("%s: go-message: %v", s, err)
		}
		compared += n
	}
	t.Logf("%d messages read by Python before and after, %d by go-message too: %d contents of linked parts agree",
		len(run.linked), len(run.linked)-unread, compared)
}

// cannotReadError tells that a reader does not understand the original.
type cannotReadError struct{ reason string }

func (e *cannotReadError) Error() string { return "cannot read the original: " + e.reason }

// compare fails unless a reader sees in the old message what was stored, and
// in the new one everything else and the notice. It returns how many linked
// contents it compared.
//
// Contents are compared byte for byte, for 7bit and 8bit parts too: all three
// readers give the line break before a delimiter to the delimiter (RFC 2046
// section 5.1.1), and none of them converts line ends.
func (s *linkedSample) compare(before, after reading) (linked int, err error) {
	unclosed := func(r reading) bool {
		// go-message calls the end of an unclosed multipart an error, after it
		// gave out all parts.
		return !s.closed() && strings.HasSuffix(r.Error, "EOF")
	}
	if before.Error != "" && !unclosed(before) {
		return 0, &cannotReadError{before.Error}
	}
	if after.Error != "" && !unclosed(after) {
		return linked, fmt.Errorf("cannot read the new message: %s", after.Error)
	}
	parts := s.parts()
	if len(before.Leaves) != len(parts) {
		return linked, fmt.Errorf("sees %d parts in the original, we see %d", len(before.Leaves), len(parts))
	}
	for i, p := range parts {
		if !s.taken(p) {
			continue
		}
		seen := before.Leaves[i]
		if want := fmt.Sprintf("%x", p.Content.SHA256); seen.Broken != "" || seen.SHA256 != want || seen.Size != p.Content.Size {
			return linked, fmt.Errorf("part %d (%s, %s) has %d bytes (%s), stored are %d", p.Index, p.Type.Text, p.Encoding, seen.Size, seen.Broken, p.Content.Size)
		}
		linked++
	}
	for _, d := range after.Defects {
		if !slices.Contains(before.Defects, d) {
			return linked, fmt.Errorf("finds a defect in the new message that was not in the old one: %s", d)
		}
	}
	return linked, s.compareRest(before.Leaves, after.Leaves)
}

// closed tells whether every multipart has its close delimiter.
func (s *linkedSample) closed() bool {
	closed := true
	s.tree.Root.Walk(func(p *message.Part) { closed = closed && (!p.IsMultipart() || p.Closed) })
	return closed
}

// compareRest fails unless after is before without the taken parts, with the
// notice in the text bodies or in parts of its own.
func (s *linkedSample) compareRest(before, after []leaf) error {
	notices := 0
	skipOwn := func() {
		for len(after) > 0 && after[0].ownNotice() {
			if s.hasNotice(after[0].Text) == nil {
				notices++
			}
			after = after[1:]
		}
	}
	for i, p := range s.parts() {
		skipOwn()
		if s.taken(p) {
			continue
		}
		if len(after) == 0 {
			return fmt.Errorf("part %d is lost", p.Index)
		}
		was, is := before[i], after[0]
		after = after[1:]
		if was.Type != is.Type || was.Name != is.Name {
			return fmt.Errorf("part %d was %s %q and is %s %q", p.Index, was.Type, was.Name, is.Type, is.Name)
		}
		if was.SHA256 == is.SHA256 && was.Size == is.Size {
			continue
		}
		if p != s.bodies.Text && p != s.bodies.HTML {
			return fmt.Errorf("part %d changed: %d bytes became %d", p.Index, was.Size, is.Size)
		}
		if err := s.inserted(was.Text, is.Text); err != nil {
			return fmt.Errorf("part %d: %w", p.Index, err)
		}
		notices++
	}
	skipOwn()
	if len(after) > 0 {
		return fmt.Errorf("%d parts more than there should be", len(after))
	}
	if notices == 0 {
		return errors.New("there is no notice anywhere")
	}
	return nil
}

// inserted fails unless text is old with the notice put in.
func (s *linkedSample) inserted(old, text []byte) error {
	head := commonPrefix(old, text)
	rest := len(old) - head
	if rest > 0 && !bytes.HasSuffix(text[head:], old[head:]) {
		return fmt.Errorf("the new text is not the old one with an insertion: %q", text[head:])
	}
	return s.hasNotice(text[head : len(text)-rest])
}

// hasNotice fails unless text names the link, and the hash of each file.
func (s *linkedSample) hasNotice(text []byte) error {
	if !bytes.Contains(text, []byte(site)) {
		return fmt.Errorf("no link in %q", text)
	}
	for _, p := range s.record.Parts {
		if p.Linked && !bytes.Contains(text, []byte(p.SHA256.String())) {
			return fmt.Errorf("no SHA-256 of part %d in %q", p.Index, text)
		}
	}
	return nil
}

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
