package message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// fates writes what Assess said of each leaf: its name or type, role, and why
// it is kept.
func fates(m *mail) string {
	var out []string
	for _, p := range leaves(m.tree) {
		label := p.Name
		if label == "" {
			label = p.Type.Text
		}
		s := label + " " + p.Role.String()
		if p.Keep != "" && p.Role != RoleBody {
			s += " (" + p.Keep + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

// leftAlone are messages, what Assess says of the whole, and of each leaf.
func leftAlone() []struct{ name, entity, alone, want string } {
	const text = "text/plain body; "
	pgpKey := piece("Version: 1", "Content-Type: application/pgp-encrypted")
	return []struct{ name, entity, alone, want string }{
		{"plain attachment", group("mixed", plain("t"), file("a.pdf")), "", text + "a.pdf attachment"},
		{"signed", group("signed; protocol=\"application/pgp-signature\"", group("mixed", plain("t"), file("a.pdf")), file("signature.asc")), "multipart/signed",
			text + "a.pdf attachment (inside multipart/signed); signature.asc attachment (inside multipart/signed)"},
		{"signed inside", group("mixed", group("signed", group("mixed", plain("t"), file("a.pdf")), file("s.asc")), file("b.pdf")), "",
			text + "a.pdf attachment (inside multipart/signed); s.asc attachment (inside multipart/signed); b.pdf attachment"},
		{"encrypted", group("encrypted", pgpKey, file("encrypted.asc")), "multipart/encrypted",
			"application/pgp-encrypted attachment (inside multipart/encrypted); encrypted.asc attachment (inside multipart/encrypted)"},
		{"encrypted, made mixed by a gateway", group("mixed", plain(""), pgpKey, file("encrypted.asc")), "",
			text + "application/pgp-encrypted attachment (application/pgp-encrypted); encrypted.asc attachment (beside application/pgp-encrypted)"},
		{"opaque S/MIME", piece("MIAG", "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", "Content-Transfer-Encoding: base64"),
			"application/pkcs7-mime", "smime.p7m attachment (application/pkcs7-mime)"},
		{"opaque S/MIME, old type", piece("MIAG", "Content-Type: application/x-pkcs7-mime", "Content-Transfer-Encoding: base64"),
			"application/x-pkcs7-mime", "application/x-pkcs7-mime attachment (application/x-pkcs7-mime)"},
		{"S/MIME by its name", file("smime.p7m"), "S/MIME", "smime.p7m attachment (S/MIME)"},
		{"S/MIME as a part", group("mixed", plain("t"), piece("MIAG", "Content-Type: application/pkcs7-mime", "Content-Transfer-Encoding: base64"), file("a.pdf")), "",
			text + "application/pkcs7-mime attachment (application/pkcs7-mime); a.pdf attachment"},
		{"PGP signed text", group("mixed", plain("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nhello\n-----BEGIN PGP SIGNATURE-----\nabc\n-----END PGP SIGNATURE-----"), file("a.pdf")),
			"PGP inside the text", text + "a.pdf attachment"},
		{"PGP encrypted text", group("mixed", plain("-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END PGP MESSAGE-----"), file("a.pdf.pgp")), "PGP inside the text", text + "a.pdf.pgp attachment"},
		{"PGP in quoted-printable", group("mixed", piece("-----BEGIN=20PGP MESSAGE-----", "Content-Transfer-Encoding: quoted-printable"), file("a")), "PGP inside the text", text + "a attachment"},
		{"PGP in HTML", group("mixed", markup("<pre>-----BEGIN PGP MESSAGE-----"), file("a")), "PGP inside the text", "text/html body; a attachment"},
		{"invitation", group("mixed", group("alternative", plain("t"), markup("<p>"), piece("BEGIN:VCALENDAR", "Content-Type: text/calendar; method=REQUEST")),
			file("invite.ics"), piece("BEGIN", "Content-Type: application/ics", "Content-Disposition: attachment"), file("agenda.pdf")), "calendar invitation",
			text + "text/html body; text/calendar attachment (one of several alternatives); invite.ics attachment; application/ics attachment; agenda.pdf attachment"},
		{"calendar that is no invitation", group("mixed", plain("t"), piece("BEGIN:VCALENDAR", "Content-Type: text/calendar"), file("a.ics")), "",
			text + "text/calendar attachment; a.ics attachment"},
		{"DSN", group("report; report-type=delivery-status", plain("t"), piece("Reporting-MTA: dns; x", "Content-Type: message/delivery-status"),
			piece("Subject: x\n\ny", "Content-Type: message/rfc822")), "multipart/report",
			text + "message/delivery-status attachment (inside multipart/report); message/rfc822 attachment (inside multipart/report)"},
		{"MDN", group("report", plain("t"), piece("x: y", "Content-Type: message/disposition-notification")), "multipart/report",
			text + "message/disposition-notification attachment (inside multipart/report)"},
		{"ARF", group("report", plain("t"), piece("x: y", "Content-Type: message/feedback-report"), file("a.eml")), "multipart/report",
			text + "message/feedback-report attachment (inside multipart/report); a.eml attachment (inside multipart/report)"},
		{"report inside", group("mixed", plain("t"), group("report", plain("r"), file("a.pdf"))), "", text + text + "a.pdf attachment (inside multipart/report)"},
		{"report that is none", group("mixed", plain("t"), piece("x: y", "Content-Type: message/delivery-status")), "",
			text + "message/delivery-status attachment (message/delivery-status)"},
		{"partial", piece("x", "Content-Type: message/partial; id=1; number=1; total=2"), "message/partial", "message/partial attachment (message/partial)"},
		{"external body", piece("x: y", "Content-Type: message/external-body; access-type=URL"), "message/external-body", "message/external-body attachment (message/external-body)"},
		{"external body inside", group("mixed", plain("t"), piece("x: y\n\n", "Content-Type: message/external-body")), "",
			text + "message/external-body attachment (message/external-body)"},
		{"TNEF", group("mixed", plain("t"), piece("eJ8+", "Content-Type: application/ms-tnef", "Content-Transfer-Encoding: base64"), file("WINMAIL.DAT")), "",
			text + "application/ms-tnef attachment (TNEF); WINMAIL.DAT attachment (TNEF)"},
		{"forwarded message", group("mixed", plain("t"), piece("Content-Type: multipart/mixed; boundary=x\n\n--x\n\nt\n--x--\n", "Content-Type: message/rfc822")), "",
			text + "message/rfc822 attachment"},
		{"unknown encoding", group("mixed", plain("t"), piece("x", "Content-Transfer-Encoding: x-uuencode", "Content-Type: image/gif")), "",
			text + "image/gif attachment (unknown Content-Transfer-Encoding x-uuencode)"},
		{"defect in base64", group("mixed", plain("t"), piece("UE5H!", "Content-Transfer-Encoding: base64", "Content-Type: image/gif")), "",
			text + "image/gif attachment (base64 with characters outside its alphabet)"},
		{"defect in quoted-printable", group("mixed", plain("t"), piece("a=ZZ", "Content-Transfer-Encoding: quoted-printable", "Content-Type: text/csv")), "",
			text + "text/csv attachment (malformed quoted-printable)"},
		{"empty", group("mixed", plain("t"), piece("", "Content-Type: image/gif"), piece("=\n", "Content-Type: text/csv", "Content-Transfer-Encoding: quoted-printable")), "",
			text + "image/gif attachment (empty); text/csv attachment (empty)"},
		{"alternatives", group("alternative", plain("t"), file("a.pdf")), "", text + "a.pdf attachment (one of several alternatives)"},
		{"root of related", group("related", piece("UE5H", "Content-Type: image/png"), file("a.pdf")), "",
			"image/png attachment (root of multipart/related); a.pdf attachment"},
		{"root of related by start", group("related; start=\"<r@x>\"", file("a.pdf"), piece("UE5H", "Content-Type: image/png", "Content-ID: <r@x>")), "",
			"a.pdf attachment; image/png attachment (root of multipart/related)"},
		{"root of related that is missing", group("related; start=\"<r@x>\"", piece("UE5H", "Content-Type: image/png"), file("a.pdf")), "",
			"image/png attachment (root of multipart/related); a.pdf attachment"},
		{"text with a name", group("mixed", plain("t"), piece("t", "Content-Type: text/plain; name=a.txt"), piece("t", "Content-Type: text/plain", "Content-Disposition: attachment")), "",
			text + "a.txt attachment; text/plain attachment"},
		{"text without a name", group("mixed", plain("t"), plain("footer")), "", text + "text/plain body"},
		{"the message itself", piece("%PDF", "Content-Type: application/pdf"), "", "application/pdf attachment"},
		{"ambiguous structure", strings.ReplaceAll(group("mixed", plain("t"), file("a.pdf")), "--\n", "-- x\n"), "boundary line with trailing text", "multipart/mixed body"},
	}
}

func TestWhatIsLeftAlone(t *testing.T) {
	for _, c := range leftAlone() {
		m := open(t, letter(c.entity))
		if got := fates(m); got != c.want || m.alone != c.alone {
			t.Errorf("%s: alone %q, want %q\n got %s\nwant %s", c.name, m.alone, c.alone, got, c.want)
		}
	}
}

func TestInlineNeedsAllThreeConditions(t *testing.T) {
	image := func(id string, more ...string) string {
		return piece("UE5H", append(more, "Content-Type: image/png", "Content-ID: "+id, "Content-Transfer-Encoding: base64")...)
	}
	ref := markup("<img src=\"cid:i@x\">")
	inline, attached := RoleInline.String(), RoleAttachment.String()
	utf := base64.StdEncoding.EncodeToString(utf16Bytes("<img src=\"cid:i@x\">"))
	html := func(s string) string { return group("related", markup(s), image("<i@x>")) }
	for _, c := range []struct{ name, entity, want string }{
		{"all three", group("related", ref, image("<i@x>")), inline},
		{"disposition inline", group("related", ref, image("<i@x>", "Content-Disposition: inline; filename=i.png")), inline},
		{"not in related", group("mixed", ref, image("<i@x>")), attached},
		{"not referenced", group("related", markup("<p>"), image("<i@x>")), attached},
		{"not in related, unlike another of its Content-ID", group("mixed", image("<i@x>"), group("related", ref, strings.Replace(image("<i@x>"), "png", "gif", 1))), attached},
		{"not in related, beside broken HTML", group("mixed", image("<i@x>"), group("related", piece("=zz", "Content-Type: text/html", "Content-Transfer-Encoding: quoted-printable"), file("a", "Content-ID: <a>"))), attached},
		{"attachment", group("related", ref, image("<i@x>", "Content-Disposition: attachment; filename=i.png")), attached},
		{"another reference", html("<img src='cid:i@xy'><img src=cid:ai@x>"), attached},
		{"no Content-ID", group("related", ref, piece("UE5H", "Content-Type: image/png", "Content-Transfer-Encoding: base64")), attached},
		{"HTML in an alternative", group("related", group("alternative", plain("t"), ref), image("<i@x>")), inline},
		{"image deeper", group("related", ref, group("mixed", image("<i@x>"))), inline},
		{"no angle brackets", group("related", ref, image("i@x")), inline},
		{"blanks in the Content-ID", group("related", ref, image(" < i@x > ")), inline},
		{"folded Content-ID", group("related", ref, image("\n <i@x>")), inline},
		{"other case", group("related", ref, image("<I@X>")), inline},
		{"percent-encoded", html("<img src='cid:i%40x'>"), inline},
		{"percent-encoded Content-ID", group("related", ref, image("<i%40x>")), inline},
		{"escaped for HTML", html("<img src=\"cid&#58;i&#64;x\">"), inline},
		{"style attribute", html("<td style=\"background:url(&quot;cid:i@x&quot;)\">"), inline},
		{"style sheet", html("<style>td {background: url(cid:i@x)}</style>"), inline},
		{"no quotes", html("<img src=cid:i@x>"), inline},
		{"single quotes, upper case", html("<IMG SRC='CID:i@x'>"), inline},
		{"end of the HTML", html("<img src=cid:i@x"), inline},
		{"after a word that ends alike", html("<img src=placid:cid:i@x>"), inline},
		{"quoted-printable", group("related", piece("<img src=3D\"ci=\nd:i=40x\">", "Content-Type: text/html", "Content-Transfer-Encoding: quoted-printable"), image("<i@x>")), inline},
		{"base64", group("related", piece("PGltZyBzcmM9ImNpZDppQHgiPg==", "Content-Type: text/html", "Content-Transfer-Encoding: base64"), image("<i@x>")), inline},
		{"UTF-16", group("related", piece(utf, "Content-Type: text/html; charset=utf-16le", "Content-Transfer-Encoding: base64"), image("<i@x>")), inline},
		{"broken HTML", group("related", piece("=zz", "Content-Type: text/html", "Content-Transfer-Encoding: quoted-printable"), image("<i@x>")), inline},
		{"HTML too large to look at", html(strings.Repeat("x", maxBodyText+1)), inline},
		{"XML", group("related", piece("<r href='cid:i@x'/>", "Content-Type: application/soap+xml"), image("<i@x>")), inline},
	} {
		m := open(t, letter(c.entity))
		p := m.part("image/png")
		if got := p.Role.String(); got != c.want || (p.Keep != "") != (c.want == inline) {
			t.Errorf("%s: %s, keep %q, want %s", c.name, got, p.Keep, c.want)
		}
	}
}

func utf16Bytes(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

func TestCollectingReferencesTakesLinearTime(t *testing.T) {
	image := piece("UE5H", "Content-Type: image/png", "Content-ID: <i@x>")
	for _, unit := range []string{"cid:", "cid:x ", "&#99;id:", "<!--cid:"} {
		m := open(t, letter(group("related", markup(strings.Repeat(unit, maxBodyText/len(unit)-1)), image)))
		start := time.Now()
		Assess(m.tree, bytes.NewReader(m.body))
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("1 MB of %q took %v", unit, d)
		}
	}
}

func TestBodiesAreTheTextsAReaderSeesFirst(t *testing.T) {
	related := func(s string) string { return group("related", s, file("x")) }
	for _, c := range []struct {
		name, entity, text, html string
		partial                  bool
	}{
		{"plain", plain("1"), "1", "", false},
		{"alternative", group("alternative", plain("1"), markup("2")), "1", "2", false},
		{"attachment first", group("mixed", file("a"), plain("1")), "1", "", false},
		{"list footer", group("mixed", plain("1"), plain("2")), "1", "", false},
		{"text, then HTML", group("mixed", plain("1"), markup("2")), "1", "", false},
		{"Outlook", group("mixed", related(group("alternative", plain("1"), markup("2"))), file("a")), "1", "2", false},
		{"Apple Mail", group("alternative", plain("1"), group("mixed", file("a"), markup("2"), file("b"), markup("3"))), "1", "2", false},
		{"related in alternative", group("alternative", plain("1"), related(markup("2"))), "1", "2", false},
		{"invitation", group("alternative", plain("1"), markup("2"), piece("x", "Content-Type: text/calendar; method=REQUEST")), "1", "2", false},
		{"rich text", group("alternative", plain("1"), piece("x", "Content-Type: text/rtf")), "1", "", true},
		{"alternative without text", group("alternative", plain("1"), group("mixed", file("a"))), "1", "", true},
		{"signed", group("mixed", group("signed", plain("1"), file("s")), plain("2")), "2", "", false},
		{"report", group("mixed", group("report", plain("1"), file("s"))), "", "", false},
		{"digest", group("digest", piece("\ntext")), "", "", false},
		{"attached text", group("mixed", piece("1", "Content-Disposition: attachment"), plain("2")), "2", "", false},
		{"named text", group("mixed", piece("1", "Content-Type: text/plain; name=x"), plain("2")), "2", "", false},
		{"named alternative", group("alternative", piece("1", "Content-Type: text/plain; name=x"), markup("2")), "1", "2", false},
		{"named root of related", related(piece("2", "Content-Type: text/html; name=x")), "", "2", false},
		{"named message", piece("1", "Content-Type: text/plain; name=x"), "1", "", false},
	} {
		m := open(t, letter(c.entity))
		read := func(p *Part) string {
			if p == nil {
				return ""
			}
			return content(t, m.body, p)
		}
		if text, html := read(m.bodies.Text), read(m.bodies.HTML); text != c.text || html != c.html || m.bodies.partial != c.partial {
			t.Errorf("%s: text %q HTML %q partial %v, want %q %q %v", c.name, text, html, m.bodies.partial, c.text, c.html, c.partial)
		}
	}
}

func TestCanCarryAttachmentsByTheHeader(t *testing.T) {
	for header, want := range map[string]bool{
		"Subject: x\r\n":               false,
		"Content-Type: text/plain\r\n": false,
		"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n":                false,
		"Content-Type: text/plain; name=a.txt\r\nContent-Disposition: inline\r\n":                        false,
		"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n":                                true,
		"Content-Type: text/calendar\r\n":                                                                true,
		"Content-Type: application/pdf\r\n":                                                              true,
		"content-type:\r\n multipart/mixed; boundary=b\r\n":                                              true,
		"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b\r\n":                      true,
		"Content-Type: text/plain\r\nContent-Disposition: inline\r\nContent-Disposition: attachment\r\n": true,
		"Content-Type: garbage\r\n":                                                                      false,
	} {
		h, err := ParseHeader([]byte(header))
		if err != nil {
			t.Fatal(err)
		}
		if got := CanCarryAttachments(h); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// A text beyond the limit is not looked at; so it must not be edited either.
func TestTextTooLargeToLookAtTakesNoNotice(t *testing.T) {
	big := strings.Repeat("0123456789\n", maxBodyText/11+1)
	m := open(t, letter(group("mixed", plain(big+"-----BEGIN PGP SIGNATURE-----"), file("a.pdf"))))
	if m.alone != "" {
		t.Fatalf("left alone: %s", m.alone)
	}
	next := m.remove(m.part("a.pdf"))
	if got, want := outline(next.tree.Root), "mixed(plain alternative(plain html))"; got != want {
		t.Errorf("structure %s, want %s", got, want)
	}
}

// failingReader fails where the body is.
type failingReader struct{}

func (failingReader) ReadAt([]byte, int64) (int, error) { return 0, fmt.Errorf("disk gone") }

func TestWhatCannotBeReadIsKept(t *testing.T) {
	image := piece("UE5H", "Content-Type: image/png", "Content-ID: <i@x>")
	m := open(t, letter(group("related", markup("<p>"), image)))
	_, alone := Assess(m.tree, failingReader{})
	if m.part("image/png").Role != RoleInline || alone == "" {
		t.Errorf("role %v alone %q: nothing was read", m.part("image/png").Role, alone)
	}
}
