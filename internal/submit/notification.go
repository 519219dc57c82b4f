package submit

// A delivery status notification (RFC 3464) to the sender of a mail that we had
// accepted, and that the MTA then refused for some of its recipients.

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Notification says whom a mail did not reach.
type Notification struct {
	Hostname string
	To       string // the mail's sender
	ID       string // of the mail: makes Message-ID and boundary
	Date     time.Time
	Arrival  time.Time // of the mail
	Envelope []string  // ESMTP parameters of MAIL, for ENVID
	Failed   []FailedRcpt
	Header   []byte // of the mail, as it came but for what is nobody's business
}

// FailedRcpt is a recipient without mail.
type FailedRcpt struct {
	Address string
	Args    []string // ESMTP parameters of RCPT, for ORCPT
	Status  string   // RFC 3463
	Reply   string   // what the MTA said
}

// maxReturnedHeader is how much of the mail's header goes back, in bytes.
const maxReturnedHeader = 64 << 10

// NeedsUTF8 tells whether an address is not ASCII (RFC 6533).
func (n *Notification) NeedsUTF8() bool {
	for _, f := range n.Failed {
		if !ascii(f.Address) {
			return true
		}
	}
	return !ascii(n.To)
}

// Bytes writes the notification, with CRLF line ends.
func (n *Notification) Bytes() []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %v", n.ID, n.Failed))
	boundary := "=_" + hex.EncodeToString(sum[:16])
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("From: Mail Delivery System <MAILER-DAEMON@%s>", n.Hostname)
	line("To: <%s>", oneLine(n.To))
	line("Subject: Undelivered mail")
	line("Date: %s", n.Date.Format(time.RFC1123Z))
	line("Message-ID: <%s.dsn@%s>", hex.EncodeToString(sum[:12]), n.Hostname)
	line("Auto-Submitted: auto-replied")
	line("MIME-Version: 1.0")
	line("Content-Transfer-Encoding: 8bit") // of some part (RFC 2045 section 6.4)
	line("Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"", boundary)
	line("")
	line("--%s", boundary)
	line("Content-Type: text/plain; charset=utf-8")
	line("Content-Transfer-Encoding: 8bit")
	line("")
	line("This is the mail system at %s.", n.Hostname)
	line("")
	line("Your message could not be delivered to the following recipients.")
	line("The other recipients of the message are not concerned.")
	for _, f := range n.Failed {
		line("")
		line("<%s>:", oneLine(f.Address))
		line("    %s", cut(oneLine(f.Reply), 900))
	}
	line("")
	line("--%s", boundary)
	n.status(line, boundary)
	line("Content-Type: text/rfc822-headers")
	line("Content-Transfer-Encoding: 8bit")
	line("")
	b.Write(crlf(n.Header[:min(len(n.Header), maxReturnedHeader)]))
	line("")
	line("--%s--", boundary)
	return b.Bytes()
}

func (n *Notification) status(line func(string, ...any), boundary string) {
	kind, encoding, text := "message/delivery-status", "7bit", plainLine
	if n.NeedsUTF8() {
		kind, encoding, text = "message/global-delivery-status", "8bit", oneLine
	}
	line("Content-Type: %s", kind)
	line("Content-Transfer-Encoding: %s", encoding)
	line("")
	line("Reporting-MTA: dns; %s", n.Hostname)
	if id := argument(n.Envelope, "ENVID"); id != "" {
		line("Original-Envelope-Id: %s", text(id))
	}
	line("Arrival-Date: %s", n.Arrival.Format(time.RFC1123Z))
	for _, f := range n.Failed {
		line("")
		if original := argument(f.Args, "ORCPT"); original != "" {
			line("Original-Recipient: %s", text(original))
		}
		form := "rfc822"
		if !ascii(f.Address) {
			form = "utf-8"
		}
		line("Final-Recipient: %s; %s", form, oneLine(f.Address))
		line("Action: failed")
		line("Status: %s", f.Status)
		line("Diagnostic-Code: %s; %s", diagnosticType(f.Reply), cut(text(f.Reply), 900))
	}
	line("")
	line("--%s", boundary)
}

// diagnosticType is smtp for what is a reply, and a private type for words of
// our own (RFC 3464 section 2.3.6).
func diagnosticType(reply string) string {
	if len(reply) > 3 && reply[0] >= '2' && reply[0] <= '5' && reply[3] == ' ' {
		return "smtp"
	}
	return "x-cloakroom"
}

// argument is the value of an ESMTP parameter, decoded (RFC 3461 section 6.3).
func argument(args []string, name string) string {
	for _, a := range args {
		if keyword, value, _ := strings.Cut(a, "="); strings.EqualFold(keyword, name) {
			return unxtext(value)
		}
	}
	return ""
}

// unxtext decodes xtext (RFC 3461 section 4). What is not encoded right stays as
// it is.
func unxtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if c, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b.Write(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// oneLine takes out what would begin another header field, and all that is no
// text.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.Join(strings.Fields(s), " ")
}

// plainLine is oneLine in ASCII: what is written in message/delivery-status
// (RFC 3464 section 2.1).
func plainLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, oneLine(s))
}

// cut keeps a line below the 998 octets of RFC 5322.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " ..."
}

func crlf(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}
