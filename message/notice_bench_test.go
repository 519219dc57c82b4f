package message

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// BenchmarkRemove takes one attachment out of a mail whose texts have the size
// of an answer in a long thread.
func BenchmarkRemove(b *testing.B) {
	text := strings.Repeat("Der Plan der Nordhalle liegt bei, bitte prüfen.\n", 200)
	page := "<html><body>" + strings.Repeat(`<p class="MsoNormal" style="margin:0cm;font-size:11.0pt">Der Plan der <b>Nordhalle</b> liegt bei, bitte prüfen.<o:p></o:p></p>`+"\n", 400) + "</body></html>"
	for _, encoding := range []string{"8bit", "quoted-printable", "base64"} {
		b.Run(encoding, func(b *testing.B) {
			encode := func(s string) string {
				switch encoding {
				case "quoted-printable":
					return strings.ReplaceAll(encodeQP(crlf(s), "\r\n"), "\r\n", "\n")
				case "base64":
					return string(encodeBase64([]byte(crlf(s)), "\n"))
				}
				return s
			}
			leaf := func(subtype, s string) string {
				return piece(encode(s), "Content-Type: text/"+subtype+"; charset=utf-8", "Content-Transfer-Encoding: "+encoding)
			}
			m := open(b, letter(group("mixed", group("alternative", leaf("plain", text), leaf("html", page)), file("a.pdf"))))
			p := m.part("a.pdf")
			b.SetBytes(int64(len(m.body)))
			b.ReportAllocs()
			for b.Loop() {
				rw, err := Remove(m.tree, bytes.NewReader(m.body), m.bodies, []*Part{p}, noticeOf(p), seed)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := rw.Body.WriteTo(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
