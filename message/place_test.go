package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// textIn is a text part of a charset and encoding, with s as its content.
func textIn(t *testing.T, subtype, charset, encoding, s string) string {
	t.Helper()
	label, _, _ := strings.Cut(charset, ";") // parameters may stand behind it
	cs, ok := LookupCharset(label)
	if !ok {
		t.Fatal(charset)
	}
	b, err := cs.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	switch encoding {
	case "quoted-printable":
		b = []byte(encodeQP(crlf(string(b)), "\n"))
	case "base64":
		b = encodeBase64([]byte(crlf(string(b))), "\n")
	}
	header := "Content-Type: text/" + subtype
	if charset != "" {
		header += "; charset=" + charset
	}
	return piece(string(b), header, "Content-Transfer-Encoding: "+encoding)
}

// foreign decodes p with the standard library, and its charset.
func (m *mail) foreign(p *Part) string {
	m.Helper()
	var r io.Reader = strings.NewReader(encoded(m.body, p))
	switch p.Encoding {
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		m.Errorf("%s: %v in %q", p.Encoding, err, encoded(m.body, p))
	}
	cs, _ := LookupCharset(p.Type.Get("charset"))
	return strings.ReplaceAll(cs.Decode(b), "\r\n", "\n")
}

// named is a file with a name that its header carries in UTF-8.
func named(name string) string {
	return piece("JVBERi0=", "Content-Type: application/pdf", "Content-Disposition: attachment; filename*=utf-8''"+percent(name), "Content-Transfer-Encoding: base64")
}

func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// taking removes the PDF and returns the text and HTML, decoded, and whether
// there is a part of our own.
func (m *mail) taking() (next *mail, own bool) {
	m.Helper()
	next = m.remove(m.part("application/pdf"))
	for _, p := range leaves(next.tree) {
		own = own || ownNotice(p)
	}
	return next, own
}

func TestNoticeInTheTextsCharsetAndEncoding(t *testing.T) {
	for _, c := range []struct{ charset, text, name string }{
		{"utf-8", "Grüße", "Übersicht 報告.pdf"}, {"", "hello", "plan.pdf"}, {"us-ascii", "hello", "plan.pdf"},
		{"iso-8859-1", "Grüße", "Übersicht.pdf"}, {"windows-1252", "5 € – „ja“", "5 €.pdf"},
		{"koi8-r", "Привет", "План.pdf"}, {"shift_jis", "こんにちは ソ", "表.pdf"}, {"gb18030", "你好", "计划 ü.pdf"},
		{"euc-jp", "日本", "日本.pdf"}, {"big5", "功蓋", "功蓋.pdf"}, {"euc-kr", "안녕", "계획.pdf"},
	} {
		for _, encoding := range []string{"8bit", "quoted-printable", "base64", "binary"} {
			for _, eol := range []string{"\r\n", "\n"} {
				for _, ending := range []string{"", "\n", "\n\n"} {
					text := c.text + ", siehe Anhang" + ending
					raw := letter(group("mixed", textIn(t, "plain", c.charset, encoding, text), named(c.name)))
					m := open(t, strings.ReplaceAll(raw, "\r\n", eol))
					want := m.foreign(m.bodies.Text)
					if !strings.HasSuffix(want, "\n") {
						want += "\n"
					}
					want += "\n" + strings.Join(noticeOf(m.part("application/pdf")).Text(), "\n") + "\n"
					next, own := m.taking()
					if own {
						t.Fatalf("%s %s: a part of its own", c.charset, encoding)
					}
					if got := next.foreign(next.bodies.Text); got != want {
						t.Errorf("%s %s %q: text is\n%q, want\n%q", c.charset, encoding, eol, got, want)
					}
					if !strings.Contains(want, c.name) {
						t.Fatalf("no %s in %q", c.name, want)
					}
				}
			}
		}
	}
}

