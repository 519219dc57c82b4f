package message

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestStructuresAfterRemoval(t *testing.T) {
	alternative := group("alternative", plain("text"), markup("<p>html</p>"))
	image := piece("UE5H", "Content-Type: image/png", "Content-ID: <i@x>", "Content-Transfer-Encoding: base64")
	utf16 := piece("AGEAYgBj", "Content-Type: text/html; charset=utf-16be", "Content-Transfer-Encoding: base64")
	forwarded := piece("Subject: forwarded\n\ntext", "Content-Type: message/rfc822", "Content-Disposition: attachment; filename=a.eml")
	own := "alternative(plain html)"
	for _, c := range []struct{ name, entity, take, want string }{
		{"usual", group("mixed", alternative, file("a.pdf")), "a.pdf", "mixed(alternative(plain html))"},
		{"Outlook", group("mixed", group("related", group("alternative", plain("t"), markup("<img src=cid:i@x>")), image), file("a.pdf")),
			"a.pdf", "mixed(related(alternative(plain html) png))"},
		{"Apple Mail", group("alternative", plain("t"), group("mixed", markup("<p>1"), file("a.pdf"), markup("<p>2"))),
			"a.pdf", "alternative(plain mixed(html html))"},
		{"Apple Mail, attachment first", group("alternative", plain("t"), group("mixed", file("a.pdf"), markup("<p>2"))),
			"a.pdf", "alternative(plain mixed(html))"},
		{"list footer", group("mixed", plain("t"), file("a.pdf"), plain("footer")), "a.pdf", "mixed(plain plain)"},
		{"attachment first", group("mixed", file("a.pdf"), plain("t")), "a.pdf", "mixed(plain)"},
		{"nested mixed", group("mixed", group("mixed", alternative, file("a.pdf")), file("b.pdf")), "a.pdf b.pdf", "mixed(mixed(alternative(plain html)))"},
		{"nothing left inside", group("mixed", plain("t"), group("mixed", file("a.pdf"), file("b.pdf"))), "a.pdf b.pdf", "mixed(plain mixed(" + own + "))"},
		{"Apple Mail, nothing left inside", group("alternative", plain("t"), group("mixed", file("a.pdf"))), "a.pdf", "alternative(plain mixed(" + own + "))"},
		{"no text", group("mixed", file("a.pdf"), file("b.pdf")), "a.pdf b.pdf", "mixed(" + own + ")"},
		{"no text, one stays", group("mixed", file("a.pdf"), file("b.pdf")), "b.pdf", "mixed(octet-stream " + own + ")"},
		{"parts in any order", group("mixed", file("a.pdf"), file("b.pdf"), file("c.pdf")), "c.pdf a.pdf", "mixed(" + own + " octet-stream)"},
		{"text in UTF-16", group("mixed", utf16, file("a.pdf")), "a.pdf", "mixed(html " + own + ")"},
		{"text in UTF-16 beside others", group("mixed", group("alternative", plain("t"), utf16), file("a.pdf")), "a.pdf", "mixed(alternative(plain html) " + own + ")"},
		{"file beside an image", group("mixed", group("related", utf16, file("a.pdf")), file("b.pdf")), "a.pdf b.pdf", "mixed(related(html) " + own + ")"},
		{"the place that all see", group("mixed", group("alternative", plain("t"), group("mixed", utf16, file("a.pdf"))), file("b.pdf")), "a.pdf b.pdf",
			"mixed(alternative(plain mixed(html)) " + own + ")"},
		{"text that not all see", group("mixed", group("alternative", plain("t"), piece("x", "Content-Type: text/enriched")), file("a.pdf")), "a.pdf",
			"mixed(alternative(plain enriched) " + own + ")"},
		{"two languages", group("mixed", group("alternative", markup("<p>en"), markup("<p>de")), file("a.pdf")), "a.pdf", "mixed(alternative(html html) " + own + ")"},
		{"digest emptied before the place is found", group("mixed", group("digest", piece("Subject: x\n\ny")), file("a.pdf")), "message/rfc822 a.pdf",
			"mixed(digest(" + own + ") " + own + ")"},
		{"Macintosh file emptied", group("mixed", plain("t"), group("appledouble", file("a.rsrc"), file("a.pdf"))), "a.rsrc a.pdf", "mixed(plain appledouble(" + own + "))"},
		{"signed part beside", group("mixed", group("signed", plain("t"), piece("c2ln", "Content-Type: application/pgp-signature")), file("a.pdf")), "a.pdf",
			"mixed(signed(plain pgp-signature) " + own + ")"},
		{"signed part with a footer", group("mixed", group("signed", plain("t"), piece("c2ln", "Content-Type: application/pgp-signature")), file("a.pdf"), plain("f")), "a.pdf",
			"mixed(signed(plain pgp-signature) plain)"},
		{"forwarded message", group("mixed", plain("t"), forwarded), "a.eml", "mixed(plain)"},
		{"named text body", group("mixed", group("alternative", piece("t", "Content-Type: text/plain; name=body.txt"), markup("<p>")), file("a.pdf")), "a.pdf",
			"mixed(alternative(plain html))"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, raw := range []string{letter(c.entity), strings.ReplaceAll(letter(c.entity), "\r", "")} {
				m := open(t, raw)
				next := m.remove(m.parts(strings.Fields(c.take)...)...)
				if got := outline(next.tree.Root); got != c.want {
					t.Errorf("structure %s, want %s\n%s", got, c.want, next.body)
				}
			}
		})
	}
}

