package message

// The notice in plain text: where it stands, and its lines where the text flows
// (RFC 3676).

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

const (
	// maxSignature is how many lines may follow a signature separator. Four are
	// good manners; companies put their address and a disclaimer there.
	maxSignature = 25
	// maxAttribution is how many lines "On …, Bob wrote:" may be wrapped in.
	maxAttribution = 3
	// headerLines is how many header fields a reply must repeat to be sure that
	// the line above them separates it from what it answers, and headerSearch
	// within how many lines.
	headerLines  = 3
	headerSearch = 6
)

// textPlace returns where in a text the notice belongs, which is the begin of a
// line or the end: before the history that a reply quotes below itself, because
// mail readers fold that away, and before the signature (RFC 3676 section 4.3),
// because they show it in grey and leave it out of answers. Whatever is not
// certain to be one of these stays above the notice.
func textPlace(text []byte) int {
	at := len(text)
	if i := repeatedHeader(text); i >= 0 {
		at = i
	} else if i := quotedEnd(text); i >= 0 {
		at = i
	}
	if i := signature(text[:at]); i >= 0 {
		at = i
	}
	return at
}

// lineFrom returns the line that begins at i without its end, and where the
// next one begins.
func lineFrom(text []byte, i int) (line []byte, next int) {
	next = len(text)
	if n := bytes.IndexByte(text[i:], '\n'); n >= 0 {
		next = i + n + 1
	}
	return bytes.TrimRight(text[i:next], "\r\n"), next
}

// lineBefore is where the line begins that ends at i.
func lineBefore(text []byte, i int) int {
	return bytes.LastIndexByte(text[:max(0, i-1)], '\n') + 1
}

func isBlank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

// signature finds the one separator line of a text, if it is near the end.
func signature(text []byte) int {
	found := -1
	after := 0
	for i := 0; i < len(text); {
		line, next := lineFrom(text, i)
		switch {
		case string(line) == "-- ":
			if found >= 0 {
				return -1 // a list's footer behind a signature, or something else
			}
			found, after = i, 0
		case found >= 0:
			after++
		}
		i = next
	}
	if after > maxSignature {
		return -1
	}
	return found
}

// quotedEnd finds the quote that ends a text, with the line above that says
// whose words they are. Without such a line it is not certain that nothing of
// the answer is meant to be read below.
func quotedEnd(text []byte) int {
	begin := -1
	i := len(text)
	for i > 0 {
		start := lineBefore(text, i)
		line, _ := lineFrom(text, start)
		if !isBlank(line) {
			if line[0] != '>' {
				break
			}
			begin = start
		}
		i = start
	}
	if begin < 0 {
		return -1
	}
	return attribution(text[:begin])
}

// attribution finds the last lines of text if they are such as
//
//	On Mon, 2 March 2026 at 10:15, Bob Baker
//	<bob@ext.test> wrote:
//
// in any language: they end in a colon and have a date.
func attribution(text []byte) int {
	i := len(text)
	blank := 0
	for n := 0; n < maxAttribution && i > 0; {
		start := lineBefore(text, i)
		line, _ := lineFrom(text, start)
		switch line = bytes.TrimSpace(line); {
		case len(line) == 0 && n == 0 && blank == 0:
			blank++
			i = start
			continue
		case len(line) == 0 || line[0] == '>' || n == 0 && line[len(line)-1] != ':':
			return -1
		case hasDate(line):
			return start
		}
		n++
		i = start
	}
	return -1
}

// hasDate tells whether a line has a date or a time of day in digits.
func hasDate(line []byte) bool {
	for word := range bytes.FieldsSeq(line) {
		if bytes.IndexByte(word, '@') >= 0 {
			continue
		}
		digits, parts := 0, 0
		for i, c := range word {
			switch {
			case c >= '0' && c <= '9':
				digits++
				if i > 1 && bytes.IndexByte([]byte(":./-"), word[i-1]) >= 0 && word[i-2] >= '0' && word[i-2] <= '9' {
					parts++
				}
			}
		}
		if digits == 4 && len(word) <= 6 || digits >= 3 && parts > 0 {
			return true
		}
	}
	return false
}

// repeatedHeader finds the line that separates an answer, or what is written
// above a forwarded mail, from the header of the old mail:
//
//	-----Original Message-----
//	From: Bob Baker
//	Sent: 2 March 2026 10:15
//	To: Alice
//
// in any language: a line of dashes or underscores, then fields.
func repeatedHeader(text []byte) int {
	for i := 0; i < len(text); {
		line, next := lineFrom(text, i)
		if isRule(line) && fieldsFollow(text, next) {
			return i
		}
		i = next
	}
	return -1
}

func isRule(line []byte) bool {
	const maxLength = 80 // bytes, of a line that separates
	if len(line) < 10 || line[0] != '-' && line[0] != '_' || len(line) > maxLength {
		return false
	}
	line = bytes.TrimRight(line, " \t")
	if rest := bytes.Trim(line, "_"); len(rest) == 0 {
		return len(line) >= 20
	}
	words := bytes.TrimLeft(line, "-")
	left := len(line) - len(words)
	words = bytes.TrimRight(words, "-")
	right := len(line) - left - len(words)
	return left >= 3 && right >= 3 && len(words) > 0
}

func fieldsFollow(text []byte, i int) bool {
	found := 0
	for n := 0; n < headerSearch && i < len(text); n++ {
		line, next := lineFrom(text, i)
		if isField(line) {
			found++
		}
		i = next
	}
	return found >= headerLines
}

// isField tells a line such as "From: x", "Envoyé : x" or "*Von:* x".
func isField(line []byte) bool {
	const maxName = 24 // bytes
	colon := bytes.IndexByte(line[:min(len(line), maxName)], ':')
	if colon < 2 || colon+1 >= len(line) {
		return false
	}
	name := bytes.TrimLeft(bytes.TrimRight(line[:colon], " "), "*")
	if c := line[colon+1]; len(name) == 0 || c != ' ' && c != '\t' && c != '*' {
		return false
	}
	r, _ := utf8.DecodeRune(name)
	return r >= utf8.RuneSelf || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// isFlowed tells whether a text's lines may be joined (RFC 3676 section 4).
func isFlowed(p *Part) bool { return strings.EqualFold(p.Type.Get("format"), "flowed") }

// flowsOn tells whether the last line of a flowed text would take the line
// behind it to itself: an empty one is then none.
func flowsOn(text []byte) bool {
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	return bytes.HasSuffix(last, []byte(" ")) && string(last) != "-- "
}

// stuffed protects a line of a flowed text from being taken for a quote or
// less than it is (RFC 3676 section 4.4).
func stuffed(line string) string {
	if strings.HasPrefix(line, " ") || strings.HasPrefix(line, ">") || strings.HasPrefix(line, "From ") {
		return " " + line
	}
	return line
}
