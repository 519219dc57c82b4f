package message

import (
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	for _, c := range []struct{ name, header, want string }{
		{"nothing", "", "text/plain 7bit"},
		{"usual", "Content-Type: Application/PDF; name=a.pdf\nContent-Transfer-Encoding: BASE64\nContent-Disposition: Attachment; filename=\"b.pdf\"\nContent-ID: <x@y>\n",
			"application/pdf base64 attachment name=b.pdf id=x@y"},
		{"name in the type alone", "Content-Type: application/pdf; name=\"a b.pdf\"\n", "application/pdf 7bit name=a b.pdf"},
		{"no subtype", "Content-Type: text\n", "text/plain 7bit"},
		{"empty type", "Content-Type:\n", "text/plain 7bit"},
		{"comment in the encoding", "Content-Transfer-Encoding: base64 (yes)\n", "text/plain base64"},
		{"semicolon behind the encoding", "Content-Transfer-Encoding: quoted-printable;\n", "text/plain quoted-printable"},
		{"empty encoding", "Content-Transfer-Encoding:\n", "text/plain 7bit"},
		{"folded", "Content-Type:\n\tapplication/pdf;\n name=a.pdf\nContent-ID:\n <x@y>\n", "application/pdf 7bit name=a.pdf id=x@y"},
		{"unknown disposition", "Content-Disposition: x-strange\n", "text/plain 7bit x-strange"},
		{"path in the name", "Content-Disposition: attachment; filename=\"C:\\\\tmp\\\\..\\\\a.pdf\"\n", "text/plain 7bit attachment name=a.pdf"},
		{"Content-ID without brackets", "Content-ID:  x@y \n", "text/plain 7bit id=x@y"},
		{"two types", "Content-Type: text/plain\nContent-Type: text/html\n", "duplicate Content-Type"},
		{"two encodings", "Content-Transfer-Encoding: 7bit\ncontent-transfer-encoding: 7bit\n", "duplicate Content-Transfer-Encoding"},
		{"two dispositions", "Content-Disposition: inline\nContent-Disposition: inline\n", "duplicate Content-Disposition"},
		{"too many parameters", "Content-Type: text/plain" + strings.Repeat("; a=b", maxParams+1) + "\n", defectTooMany},
		{"field too long", "Content-Disposition: attachment; filename=\"" + strings.Repeat("x", maxValueLen) + "\"\n", defectTooLong},
	} {
		h, err := ParseHeader([]byte(crlf(c.header)))
		if err != nil {
			t.Fatal(err)
		}
		p := &Part{Header: h}
		got := p.describe()
		if got == "" {
			got = p.Type.Text + " " + p.Encoding
			if p.Disposition.Text != "" {
				got += " " + p.Disposition.Text
			}
			if p.Name != "" {
				got += " name=" + p.Name
			}
			if p.ContentID != "" {
				got += " id=" + p.ContentID
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPartsOfADigestAreMessages(t *testing.T) {
	for header, want := range map[string]string{"": "message/rfc822", "Content-Type: text/plain\n": "text/plain", "Content-Type: nothing\n": "text/plain"} {
		m := open(t, letter(group("digest", header+"\nSubject: x\n\ny")))
		if got := m.tree.Root.Children[0].Type.Text; got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
