package message

// Character sets by the names that mail gives them, decoded for people and
// encoded only where nothing is lost.

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// ErrUnrepresentable is returned (wrapped) by Charset.Encode for text that the
// charset has no bytes for, or that readers would decode to something else.
var ErrUnrepresentable = errors.New("text cannot be represented")

// maxCharsetLabel bounds the label looked up, in bytes. Registered names have
// at most 40 characters (RFC 2978 section 2.3); the rest is room for quotes.
const maxCharsetLabel = 80

// Charset is one character set. The zero value is US-ASCII.
type Charset struct {
	name string
	// reads is how mail readers decode the charset; nil for US-ASCII and UTF-8.
	reads encoding.Encoding
	// writes is the charset as registered, where readers decode a superset of
	// it (iso-8859-1 is read as windows-1252); nil: the same as reads.
	writes encoding.Encoding
	// decode replaces reads for the charsets golang.org/x/text does not have,
	// or does not end properly; nothing can be encoded in these.
	decode func([]byte) string
}

const (
	nameASCII = "us-ascii"
	nameUTF8  = "utf-8"
)

// LookupCharset finds a charset by the label in a Content-Type parameter or an
// encoded word (RFC 2047), in any spelling mail is known to use. An absent
// label, "", is US-ASCII (RFC 2045 section 5.2). Labels that say nothing, such
// as "unknown-8bit" (RFC 1428) or "x-unknown", are not found.
func LookupCharset(label string) (Charset, bool) {
	label = trimLabel(label)
	if len(label) > maxCharsetLabel {
		return Charset{}, false
	}
	key := looseLabel(label)
	if key == "" {
		return Charset{}, label == ""
	}
	if c, ok := knownCharset(key); ok {
		return c, true
	}
	if c, ok := numberedCharset(key); ok {
		return c, true
	}
	return indexedCharset(label)
}

// trimLabel removes what careless software writes around a label.
func trimLabel(label string) string {
	label = strings.ToLower(strings.Trim(label, " \t\r\n\"'<>[]();,"))
	label = strings.TrimPrefix(label, "charset=")
	return strings.Trim(label, " \t\"'")
}

// looseLabel reduces a lower-case label to its letters and digits, which is
// how Unicode Technical Standard 22 compares charset names.
func looseLabel(label string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, label)
}

// knownCharset answers for names that the indexes lack, or give an encoding
// that is not the one for mail.
func knownCharset(key string) (Charset, bool) {
	switch key {
	case "ascii", "usascii", "us", "iso646us", "iso646irv1991", "ansix341968", "ansix341986", "cp367", "ibm367", "csascii", "isoir6", "646":
		return Charset{}, true
	case "utf8", "utf8mb4", "cp65001", "csutf8", "unicode11utf8", "unicode20utf8", "xunicode20utf8", "xutf8":
		return Charset{name: nameUTF8}, true
	case "utf16", "csutf16", "unicode", "csunicode", "ucs2", "iso10646ucs2":
		// Without a byte order mark RFC 2781 says big endian; mail programs
		// that omit it run on little-endian machines, and readers follow them.
		return Charset{name: "utf-16", reads: unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)}, true
	case "utf16le", "csutf16le", "cp1200":
		return Charset{name: "utf-16le", reads: unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)}, true
	case "utf16be", "csutf16be", "cp1201":
		return Charset{name: "utf-16be", reads: unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)}, true
	case "utf32", "csutf32", "ucs4", "iso10646ucs4":
		return Charset{name: "utf-32", reads: utf32.UTF32(utf32.BigEndian, utf32.UseBOM)}, true
	case "utf32le", "csutf32le":
		return Charset{name: "utf-32le", reads: utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)}, true
	case "utf32be", "csutf32be":
		return Charset{name: "utf-32be", reads: utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)}, true
	case "utf7", "csutf7", "unicode11utf7", "xunicode20utf7", "cp65000":
		return Charset{name: "utf-7", decode: decodeUTF7}, true
	}
	return eastAsianCharset(key)
}

