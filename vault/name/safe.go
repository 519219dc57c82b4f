package name

// What no server, client or file system trips over.

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"cloakroom/message"
)

// clean makes text of characters that are safe in a name, in Unicode normal
// form C, with single spaces. Cleaning twice changes nothing.
func clean(s string) string {
	if isClean(s) {
		return s
	}
	return makeClean(s)
}

// isClean tells most of what needs no cleaning: names are cleaned several times
// over in the mail path.
func isClean(s string) bool {
	before := byte(' ')
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c >= 0x7f || c == ' ' && before == ' ' || unsafeASCII[c] {
			return false
		}
		before = c
	}
	return s == "" || before != ' '
}

func makeClean(s string) string {
	s = strings.ToValidUTF8(s, "_")
	s = norm.NFC.String(strings.Map(cleanRune, norm.NFC.String(s)))
	return strings.Join(strings.Fields(s), " ")
}

// forbidden are the characters of ASCII that some server does not take in a name.
const forbidden = `/\:*?"<>|`

var unsafeASCII = func() (set [0x80]bool) {
	for _, c := range []byte(forbidden) {
		set[c] = true
	}
	return set
}()

// cleanRune is the safe character for one that may not be; negative for none.
func cleanRune(r rune) rune {
	switch {
	case r >= 0x20 && r < 0x7f:
		if unsafeASCII[r] {
			return '_'
		}
		return r
	case unicode.IsSpace(r) || unicode.In(r, unicode.Zs, unicode.Zl, unicode.Zp):
		return ' '
	case r == utf8.RuneError:
		return '_'
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs), // bidi controls and what has no width among them
		r == 0x034f, r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, // fillers that are not seen
		r >= 0x180b && r <= 0x180f,
		r&0xfffe == 0xfffe, r >= 0xfdd0 && r <= 0xfdef: // never characters (Unicode 23.7)
		return -1
	case strings.ContainsRune("\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c", r): // look like slashes
		return '_'
	}
	// A server that normalises to a compatibility form would make a slash of it.
	var buf [utf8.UTFMax]byte
	if d := norm.NFKD.Properties(buf[:utf8.EncodeRune(buf[:], r)]).Decomposition(); strings.ContainsAny(string(d), `/\`) {
		return '_'
	}
	return r
}

// isDots tells characters that are a dot or several, also for a server that
// normalises.
func isDots(r rune) bool {
	return r == '.' || r == '\u2024' || r == '\u2025' || r == '\u2026' || r == '\uff0e'
}

// trim takes off what must not be at the ends of a name.
func trim(s string) string {
	return trimEnd(strings.TrimLeftFunc(s, func(r rune) bool { return isDots(r) || r == ' ' || r == '-' }))
}

func trimEnd(s string) string {
	return strings.TrimRightFunc(s, func(r rune) bool { return isDots(r) || r == ' ' })
}

// safeSegment makes the name of a folder or file from any text.
func safeSegment(s string) string {
	s = trim(clean(s))
	if s == "" {
		return "unnamed"
	}
	if message.IsDevice(s) {
		return "_" + s
	}
	return s
}

// foldRounds is how often folding is repeated until it changes nothing more;
// for no text it takes more than three.
const foldRounds = 4

// Fold gives a key under which two paths are the same wherever a server takes
// them for the same: without regard to case, and to how characters are composed.
// It takes some for the same that few servers do.
func Fold(path string) string {
	for range foldRounds {
		folded := norm.NFKD.String(cases.Fold().String(strings.ToUpper(norm.NFKD.String(path))))
		if folded == path {
			break
		}
		path = folded
	}
	return path
}
