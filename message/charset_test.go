package message

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"
)

func TestLookupCharsetKnowsTheLabelsOfRealMail(t *testing.T) {
	tests := []struct {
		name   string
		labels []string
	}{
		{"us-ascii", []string{"", "us-ascii", "US-ASCII", "ascii", "ANSI_X3.4-1968", "ansi-x3.4-1968", "iso646-us", "charset=us-ascii", "\"us-ascii\"", "cp367"}},
		{"utf-8", []string{"utf-8", "UTF8", "utf_8", "unicode-1-1-utf-8", "cp65001", "'UTF-8'", " utf-8;"}},
		{"iso-8859-1", []string{"iso-8859-1", "ISO8859-1", "iso_8859-1:1987", "latin1", "latin-1", "L1", "8859_1", "cp819", "IBM819", "x-iso-8859-1"}},
		{"iso-8859-2", []string{"iso-8859-2", "latin2", "iso_8859-2:1987"}},
		{"iso-8859-9", []string{"iso-8859-9", "latin5", "ISO_8859-9:1989"}},
		{"iso-8859-15", []string{"iso-8859-15", "ISO8859_15", "latin9"}},
		{"iso-8859-8-i", []string{"iso-8859-8-i", "iso-8859-8-I"}},
		{"windows-1252", []string{"windows-1252", "cp1252", "CP-1252", "x-cp1252", "win1252", "ansi-1252", "1252"}},
		{"windows-1251", []string{"windows-1251", "cp1251", "win-1251"}},
		{"windows-874", []string{"windows-874", "tis-620", "cp874"}},
		{"koi8-r", []string{"koi8-r", "KOI8", "cskoi8r"}},
		{"koi8-u", []string{"koi8-u", "KOI8-RU"}},
		{"cp850", []string{"cp850", "ibm850", "IBM-850", "850"}},
		{"cp437", []string{"cp437", "ibm437"}},
		{"cp858", []string{"cp858", "IBM00858"}},
		{"cp866", []string{"cp866", "ibm866"}},
		{"macintosh", []string{"macintosh", "x-mac-roman", "MacRoman"}},
		{"gbk", []string{"gbk", "gb2312", "GB_2312-80", "cp936", "x-gbk", "euc-cn"}},
		{"gb18030", []string{"gb18030", "GB18030-2000"}},
		{"hz-gb-2312", []string{"hz-gb-2312"}},
		{"big5", []string{"big5", "Big5-HKSCS", "cp950", "cn-big5"}},
		{"shift_jis", []string{"shift_jis", "shift-jis", "sjis", "cp932", "windows-31j", "ms_kanji"}},
		{"euc-jp", []string{"euc-jp", "eucJP", "x-euc-jp", "eucjp-ms"}},
		{"iso-2022-jp", []string{"iso-2022-jp", "ISO-2022-JP-2", "cp50220", "iso-2022-jp-ms"}},
		{"euc-kr", []string{"euc-kr", "ks_c_5601-1987", "ksc5601", "cp949", "uhc"}},
		{"iso-2022-kr", []string{"iso-2022-kr"}},
		{"utf-7", []string{"utf-7", "unicode-1-1-utf-7"}},
		{"utf-16", []string{"utf-16", "ucs-2", "UTF16"}},
		{"utf-16le", []string{"utf-16le"}},
		{"utf-16be", []string{"UTF-16BE"}},
		{"utf-32", []string{"utf-32"}},
	}
	for _, tt := range tests {
		for _, label := range tt.labels {
			c, ok := LookupCharset(label)
			if !ok || c.Name() != tt.name {
				t.Errorf("LookupCharset(%q) = %q, %v, want %q", label, c.Name(), ok, tt.name)
			}
		}
		if c, ok := LookupCharset(tt.name); !ok || c.Name() != tt.name {
			t.Errorf("%s is not found by its own name", tt.name)
		}
	}
}

func TestLookupCharsetRefusesWhatSaysNothing(t *testing.T) {
	for _, label := range []string{"x-unknown", "unknown-8bit", "unknown", "none", "default", "8bit", "binary", "fakescii",
		"x-user-defined", "replacement", "iso-2022-cn", "iso-8859-99", "iso-8859-", "windows-1259", "???", string(bytes.Repeat([]byte("utf8"), 50))} {
		if c, ok := LookupCharset(label); ok {
			t.Errorf("LookupCharset(%q) found %s", label, c.Name())
		}
	}
}

func TestASCIICompatibleTellsWhereASCIIBytesMayBePut(t *testing.T) {
	for label, want := range map[string]bool{
		"": true, "utf-8": true, "iso-8859-1": true, "windows-1251": true, "koi8-r": true, "cp850": true, "gbk": true,
		"gb18030": true, "big5": true, "shift_jis": true, "euc-jp": true, "euc-kr": true, "macintosh": true,
		"utf-16": false, "utf-16le": false, "utf-16be": false, "utf-32": false, "utf-7": false, "iso-2022-jp": false,
		"iso-2022-kr": false, "hz-gb-2312": false, "ibm037": false, "ibm1047": false,
	} {
		c, ok := LookupCharset(label)
		if !ok {
			t.Errorf("%q is not found", label)
		} else if c.ASCIICompatible() != want {
			t.Errorf("%q: ASCIICompatible() = %v", label, !want)
		}
	}
}