func TestMessageWithoutAPlaceForTheNoticeIsLeftAlone(t *testing.T) {
	utf16 := piece("AGEAYgBj", "Content-Type: text/html; charset=utf-16be", "Content-Transfer-Encoding: base64")
	for name, entity := range map[string]string{
		"related":     group("related", utf16, file("a.pdf")),
		"digest":      group("digest", piece("Subject: x\n\ny", "Content-Disposition: attachment; filename=a.pdf")),
		"appledouble": group("appledouble", file("a.rsrc"), file("a.pdf")),
	} {
		m := open(t, letter(entity))
		_, err := m.try(m.part("a.pdf"))
		var cannot *CannotRewriteError
		if !errors.As(err, &cannot) {
			t.Errorf("%s: error %v, want a CannotRewriteError", name, err)
		}
	}
}

func TestNoticeWithALineThatIsTooLongIsNotMade(t *testing.T) {
	m := open(t, letter(group("mixed", plain("t"), file("a.pdf"))))
	n := noticeOf(m.part("a.pdf"))
	n.URL += strings.Repeat("x", 1000)
	_, err := Remove(m.tree, bytes.NewReader(m.body), m.bodies, m.parts("a.pdf"), n, seed)
	var cannot *CannotRewriteError
	if !errors.As(err, &cannot) {
		t.Errorf("error %v, want a CannotRewriteError", err)
	}
}

func TestOwnBoundaryBeginsLikeNoOther(t *testing.T) {
	for _, boundary := range []string{"=", "=_", "=_cloakroom_", "=_cloakroom_" + seed[:8], "0"} {
		raw := letter(strings.ReplaceAll(
			"Content-Type: multipart/mixed; boundary=\"%%\"\n\n--%%\n"+file("a.pdf")+"\n--%%\n"+file("b.pdf")+"\n--%%--\n", "%%", boundary))
		m := open(t, raw)
		if m.tree.Opaque != "" {
			t.Fatal(m.tree.Opaque)
		}
		m.remove(m.part("b.pdf"))
	}
	var all []string
	for _, c := range "=0123456789abcdefghijklmnopqrstuvwxyz" {
		all = append(all, fmt.Sprintf("Content-Type: multipart/mixed; boundary=\"%c\"\n\n--%c\n%s\n--%c--", c, c, file("a.pdf"), c))
	}
	m := open(t, letter(group("mixed", all...)))
	var cannot *CannotRewriteError
	if _, err := m.try(m.part("a.pdf")); !errors.As(err, &cannot) {
		t.Errorf("error %v, want a CannotRewriteError", err)
	}
}
