package message

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

// FuzzRemove takes any subset of what may be taken out of any message.
func FuzzRemove(f *testing.F) {
	for i, s := range samples() {
		if len(s) < 8<<10 {
			f.Add([]byte(s), uint64(i)*2654435761)
			f.Add([]byte(s), ^uint64(0))
		}
	}
	for _, s := range []string{
		letter(group("mixed", group("alternative", plain("t"), markup("<p>")), file("a.pdf"), group("mixed", file("b.pdf"), plain("x")))),
		letter(group("alternative", plain("t="), group("related", piece("=3C/body>", "Content-Type: text/html", "Content-Transfer-Encoding: quoted-printable"), file("a")))),
		letter(file("a.pdf")), letter(group("mixed", piece("", "Content-Transfer-Encoding: base64"), file("a.pdf"), file("b.pdf"))),
	} {
		f.Add([]byte(s), ^uint64(0))
		f.Add([]byte(s[:len(s)-20]), uint64(7))
	}
	f.Fuzz(func(t *testing.T, raw []byte, pick uint64) {
		if len(raw) > 64<<10 || bytes.Contains(raw, []byte("cloakroom_")) {
			return
		}
		m := open(t, string(raw))
		r := rand.New(rand.NewSource(int64(pick)))
		var taken []*Part
		for _, p := range m.free() {
			if pick == ^uint64(0) || r.Intn(2) == 0 {
				taken = append(taken, p)
			}
		}
		if len(taken) == 0 {
			return
		}
		rw, err := m.try(taken...)
		var cannot *CannotRewriteError
		if errors.As(err, &cannot) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		m.fuzzCheck(rw, taken)
	})
}

// fuzzCheck is checkRest for messages that other readers may not be able to
// read in the first place.
func (m *mail) fuzzCheck(rw *Rewrite, taken []*Part) {
	var b bytes.Buffer
	if n, err := rw.Body.WriteTo(&b); err != nil || n != rw.Body.Size() {
		m.Fatal(n, err)
	}
	raw := ApplyHeader(m.header, rw.Header)
	h, _ := ParseHeader(raw)
	tree := scanBody(h, b.Bytes(), func(n int) int { return n })
	if tree.Opaque != "" {
		if strings.Contains(tree.Opaque, "over the limit") { // it was near one before
			return
		}
		m.Fatalf("opaque: %s\n%q\n%q", tree.Opaque, m.body, b.Bytes())
	}
	have := map[string]int{}
	for _, p := range leaves(tree) {
		have[encoded(b.Bytes(), p)]++
	}
	for _, p := range leaves(m.tree) {
		if contains(taken, p) || p == m.bodies.Text || p == m.bodies.HTML {
			continue
		}
		old := encoded(m.body, p)
		if have[old] == 0 {
			m.Fatalf("part %d is lost or changed:\n%q\n%q", p.Index, m.body, b.Bytes())
		}
		have[old]--
	}
	for _, p := range taken {
		sum := []byte(fmt.Sprintf("%x", p.Content.SHA256))
		if !sha256In(m, b.Bytes(), tree, sum) {
			m.Fatalf("no notice of part %d:\n%q", p.Index, b.Bytes())
		}
	}
}

// sha256In tells whether some text of the message names the hash.
func sha256In(t testing.TB, body []byte, tree *Tree, sum []byte) bool {
	if len(sum) != 2*sha256.Size {
		t.Fatal("no hash")
	}
	for _, p := range leaves(tree) {
		if p.Type.Text == "text/plain" && strings.Contains(content(t, body, p), string(sum)) ||
			p.Type.Text == "text/html" && strings.Contains(content(t, body, p), string(sum)) {
			return true
		}
	}
	return false
}
