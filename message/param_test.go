package message

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// pairs lists the parameters of v as "name=value".
func pairs(v Value) []string {
	out := []string{}
	for _, p := range v.Params {
		out = append(out, p.Name+"="+p.Value)
	}
	return out
}

func TestParseValueReadsWhatMailReadersRead(t *testing.T) {
	tests := []struct {
		name, in, text string
		params         []string
	}{
		{"plain", `text/plain; charset=us-ascii`, "text/plain", []string{"charset=us-ascii"}},
		{"upper case", `TEXT/Plain; CharSet="UTF-8"`, "text/plain", []string{"charset=UTF-8"}},
		{"absent", "", "", nil},
		{"only white space", " \r\n\t", "", nil},
		{"folded with CRLF", "multipart/mixed;\r\n\tboundary=\"a b\"", "multipart/mixed", []string{"boundary=a b"}},
		{"folded with LF", "attachment;\n filename=a.pdf;\n size=5", "attachment", []string{"filename=a.pdf", "size=5"}},
		{"fold inside quotes", "attachment; filename=\"long\r\n name.pdf\"", "attachment", []string{"filename=long name.pdf"}},
		{"comments", `text/plain (a (nested) one); charset (b) = us-ascii (Plain text)`, "text/plain", []string{"charset=us-ascii"}},
		{"comment before quotes", `text/plain; charset=(x)"utf-8"(y); a=b`, "text/plain", []string{"charset=utf-8", "a=b"}},
		{"comment around slash", `text (x) / (y) plain`, "text/plain", nil},
		{"open comment is text", `attachment (x; filename=a.pdf`, "attachment", []string{"filename=a.pdf"}},
		{"trailing semicolons", `text/plain;; charset=utf-8; ;`, "text/plain", []string{"charset=utf-8"}},
		{"spaces around =", `attachment; filename = "a.pdf"`, "attachment", []string{"filename=a.pdf"}},
		{"unquoted spaces", `attachment; filename=My File.pdf; size=3`, "attachment", []string{"filename=My File.pdf", "size=3"}},
		{"unquoted parentheses", `attachment; filename=My File (1).pdf`, "attachment", []string{"filename=My File (1).pdf"}},
		{"unquoted leading parenthesis", `attachment; filename=(1).pdf`, "attachment", []string{"filename=(1).pdf"}},
		{"semicolon in quotes", `attachment; filename="a; b=c.pdf"; size=3`, "attachment", []string{"filename=a; b=c.pdf", "size=3"}},
		{"quoted pairs", `attachment; filename="a \"b\" \\ c\(1\).pdf"`, "attachment", []string{`filename=a "b" \ c(1).pdf`}},
		{"Windows path", `attachment; filename="C:\temp\new.pdf"`, "attachment", []string{`filename=C:\temp\new.pdf`}},
		{"Windows folder", `attachment; filename="C:\temp\"; size=3`, "attachment", []string{`filename=C:\temp\`, "size=3"}},
		{"inner quotes", `attachment; filename="the "best" plan.pdf"`, "attachment", []string{`filename=the "best" plan.pdf`}},
		{"unterminated", `text/plain; name="a b.pdf`, "text/plain", []string{"name=a b.pdf"}},
		{"unterminated before a parameter", `text/plain; name="a b.pdf; charset=utf-8`, "text/plain", []string{"name=a b.pdf", "charset=utf-8"}},
		{"unterminated with a semicolon", `text/plain; name="a; b.pdf`, "text/plain", []string{"name=a; b.pdf"}},
		{"missing first semicolon", `application/pdf name="a.pdf"`, "application/pdf", []string{"name=a.pdf"}},
		{"missing semicolons", `attachment; filename="a.pdf" size=3 x="y"z=1`, "attachment", []string{"filename=a.pdf", "size=3", "x=y", "z=1"}},
		{"missing semicolon after unquoted", `attachment; filename=my a.pdf size=3`, "attachment", []string{"filename=my a.pdf", "size=3"}},
		{"comma for semicolon", `text/html, charset=utf-8`, "text/html", []string{"charset=utf-8"}},
		{"no main value", `; name="a.gif"`, "", []string{"name=a.gif"}},
		{"parameter as main value", `filename=a.pdf; size=3`, "", []string{"filename=a.pdf", "size=3"}},
		{"one word", `BINARY;name="x"`, "binary", []string{"name=x"}},
		{"quoted main value", `"attachment"; filename=a`, "attachment", []string{"filename=a"}},
		{"two slashes", `text/plain/x; a=b`, "", []string{"a=b"}},
		{"open slash", `text/; a=b`, "", []string{"a=b"}},
		{"8-bit main value", "t\xe9xt/plain", "", nil},
		{"empty values", `attachment; filename=""; name=; size=3`, "attachment", []string{"filename=", "name=", "size=3"}},
		{"no name, no value", `attachment; =x; foo; a=b`, "attachment", []string{"a=b"}},
		{"quoted junk", `attachment; "foo;bar"; a=b`, "attachment", []string{"a=b"}},
		{"duplicates keep their order", `attachment; filename=a.pdf; filename=b.exe`, "attachment", []string{"filename=a.pdf", "filename=b.exe"}},
		{"boundary that needs quotes", `multipart/mixed; boundary=----=_Next(1):a/b?=`, "multipart/mixed", []string{"boundary=----=_Next(1):a/b?="}},

		{"encoded word", `attachment; filename="=?utf-8?B?w6QucGRm?="`, "attachment", []string{"filename=ä.pdf"}},
		{"encoded word unquoted", `attachment; filename==?iso-8859-1?Q?=E4_b.pdf?=`, "attachment", []string{"filename=ä b.pdf"}},
		{"encoded words unquoted", "attachment; filename==?utf-8?Q?a=C3?=\r\n =?utf-8?Q?=A4.pdf?=", "attachment", []string{"filename=aä.pdf"}},
		{"encoded word, missing semicolon", `application/pdf; name="a" filename==?utf-8?Q?b?=`, "application/pdf", []string{"name=a", "filename=b"}},
		{"raw UTF-8", `attachment; filename=größe.pdf`, "attachment", []string{"filename=größe.pdf"}},
		{"raw latin1", "attachment; filename=\"gr\xf6\xdfe.pdf\"", "attachment", []string{"filename=größe.pdf"}},
		{"raw UTF-8, cut", "attachment; filename=\"длинн\xd1.pdf\"", "attachment", []string{"filename=длинн\uFFFD.pdf"}},
		{"raw ISO-2022-JP", "attachment; filename=\"\x1b$B$\"\x1b(B.txt\"", "attachment", []string{"filename=あ.txt"}},

		{"RFC 2231", `attachment; filename*=utf-8'en'%e2%82%ac%20rates.pdf`, "attachment", []string{"filename=€ rates.pdf"}},
		{"RFC 2231 quoted", `attachment; filename*="UTF-8''%e2%82%ac.pdf"`, "attachment", []string{"filename=€.pdf"}},
		{"RFC 2231 windows-1251", `attachment; filename*=windows-1251''%F4%E0%E9%EB.doc`, "attachment", []string{"filename=файл.doc"}},
		{"RFC 2231 without charset", `attachment; filename*=a%20b.pdf`, "attachment", []string{"filename=a b.pdf"}},
		{"RFC 2231 empty charset", `attachment; filename*=''a%20%C3%A4.pdf`, "attachment", []string{"filename=a ä.pdf"}},
		{"RFC 2231 unknown charset", `attachment; filename*=x-unknown''%C3%A4.pdf`, "attachment", []string{"filename=ä.pdf"}},
		{"RFC 2231 bad escapes", `attachment; filename*=utf-8''100%.%zz%4`, "attachment", []string{"filename=100%.%zz%4"}},
		{"RFC 2231 with words", `attachment; filename*=utf-8''%3D%3Futf-8%3FQ%3Fa%3F%3D.pdf`, "attachment", []string{"filename=a.pdf"}},
		{"RFC 2231 goes first", `attachment; filename="a.pdf"; filename*=utf-8''%C3%A4.pdf`, "attachment", []string{"filename=ä.pdf", "filename=a.pdf"}},
		{"segments", `attachment; filename*0*=utf-8''%C3; filename*1*=%A4%20; filename*2="b%20.pdf"`, "attachment", []string{"filename=ä b%20.pdf"}},
		{"segments, plain", `attachment; FILENAME*0="long "; Filename*1=name.pdf`, "attachment", []string{"filename=long name.pdf"}},
		{"segments out of order", `attachment; filename*1=b.pdf; filename*0=a`, "attachment", []string{"filename=ab.pdf"}},
		{"segments with a gap", `attachment; filename*0=a.exe; filename*2=.pdf`, "attachment", []string{"filename=a.exe.pdf"}},
		{"segments from one", `attachment; filename*1=a; filename*2=.pdf`, "attachment", []string{"filename=a.pdf"}},
		{"segments with words", `attachment; filename*0="=?utf-8?Q?a="; filename*1="C3=A4?=.pdf"`, "attachment", []string{"filename=aä.pdf"}},
		{"segments of two names", `x; a*0=1; b*0=3; a*1=2; b*1=4`, "x", []string{"a=12", "b=34"}},
		{"no segment number", `attachment; filename*x*=utf-8''a%20b`, "attachment", []string{"filename=a b"}},
		{"huge segment number", `attachment; filename*99999999999999999999=a`, "attachment", []string{"filename=a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := ParseValue(tt.in)
			if v.Text != tt.text {
				t.Errorf("Text = %q, want %q", v.Text, tt.text)
			}
			if got := pairs(v); !slices.Equal(got, tt.params) {
				t.Errorf("Params = %q, want %q", got, tt.params)
			}
		})
	}
}

func TestAllHoldsEveryReading(t *testing.T) {
	tests := []struct {
		name, in, param string
		want            []string // all must be there; the first is Get
	}{
		{"contradiction", `a; filename=a.pdf; filename=b.exe`, "filename", []string{"a.pdf", "b.exe"}},
		{"both forms", `a; filename=a.pdf; filename*=utf-8''b.exe`, "filename", []string{"b.exe", "a.pdf"}},
		{"raw word", `a; filename="=?utf-8?Q?b=2Eexe?="`, "filename", []string{"b.exe", "=?utf-8?Q?b=2Eexe?="}},
		{"word of unknown charset", `a; filename="=?none?Q?b=2Eexe?="`, "filename", []string{"=?none?Q?b=2Eexe?=", "b.exe"}},
		{"escaped letters", `a; filename="b.ex\e"`, "filename", []string{`b.ex\e`, "b.exe"}},
		{"first token", `a; filename=b.exe .txt`, "filename", []string{"b.exe .txt", "b.exe"}},
		{"first token before a separator", `a; filename=b.exe,.txt`, "filename", []string{"b.exe,.txt", "b.exe"}},
		{"first quoted string", `a; filename="b.exe".txt`, "filename", []string{"b.exe", "b.exe.txt"}},
		{"inner quotes", `a; filename="b.exe"c".txt"`, "filename", []string{`b.exe"c".txt`, "b.exe", "b.exec.txt"}},
		{"quotes after quotes", `a; filename="b" ".exe"`, "filename", []string{"b", "b .exe"}},
		{"quotes in the middle", `a; filename=b".txt;.exe"`, "filename", []string{`b".txt`, `b".txt;.exe"`}},
		{"apostrophes", `a; filename='b.exe'`, "filename", []string{"'b.exe'", "b.exe"}},
		{"gap", `a; filename*0=b.exe; filename*2=.txt`, "filename", []string{"b.exe.txt", "b.exe"}},
		{"repeated segment", `a; filename*0=b; filename*1=.txt; filename*1=.exe`, "filename", []string{"b.txt", "b.exe", "b.txt.exe"}},
		{"segments as they come", `a; filename*1=.exe; filename*0=b`, "filename", []string{"b.exe", ".exeb"}},
		{"percent in plain segment", `a; filename*0*=utf-8''b; filename*1=%2Eexe`, "filename", []string{"b%2Eexe", "b.exe"}},
		{"escapes in segments", `a; filename*0="b.e\x"; filename*1=e`, "filename", []string{`b.e\xe`, "b.exe"}},
		{"apostrophes in an extended name", `a; filename*=it's o'clock.exe`, "filename", []string{"clock.exe", "it's o'clock.exe"}},
		{"unterminated quote", `a; filename="b.exe; x=y.txt`, "filename", []string{"b.exe", "b.exe; x=y.txt"}},
		{"parameter in a comment", `a (; filename=b.exe); filename=c.txt`, "filename", []string{"c.txt", "b.exe"}},
		{"parameter in quotes", `a; x="; filename=b.exe;"; filename=c.txt`, "filename", []string{"c.txt", "b.exe"}},
		{"comment as part of the name", `a; filename=b.exe (.txt)`, "filename", []string{"b.exe", "b.exe (.txt)"}},
		{"missing semicolon", `a; filename=b v=2.exe`, "filename", []string{"b", "b v=2.exe"}},
		{"two boundaries", `multipart/mixed; boundary=a; boundary=b`, "boundary", []string{"a", "b"}},
		{"boundary with a space", `multipart/mixed; boundary=a b`, "boundary", []string{"a b", "a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := ParseValue(tt.in)
			all := v.All(tt.param)
			for _, want := range tt.want {
				if !slices.Contains(all, want) {
					t.Errorf("All = %q, want also %q", all, want)
				}
			}
			if got := v.Get(tt.param); got != tt.want[0] {
				t.Errorf("Get = %q, want %q", got, tt.want[0])
			}
			if len(v.Defects) == 0 && strings.HasPrefix(tt.name, "two") {
				t.Error("no defect noted")
			}
		})
	}
}

func TestSoundValuesHaveOneReadingAndNoDefects(t *testing.T) {
	for _, in := range []string{
		`multipart/mixed; boundary="----=_Part_1;(2)"`,
		`multipart/mixed; boundary=----=_Part_1_23.456?:`,
		`multipart/mixed; boundary*=us-ascii'en'%2d%2dx`,
		`multipart/related; type="text/html"; boundary="=_?abc?="; start="<a@b>"`,
		`multipart/signed; micalg=pgp-sha256; protocol="application/pgp-signature"; boundary="x (y)"`,
	} {
		v := ParseValue(in)
		if len(v.Defects) > 0 {
			t.Errorf("%s: defects %q", in, v.Defects)
		}
		if all := v.All("boundary"); len(all) != 1 && !strings.Contains(in, ";(") {
			t.Errorf("%s: All = %q, want one boundary", in, all)
		}
	}
}

func TestDefectsNameWhatIsWrong(t *testing.T) {
	for in, want := range map[string]string{
		`application/pdf name=a`:                   defectNoSemicolon,
		`text/plain; name="a`:                      defectUnterminated,
		`text/plain; foo`:                          defectNoValue,
		`text/plain; =foo`:                         defectNoName,
		`text/plain; a b=c`:                        defectJunk,
		`text/plain; a="b"c`:                       defectAfterQuote,
		`text/plain; a=b c`:                        defectUnquoted,
		`text/plain; a=b; A=c`:                     defectDuplicate,
		`x; a*0=b; a*2=c`:                          defectSegments,
		`x; a*=b`:                                  defectExtended,
		`x; a*=fakescii''b`:                        defectCharset,
		`x; a*0*=fakescii''b`:                      defectCharset,
		`/; a=b`:                                   defectMain,
		strings.Repeat("x", maxValueLen+1):         defectTooLong,
		"x" + strings.Repeat("; a=b", maxParams+1): defectTooMany,
	} {
		if v := ParseValue(in); !slices.Contains(v.Defects, want) {
			t.Errorf("%.60s: defects %q, want %q", in, v.Defects, want)
		}
	}
	if v := ParseValue("x" + strings.Repeat("; a=b", maxParams)); len(v.Defects) > 0 || len(v.Params) != maxParams {
		t.Errorf("at the limit: %d parameters, defects %q", len(v.Params), v.Defects)
	}
}

func TestRawIsAsWritten(t *testing.T) {
	v := ParseValue(`a; filename*0*=utf-8''%41; filename*1="b\"c"; name="=?utf-8?Q?a?="`)
	if got := v.Params[0].Raw; got != `utf-8''%41b\"c` {
		t.Errorf("segments: Raw = %q", got)
	}
	if got := v.Params[1].Raw; got != "=?utf-8?Q?a?=" {
		t.Errorf("plain: Raw = %q", got)
	}
}

// hostile makes values of the full length that punish quadratic parsers.
func hostile() map[string]string {
	fill := func(prefix, unit string) string {
		return prefix + strings.Repeat(unit, (maxValueLen-len(prefix))/len(unit))
	}
	segments := func(value string) string {
		var s strings.Builder
		s.WriteString("a")
		for i := range maxParams {
			fmt.Fprintf(&s, "; filename*%d=%s", i, value)
		}
		return s.String()
	}
	return map[string]string{
		"open comments":       fill("a; filename=", "("),
		"spaced comments":     fill("a; filename=", "(a) "),
		"nested comments":     fill("a; filename=", " (") + strings.Repeat(")", 30000),
		"open quotes":         fill("a", `;a="`),
		"escaped quotes":      fill("a", `;a=\"`),
		"word starts":         fill("a; filename=", "=?"),
		"open words":          fill("a; filename=", "=?utf-8?q?a "),
		"many words":          fill("a; filename=", "=?utf-8?q?a?= "),
		"unknown words":       fill("a; filename=", "=?nope?q?a?= "),
		"spaces":              fill("a; filename=", " "),
		"words and spaces":    fill("a; filename=", "a "),
		"missing semicolons":  fill("a; filename=", "b filename="),
		"backslashes":         fill(`a; filename="`, `\`),
		"dots":                fill("a; filename=", "./"),
		"combining marks":     fill("a; filename=", "\u0301\u0323"),
		"percents":            fill("a; filename*=", "%41"),
		"semicolons":          fill("a", ";"),
		"segments":            segments(strings.Repeat(`x`, 600)),
		"segments of quotes":  segments(`"` + strings.Repeat(`\x`, 290) + `"`),
		"long quoted names":   strings.Repeat(`a; filename="`+strings.Repeat(`\x;%41`, 100)+`"`, 100),
		"unterminated naming": strings.Repeat("; filename=\"", 1) + strings.Repeat(";a=b", 16000),
	}
}

func TestHostileValuesTakeLinearTime(t *testing.T) {
	// A quadratic pass over 64 KB takes many seconds; all of it linear a few
	// hundred milliseconds on a busy machine.
	const limit = 3 * time.Second
	for name, in := range hostile() {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			v := ParseValue(in)
			name, candidates := FileNames(v, v)
			if took := time.Since(start); took > limit {
				t.Errorf("took %v", took)
			}
			if len(v.Params) > maxParams {
				t.Errorf("%d parameters", len(v.Params))
			}
			if name != "" && candidates[0] != name {
				t.Errorf("first candidate %q is not the name %q", candidates[0], name)
			}
		})
	}
}

func FuzzParseValue(f *testing.F) {
	for _, in := range []string{
		"", ";", "a", "text/plain; charset=utf-8", "a/b;\r\n\tc=\"d\\\"e\"; f*=utf-8''%41",
		"a; n*0*=utf-8'x'%4; n*1*=1; n*3=z; n*00=", `a; filename="b" "c;d.exe"; (x)=y`,
		`a; filename==?utf-8?B?QQ==?= =?x?Q?=41?=; name='b'`, "a; filename=\"\x1b$B$\"", "a;b=\"c;d=e",
		"a (; filename=x); filename=C:\\temp\\b (1).pdf size=3", "a; n=\x80\xff\x00", "a;*=b;*0=c;n**=d",
	} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		v := ParseValue(in)
		if !utf8.ValidString(v.Text) || v.Text != strings.ToLower(v.Text) || strings.ContainsAny(v.Text, " \t\r\n;\"()") {
			t.Errorf("Text = %q", v.Text)
		}
		if len(v.Params) > maxParams {
			t.Errorf("%d parameters", len(v.Params))
		}
		for _, p := range v.Params {
			if p.Name == "" || p.Name != strings.ToLower(p.Name) {
				t.Errorf("name %q", p.Name)
			}
			all := v.All(p.Name)
			if get := v.Get(p.Name); get != "" && all[0] != get || p.Value != "" && !slices.Contains(all, p.Value) {
				t.Errorf("All = %q, Get = %q, Value = %q", all, get, p.Value)
			}
			for i, s := range all {
				if s == "" || !utf8.ValidString(s) || slices.Contains(all[:i], s) {
					t.Errorf("All = %q", all)
				}
			}
		}
		name, candidates := FileNames(v, v)
		if name != "" && (len(candidates) == 0 || candidates[0] != name) {
			t.Errorf("name %q, candidates %q", name, candidates)
		}
		for _, c := range candidates {
			checkClean(t, c)
		}
	})
}
