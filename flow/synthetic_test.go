package flow_test

// Messages made for one difficulty each, checked as the corpus is.

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

const (
	synthHead = "From: alice@acmecorp.test\r\nTo: bob@ext.test\r\nMIME-Version: 1.0\r\n"
	mixed     = synthHead + "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	plainText = "--b\r\nContent-Type: text/plain\r\n\r\nSee the plans.\r\n"
	endOfB    = "--b--\r\n"
)

// attach is one attachment of multipart b, with more header fields and an
// encoded content that ends in a line break.
func attach(fields, encoded string) string {
	return "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=plan.pdf\r\n" + fields + "\r\n" + encoded
}

func inBase64(n int) string {
	var b strings.Builder
	writeBase64(&b, noise(uint64(n), n))
	return b.String()
}

const asBase64 = "Content-Transfer-Encoding: base64\r\n"

// linkable are messages whose attachments become links.
func linkable() map[string]string {
	pdf := attach(asBase64, inBase64(1000))
	alternative := "--b\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"
	return map[string]string{
		"one attachment":                       mixed + plainText + pdf + endOfB,
		"attachment before the text":           mixed + pdf + plainText + endOfB,
		"no text at all":                       mixed + pdf + attach(asBase64, inBase64(77)) + endOfB,
		"preamble and epilogue":                mixed + "preamble\r\n\r\n" + plainText + pdf + endOfB + "epilogue\r\n--c\r\n",
		"nothing behind the close delimiter":   mixed + plainText + pdf + "--b--",
		"no close delimiter":                   mixed + plainText + pdf,
		"no close delimiter, no line end":      mixed + plainText + strings.TrimSuffix(pdf, "\r\n"),
		"no close delimiter, text last":        mixed + pdf + plainText,
		"blanks behind delimiters":             mixed + strings.ReplaceAll(plainText+pdf, "--b\r\n", "--b \t\r\n") + "--b-- \r\n",
		"a line that begins like a delimiter":  mixed + plainText + "--\r\n--c\r\n-b\r\n" + pdf + endOfB,
		"the message is the attachment":        synthHead + "Content-Type: application/pdf; name=plan.pdf\r\n" + asBase64 + "\r\n" + inBase64(5000),
		"the message is an 8bit attachment":    synthHead + "Content-Type: application/pdf\r\nContent-Disposition: attachment\r\n\r\n\x80\x81 raw\r\n\r\n",
		"a multipart of one attachment":        mixed + plainText + "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n" + strings.ReplaceAll(pdf, "--b", "--c") + "--c--\r\n" + endOfB,
		"two levels, no close delimiter":       mixed + plainText + "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n" + strings.ReplaceAll(plainText+pdf, "--b", "--c"),
		"boundary that begins with another's":  mixed + plainText + "--b\r\nContent-Type: multipart/mixed; boundary=-b\r\n\r\n" + strings.ReplaceAll(plainText+pdf, "--b", "---b") + "---b--\r\n" + endOfB,
		"alternative texts":                    mixed + alternative + "--a\r\n\r\nplain\r\n--a\r\nContent-Type: text/html\r\n\r\n<html><body><p>x</p></body></html>\r\n--a--\r\n" + pdf + endOfB,
		"quoted-printable texts":               mixed + alternative + "--a\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nsoft =\r\nbreak =3D\r\n--a\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=C3=A4</p=\r\n></body>\r\n--a--\r\n" + pdf + endOfB,
		"quoted-printable without a line end":  mixed + "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nends in =C3=A4" + "\r\n" + pdf + endOfB,
		"base64 texts":                         mixed + alternative + "--a\r\n" + asBase64 + "\r\nUGxhbnM=\r\n--a\r\nContent-Type: text/html\r\n" + asBase64 + "\r\nPHA+eDwvcD48L2JvZHk+\r\n--a--\r\n" + pdf + endOfB,
		"empty text":                           mixed + "--b\r\n\r\n\r\n" + pdf + endOfB,
		"text in latin1, quoted-printable":     mixed + "--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n" + pdf + endOfB,
		"text in UTF-16":                       mixed + "--b\r\nContent-Type: text/plain; charset=utf-16\r\n" + asBase64 + "\r\n//5IAGkA\r\n" + pdf + endOfB,
		"flowed text":                          mixed + "--b\r\nContent-Type: text/plain; format=flowed; delsp=yes\r\n\r\na line \r\nthat flows\r\n-- \r\nAlice\r\n" + pdf + endOfB,
		"base64 in one line":                   mixed + plainText + attach(asBase64, base64.StdEncoding.EncodeToString(noise(3, 3000))+"\r\n") + endOfB,
		"base64 in lines of odd lengths":       mixed + plainText + attach(asBase64, "AAA\r\nABBBBB\r\n\r\nBBB\r\n CC==\r\n") + endOfB,
		"base64 with blank lines behind it":    mixed + plainText + attach(asBase64, inBase64(300)+"\r\n\r\n") + endOfB,
		"base64 with bits behind the last one": mixed + plainText + attach(asBase64, "AAAA\r\nAAAB\r\nAP==\r\n") + endOfB,
		"quoted-printable attachment":          mixed + plainText + attach("Content-Transfer-Encoding: Quoted-Printable\r\n", "a=3Db=\r\nc\r\nlast=\r\n\r\n") + endOfB,
		"7bit attachment with empty lines":     mixed + plainText + attach("", "\r\nline\r\n\r\n\r\n") + endOfB,
		"8bit attachment":                      mixed + plainText + attach("Content-Transfer-Encoding: 8bit\r\n", "Gr\xfc\xdfe \x00 NUL\r\n") + endOfB,
		"attached message":                     mixed + plainText + "--b\r\nContent-Type: message/rfc822\r\n\r\n" + "Subject: in\r\nContent-Type: multipart/mixed; boundary=z\r\n\r\n--z\r\n\r\nhi\r\n--z--\r\n" + endOfB,
		"the same file twice":                  mixed + plainText + pdf + pdf + endOfB,
		"a file and itself in another layout":  mixed + plainText + pdf + attach(asBase64, strings.ReplaceAll(inBase64(1000), "\r\n", "")+"\r\n") + endOfB,
		"no Content-Type, only a name":         mixed + plainText + "--b\r\nContent-Disposition: attachment; filename*=utf-8''%E6%97%A5.txt\r\n\r\ntext\r\n" + endOfB,
	}
}

