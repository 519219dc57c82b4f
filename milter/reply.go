package milter

// SMTP replies of the handler as SMFIR_REPLYCODE, and texts for the MTA.

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"cloakroom/flow"
)

// enhancedCode is a status code of a refusal (RFC 3463 section 2).
var enhancedCode = regexp.MustCompile(`^[45]\.[0-9]{1,3}\.[0-9]{1,3}$`)

// formatReply makes the text of SMFIR_REPLYCODE: code, enhanced code and text on
// each line, CRLF between them, and percent signs doubled, since Sendmail's
// message is a format, and Postfix undoes the doubling for its sake. A long text
// takes up to the given number of lines. allowUTF8 keeps characters outside ASCII.
func formatReply(r *flow.Reply, lines int, allowUTF8 bool) (string, error) {
	if r.Code < 400 || r.Code > 599 {
		return "", fmt.Errorf("SMTP reply %d %s %s: a refusal has a code of 4xx or 5xx", r.Code, r.Enhanced, r.Text)
	}
	code := strconv.Itoa(r.Code)
	if !enhancedCode.MatchString(r.Enhanced) || r.Enhanced[0] != code[0] {
		return "", fmt.Errorf("SMTP reply %d %s %s: the enhanced code does not fit", r.Code, r.Enhanced, r.Text)
	}
	text := plain(r.Text, allowUTF8)
	if text == "" {
		text = "refused"
	}
	wrapped := wrap(text, maxReplyLine-len("550 ")-len(r.Enhanced)-len(" \r\n"))
	wrapped = wrapped[:min(len(wrapped), lines)]
	var b strings.Builder
	for i, line := range wrapped {
		separator, end := "-", "\r\n"
		if i == len(wrapped)-1 {
			separator, end = " ", ""
		}
		b.WriteString(code + separator + r.Enhanced + " " + strings.ReplaceAll(line, "%", "%%") + end)
	}
	return b.String(), nil
}

// plain makes one line of a text: blanks and line ends become single spaces, and
// what cannot be shown becomes a question mark.
func plain(text string, allowUTF8 bool) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r) || r > unicode.MaxASCII && !allowUTF8:
			return '?'
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

// wrap breaks a text at its spaces into lines of at most limit bytes.
func wrap(text string, limit int) (lines []string) {
	for len(text) > limit {
		line := cut(text, limit)
		if i := strings.LastIndexByte(text[:len(line)+1], ' '); i > 0 {
			line = text[:i]
		}
		lines = append(lines, line)
		text = strings.TrimPrefix(text[len(line):], " ")
	}
	return append(lines, text)
}

// cut gives at most limit bytes of a text, in whole characters.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