func TestNoticeInHTML(t *testing.T) {
	long := strings.Repeat("lorem ipsum ", 40)
	for _, c := range []struct{ name, before, after string }{
		{"body", "<html><body><p>Hi</p>\n", "</body></html>\n"},
		{"upper case", "<HTML><BODY>Hi", "</BODY></HTML>"},
		{"blanks in the tag", "<html><body>Hi", "</body\n ></html >"},
		{"no body", "<html><p>Hi", "</html>"},
		{"no html", "<p>Hi</p>", ""},
		{"no html, with a line end", "<p>Hi</p>\n", ""},
		{"text after the end", "<html><body>Hi", "</body></html>\n____\nlist footer\n"},
		{"two documents", "<html><body>reply</body></html><html><body>quoted", "</body></html>"},
		{"all in one long line", "<html><body>" + long + long, "</body></html>"},
		{"long line behind", "<html><body>Hi", "</body><!--" + long + "--></html>"},
		{"end in a comment", "<body>Hi", "</body><!-- </body></html> -->"},
		{"end in a conditional comment", "<body><!--[if mso]></body><![endif]-->Hi", "</body>"},
		{"end in a script", "<body><script>x = '</body>'</script>Hi", "</body>"},
		{"end in an attribute", "<body><img alt='</body>'>Hi", ""},
		{"nothing but the end", "", "</body>"},
	} {
		for _, encoding := range []string{"7bit", "8bit", "quoted-printable", "base64"} {
			for _, eol := range []string{"\r\n", "\n"} {
				raw := letter(group("mixed", textIn(t, "html", "iso-8859-1", encoding, c.before+c.after), named("Ü & <Plan>.pdf")))
				m := open(t, strings.ReplaceAll(raw, "\r\n", eol))
				block := strings.Join(noticeOf(m.part("application/pdf")).HTML(), "\n")
				next, own := m.taking()
				if own {
					t.Fatalf("%s %s: a part of its own", c.name, encoding)
				}
				got := next.foreign(next.bodies.HTML)
				head, tail, found := strings.Cut(got, block)
				head, tail = trimBreaks(head, c.before), trimBreaks(tail, c.after)
				if !found || head != c.before || tail != c.after {
					t.Errorf("%s %s %q: %q became\n%q", c.name, encoding, eol, c.before+c.after, got)
				}
				if encoding == "quoted-printable" {
					checkQPLines(t, encoded(next.body, next.bodies.HTML), eol)
				}
			}
		}
	}
}

// trimBreaks takes one line break off either end of s that want has not.
func trimBreaks(s, want string) string {
	if !strings.HasSuffix(want, "\n") || strings.HasSuffix(s, "\n\n") {
		s = strings.TrimSuffix(s, "\n")
	}
	if !strings.HasPrefix(want, "\n") {
		s = strings.TrimPrefix(s, "\n")
	}
	return s
}

func checkQPLines(t *testing.T, s, eol string) {
	t.Helper()
	for line := range strings.SplitSeq(s, eol) {
		if len(line) > 76 || strings.TrimRight(line, " \t") != line || strings.ContainsAny(line, "\r\n") {
			t.Errorf("quoted-printable line %q", line)
		}
	}
}

func TestNoticeInHTMLThatWouldNotShowItGetsAPartOfItsOwn(t *testing.T) {
	for _, s := range []string{
		"<p>Hi <!-- open", "<p>Hi<style>p {}", "<p>Hi <a href='", "<title>x<p>Hi</body></html>", "<textarea>", "<p>Hi <b", "<p>Hi <!-- </body></html>",
	} {
		for _, encoding := range []string{"7bit", "quoted-printable", "base64"} {
			m := open(t, letter(group("mixed", textIn(t, "html", "utf-8", encoding, s), named("a.pdf"))))
			if next, own := m.taking(); !own {
				t.Errorf("%q (%s) took the notice:\n%s", s, encoding, next.body)
			}
		}
	}
}