// eastAsianCharset is knownCharset for the multi-byte charsets.
func eastAsianCharset(key string) (Charset, bool) {
	switch key {
	case "iso2022kr", "csiso2022kr":
		return Charset{name: "iso-2022-kr", decode: decodeISO2022KR}, true
	case "iso2022jp", "csiso2022jp", "iso2022jp1", "iso2022jp2", "iso2022jp3", "iso2022jp2004", "iso2022jpms", "cp50220", "cp50221", "cp50222":
		return Charset{name: "iso-2022-jp", reads: japanese.ISO2022JP}, true
	case "shiftjis", "sjis", "xsjis", "csshiftjis", "mskanji", "ms932", "cp932", "xms932", "windows31j", "cswindows31j", "win31j", "windows932", "shiftjisx0213", "shiftjis2004":
		return Charset{name: "shift_jis", reads: japanese.ShiftJIS}, true
	case "eucjp", "xeucjp", "ujis", "eucjpms", "cp51932":
		return Charset{name: "euc-jp", reads: japanese.EUCJP}, true
	case "hzgb2312", "hz", "cshzgb2312":
		// Encoding ends in the shifted state it happens to be in: only decode.
		return Charset{name: "hz-gb-2312", decode: decodeHZ}, true
	case "gb2312", "xgb2312", "euccn", "xeuccn", "gbk", "xgbk", "cp936", "ms936", "windows936", "gb231280", "csgb2312", "csgbk", "chinese", "hp15cn":
		return Charset{name: "gbk", reads: simplifiedchinese.GBK}, true
	case "gb18030", "cp54936", "gb180302000", "gb180302005", "gb180302022":
		return Charset{name: "gb18030", reads: simplifiedchinese.GB18030}, true
	case "big5", "xbig5", "xxbig5", "cnbig5", "csbig5", "big5hkscs", "big5eten", "cp950", "ms950", "windows950":
		return Charset{name: "big5", reads: traditionalchinese.Big5}, true
	case "euckr", "xeuckr", "cseuckr", "cp949", "ms949", "uhc", "windows949", "ksc5601", "ksc56011987", "ksc56011989", "ksc56011992", "csksc56011987", "korean", "cp51949":
		return Charset{name: "euc-kr", reads: korean.EUCKR}, true
	}
	return singleByteCharset(key)
}

// singleByteCharset is knownCharset for the others.
func singleByteCharset(key string) (Charset, bool) {
	switch key {
	case "latin1", "isolatin1", "csisolatin1", "l1", "isoir100", "cp819", "ibm819", "isolatin11987":
		return latin(1), true
	case "latin5", "isolatin5", "csisolatin5", "l5", "isoir148":
		return latin(9), true
	case "latin7":
		return isoLatin("13")
	case "latin8", "isoceltic":
		return isoLatin("14")
	case "latin9", "latin0":
		return isoLatin("15")
	case "latin10":
		return isoLatin("16")
	case "koi8", "koi8r", "cskoi8r", "cp20866", "koi":
		return Charset{name: "koi8-r", reads: charmap.KOI8R}, true
	case "koi8u", "cp21866", "koi8ru":
		return Charset{name: "koi8-u", reads: charmap.KOI8U}, true
	case "macintosh", "macroman", "xmacroman", "mac", "csmacintosh", "xmacintosh", "cp10000":
		return Charset{name: "macintosh", reads: charmap.Macintosh}, true
	case "maccyrillic", "xmaccyrillic", "xmacukrainian", "cp10007":
		return Charset{name: "x-mac-cyrillic", reads: charmap.MacintoshCyrillic}, true
	case "tis620", "cp874", "windows874", "dos874", "tis6202533":
		return Charset{name: "windows-874", reads: charmap.Windows874}, true
	}
	return Charset{}, false
}

// latin is iso-8859-n where readers decode the larger windows charset.
func latin(n int) Charset {
	if n == 9 {
		return Charset{name: "iso-8859-9", reads: charmap.Windows1254, writes: charmap.ISO8859_9}
	}
	return Charset{name: "iso-8859-1", reads: charmap.Windows1252, writes: charmap.ISO8859_1}
}

// numberedCharset finds the families that mail spells in every possible way:
// iso-8859-N, windows-125N, IBM code pages.
func numberedCharset(key string) (Charset, bool) {
	if n, ok := strings.CutPrefix(strings.TrimPrefix(key, "x"), "iso8859"); ok {
		return isoLatin(n)
	}
	if n, ok := strings.CutPrefix(key, "8859"); ok {
		return isoLatin(n)
	}
	for _, prefix := range []string{"windows", "xwindows", "win", "xcp", "cp", "ms", "ansi", "ibm", "dos", "pc", ""} {
		n, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		if len(n) == 4 && n >= "1250" && n <= "1258" {
			return fromIndex("windows-"+n, "windows-"+n)
		}
		switch n = strings.TrimLeft(n, "0"); n {
		case "858":
			return Charset{name: "cp858", reads: charmap.CodePage858}, true
		case "437", "850", "852", "855", "860", "862", "863", "865", "866":
			return fromIndex("cp"+n, "cp"+n)
		case "819":
			return latin(1), true
		}
	}
	return Charset{}, false
}

// isoLatin is iso-8859-n; n may carry a year ("11987") or a direction ("8i").
func isoLatin(n string) (Charset, bool) {
	for _, year := range []string{"1987", "1988", "1989", "1992", "1998", "1999", "2001"} {
		n = strings.TrimSuffix(n, year)
	}
	switch n {
	case "1":
		return latin(1), true
	case "9":
		return latin(9), true
	case "8i":
		return fromIndex("iso-8859-8-i", "iso-8859-8-i")
	}
	n = strings.TrimRight(n, "ei")
	return fromIndex("iso-8859-"+n, "iso-8859-"+n)
}

