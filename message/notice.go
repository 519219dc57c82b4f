package message

// The notice: what it says, and its form in plain text.

import (
	"encoding/hex"
	"time"
)

// maxLine is the longest line that may be made, in bytes without its end. MTAs
// break longer ones: Postfix above 998 (RFC 5322 section 2.1.1), Sendmail from 990
// on (L= of its SMTP mailers).
const maxLine = 980

// Notice is the block that tells the reader where the attachments are.
type Notice struct {
	URL     string    // the one link of the message
	Site    string    // host name people know, shown in the first line
	Expires time.Time // zero: never
	Files   []NoticeFile
	// Wording is how it is written; nil stands for the built-in form in English.
	Wording *Wording
}

// NoticeFile is one line of it.
type NoticeFile struct {
	Name   string // "" is shown as "unnamed"
	Size   int64  // bytes
	SHA256 [32]byte
}

// Text is the notice as lines of plain text, without line ends, in the language
// of mail that names none. No line begins or ends with a blank.
func (n Notice) Text() []string { return n.text(n.Wording.fallback()) }

// HTML is the notice as lines of HTML in ASCII, for such mail: characters beyond
// are references, so that it fits every ASCII-compatible charset.
func (n Notice) HTML() []string {
	t := n.Wording.fallback()
	return n.html(t, t.RTL)
}

// text writes the notice in plain text.
func (n Notice) text(t *Texts) []string {
	if w := n.Wording; w != nil && w.text != nil {
		if lines, err := w.customText(n, t); err == nil {
			return lines
		}
	}
	lines := make([]string, 0, 5+2*len(n.Files))
	lines = append(lines, n.heading(t), "")
	for _, f := range n.Files {
		lines = append(lines, "* "+f.label(t)+" ("+t.size(f.Size)+")", "SHA-256 "+f.sum())
	}
	return append(lines, "", n.URL, n.expiry(t))
}

// heading is the first line of a notice.
func (n Notice) heading(t *Texts) string { return t.count("heading", len(n.Files), "site", n.Site) }

func (n Notice) expiry(t *Texts) string {
	if n.Expires.IsZero() {
		return t.say("available_always")
	}
	return t.say("available_until", "date", t.date(n.Expires.In(n.Wording.location())))
}

func (f NoticeFile) label(t *Texts) string {
	if f.Name == "" {
		return t.say("unnamed")
	}
	return f.Name
}

func (f NoticeFile) sum() string { return hex.EncodeToString(f.SHA256[:]) }

// longestLine is the length in bytes of the longest of lines.
func longestLine(lines []string) int {
	longest := 0
	for _, l := range lines {
		longest = max(longest, len(l))
	}
	return longest
}

// FormatSize writes a number of bytes for people, in English; KB, MB and GB are
// powers of 1,024.
func FormatSize(n int64) string { return builtinTexts()[baseLanguage].size(n) }