func TestQuotedPrintableAroundTheNotice(t *testing.T) {
	full := strings.Repeat("x", 75) // with a = behind it, the longest line
	for _, c := range []struct{ subtype, raw, before, after string }{
		{"html", "<p>Hi<=\n/body>", "<p>Hi", "</body>"},
		{"html", "<p>Hi</bo=\ndy></ht=\nml>", "<p>Hi", "</body></html>"},
		{"html", "<p>Hi=3C/body=3E", "<p>Hi", "</body>"},
		{"html", full + "=\n</body>", full, "</body>"},
		{"html", full[1:] + "<=\n/body>", full[1:], "</body>"},
		{"html", "<p>Hi =\n</body>=\n", "<p>Hi ", "</body>"},
		{"html", "<p>Hi=20\n</body>", "<p>Hi \n", "</body>"},
		{"html", "<p>Hi=", "<p>Hi", ""},
		{"html", "<p>Hi=\n", "<p>Hi", ""},
		{"plain", "Hi=", "Hi", ""},
		{"plain", "Hi=\n", "Hi", ""},
		{"plain", "Hi\n", "Hi\n", ""},
		{"plain", full + "=", full, ""},
		{"plain", "Hi=3D", "Hi=", ""},
		{"plain", "Hi=20", "Hi ", ""},
		{"plain", "", "", ""},
		{"plain", "=\n", "", ""},
	} {
		for _, eol := range []string{"\r\n", "\n"} {
			part := piece(c.raw, "Content-Type: text/"+c.subtype+"; charset=utf-8", "Content-Transfer-Encoding: quoted-printable")
			m := open(t, strings.ReplaceAll(letter(group("mixed", part, named("a.pdf"))), "\r\n", eol))
			next, own := m.taking()
			if own {
				t.Fatalf("%q: a part of its own", c.raw)
			}
			p, block := next.bodies.Text, noticeOf(m.part("application/pdf")).Text()
			if c.subtype == "html" {
				p, block = next.bodies.HTML, noticeOf(m.part("application/pdf")).HTML()
			}
			got := next.foreign(p)
			head, tail, found := strings.Cut(got, strings.Join(block, "\n"))
			if !found || strings.TrimRight(head, "\n") != strings.TrimRight(c.before, "\n") || strings.Trim(tail, "\n") != c.after {
				t.Errorf("%q became %q", c.raw, got)
			}
			if c.after != "" && (head != c.before || tail != c.after) {
				t.Errorf("%q: line breaks around the notice are not soft: %q", c.raw, got)
			}
			if c.subtype == "plain" && c.before != "" && !strings.HasSuffix(head, "\n\n") {
				t.Errorf("%q: no empty line before the notice: %q", c.raw, head)
			}
			checkQPLines(t, encoded(next.body, p), eol)
		}
	}
}