func TestCharsetsDecodeAndEncode(t *testing.T) {
	tests := []struct{ label, bytes, text string }{
		{"us-ascii", "plain", "plain"},
		{"utf-8", "Gr\xc3\xbc\xc3\x9fe", "Grüße"},
		{"iso-8859-1", "Gr\xfc\xdfe", "Grüße"},
		{"iso-8859-15", "\xa4", "€"},
		{"windows-1252", "\x80\x93\x94", "€“”"},
		{"windows-1251", "\xf4\xe0\xe9\xeb", "файл"},
		{"koi8-r", "\xc6\xc1\xca\xcc", "файл"},
		{"iso-8859-9", "\xfd", "ı"},
		{"gb18030", "\xb9\xdc\xc0\xed", "管理"},
		{"gb2312", "\xb9\xdc\xc0\xed", "管理"},
		{"big5", "\xba\xde\xb2\x7a", "管理"},
		{"shift_jis", "\x95\x5c", "表"},
		{"euc-jp", "\xc9\xbd", "表"},
		{"iso-2022-jp", "\x1b$BI=\x1b(B.", "表."},
		{"euc-kr", "\xc7\xd1", "한"},
		{"utf-16le", "a\x00\xac\x20", "a€"},
		{"utf-16be", "\x00a\x20\xac", "a€"},
		{"utf-32be", "\x00\x00\x20\xac", "€"},
	}
	for _, tt := range tests {
		c, ok := LookupCharset(tt.label)
		if !ok {
			t.Errorf("%s is not found", tt.label)
			continue
		}
		if got := c.Decode([]byte(tt.bytes)); got != tt.text {
			t.Errorf("%s: Decode(%q) = %q, want %q", tt.label, tt.bytes, got, tt.text)
		}
		if got, err := c.Encode(tt.text); err != nil || string(got) != tt.bytes {
			t.Errorf("%s: Encode(%q) = %q, %v, want %q", tt.label, tt.text, got, err, tt.bytes)
		}
	}
}

func TestDecodeNeverFails(t *testing.T) {
	tests := []struct{ label, bytes, text string }{
		{"", "Gr\xc3\xbc\xc3\x9fe", "Grüße"},       // no label, but UTF-8
		{"", "Gr\xfc\xdfe \x93x\x94", "Grüße “x”"}, // no label, not UTF-8
		{"iso-8859-1", "\x93x\x94", "“x”"},         // as readers show it
		{"utf-8", "a\xffb", "a\uFFFDb"},
		{"utf-16", "\xfe\xff\x20\xac", "€"},
		{"utf-16", "\xff\xfe\xac\x20", "€"},
		{"utf-16le", "a\x00b", "a\uFFFD"},
		{"utf-7", "b+AC4-exe+-+2D3cAA", "b.exe+\U0001F400"},
		{"utf-7", "\xff+/", "\uFFFD\uFFFD"},
		{"utf-7", "1 +AMQ 2", "1 Ä 2"},
		{"hz-gb-2312", "~{9\\@m~}.", "管理."},
		{"iso-2022-kr", "\x1b$)C\x0eGQ\x0f.txt", "한.txt"},
		{"iso-2022-kr", "\x0eGQ\nGQ", "한\nGQ"},
		{"iso-2022-jp", "\x1b$BI", "\uFFFD"},
	}
	for _, tt := range tests {
		c, ok := LookupCharset(tt.label)
		if !ok {
			t.Errorf("%s is not found", tt.label)
			continue
		}
		if got := c.Decode([]byte(tt.bytes)); got != tt.text {
			t.Errorf("%s: Decode(%q) = %q, want %q", tt.label, tt.bytes, got, tt.text)
		}
	}
}

func TestEncodeRefusesWhatReadersWouldNotGetBack(t *testing.T) {
	tests := []struct{ label, text string }{
		{"us-ascii", "ä"},
		{"iso-8859-1", "€"},      // readers of windows-1252 would see it, others a control character
		{"iso-8859-1", "\u0093"}, // the other way round
		{"iso-8859-9", "€"},
		{"windows-1251", "ä"},
		{"koi8-r", "ä"},
		{"shift_jis", "한"},
		{"iso-2022-jp", "ä"},
		{"utf-8", "\xff"},
		{"utf-16le", "\xff"},
		{"utf-7", "a"},
		{"iso-2022-kr", "a"},
		{"hz-gb-2312", "a"},
	}
	for _, tt := range tests {
		c, ok := LookupCharset(tt.label)
		if !ok {
			t.Errorf("%s is not found", tt.label)
			continue
		}
		if got, err := c.Encode(tt.text); !errors.Is(err, ErrUnrepresentable) {
			t.Errorf("%s: Encode(%q) = %q, %v", tt.label, tt.text, got, err)
		}
	}
}

func FuzzCharset(f *testing.F) {
	for _, label := range []string{"", "utf-8", "iso-8859-1", "utf-7", "iso-2022-jp", "iso-2022-kr", "gb18030", "utf-16", "big5", "hz-gb-2312", "shift_jis"} {
		f.Add(label, []byte("a\xe4+AMQ-\x1b$BI=~{9\\"))
	}
	f.Fuzz(func(t *testing.T, label string, b []byte) {
		c, ok := LookupCharset(label)
		if !ok {
			return
		}
		text := c.Decode(b)
		if !utf8.ValidString(text) {
			t.Fatalf("%s: Decode(%q) = %q", c.Name(), b, text)
		}
		if out, err := c.Encode(text); err == nil && c.Decode(out) != text {
			t.Errorf("%s: %q came back as %q", c.Name(), text, c.Decode(out))
		}
		if again, ok := LookupCharset(c.Name()); !ok || again.Name() != c.Name() {
			t.Errorf("%q is %q, which is %q", label, c.Name(), again.Name())
		}
	})
}
