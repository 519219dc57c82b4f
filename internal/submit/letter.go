package submit

// Short plain texts that we write ourselves: codes and receipts.

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
)

// Letter is a plain text to one person.
type Letter struct {
	Hostname string
	From     string // address
	Name     string // of the sender, for people; may be ""
	To       string
	Subject  string
	Text     string // lines end in LF
	ID       string // what makes it one of its kind: makes Message-ID
	Date     time.Time
}

// NeedsUTF8 tells whether an address is not ASCII (RFC 6531).
func (l *Letter) NeedsUTF8() bool { return !ascii(l.From) || !ascii(l.To) }

// Bytes writes the letter, with CRLF line ends and in 7 bits, but for addresses
// that are not ASCII.
func (l *Letter) Bytes() []byte {
	sum := sha256.Sum256([]byte(l.ID + "\n" + l.To))
	from := "<" + oneLine(l.From) + ">"
	if l.Name != "" {
		from = phrase(oneLine(l.Name)) + "\r\n " + from
	}
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: %s", from)
	line("To: <%s>", oneLine(l.To))
	line("Subject: %s", folded(mime.QEncoding.Encode("utf-8", cut(literal(oneLine(l.Subject)), 900))))
	line("Date: %s", l.Date.Format(time.RFC1123Z))
	line("Message-ID: <%s.letter@%s>", hex.EncodeToString(sum[:12]), l.Hostname)
	line("Auto-Submitted: auto-generated") // RFC 3834: nobody's holiday note answers
	line("X-Auto-Response-Suppress: All")  // and Exchange's do not either
	line("MIME-Version: 1.0")
	line("Content-Type: text/plain; charset=utf-8")
	line("Content-Transfer-Encoding: quoted-printable")
	line("")
	w := quotedprintable.NewWriter(&b)
	w.Write(crlf([]byte(l.Text))) // a buffer takes all
	w.Close()
	if !bytes.HasSuffix(b.Bytes(), []byte("\r\n")) {
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// literal keeps what looks like an encoded word, such as in a file's name, from
// being read as one: it could hold what was taken out of the text around it.
func literal(text string) string { return strings.ReplaceAll(text, "=?", "= ?") }

// folded puts each encoded word on a line of its own (RFC 2047 section 2).
func folded(words string) string { return strings.ReplaceAll(words, "?= =?", "?=\r\n =?") }

// phrase is a name as a quoted string (RFC 5322 section 3.2.4), or, beyond ASCII,
// as encoded words: in base64, since few characters may stand for themselves in
// a phrase (RFC 2047 section 5).
func phrase(name string) string {
	if !ascii(name) {
		return folded(mime.BEncoding.Encode("utf-8", name))
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}
