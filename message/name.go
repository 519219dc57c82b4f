package message

// File names: the one shown to people, which is harmless wherever it goes, and
// all that readers might make of a part's header, which policy must know.

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	// maxNameLen is the length of a clean name in bytes: file systems take 255
	// (NAME_MAX), and those who store a file add to its name.
	maxNameLen = 200
	// maxKeptExtension is how long, in bytes with the dot, an extension may be
	// to survive the shortening of a name.
	maxKeptExtension = 32
)

// FileNames reads the file name of a part from its Content-Disposition and
// Content-Type. name is the one for people, as CleanName leaves it: filename*,
// else filename, name*, name; "" when there is none. candidates are all
// distinct clean names that any reader might come to, name first: from every
// parameter, decoded and as written, and with tails cut off where readers cut.
func FileNames(disposition, ctype Value) (name string, candidates []string) {
	sources := []struct {
		value Value
		param string
	}{{disposition, "filename"}, {ctype, "name"}, {disposition, "name"}, {ctype, "filename"}}
	local, ok := LookupCharset(ctype.Get("charset"))
	if !ok || !local.ASCIICompatible() {
		local = Charset{}
	}

	var readings, names stringSet
	for _, src := range sources {
		for _, p := range src.value.Params {
			if p.Name != src.param {
				continue
			}
			shown := inLocalCharset(p, local)
			readings.add(shown)
			if name == "" {
				name = CleanName(trimApostrophes(shown))
			}
		}
		readings.add(src.value.All(src.param)...)
	}
	names.add(name)
	var variants stringSet
	for _, r := range readings.list {
		variants.add(nameVariants(r)...)
	}
	for _, variant := range variants.list {
		names.add(CleanName(variant))
	}
	return name, names.list
}

// inLocalCharset is the value of p. Where it is raw 8-bit text other than
// UTF-8, the charset of the part is a better guess than windows-1252.
func inLocalCharset(p Param, local Charset) string {
	if utf8.ValidString(p.Raw) || local.reads == nil || p.Value != guessText(unescape(p.Raw, false)) {
		return p.Value
	}
	return unescape(local.Decode([]byte(p.Raw)), false)
}

// trimApostrophes removes the single quotes that some senders take for quotes.
func trimApostrophes(s string) string {
	if len(s) > 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	return s
}

// nameVariants lists what readers and file systems may make of a name: decoded
// once more, cut at bytes that end a name somewhere, without the bytes that are
// not allowed somewhere.
func nameVariants(s string) []string {
	variants := []string{s}
	bases := []string{s}
	if decoded := guessText(string(percentDecode(s))); decoded != s {
		bases = append(bases, decoded)
		variants = append(variants, decoded)
	}
	for _, base := range bases {
		for _, end := range []byte("\x00\r\n\t;\"") {
			if head, _, cut := strings.Cut(base, string(end)); cut {
				variants = append(variants, head)
			}
		}
		// NTFS streams: evil.exe::$DATA is evil.exe.
		if last := lastComponent(base); strings.IndexByte(last, ':') > 1 {
			variants = append(variants, last[:strings.IndexByte(last, ':')])
		}
		variants = append(variants, strings.Map(dropIllegal, base))
		if dot := strings.LastIndexByte(base, '.'); dot >= 0 {
			variants = append(variants, base[:dot]+strings.Map(dropBlank, base[dot:]))
		}
	}
	return variants
}

// NameReadings lists the distinct clean names that readers and file systems may
// make of a file name that stands outside a header, such as in an archive.
func NameReadings(s string) []string {
	var names stringSet
	for _, v := range nameVariants(s) {
		names.add(CleanName(v))
	}
	return names.list
}

func dropIllegal(r rune) rune {
	if strings.ContainsRune(`<>:"|?*`, r) {
		return -1
	}
	return r
}

// dropBlank drops what is not seen.
func dropBlank(r rune) rune {
	if unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf) {
		return -1
	}
	return r
}

// CleanName makes a file name that is safe in a mail, a page, a header, an
// archive and on the disks of all systems: the last component of a path, in
// Unicode normal form C, without control, format and bidirectional characters,
// without bytes that Windows refuses, not hidden, not the name of a device,
// without dots or spaces at its end, and of at most 200 bytes with the
// extension kept. It is "" when nothing is left. Cleaning twice changes nothing.
func CleanName(s string) string {
	if !utf8.ValidString(s) {
		s = Charset{}.Decode([]byte(s))
	}
	s = lastComponent(s)
	s = norm.NFC.String(strings.Map(cleanRune, norm.NFC.String(s)))
	s = strings.Join(strings.Fields(s), " ")
	s = strings.TrimRight(s, ". ")
	if bare := strings.TrimLeft(s, ". "); bare != s {
		if strings.IndexByte(bare, '.') < 0 {
			bare = "_." + bare // .htaccess: all of it is extension
		}
		s = bare
	}
	if IsDevice(s) {
		s = "_" + s
	}
	return shortenName(s)
}

// lastComponent is the last component of a path of any system that names
// something.
func lastComponent(s string) string {
	if len(s) > 3 && s[1] == ':' && strings.HasPrefix(s[2:], "¥") {
		s = strings.ReplaceAll(s, "¥", `\`) // in Japan, the same byte
	}
	for s != "" {
		i := strings.LastIndexAny(s, `/\`)
		last := s[i+1:]
		if strings.Trim(last, ". \x00") != "" {
			return last
		}
		s = s[:max(i, 0)]
	}
	return ""
}

// cleanRune maps the characters of a name.
func cleanRune(r rune) rune {
	switch {
	case r < utf8.RuneSelf && isAlphanumeric(byte(r)):
		return r
	case r == '\t' || r == '\r' || r == '\n' || unicode.In(r, unicode.Zs, unicode.Zl, unicode.Zp):
		return ' '
	case r == '\u200c' || r == '\u200d':
		return r // they change how letters join, in Persian and emoji
	case unicode.In(r, unicode.Cc, unicode.Cf), r == '\u3164', r == '\uffa0', isNoncharacter(r):
		return -1
	case strings.ContainsRune("<>:\"|?*/\\", r), // refused by Windows
		strings.ContainsRune("\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c", r), // look like slashes
		r == utf8.RuneError:
		return '_'
	}
	return r
}

// isNoncharacter tells the code points that never are characters (Unicode
// 23.7); XML and some file systems refuse them.
func isNoncharacter(r rune) bool {
	return r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef
}

// IsDevice tells the names that mean a device on Windows, with any extension.
func IsDevice(s string) bool {
	stem, _, _ := strings.Cut(s, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if n, ok := strings.CutPrefix(stem, port); ok {
			switch n {
			case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
				return true
			}
		}
	}
	return false
}

// shortenName cuts the stem of a name that is too long.
func shortenName(s string) string {
	if len(s) <= maxNameLen {
		return s
	}
	ext := ""
	if dot := strings.LastIndexByte(s, '.'); len(s)-dot <= maxKeptExtension {
		ext = s[dot:]
	}
	end := maxNameLen - len(ext)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return strings.TrimRight(s[:end], ". ") + ext
}

// Extension is the extension of a file name in lower case and without its dot,
// as Windows sees it: dots and spaces at the end of the name do not count. ""
// if there is none; "gz" for a.tar.gz.
func Extension(name string) string {
	name = strings.TrimRight(lastComponent(name), ". ")
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return ""
	}
	ext := name[dot+1:]
	if strings.ContainsFunc(ext, unicode.IsSpace) {
		return "" // "No. 5 of the series"
	}
	return strings.ToLower(ext)
}
