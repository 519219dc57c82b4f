package message

import (
	"fmt"
	"strings"
	"testing"
)

// Every subset of the attachments of a nested message, in all its variants,
// leaves the other parts as they were, for us and for other readers.
func TestEverySubsetOfTheAttachments(t *testing.T) {
	utf16 := piece("AEgAaQ==", "Content-Type: text/plain; charset=utf-16", "Content-Transfer-Encoding: base64")
	forwarded := piece("Content-Type: multipart/mixed; boundary=x\n\n--x\n\nt\n--x--\n", "Content-Type: message/rfc822; name=d.eml")
	tail := "\n--inner\n" + file("b.csv") + "\n--inner\n" + file("c.png")
	variants := 0
	for _, text := range []string{group("alternative", plain("text"), markup("<p>html</p>")), utf16, file("none.txt")} {
		for _, preamble := range []string{"", "preamble\n\n"} {
			for _, end := range []string{
				"\n--inner--\n\n--outer\n" + forwarded + "\n--outer\n" + file("e.zip") + "\n--outer--\n",
				"\n--inner--\n\n--outer\n" + forwarded + "\n--outer\n" + file("e.zip") + "\n--outer--\nepilogue\n",
				"\n--inner--\n--outer\n" + forwarded + "\n--outer\n" + file("e.zip") + "\n--outer--",
				"\n--inner--\n\n--outer\n" + forwarded + "\n--outer\n" + file("e.zip") + "\n",
				"\n--inner--\n\n--outer\n" + forwarded + "\n--outer\n" + file("e.zip"),
				"\n--inner--\nepilogue\n--outer--\n",
				"\n--inner--",
				"\n--inner--\n",
				"\n",
				"",
			} {
				entity := "Content-Type: multipart/mixed; boundary=outer\n\n" + preamble + "--outer\n" + file("a.pdf") +
					"\n--outer\n" + text + "\n--outer\nContent-Type: multipart/mixed; boundary=inner\n\n" + preamble + tail[1:] + end
				for _, raw := range []string{letter(entity), strings.ReplaceAll(letter(entity), "\r", "")} {
					variants++
					everySubset(t, fmt.Sprintf("variant %d", variants), raw)
				}
			}
		}
	}
	if variants != 120 {
		t.Errorf("%d variants", variants)
	}
}

func everySubset(t *testing.T, name, raw string) {
	t.Helper()
	m := open(t, raw)
	if m.tree.Opaque != "" {
		t.Fatalf("%s: opaque: %s", name, m.tree.Opaque)
	}
	free := m.free()
	if len(free) < 3 {
		t.Fatalf("%s: only %d attachments", name, len(free))
	}
	for set := 1; set < 1<<len(free); set++ {
		var taken []*Part
		for i, p := range free {
			if set&(1<<i) != 0 {
				taken = append(taken, p)
			}
		}
		next := m.remove(taken...)
		// The rest may be taken from the new message.
		for _, p := range next.free() {
			if contains(taken, p) {
				t.Errorf("%s: %s is still there", name, p.Name)
			}
		}
		if want := len(free) - len(taken); len(next.free()) != want {
			t.Errorf("%s, subset %b: %d attachments left, want %d", name, set, len(next.free()), want)
		}
		if t.Failed() {
			t.Fatalf("%s, subset %b of\n%s\ngave\n%s", name, set, m.body, next.body)
		}
	}
}

// A second hop may take what the first one left.
func TestRemovalInTwoSteps(t *testing.T) {
	for _, text := range []string{group("alternative", plain("text"), markup("<body>html</body>")), file("none.txt")} {
		m := open(t, letter(group("mixed", text, file("a.pdf"), file("b.pdf"))))
		next := m.remove(m.part("a.pdf"))
		rw, err := Remove(next.tree, strings.NewReader(string(next.body)), next.bodies, next.parts("b.pdf"), noticeOf(next.part("b.pdf")), "seed2")
		if err != nil {
			t.Fatal(err)
		}
		last := next.apply(rw)
		if last.tree.Opaque != "" {
			t.Fatal(last.tree.Opaque)
		}
		for _, name := range []string{"a.pdf", "b.pdf"} {
			found := 0
			for _, p := range leaves(last.tree) {
				found += strings.Count(content(t, last.body, p), name+" (")
			}
			if found != 1 {
				t.Errorf("%d notices of %s in\n%s", found, name, last.body)
			}
		}
	}
}
