package message

import (
	"fmt"
	"html"
	"strings"
	"time"
	"unicode/utf8"
)

// maxLine is the longest line that may be made, in bytes without its end (RFC
// 5322 section 2.1.1); MTAs break longer ones.
const maxLine = 998

// Notice is the block that tells the reader where the attachments are.
type Notice struct {
	URL     string    // the one link of the message
	Site    string    // host name people know, shown in the first line
	Expires time.Time // zero: never
	Files   []NoticeFile
}

// NoticeFile is one line of it.
type NoticeFile struct {
	Name   string // "" is shown as "unnamed"
	Size   int64  // bytes
	SHA256 [32]byte
}

// heading is the first line of a notice.
func (n Notice) heading() string {
	what := "1 attachment of this message is"
	if len(n.Files) != 1 {
		what = fmt.Sprintf("%d attachments of this message are", len(n.Files))
	}
	return what + " kept at " + n.Site + ":"
}

func (n Notice) expiry() string {
	if n.Expires.IsZero() {
		return "Available without a time limit."
	}
	return "Available until " + n.Expires.UTC().Format("2 January 2006, 15:04") + " UTC."
}

func (f NoticeFile) label() string {
	if f.Name == "" {
		return "unnamed"
	}
	return f.Name
}

// Text is the notice as lines of plain text, without line ends. No line
// begins or ends with a space, so that format=flowed (RFC 3676) keeps them.
func (n Notice) Text() []string {
	lines := []string{n.heading(), ""}
	for _, f := range n.Files {
		lines = append(lines, fmt.Sprintf("* %s (%s)", f.label(), FormatSize(f.Size)), fmt.Sprintf("SHA-256 %x", f.SHA256))
	}
	return append(lines, "", n.URL, n.expiry())
}

// HTML is the notice as lines of HTML in ASCII: characters beyond are
// references, so that it fits every ASCII-compatible charset.
func (n Notice) HTML() []string {
	const cell = `style="padding:2px 12px 2px 0;font:14px/20px sans-serif;color:#1a1a1a;text-align:left;vertical-align:top"`
	const small = `style="font:11px/16px monospace;color:#595959;word-break:break-all"`
	lines := []string{
		`<table role="presentation" dir="ltr" cellpadding="0" cellspacing="0" border="0" style="margin:16px 0;border:1px solid #c8c8c8;background:#f7f7f7">`,
		`<tr><td style="padding:12px 16px">`,
		`<p style="margin:0 0 8px;font:bold 14px/20px sans-serif;color:#1a1a1a">` + asciiHTML(n.heading()) + `</p>`,
		`<table cellpadding="0" cellspacing="0" border="0">`,
	}
	for _, f := range n.Files {
		lines = append(lines, labelHTML(`<tr><td `+cell+`><bdi>`, f.label())...)
		lines = append(lines,
			fmt.Sprintf(`<span %s>SHA-256 %x</span></td>`, small, f.SHA256),
			`<td `+cell+`>`+FormatSize(f.Size)+`</td></tr>`)
	}
	u := asciiHTML(n.URL)
	return append(lines, `</table>`,
		`<p style="margin:8px 0 0;font:14px/20px sans-serif"><a href="`+u+`"`,
		`style="color:#0b57d0">`+u+`</a></p>`,
		`<p style="margin:4px 0 0;font:12px/18px sans-serif;color:#595959">`+asciiHTML(n.expiry())+`</p>`,
		`</td></tr></table>`)
}

// labelHTML is a file name behind line, in as many lines as it needs. They
// break inside of tags only, where a reader sees nothing of it.
func labelHTML(line, label string) []string {
	const perLine = 80 // characters, each of 10 bytes at most
	var lines []string
	for chars := []rune(label); len(chars) > 0; {
		n := min(len(chars), perLine)
		line += asciiHTML(string(chars[:n]))
		if chars = chars[n:]; len(chars) > 0 {
			lines = append(lines, line+"<wbr")
			line = ">"
		}
	}
	return append(lines, line+"</bdi><br>")
}

// longestLine is the length in bytes of the longest line of the notice.
func (n Notice) longestLine() int {
	longest := 0
	for _, l := range append(n.Text(), n.HTML()...) {
		longest = max(longest, len(l))
	}
	return longest
}

// asciiHTML escapes s for HTML text and attributes, in ASCII.
func asciiHTML(s string) string {
	var b strings.Builder
	for _, r := range html.EscapeString(s) {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return b.String()
}

// FormatSize writes a number of bytes for people; KB, MB and GB are powers of
// 1,024.
func FormatSize(n int64) string {
	const unit = 1024
	switch {
	case n == 1:
		return "1 byte"
	case n < unit:
		return fmt.Sprintf("%d bytes", n)
	}
	v := float64(n) / unit
	for _, name := range []string{"KB", "MB"} {
		if v < unit-0.05 { // where one decimal does not round up to 1024.0
			return fmt.Sprintf("%.1f %s", v, name)
		}
		v /= unit
	}
	return fmt.Sprintf("%.1f GB", v)
}
