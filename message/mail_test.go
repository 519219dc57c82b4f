package message

// Messages in tests: made of pieces, taken apart, rewritten, and checked.

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"
)

// piece is an entity: header lines, and a body.
func piece(body string, header ...string) string {
	return strings.Join(header, "\n") + "\n\n" + body
}

// group is a multipart; kind is the subtype, with parameters if need be.
func group(kind string, parts ...string) string {
	b := fmt.Sprintf("=_%08x", crc32.ChecksumIEEE([]byte(kind+strings.Join(parts, "|"))))
	return "Content-Type: multipart/" + kind + "; boundary=\"" + b + "\"\n\n--" + b + "\n" +
		strings.Join(parts, "\n--"+b+"\n") + "\n--" + b + "--\n"
}

// letter is a message around one entity.
func letter(entity string) string {
	return crlf("From: a@ext.test\nTo: b@acmecorp.test\nSubject: plans\nMIME-Version: 1.0\n" + entity)
}

func plain(s string) string { return piece(s, "Content-Type: text/plain; charset=utf-8") }
func markup(s string) string {
	return piece(s, "Content-Type: text/html; charset=utf-8")
}

// file is an attachment.
func file(name string, more ...string) string {
	content := base64.StdEncoding.EncodeToString([]byte("content of " + name))
	return piece(content, append(more, "Content-Type: application/octet-stream; name=\""+name+"\"",
		"Content-Disposition: attachment; filename=\""+name+"\"", "Content-Transfer-Encoding: base64")...)
}

// mail is a message taken apart.
type mail struct {
	testing.TB
	header Header
	body   []byte
	tree   *Tree
	bodies Bodies
	alone  string
}

func open(t testing.TB, raw string) *mail {
	t.Helper()
	m := &mail{TB: t, tree: scan(t, raw, 0)}
	m.header, m.body = split(raw)
	m.bodies, m.alone = Assess(m.tree, bytes.NewReader(m.body))
	return m
}

// part finds a leaf by its file name or type.
func (m *mail) part(key string) *Part {
	m.Helper()
	for _, p := range leaves(m.tree) {
		if p.Name == key || p.Type.Text == key {
			return p
		}
	}
	m.Fatalf("no part %s in\n%s", key, dump(m.tree))
	return nil
}

// parts finds leaves.
func (m *mail) parts(keys ...string) (out []*Part) {
	m.Helper()
	for _, k := range keys {
		out = append(out, m.part(k))
	}
	return out
}

// free are the leaves that policy may take.
func (m *mail) free() (out []*Part) {
	for _, p := range leaves(m.tree) {
		if m.alone == "" && p.Keep == "" {
			out = append(out, p)
		}
	}
	return out
}

func leaves(t *Tree) (out []*Part) {
	t.Root.Walk(func(p *Part) {
		if !p.IsMultipart() {
			out = append(out, p)
		}
	})
	return out
}

// outline writes the structure in one line.
func outline(p *Part) string {
	_, kind, _ := strings.Cut(p.Type.Text, "/")
	if !p.IsMultipart() {
		return kind
	}
	var parts []string
	for _, c := range p.Children {
		parts = append(parts, outline(c))
	}
	return kind + "(" + strings.Join(parts, " ") + ")"
}

func encoded(body []byte, p *Part) string { return string(body[p.Body.Start:p.Body.End]) }

