package flow_test

// Messages that the tests write themselves.

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// letter is a message with a plain text and attachments.
type letter struct {
	id    string // of the Message-ID
	head  string // more fields, each with its line end
	files []file
}

type file struct {
	name    string
	content []byte
}

func (l letter) raw() []byte {
	var b strings.Builder
	b.WriteString("From: Alice <alice@acmecorp.test>\r\nTo: bob@ext.test\r\nSubject: Plans\r\nDate: Sat, 14 Mar 2026 15:09:26 +0000\r\n")
	fmt.Fprintf(&b, "Message-ID: <%s@acmecorp.test>\r\n%s", l.id, l.head)
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"outer\"\r\n\r\n")
	b.WriteString("--outer\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSee the plans.\r\n")
	for _, f := range l.files {
		fmt.Fprintf(&b, "--outer\r\nContent-Type: application/octet-stream; name=\"%[1]s\"\r\nContent-Disposition: attachment; filename=\"%[1]s\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", f.name)
		writeBase64(&b, f.content)
	}
	b.WriteString("--outer--\r\n")
	return []byte(b.String())
}

// writeBase64 writes content in lines of 76 characters.
func writeBase64(b *strings.Builder, content []byte) {
	text := base64.StdEncoding.EncodeToString(content)
	for len(text) > 0 {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
}

// noise is n bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// plans is a letter with one attachment.
func plans(id string) letter { return letter{id: id, files: []file{{"plan.pdf", noise(1, 5000)}}} }
