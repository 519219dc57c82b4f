package message

// Spellings that every reader takes alike. What is spelled in another way is
// not wrong, but readers differ in what they make of it.

import (
	"bytes"
	"strings"
)

// plainFields tells whether a block of header fields has nothing in it at which
// some readers end the header, or drop a line of it: no line that is no field,
// no blank before a colon, no line of blanks, no NUL, no bare CR.
func plainFields(raw []byte) bool {
	if bytes.IndexByte(raw, 0) >= 0 || bareCR(raw) != nil {
		return false
	}
	first := true
	raw = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	for line := range bytes.Lines(bytes.TrimSuffix(raw, []byte("\n"))) { // the closing blank line may be there
		if line[0] == ' ' || line[0] == '\t' {
			if first || len(bytes.TrimSpace(line)) == 0 {
				return false
			}
			continue
		}
		first = false
		name, _, ok := bytes.Cut(line, []byte{':'})
		if !ok || len(name) == 0 || bytes.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return false
		}
	}
	return true
}

// plainEncoding tells whether the Content-Transfer-Encoding of p stands there as
// one word, in whatever case. Some readers know nothing of folds before it, or of
// blanks, comments and parameters behind it, and take what is encoded for the
// content.
func plainEncoding(p *Part) bool {
	raw, err := p.Header.Header.Raw("Content-Transfer-Encoding")
	if err != nil {
		return false
	}
	_, value, _ := strings.Cut(string(raw), ":")
	value = strings.TrimLeft(strings.TrimRight(value, "\r\n"), " \t")
	return value == "" || strings.EqualFold(value, p.Encoding)
}

// plainType tells whether every reader takes the media type of p for what we do:
// there are no comments or blanks in it, and nothing but a semicolon behind it.
func plainType(p *Part) bool {
	raw, ok := p.Header.RawValue("Content-Type")
	if !ok {
		return true
	}
	main, _, _ := strings.Cut(unfold(raw), ";")
	main = strings.ToLower(strings.TrimSpace(main))
	return main == p.Type.Text || !strings.Contains(main, "/") && !p.IsMultipart()
}

// unusual says what is spelled so below p that readers may see another structure
// than ours; "" when nothing is. Leaves whose content only is in doubt get a
// defect.
func unusual(root *Part) (reason string) {
	root.Walk(func(p *Part) {
		switch {
		case reason != "":
		case !plainFields(p.Header.Raw):
			reason = "header fields that not every reader takes"
		case !plainType(p):
			reason = "Content-Type in a spelling that not every reader takes"
		case !p.IsMultipart():
			if !plainEncoding(p) {
				setDefect(p.Content, "Content-Transfer-Encoding in a spelling that not every reader takes")
			}
		case !plainEncoding(p):
			reason = "encoded multipart"
		default:
			raw, _ := p.Header.RawValue("Content-Type")
			if plain, ok := plainBoundary(raw); !ok || plain != p.Type.Get("boundary") {
				reason = "boundary in a spelling that not every reader takes"
			}
		}
	})
	return reason
}

// plainBoundary reads the boundary parameter of a Content-Type that has just
// one, spelled as nearly all programs do: "; boundary=" and a value that is
// quoted, or needs no quotes, with a semicolon or nothing behind it.
func plainBoundary(contentType string) (string, bool) {
	const name = "boundary"
	s := unfold(contentType)
	at := strings.Index(lowerASCII(s), name)
	if at < 0 {
		return "", false
	}
	before := s[:at]
	if strings.Count(before, `"`)%2 != 0 || strings.ContainsAny(before, `\(`) || !strings.HasSuffix(strings.TrimRight(before, " \t"), ";") {
		return "", false
	}
	value, ok := strings.CutPrefix(s[at+len(name):], "=")
	if !ok {
		return "", false
	}
	rest := ""
	if quoted, ok := strings.CutPrefix(value, `"`); ok {
		if value, rest, ok = strings.Cut(quoted, `"`); !ok {
			return "", false
		}
	} else if end := strings.IndexAny(value, " \t;"); end >= 0 {
		value, rest = value[:end], value[end:]
	}
	rest = lowerASCII(strings.TrimLeft(rest, " \t"))
	if rest != "" && rest[0] != ';' || strings.Contains(rest, name) {
		return "", false
	}
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return "", false
		}
	}
	return value, value != "" && !strings.Contains(value, "=?")
}

// lowerASCII leaves all other bytes as they are, and where they are: the letters of
// other alphabets, and bytes that are no text, may be longer in lower case.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