func content(t testing.TB, body []byte, p *Part) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.DecodeTo(&b, bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// noticeOf is a notice for the parts.
func noticeOf(parts ...*Part) Notice {
	n := Notice{URL: "https://files.acmecorp.test/d/abcdefghijklmnopqrstuv", Site: "files.acmecorp.test",
		Expires: time.Date(2026, 12, 24, 18, 30, 0, 0, time.UTC)}
	for _, p := range parts {
		n.Files = append(n.Files, NoticeFile{Name: p.Name, Size: p.Content.Size, SHA256: p.Content.SHA256})
	}
	return n
}

const seed = "0123456789abcdef01234567"

// remove takes parts out, checks all that must hold of every rewritten
// message, and opens the new one.
func (m *mail) remove(parts ...*Part) *mail {
	m.Helper()
	rw, err := m.try(parts...)
	if err != nil {
		m.Fatal(err)
	}
	next := m.apply(rw)
	m.checkSplices(rw)
	m.checkRest(next, parts)
	return next
}

func (m *mail) try(parts ...*Part) (*Rewrite, error) {
	return Remove(m.tree, bytes.NewReader(m.body), m.bodies, parts, noticeOf(parts...), seed)
}

// apply writes the message as an MTA does.
func (m *mail) apply(rw *Rewrite) *mail {
	m.Helper()
	var b bytes.Buffer
	if n, err := rw.Body.WriteTo(&b); err != nil || n != rw.Body.Size() || n != int64(b.Len()) {
		m.Fatalf("wrote %d bytes, %v; size says %d", b.Len(), err, rw.Body.Size())
	}
	eol := lineEnd(m.header.Raw)
	return open(m.TB, string(ApplyHeader(m.header, rw.Header))+eol+b.String())
}

// checkSplices looks at what was written.
func (m *mail) checkSplices(rw *Rewrite) {
	m.Helper()
	for _, s := range rw.Body.Splices() {
		for line := range bytes.Lines(s.New) {
			text := bytes.TrimSuffix(line, []byte(m.tree.EOL))
			if len(text) > 998 || bytes.ContainsAny(text, "\r\n") {
				m.Errorf("line of %d bytes: %q", len(text), text)
			}
		}
	}
}

// checkRest fails unless every part that is left has its bytes, texts that
// took the notice aside, and two other readers agree on the new message.
func (m *mail) checkRest(next *mail, taken []*Part) {
	m.Helper()
	if next.tree.Opaque != "" {
		m.Fatalf("the new message is opaque: %s\n%s", next.tree.Opaque, next.body)
	}
	rest := leaves(next.tree)
	notices := 0
	for _, p := range leaves(m.tree) {
		for len(rest) >= 2 && ownNotice(rest[0]) {
			rest, notices = rest[2:], notices+1
		}
		if contains(taken, p) {
			continue
		}
		if len(rest) == 0 {
			m.Fatalf("part %d is lost:\n%s", p.Index, next.body)
		}
		q := rest[0]
		rest = rest[1:]
		if !bytes.Equal(p.Header.Raw, q.Header.Raw) && p.Parent != nil {
			m.Errorf("header of part %d changed to %q", p.Index, q.Header.Raw)
		}
		old, now := encoded(m.body, p), encoded(next.body, q)
		if old == now {
			continue
		}
		notices++
		m.checkText(content(m, m.body, p), content(next, next.body, q), p)
	}
	for len(rest) >= 2 && ownNotice(rest[0]) {
		rest, notices = rest[2:], notices+1
	}
	if len(rest) > 0 || notices == 0 {
		m.Errorf("%d parts too many, %d notices:\n%s", len(rest), notices, next.body)
	}
	checkReaders(next)
}

// checkText fails unless now is old with the notice in it.
func (m *mail) checkText(old, now string, p *Part) {
	m.Helper()
	head := 0
	for head < len(old) && head < len(now) && old[head] == now[head] {
		head++
	}
	switch {
	case p != m.bodies.Text && p != m.bodies.HTML:
		m.Errorf("part %d changed from %q to %q", p.Index, old, now)
	case !strings.HasSuffix(now[head:], old[head:]):
		m.Errorf("not an insertion into %q: %q", old, now)
	}
}

func ownNotice(p *Part) bool {
	return p.Parent != nil && strings.Contains(p.Parent.Type.Get("boundary"), "=_cloakroom_"+seed)
}

func contains(parts []*Part, p *Part) bool {
	for _, q := range parts {
		if p == q {
			return true
		}
	}
	return false
}
