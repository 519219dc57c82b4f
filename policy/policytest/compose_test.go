package policytest

import (
	"bytes"
	"io"
	"net/mail"
	"strings"
	"testing"
	"testing/fstest"

	"cloakroom/message"
)

const composed = `
cases:
  - name: composed
    compose:
      header: {From: Boss <boss@acmecorp.test>, X-Twice: [one, two]}
      text: |
        Hello
        Bob
      attachments:
        - {name: Größe.pdf, type: application/pdf, content: "%PDF-1.4", size: 3KB}
        - {name: a.txt, content: abc}
    envelope: {from: dave@ext.test, to: [bob@acmecorp.test]}
`

func TestComposedMailsHoldWhatIsAskedFor(t *testing.T) {
	fsys := fstest.MapFS{"c.yaml": {Data: []byte(composed)}}
	cases, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	in, err := cases[0].open(fsys)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("From") != "Boss <boss@acmecorp.test>" || m.Header.Get("To") != "bob@acmecorp.test" || len(m.Header["X-Twice"]) != 2 || m.Header.Get("Message-Id") == "" {
		t.Errorf("header %v", m.Header)
	}
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	h, err := message.ParseHeader(append(head, "\r\n"...))
	if err != nil {
		t.Fatal(err)
	}
	s := message.NewScanner(h, message.NewInspector())
	if _, err := s.Write(body); err != nil {
		t.Fatal(err)
	}
	tree := s.Close()
	if tree.Opaque != "" || len(tree.Root.Children) != 3 {
		t.Fatalf("%q, parts %d:\n%s", tree.Opaque, len(tree.Root.Children), raw)
	}
	pdf, txt := tree.Root.Children[1], tree.Root.Children[2]
	if pdf.Name != "Größe.pdf" || pdf.Type.Text != "application/pdf" || pdf.Content.Sniffed != "application/pdf" || pdf.Content.Size != 3<<10 || pdf.Content.Defect != "" {
		t.Errorf("%q %q %+v", pdf.Name, pdf.Type.Text, pdf.Content)
	}
	if txt.Name != "a.txt" || txt.Type.Text != "application/octet-stream" || txt.Content.Size != 3 {
		t.Errorf("%q %q %+v", txt.Name, txt.Type.Text, txt.Content)
	}
}

func TestComposedMailsThatCannotBeMade(t *testing.T) {
	for compose, want := range map[string]string{
		"{attachments: [{name: a, size: 6GB}]}":                           `compose.attachments[0].size: "6GB" is not a size`,
		"{attachments: [{name: a, size: -1}]}":                            `"-1" is not a size`,
		"{attachments: [{name: a, size: 200MB}, {name: b, size: 100MB}]}": "more than 256MB",
		"{header: {\"A B\": c}}":                                          "A B is not the name of a header field",
		"{header: {Subject: \"a\\nBcc: b\"}}":                             "Subject: a value is one line",
		"{header: {Subject: a}}\n    inline: x":                           "give either message",
		"{headers: {Subject: a}}":                                         "unknown field",
	} {
		_, err := Load(fstest.MapFS{"c.yaml": {Data: []byte("cases:\n  - name: n\n    envelope: {to: [a@ext.test]}\n    compose: " + compose)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", compose, err, want)
		}
	}
}