// indexedCharset asks the indexes of the web platform and of IANA.
func indexedCharset(label string) (Charset, bool) {
	for _, l := range []string{label, strings.ReplaceAll(label, "_", "-"), strings.TrimPrefix(label, "x-")} {
		if c, ok := fromIndex(l, ""); ok {
			return c, true
		}
	}
	return Charset{}, false
}

// fromIndex looks up one exact label; name overrides the index's own name.
func fromIndex(label, name string) (Charset, bool) {
	e, err := htmlindex.Get(label)
	canonical := htmlindex.Name
	if err != nil {
		canonical = ianaindex.MIME.Name
		if e, err = ianaindex.MIME.Encoding(label); err != nil || e == nil {
			return Charset{}, false // unknown, or a name that the library has no tables for
		}
	}
	if e == encoding.Replacement || e == charmap.XUserDefined {
		return Charset{}, false
	}
	if name == "" {
		if name, err = canonical(e); err != nil {
			name = label
		}
	}
	return Charset{name: strings.ToLower(name), reads: e}, true
}

// Name is the charset's name for a Content-Type parameter, in lower case.
func (c Charset) Name() string {
	if c.name == "" {
		return nameASCII
	}
	return c.name
}

// ASCIICompatible tells whether a byte below 0x80 that stands between complete
// characters always is that ASCII character, so that ASCII text may be put
// there as bytes. Charsets with shift states or wide units are not.
func (c Charset) ASCIICompatible() bool {
	if c.reads == nil && c.decode == nil {
		return true
	}
	var ascii [utf8.RuneSelf]byte
	for i := range ascii {
		ascii[i] = byte(i)
	}
	return c.Decode(ascii[:]) == string(ascii[:])
}

// Decode gives the text as readers show it, always valid UTF-8. Bytes that are
// no character become U+FFFD. In US-ASCII, which is also what text without a
// label is, bytes from 0x80 on are guessed: UTF-8 if they all are, otherwise
// windows-1252.
func (c Charset) Decode(b []byte) string {
	switch {
	case c.decode != nil:
		return c.decode(b)
	case c.reads != nil:
		return decodeWith(c.reads, b)
	case c.name == nameUTF8:
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	if utf8.Valid(b) {
		return string(b)
	}
	return decodeWith(charmap.Windows1252, b)
}

func decodeWith(e encoding.Encoding, b []byte) string {
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		// Decoders replace what they cannot read; the ASCII in it is the best
		// that is left when one gives up instead.
		out = b
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

// Encode gives the bytes for s. It fails with ErrUnrepresentable unless
// readers get exactly s back from them.
func (c Charset) Encode(s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("encode as %s: not valid UTF-8: %w", c.Name(), ErrUnrepresentable)
	}
	if c.decode != nil {
		return nil, fmt.Errorf("encode as %s: only decoding is implemented: %w", c.Name(), ErrUnrepresentable)
	}
	if c.reads == nil {
		if c.name != nameUTF8 {
			if i := firstNonASCII(s); i >= 0 {
				return nil, fmt.Errorf("encode as %s: byte %#02x at %d: %w", c.Name(), s[i], i, ErrUnrepresentable)
			}
		}
		return []byte(s), nil
	}
	e := c.writes
	if e == nil {
		e = c.reads
	}
	out, err := e.NewEncoder().Bytes([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("encode as %s: %w: %w", c.Name(), ErrUnrepresentable, err)
	}
	if c.Decode(out) != s {
		return nil, fmt.Errorf("encode as %s: readers would see other characters: %w", c.Name(), ErrUnrepresentable)
	}
	return out, nil
}

// firstNonASCII is the index of the first byte from 0x80 on, or -1.
func firstNonASCII(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return i
		}
	}
	return -1
}

// guessText decodes header text that carries no charset: raw ISO-2022-JP is
// known by its escape sequences, the rest is UTF-8, perhaps with a character
// cut in half, or windows-1252.
func guessText(s string) string {
	if strings.Contains(s, "\x1b$") {
		return decodeWith(japanese.ISO2022JP, []byte(s))
	}
	if utf8.ValidString(s) {
		return s
	}
	wide, bad := 0, 0
	for i, size := 0, 0; i < len(s); i += size {
		var r rune
		if r, size = utf8.DecodeRuneInString(s[i:]); size > 1 {
			wide++
		} else if r == utf8.RuneError {
			bad++
		}
	}
	if wide > bad { // in text of another charset few bytes look like UTF-8
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return decodeWith(charmap.Windows1252, []byte(s))
}
