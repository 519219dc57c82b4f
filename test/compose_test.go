package test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand"
	"strings"
	"sync/atomic"
)

// file is an attachment of a composed message.
type file struct {
	name, typ string
	content   []byte
}

var serial atomic.Int64

// compose makes a message with a text and files, with LF line ends.
func compose(from string, to []string, subject string, files ...file) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\nTo: %s\nSubject: %s\n", from, strings.Join(to, ", "), subject)
	fmt.Fprintf(&b, "Date: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <%d.%s@ext.test>\nMIME-Version: 1.0\n", serial.Add(1), strings.Fields(subject)[0])
	b.WriteString("Content-Type: multipart/mixed; boundary=\"=_test\"\n\n")
	b.WriteString("--=_test\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nSee the attachments, Grüße.\n")
	for _, f := range files {
		fmt.Fprintf(&b, "--=_test\nContent-Type: %s; name=%q\nContent-Disposition: attachment; filename=%q\nContent-Transfer-Encoding: base64\n\n", f.typ, f.name, f.name)
		for s := base64.StdEncoding.EncodeToString(f.content); len(s) > 0; {
			n := min(76, len(s))
			b.WriteString(s[:n])
			b.WriteByte('\n')
			s = s[n:]
		}
	}
	b.WriteString("--=_test--\n")
	return b.Bytes()
}

// random makes n bytes that no other call makes.
func random(n int, seed int64) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(b)
	return b
}

// toCRLF is what an SMTP client sends.
func toCRLF(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}