func TestTextsThatCannotTakeTheNoticeGetAPartOfItsOwn(t *testing.T) {
	for name, entity := range map[string]string{
		"utf-16":             piece("AEgAaQ==", "Content-Type: text/plain; charset=utf-16", "Content-Transfer-Encoding: base64"),
		"utf-16le":           piece("SABpAA==", "Content-Type: text/html; charset=utf-16le", "Content-Transfer-Encoding: base64"),
		"utf-16be":           piece("AEgAaQ==", "Content-Type: text/plain; charset=UTF-16BE", "Content-Transfer-Encoding: base64"),
		"utf-32le":           piece("SAAAAA==", "Content-Type: text/html; charset=utf-32le", "Content-Transfer-Encoding: base64"),
		"iso-2022-jp-2":      piece("\x1b$B$3\x1b(B", "Content-Type: text/html; charset=iso-2022-jp-2"),
		"EBCDIC":             piece("yIk=", "Content-Type: text/plain; charset=ibm037", "Content-Transfer-Encoding: base64"),
		"iso-2022-cn":        piece("\x1b$)A\x0e=;\x0f", "Content-Type: text/plain; charset=iso-2022-cn"),
		"utf-32":             piece("AAAASA==", "Content-Type: text/plain; charset=utf-32", "Content-Transfer-Encoding: base64"),
		"utf-7":              piece("Hi +AOQ-", "Content-Type: text/plain; charset=utf-7"),
		"iso-2022-jp":        piece("\x1b$B$3\x1b(B", "Content-Type: text/plain; charset=iso-2022-jp"),
		"iso-2022-kr":        piece("\x1b$)C\x0e0!\x0f", "Content-Type: text/plain; charset=iso-2022-kr"),
		"hz-gb-2312":         piece("~{VP~}", "Content-Type: text/plain; charset=hz-gb-2312"),
		"unknown charset":    piece("Hi", "Content-Type: text/plain; charset=x-unknown"),
		"unknown-8bit":       piece("H\xfc", "Content-Type: text/plain; charset=unknown-8bit", "Content-Transfer-Encoding: 8bit"),
		"unknown encoding":   piece("Hi", "Content-Type: text/plain", "Content-Transfer-Encoding: x-zip"),
		"broken base64":      piece("SGk!", "Content-Type: text/plain", "Content-Transfer-Encoding: base64"),
		"broken QP":          piece("H=zz", "Content-Type: text/html", "Content-Transfer-Encoding: quoted-printable"),
		"checksum":           piece("Hi", "Content-Type: text/plain", "Content-MD5: wXZ+ofjgTPoS4MXOy+LPrQ=="),
		"length":             piece("Hi", "Content-Type: text/html", "Content-Length: 2"),
		"one of two":         group("alternative", plain("Hi"), piece("AEgAaQ==", "Content-Type: text/html; charset=utf-16", "Content-Transfer-Encoding: base64")),
		"the other of two":   group("alternative", piece("AEgAaQ==", "Content-Type: text/plain; charset=utf-16", "Content-Transfer-Encoding: base64"), markup("<p>")),
		"nothing to read":    file("b.bin"),
		"large HTML":         markup(strings.Repeat("x", maxBodyText+1)),
		"large base64 text":  piece(strings.Repeat(strings.Repeat("QUJD", 19)+"\n", maxBodyText/57+1)+"QQ==", "Content-Type: text/plain", "Content-Transfer-Encoding: base64"),
		"mostly white space": piece("QUJD"+strings.Repeat("\n", 4*maxBodyText), "Content-Type: text/plain", "Content-Transfer-Encoding: base64"),
	} {
		m := open(t, letter(group("mixed", entity, named("a.pdf"))))
		if m.tree.Opaque != "" {
			t.Fatalf("%s: opaque: %s", name, m.tree.Opaque)
		}
		if next, own := m.taking(); !own || !strings.HasSuffix(outline(next.tree.Root), " alternative(plain html))") {
			t.Errorf("%s: structure %s", name, outline(next.tree.Root))
		}
	}
}

func TestNamesThatTheTextCannotHold(t *testing.T) {
	const name = "Übersicht.pdf"
	for _, c := range []struct{ charset, encoding string }{
		{"us-ascii", "7bit"}, {"", "7bit"}, {"utf-8", "7bit"}, {"us-ascii", "quoted-printable"}, {"us-ascii", "base64"}, {"", "8bit"}, {"koi8-r", "8bit"},
	} {
		text := textIn(t, "plain", c.charset, c.encoding, "Hi")
		m := open(t, letter(group("mixed", text, named(name))))
		next, own := m.taking()
		if !own {
			t.Errorf("%s %s alone took the notice", c.charset, c.encoding)
		}
		own2 := next.part("text/html")
		if !strings.Contains(content(t, next.body, own2), "&#220;bersicht.pdf") {
			t.Errorf("no name in %s", content(t, next.body, own2))
		}

		m = open(t, letter(group("mixed", group("alternative", text, markup("<p>Hi")), named(name))))
		next, own = m.taking()
		if own {
			t.Errorf("%s %s beside HTML: a part of its own", c.charset, c.encoding)
		}
		if got := next.foreign(next.bodies.Text); !strings.Contains(got, "\n* ?bersicht.pdf (") {
			t.Errorf("%s %s: text %q", c.charset, c.encoding, got)
		}
		if got := next.foreign(next.bodies.HTML); !strings.Contains(got, "&#220;bersicht.pdf") {
			t.Errorf("%s %s: HTML %q", c.charset, c.encoding, got)
		}
	}
}

