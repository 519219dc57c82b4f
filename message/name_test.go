package message

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// checkClean asserts what CleanName promises of every name.
func checkClean(t *testing.T, name string) {
	t.Helper()
	if !utf8.ValidString(name) || len(name) > maxNameLen {
		t.Errorf("%q: invalid, or %d bytes", name, len(name))
	}
	if !norm.NFC.IsNormalString(name) {
		t.Errorf("%q is not in normal form C", name)
	}
	if strings.ContainsAny(name, "/\\<>:\"|?*") {
		t.Errorf("%q has a forbidden character", name)
	}
	for _, r := range name {
		if unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError {
			t.Errorf("%q has %U", name, r)
		}
	}
	if strings.HasPrefix(name, ".") || strings.TrimRight(name, ". ") != name || strings.TrimLeft(name, " ") != name {
		t.Errorf("%q has dots or spaces at its ends", name)
	}
	if IsDevice(name) {
		t.Errorf("%q is a device", name)
	}
	if again := CleanName(name); again != name {
		t.Errorf("cleaned twice: %q became %q", name, again)
	}
}

func TestCleanName(t *testing.T) {
	long := strings.Repeat("ä", 150)
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"plain", "Report 2026.pdf", "Report 2026.pdf"},
		{"Unix path", "/etc/../home/a.pdf", "a.pdf"},
		{"Windows path", `C:\Users\me\a.pdf`, "a.pdf"},
		{"mixed path", `..\../a.pdf`, "a.pdf"},
		{"path of a folder", "docs/a.pdf/", "a.pdf"},
		{"only a path", `../..\/`, ""},
		{"yen path", "C:¥win95¥a.tiff", "a.tiff"},
		{"yen", "100¥.pdf", "100¥.pdf"},
		{"drive", "C:a.pdf", "C_a.pdf"},
		{"control characters", "a\x00b\x07c\x7f\u0085.pdf", "abc.pdf"},
		{"line ends", "a\r\nb\tc.pdf", "a b c.pdf"},
		{"header injection", "a.pdf\r\nBcc: x@ext.test", "a.pdf Bcc_ x@ext.test"},
		{"bidi override", "report\u202efdp.exe", "reportfdp.exe"},
		{"bidi isolates and marks", "\u2066a\u2069\u200e\u200f\u061c.pdf", "a.pdf"},
		{"invisible", "a\u200b\ufeff\u00ad\U000e0041.pdf", "a.pdf"},
		{"joiners", "می\u200cخواهم.pdf", "می\u200cخواهم.pdf"},
		{"line separator", "a\u2028b.pdf", "a b.pdf"},
		{"noncharacter", "a\ufffe\ufdd0.pdf", "a.pdf"},
		{"wide spaces", "a\u00a0\u3000b.pdf", "a b.pdf"},
		{"spaces before a hidden extension", "invoice.pdf" + strings.Repeat(" ", 80) + ".exe", "invoice.pdf .exe"},
		{"NFC", "a\u0308.pdf", "ä.pdf"},
		{"NFC after cleaning", "a\u200b\u0308.pdf", "ä.pdf"},
		{"Windows characters", `a<b>c:d"e|f?g*.pdf`, "a_b_c_d_e_f_g_.pdf"},
		{"slashes in disguise", "..\u2215..\u2044a\uff0fb.pdf", "_.._a_b.pdf"},
		{"invalid UTF-8", "gr\xf6\xdfe.pdf", "größe.pdf"},
		{"replacement character", "a\ufffd.pdf", "a_.pdf"},
		{"hidden", ".htaccess", "_.htaccess"},
		{"hidden, with extension", "...a.pdf", "a.pdf"},
		{"hidden behind a space", " .a.pdf", "a.pdf"},
		{"dots only", "...", ""},
		{"trailing dots and spaces", "a.exe. . .", "a.exe"},
		{"dots inside", "a..docx", "a..docx"},
		{"device", "CON", "_CON"},
		{"device with extension", "nul.tar.gz", "_nul.tar.gz"},
		{"device with a space", "com1 .txt", "_com1 .txt"},
		{"device with superscript", "LPT².pdf", "_LPT².pdf"},
		{"no device", "console.txt", "console.txt"},
		{"device after a path", "x/aux.pdf", "_aux.pdf"},
		{"device behind dots", "..con", "_.con"},
		{"long", long + ".pdf", strings.Repeat("ä", 98) + ".pdf"},
		{"long without extension", long, strings.Repeat("ä", 100)},
		{"long extension", "a." + strings.Repeat("b", 300), "a." + strings.Repeat("b", 198)},
		{"long, cut inside a rune", "x" + long + ".gz", "x" + strings.Repeat("ä", 98) + ".gz"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := CleanName(tt.in)
			if got != tt.want {
				t.Errorf("CleanName(%q) = %q, want %q", tt.in, got, tt.want)
			}
			checkClean(t, got)
		})
	}
}