func TestDifficultMessagesAreRewrittenWell(t *testing.T) {
	var samples []sample
	for name, raw := range linkable() {
		samples = append(samples, sample{name, "wire", []byte(raw)},
			sample{name, "stored", bytes.ReplaceAll([]byte(raw), []byte("\r\n"), []byte("\n"))})
	}
	run := runLinked(t, samples)
	linked := map[string]bool{}
	for _, s := range run.linked {
		linked[s.String()] = true
	}
	for _, s := range samples {
		if !linked[s.String()] {
			t.Errorf("%s: nothing was linked", s)
		}
	}
	t.Logf("%d messages, %d attachments linked", len(samples), run.figures["wire"].links+run.figures["stored"].links)
}

// leftAlone are messages that stay as they are, whatever the rules say.
func leftAlone() map[string]string {
	pdf := attach(asBase64, inBase64(1000))
	whole := func(contentType string) string {
		return synthHead + "Content-Type: " + contentType + "\r\n\r\n" + plainText + pdf + endOfB
	}
	inner := func(contentType string) string {
		part := strings.ReplaceAll(plainText+pdf, "--b", "--c") + "--c--\r\n"
		return mixed + plainText + "--b\r\nContent-Type: " + contentType + "; boundary=c\r\n\r\n" + part + endOfB
	}
	related := func(disposition, html string) string {
		return synthHead + "Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n" + html +
			"\r\n--b\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\n" + disposition + asBase64 + "\r\n" + inBase64(99) + endOfB
	}
	single := func(contentType string) string {
		return synthHead + "Content-Type: " + contentType + "\r\n" + asBase64 + "\r\n" + inBase64(500)
	}
	return map[string]string{
		"multipart/signed":                   whole("multipart/signed; boundary=b; protocol=\"application/pgp-signature\""),
		"multipart/encrypted":                whole("multipart/encrypted; boundary=b"),
		"multipart/report":                   whole("multipart/report; boundary=b; report-type=delivery-status"),
		"signed part inside mixed":           inner("multipart/signed"),
		"encrypted part inside mixed":        inner("Multipart/Encrypted"),
		"opaque S/MIME":                      single("application/pkcs7-mime; smime-type=signed-data; name=smime.p7m"),
		"opaque S/MIME of old":               single("application/x-pkcs7-mime; name=smime.p7m"),
		"message/partial":                    synthHead + "Content-Type: message/partial; id=1; number=1; total=2\r\n\r\nSubject: x\r\n\r\nhalf\r\n",
		"message/external-body":              mixed + plainText + "--b\r\nContent-Type: message/external-body; access-type=URL\r\n\r\nContent-Type: image/png\r\n\r\n" + endOfB,
		"PGP in the text":                    mixed + "--b\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nx\r\n" + pdf + endOfB,
		"an image that the HTML shows":       related("Content-Disposition: inline; filename=logo.png\r\n", `<img src="cid:logo@x">`),
		"winmail.dat":                        mixed + plainText + "--b\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\n" + asBase64 + "\r\n" + inBase64(99) + endOfB,
		"an invitation":                      mixed + plainText + "--b\r\nContent-Type: text/calendar; method=REQUEST; name=invite.ics\r\nContent-Disposition: attachment\r\n\r\nBEGIN:VCALENDAR\r\n" + endOfB,
		"an empty attachment":                mixed + plainText + attach(asBase64, "\r\n") + endOfB,
		"base64 with strange characters":     mixed + plainText + attach(asBase64, "AAAA*AAA\r\n") + endOfB,
		"base64 with more behind its end":    mixed + plainText + attach(asBase64, "AA==AAAA\r\n") + endOfB,
		"base64 that is cut short":           mixed + plainText + attach(asBase64, "AAAAA\r\n") + endOfB,
		"quoted-printable that is malformed": mixed + plainText + attach("Content-Transfer-Encoding: quoted-printable\r\n", "100=% =ZZ\r\n") + endOfB,
		"an unknown encoding":                mixed + plainText + attach("Content-Transfer-Encoding: x-uuencode\r\n", "begin 644 a\r\nend\r\n") + endOfB,
		"two encodings":                      mixed + plainText + attach(asBase64+"Content-Transfer-Encoding: 7bit\r\n", "AAAA\r\n") + endOfB,
		"two boundaries":                     synthHead + "Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n" + plainText + pdf + endOfB,
		"text behind a delimiter":            mixed + plainText + strings.Replace(pdf, "--b\r\n", "--bxx\r\n", 1) + "--b and more\r\n" + endOfB,
		"a like delimiter in the epilogue":   mixed + plainText + pdf + endOfB + "--b-like\r\n",
		"parts behind the close delimiter":   mixed + plainText + endOfB + pdf + endOfB,
		"an unclosed inner multipart":        mixed + plainText + "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n" + strings.ReplaceAll(plainText, "--b", "--c") + pdf + endOfB,
		"7bit file without a delimiter":      mixed + plainText + attach("", "the end\r\n"),
		"deep nesting":                       deep(40),
	}
}

// deep is an attachment below n multiparts.
func deep(n int) string {
	var b, end strings.Builder
	b.WriteString(synthHead)
	for i := range n {
		boundary := "d" + strings.Repeat("x", i)
		b.WriteString("Content-Type: multipart/mixed; boundary=" + boundary + "\r\n\r\n--" + boundary + "\r\n")
	}
	b.WriteString("Content-Type: application/pdf\r\n" + asBase64 + "\r\nAAAA\r\n")
	for i := n - 1; i >= 0; i-- {
		end.WriteString("--d" + strings.Repeat("x", i) + "--\r\n")
	}
	return b.String() + end.String()
}

func TestWhatMustStayInTheMailStays(t *testing.T) {
	w := newWorld(t, linkAll)
	for name, raw := range leftAlone() {
		for form, raw := range map[string]string{"wire": raw, "stored": strings.ReplaceAll(raw, "\r\n", "\n")} {
			t.Run(name+" "+form, func(t *testing.T) {
				w.untouched(t, w.mustDeliver(t, outbound("q"), []byte(raw)), []byte(raw))
			})
		}
	}
}
