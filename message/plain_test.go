package message

import (
	"bytes"
	"strings"
	"testing"
)

func TestPlainBoundary(t *testing.T) {
	for value, want := range map[string]string{
		"multipart/mixed; boundary=b":                                  "b",
		"multipart/mixed;boundary=b ":                                  "b",
		"multipart/mixed; BOUNDARY=\"b c\"; charset=x":                 "b c",
		"multipart/mixed;\r\n\tboundary=\"=_boundary.1\"":              "=_boundary.1",
		"multipart/signed; protocol=\"a/b\"; boundary=b ;x=y":          "b",
		"multipart/mixed; boundary=b; charset=\"boundary\"":            "",
		"multipart/mixed; boundary=b; boundary=b":                      "",
		"multipart/mixed; boundary=b; boundary*=utf-8''c":              "",
		"multipart/mixed; boundary*=utf-8''b":                          "",
		"multipart/mixed; boundary*0=b":                                "",
		"multipart/mixed; boundary = b":                                "",
		"multipart/mixed boundary=b":                                   "",
		"multipart/mixed; x=\"; boundary=b\"":                          "",
		"multipart/mixed (; boundary=b":                                "",
		"multipart/mixed; boundary=b (c)":                              "",
		"multipart/mixed; boundary=\"b\"c":                             "",
		"multipart/mixed; boundary=\"b":                                "",
		"multipart/mixed; boundary=\"\\b\"":                            "",
		"multipart/mixed; boundary=\"=?utf-8?q?b?=\"":                  "",
		"multipart/mixed; boundary=b\x00":                              "",
		"multipart/mixed; boundary=":                                   "",
		"multipart/mixed; boundary=\"\"":                               "",
		"multipart/mixed; xboundary=b":                                 "",
		"multipart/mixed":                                              "",
		"multipart/mixed; boundary=b\xff":                              "",
		"multipart/mixed; type=\"text/html\"; boundary=" + "a=b":       "a=b",
		"multipart/mixed; name=\"f\xfcr\xd9\xd9\xd9\xd9\"; boundary=b": "b", // longer in lower case
		"multipart/mixed; name=\"\u0130\u0130\u0130\"; Boundary=b":     "b",
		"multipart/mixed; \xd9\xd9\xd9\xd9\xd9\xd9boundary=b":          "",
	} {
		got, ok := plainBoundary(value)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %v, want %q", value, got, ok, want)
		}
	}
}

func TestPlainFields(t *testing.T) {
	for raw, want := range map[string]bool{
		"": true, "A: b\r\n": true, "A: b\r\n c\r\nD:\r\n": true, "A: b\r\n\r\n": true, "A: b\n\tc\n": true, "\r\n": true,
		" A: b\r\n": false, "A : b\r\n": false, ": b\r\n": false, "A b\r\n": false, "A: b\r\n \r\nC: d\r\n": false,
		"A: \x00\r\n": false, "A: b\rc\r\n": false, "A\xff: b\r\n": false, "A: b\r\n\r\nC: d\r\n": false,
	} {
		if got := plainFields([]byte(raw)); got != want {
			t.Errorf("%q: %v", raw, got)
		}
	}
}

// What readers take in different ways stays, and does not change what the scan
// finds: the digest of a mail, by which it is known, has to last.
func TestUnusualSpellingsAreLeftAlone(t *testing.T) {
	const usual = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\ntext\r\n" +
		"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b--\r\n"
	for _, c := range []struct{ old, new, alone, keep string }{
		{"", "", "", ""},
		{"base64", "Base64", "", ""},
		{"base64", "base64 (c)", "", "Content-Transfer-Encoding in a spelling that not every reader takes"},
		{"base64", "base64;", "", "Content-Transfer-Encoding in a spelling that not every reader takes"},
		{"base64", "base64 ", "", "Content-Transfer-Encoding in a spelling that not every reader takes"},
		{" base64", "\r\n base64", "", "Content-Transfer-Encoding in a spelling that not every reader takes"},
		{"boundary=b", "boundary = b", "boundary in a spelling that not every reader takes", ""},
		{"application/pdf", "application /pdf", "Content-Type in a spelling that not every reader takes", ""},
		{"multipart/mixed", "multipart /mixed", "Content-Type in a spelling that not every reader takes", ""},
		{"multipart/mixed", "(c) multipart/mixed", "Content-Type in a spelling that not every reader takes", ""},
		{"Content-Type: app", "Content-Type : app", "header fields that not every reader takes", ""},
		{"Content-Type: app", "X: y\r\n \r\nContent-Type: app", "header fields that not every reader takes", ""},
		{"Content-Type: app", ": y\r\nContent-Type: app", "header fields that not every reader takes", ""},
	} {
		h, body := split(strings.Replace(usual, c.old, c.new, 1))
		tree := scanBody(h, body, func(n int) int { return n })
		_, alone := Assess(tree, bytes.NewReader(body))
		if tree.Opaque != "" || alone != c.alone {
			t.Errorf("%q: opaque %q, alone %q, want %q", c.new, tree.Opaque, alone, c.alone)
			continue
		}
		if pdf := tree.Root.Children[1]; pdf.Keep != c.keep {
			t.Errorf("%q: kept because of %q, want %q", c.new, pdf.Keep, c.keep)
		}
	}
}