func TestExtension(t *testing.T) {
	for in, want := range map[string]string{
		"":                    "",
		"a":                   "",
		"a.":                  "",
		"a.PDF":               "pdf",
		"a.tar.gz":            "gz",
		".exe":                "exe",
		"a.exe. . ":           "exe",
		"dir.d/a":             "",
		`C:\x.y\a.Exe`:        "exe",
		"No. 5 of the series": "",
	} {
		if got := Extension(in); got != want {
			t.Errorf("Extension(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFileNamesPrefersTheBestForPeople(t *testing.T) {
	tests := []struct{ name, disposition, ctype, want string }{
		{"none", "attachment", "text/plain", ""},
		{"filename* wins", `a; filename="b.pdf"; filename*=utf-8''%C3%A4.pdf`, `b; name*=utf-8''c.pdf`, "ä.pdf"},
		{"filename beats name*", `a; filename="b.pdf"`, `b; name*=utf-8''c.pdf`, "b.pdf"},
		{"name* beats name", `a`, `b; name=d.pdf; name*=utf-8''c.pdf`, "c.pdf"},
		{"name alone", ``, `b; name=d.pdf`, "d.pdf"},
		{"empty filename", `a; filename=""`, `b; name=d.pdf`, "d.pdf"},
		{"filename that is only a path", `a; filename="../"`, `b; name=d.pdf`, "d.pdf"},
		{"name in the wrong field", `a; name=b.pdf`, ``, "b.pdf"},
		{"filename in the wrong field", ``, `b; filename=b.pdf`, "b.pdf"},
		{"apostrophes for quotes", `a; filename='b.pdf'`, ``, "b.pdf"},
		{"raw bytes in the charset of the part", "a; filename=\"\xf4\xe0\xe9\xeb.txt\"", "text/plain; charset=windows-1251", "файл.txt"},
		{"raw Shift_JIS with a backslash byte", "a; filename=\"\x95\x5c.txt\"", "text/plain; charset=shift_jis", "表.txt"},
		{"raw UTF-8 beside another charset", "a; filename=\"файл.txt\"", "text/plain; charset=windows-1251", "файл.txt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name, candidates := FileNames(ParseValue(tt.disposition), ParseValue(tt.ctype))
			if name != tt.want {
				t.Errorf("name = %q, want %q", name, tt.want)
			}
			if name != "" && candidates[0] != name {
				t.Errorf("candidates = %q", candidates)
			}
			if name == "" && len(candidates) > 0 {
				t.Errorf("no name, but candidates %q", candidates)
			}
		})
	}
}

func TestNoDisguiseHidesAnExecutable(t *testing.T) {
	for name, disposition := range map[string]string{
		"second parameter":      `a; filename=b.txt; filename=b.exe`,
		"either form":           `a; filename*=utf-8''b.txt; filename=b.exe`,
		"segments and plain":    `a; filename*0=b.txt; filename=b.exe`,
		"odd case":              `a; FileName*=UTF-8''b.txt; FILENAME=B.EXE`,
		"word":                  `a; filename="=?utf-8?B?Yi5leGU=?="`,
		"word without padding":  `a; filename="=?utf-8?B?Yi5leGU?="`,
		"word of odd charset":   `a; filename="=?none?Q?b=2Eexe?="`,
		"UTF-7 word":            `a; filename="=?utf-7?Q?b+AC4-exe?="`,
		"UTF-16 word":           `a; filename="=?utf-16be?B?AGIALgBlAHgAZQ==?="`,
		"split words":           `a; filename="=?utf-8?Q?b.e?= =?us-ascii?Q?xe?="`,
		"word in RFC 2231":      `a; filename*=utf-8''%3D%3Futf-8%3FQ%3Fb.exe%3F%3D`,
		"percent in plain":      `a; filename="b%2Eexe"`,
		"percent NUL":           `a; filename="b.exe%00.txt"`,
		"NUL":                   "a; filename=\"b.exe\x00.txt\"",
		"NUL in a word":         `a; filename="=?utf-8?Q?b.exe=00.txt?="`,
		"semicolon":             `a; filename="b.exe;.txt"`,
		"quote":                 `a; filename="b.exe\".txt"`,
		"line end":              `a; filename="=?utf-8?Q?b.exe=0A.txt?="`,
		"stream":                `a; filename="b.exe::$DATA"`,
		"stream of a path":      `a; filename="C:\tmp\b.exe:x.txt"`,
		"trailing dot":          `a; filename="b.exe."`,
		"trailing spaces":       `a; filename="b.exe   "`,
		"slash":                 `a; filename="b.txt/../b.exe/"`,
		"backslash escapes":     `a; filename="b.\ex\e"`,
		"bidi":                  "a; filename=\"btxt\u202e.exe\"",
		"invisible":             "a; filename=\"b.e\u200bxe\"",
		"joiner":                "a; filename=\"b.e\u200dxe\"",
		"folded":                "a; filename=\"b.e\r\n xe\"",
		"illegal character":     `a; filename="b.ex?e"`,
		"comment":               `a; filename=b.exe(.txt)`,
		"unquoted":              `a; filename=b.exe foo.txt`,
		"junk after quotes":     `a; filename="b.exe" foo.txt`,
		"second quoted string":  `a; filename="b.txt" "c.exe"`,
		"hidden in a comment":   `a (;filename=b.exe;)`,
		"hidden in quotes":      `a; x=";filename=b.exe;y="`,
		"unterminated":          `a; x="; filename=b.exe`,
		"gap":                   `a; filename*0=b.exe; filename*5=.txt`,
		"order":                 `a; filename*1=.exe; filename*0=b; filename=b.txt`,
		"repeated segment":      `a; filename*0=b; filename*1=.txt; filename*1=.exe`,
		"long":                  `a; filename="` + strings.Repeat("b", 5000) + `.exe"`,
		"leading dot":           `a; filename=".exe"`,
		"quoted parameter name": `a; "filename"=b.exe`,
	} {
		t.Run(name, func(t *testing.T) {
			_, candidates := FileNames(ParseValue(disposition), Value{})
			if !slices.ContainsFunc(candidates, func(c string) bool { return Extension(c) == "exe" }) {
				t.Errorf("%s: candidates %q", disposition, candidates)
			}
		})
	}
}

func FuzzCleanName(f *testing.F) {
	for _, in := range []string{
		"", "a.pdf", "../..", "con", "con .x", ". .a", "a\u0301\u0323/", "\u202e\u0308", "..\u200b.", "C:¥¥",
		strings.Repeat("ä", 120) + ".tar.gz", strings.Repeat("\u0301", 300), "_" + strings.Repeat(" .", 120) + "b", "\xff\xfe", "a.\u00a0.",
	} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name := CleanName(in)
		checkClean(t, name)
		if Extension(name) != strings.ToLower(Extension(name)) {
			t.Errorf("Extension(%q) = %q", name, Extension(name))
		}
	})
}
