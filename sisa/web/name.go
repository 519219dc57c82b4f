package web

// What a stranger wrote, made harmless: file names, texts and media types on
// their way into pages, headers and URLs.

import (
	"errors"
	"fmt"
	"mime"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxNameBytes is what file systems take (NAME_MAX); escaped, it also fits
	// into the request line and header limits of proxies.
	maxNameBytes = 255
	// maxExtensionBytes is how much of a cut name's end is kept.
	maxExtensionBytes = 20
	// maxTypeBytes is a media type at its longest (RFC 6838 section 4.2: 127 and 127).
	maxTypeBytes = 127 + 1 + 127

	namelessFile = "attachment"
)

// cleanText takes out what is not to be seen: controls, line breaks and the
// direction marks that make gnp.exe look like exe.png. Joiners stay, Persian and
// emoji need them.
func cleanText(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029':
			return ' '
		case r == utf8.RuneError:
			return '_'
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\ufeff':
			return -1
		}
		return r
	}, text))
}

// cleanName makes a file name that is safe to show, to save and to put into a
// URL: never empty, never a path, at most maxNameBytes.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' {
			return '_'
		}
		return r
	}, cleanText(name))
	if len(name) > maxNameBytes {
		ext := path.Ext(name)
		if len(ext) > maxExtensionBytes {
			ext = ""
		}
		name = cutText(name, maxNameBytes-len(ext)) + ext
	}
	// Windows drops dots and spaces at the end; this also leaves nothing of "..".
	if name = strings.TrimRight(name, ". "); name == "" {
		return namelessFile
	}
	return name
}

// cutText shortens text to at most size bytes, between two characters.
func cutText(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}

// attachment is the Content-Disposition (RFC 6266) that makes browsers save
// under the name and never show. Old clients read the ASCII form; in it % is
// replaced too, as some decode it.
func attachment(name string) string {
	name = cleanName(name)
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + ascii + `"; filename*=UTF-8''` + extValue(name)
}

// extValue percent-encodes all but attr-char (RFC 8187 section 3.2.1).
func extValue(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if isAlphanumeric(rune(c)) || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

const opaqueType = "application/octet-stream"

// Text types that no browser interprets; any other text is sent as opaqueType.
var inertText = []string{
	"text/plain", "text/csv", "text/tab-separated-values", "text/calendar",
	"text/vcard", "text/markdown", "text/rtf",
}

// What the name of an active subtype contains, in all its spellings and x- forms.
var activeSubtypes = []string{
	"html", "svg", "flash",
	"javascript", "ecmascript", "jscript", "livescript", "vbscript",
}

// servedType gives the media type a file is sent with: the declared one without
// parameters, unless it is malformed or one that browsers run or take apart.
// Disposition, nosniff and CSP each prevent that already; this is for clients
// that know none of them.
func servedType(declared string) string {
	t, ok := parseType(declared)
	if !ok {
		return opaqueType
	}
	top, sub, _ := strings.Cut(t, "/")
	switch {
	case top == "text" && !slices.Contains(inertText, t),
		top == "multipart", top == "message": // MHTML and friends
		return opaqueType
	case strings.HasPrefix(sub, "xml"), strings.HasSuffix(sub, "+xml"),
		slices.ContainsFunc(activeSubtypes, func(s string) bool { return strings.Contains(sub, s) }):
		return opaqueType
	}
	return t
}

// parseType gives a well-formed media type in lower case, without parameters.
func parseType(declared string) (string, bool) {
	t, _, err := mime.ParseMediaType(declared)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return "", false
	}
	if len(t) > maxTypeBytes || strings.Count(t, "/") != 1 {
		return "", false
	}
	return t, true
}