func TestNothingBeyondASCIIEntersA7bitPart(t *testing.T) {
	for _, c := range []string{"7bit", "quoted-printable", "base64"} {
		m := open(t, letter(group("mixed", group("alternative", textIn(t, "plain", "utf-8", c, "Hi"), textIn(t, "html", "utf-8", c, "<p>Hi")), named("Ünï 報告.pdf"))))
		next, _ := m.taking()
		if !isASCII(string(next.body)) {
			t.Errorf("%s: bytes beyond ASCII in\n%s", c, next.body)
		}
	}
	m := open(t, letter(group("mixed", named("Ünï 報告.pdf"))))
	if next, own := m.taking(); !own || !isASCII(string(next.body)) {
		t.Errorf("bytes beyond ASCII in a part of our own:\n%s", next.body)
	}
}

// An empty text may have the delimiter right behind its header.
func TestNoticeInAnEmptyText(t *testing.T) {
	for _, encoding := range []string{"7bit", "8bit", "quoted-printable", "base64"} {
		for _, subtype := range []string{"plain", "html"} {
			for _, gap := range []string{"", "\n"} {
				raw := "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/" + subtype + "\nContent-Transfer-Encoding: " + encoding +
					"\n\n" + gap + "--b\n" + named("a.pdf") + "\n--b--\n"
				m := open(t, letter(raw))
				next, own := m.taking()
				if own || outline(next.tree.Root) != "mixed("+subtype+")" {
					t.Errorf("%s %s: structure %s\n%s", encoding, subtype, outline(next.tree.Root), next.body)
				}
				if got := next.foreign(next.tree.Root.Children[0]); !strings.Contains(got, noticeOf().URL) {
					t.Errorf("%s %s: %q", encoding, subtype, got)
				}
			}
		}
	}
}

func TestFlowedTextKeepsTheLinesOfTheNotice(t *testing.T) {
	for _, c := range []struct{ text, before, after string }{
		{"flowed \nlines", "flowed \nlines\n\n", ""},
		{"flowed \nlines\n", "flowed \nlines\n\n", ""},
		{"flowed \nlines ", "flowed \nlines \n\n\n", ""}, // the first empty line ends the paragraph
		{"flowed \nlines \n", "flowed \nlines \n\n\n", ""},
		{"> quoted \n> text", "> quoted \n> text\n\n", ""},
		{"a\n-- \nsignature", "a\n\n", "\n-- \nsignature"},
		{"a \n-- \nsignature", "a \n\n\n", "\n-- \nsignature"},
		{"a \n\n-- \nsignature", "a \n\n", "\n-- \nsignature"},
		{"-- \n", "", "\n-- \n"},
	} {
		for _, encoding := range []string{"7bit", "quoted-printable", "base64"} {
			for _, delsp := range []string{"", "; delsp=yes"} {
				part := textIn(t, "plain", "us-ascii; format=Flowed"+delsp, encoding, c.text)
				m := open(t, letter(group("mixed", part, named("From here .pdf"))))
				next, own := m.taking()
				if own {
					t.Fatal("a part of its own")
				}
				text := next.foreign(next.bodies.Text)
				notice, ok := strings.CutPrefix(text, c.before)
				notice, ok2 := strings.CutSuffix(notice, c.after)
				if !ok || !ok2 {
					t.Errorf("%s: %q became %q", encoding, c.text, text)
				}
				for line := range strings.SplitSeq(notice, "\n") {
					if strings.TrimSpace(line) != line || strings.HasPrefix(line, "From ") || strings.HasPrefix(line, ">") {
						t.Errorf("line %q", line)
					}
				}
			}
		}
	}
}

func TestReadErrorsAreReported(t *testing.T) {
	for _, encoding := range []string{"7bit", "quoted-printable", "base64"} {
		for _, subtype := range []string{"plain", "html"} {
			m := open(t, letter(group("mixed", textIn(t, subtype, "utf-8", encoding, "Hi"), named("a.pdf"))))
			p := m.part("application/pdf")
			_, err := Remove(m.tree, failingReader{}, m.bodies, []*Part{p}, noticeOf(p), seed)
			var cannot *CannotRewriteError
			if err == nil || errors.As(err, &cannot) || !strings.Contains(err.Error(), "disk gone") {
				t.Errorf("%s %s: error %v", subtype, encoding, err)
			}
			if err := p.DecodeTo(new(bytes.Buffer), failingReader{}); err == nil {
				t.Error("DecodeTo tells nothing")
			}
		}
	}
}
