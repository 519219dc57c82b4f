package web

import (
	"mime"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{
		"report.pdf":              "report.pdf",
		"":                        "attachment",
		" ":                       "attachment",
		".":                       "attachment",
		"..":                      "attachment",
		"../../etc/passwd":        ".._.._etc_passwd",
		`C:\temp\a.txt`:           "C:_temp_a.txt",
		"a\r\nb\tc":               "a  b c",
		"nul\x00\x7f\u0085.txt":   "nul.txt",
		"evil\u202egnp.exe":       "evilgnp.exe",
		"\u2066iso\u2069late.txt": "isolate.txt",
		"می\u200cخواهم.pdf":       "می\u200cخواهم.pdf",
		"trailing. . ":            "trailing",
		".profile":                ".profile",
		"bad\xffutf8.txt":         "bad_utf8.txt",
		"日本語.docx":                "日本語.docx",
	} {
		if got := cleanName(in); got != want {
			t.Errorf("cleanName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLongNamesAreCutBetweenCharactersAndKeepTheirExtension(t *testing.T) {
	for _, name := range []string{
		strings.Repeat("ü", 1000) + ".docx",
		"x" + strings.Repeat("日", 1000) + ".docx",
	} {
		got := cleanName(name)
		if len(got) > maxNameBytes || len(got) < maxNameBytes-3 || !utf8.ValidString(got) || !strings.HasSuffix(got, ".docx") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
	if got := cleanName("a." + strings.Repeat("b", 1000)); len(got) != maxNameBytes {
		t.Errorf("%d bytes", len(got))
	}
}

func TestAttachmentIsReadBackByParsersAndHoldsNothingElse(t *testing.T) {
	for _, name := range []string{
		"report.pdf", `quo"te\.txt`, "semi;colon=.txt", "100%25.txt", "Grüße aus 東京.pdf", "it's.txt", "a\r\nX: y", strings.Repeat("n", 1000),
	} {
		got := attachment(name)
		for i := range len(got) {
			if got[i] < ' ' || got[i] > '~' {
				t.Errorf("%q: byte %#x in %q", name, got[i], got)
			}
		}
		value, params, err := mime.ParseMediaType(got)
		if err != nil || value != "attachment" || len(params) != 1 || params["filename"] != cleanName(name) {
			t.Errorf("%q: %s reads back as %s %q (%v)", name, got, value, params, err)
		}
	}
	if got, want := attachment(`a"b%41.txt`), `attachment; filename="a_b_41.txt"; filename*=UTF-8''a%22b%2541.txt`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestServedTypeIsDeclaredUnlessActiveOrMalformed(t *testing.T) {
	keep := []string{
		"application/pdf", "image/png", "text/plain", "text/csv", "application/json", "application/postscript",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/zip",
	}
	for _, in := range keep {
		if got := servedType(in); got != in {
			t.Errorf("servedType(%q) = %q", in, got)
		}
	}
	for in, want := range map[string]string{"Text/Plain; charset=latin1": "text/plain", "image/PNG; name=x.png": "image/png"} {
		if got := servedType(in); got != want {
			t.Errorf("servedType(%q) = %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{
		"", "attachment", "a/b/c", "text/", "/plain", "image/png\r\nX: y", "text/html", "TEXT/HTML; charset=utf-8",
		"application/xhtml+xml", "image/svg+xml", "image/svg", "application/xml", "text/xml", "application/xml-dtd",
		"application/rss+xml", "text/javascript", "application/x-javascript", "application/ecmascript", "text/vbscript",
		"text/css", "application/x-shockwave-flash", "multipart/related", "message/rfc822",
		"application/" + strings.Repeat("x", 300),
	} {
		if got := servedType(in); got != opaqueType {
			t.Errorf("servedType(%q) = %q", in, got)
		}
	}
}
