package message

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// replies are answers as mail programs write them; the notice belongs where | stands.
var htmlReplies = map[string]string{
	"Gmail": `<div dir="ltr">Thanks, see attached.</div>|<br><div class="gmail_quote gmail_quote_container"><div dir="ltr" class="gmail_attr">On Mon, Mar 2, 2026 at 10:15 AM Bob &lt;<a href="mailto:bob@ext.test">bob@ext.test</a>&gt; wrote:<br></div>` +
		`<blockquote class="gmail_quote" style="margin:0px 0px 0px 0.8ex"><div>old<br>text</div></blockquote></div>` + "\n",
	"Gmail, empty answer":  `<div dir="ltr"><br></div>` + "\n" + `|<div class="gmail_quote"><blockquote class="gmail_quote">old</blockquote></div>`,
	"Gmail, answer inside": `<div>Hi</div>|<div class="gmail_quote">On … wrote:<blockquote class="gmail_quote">old</blockquote><div>my answer</div></div>`,
	"Outlook for Windows": `<html lang="DE"><head><style>p.MsoNormal{margin:0}</style></head><body lang=DE link="#0563C1"><div class=WordSection1><p class=MsoNormal>See attached<o:p></o:p></p><p class=MsoNormal><o:p>&nbsp;</o:p></p>` +
		"|<div>\r\n<div style='border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'><p class=MsoNormal><b>Von:</b> Bob<br><b>Gesendet:</b> Montag</p></div></div><p class=MsoNormal>old</p></div></body></html>",
	"Outlook on the web": `<html><head><meta http-equiv="Content-Type" content="text/html"></head><body dir="ltr"><div class="elementToProof">See attached</div>` +
		`|<div id="appendonsend"></div><hr style="display:inline-block;width:98%" tabindex="-1"><div id="divRplyFwdMsg" dir="ltr"><b>From:</b> Bob</div><div>old</div></body></html>`,
	"Outlook on the web, older":               `<body><div>See attached</div>|<hr tabindex="-1" style="display:inline-block; width:98%"><div id="divRplyFwdMsg"><b>From:</b> Bob</div><div>old</div></body>`,
	"Apple Mail":                              `<html><body style="overflow-wrap: break-word;">See attached|<div><br><blockquote type="cite"><div>On 2 Mar 2026, at 10:15, Bob wrote:</div><br><div>old</div></blockquote></div><br></body></html>`,
	"Thunderbird":                             `<html><head></head><body><p>See attached</p>|<div class="moz-cite-prefix">On 02/03/2026 10:15, Bob wrote:<br></div><blockquote type="cite" cite="mid:1@ext.test"><p>old</p></blockquote></body></html>`,
	"Thunderbird, answer below":               `<html><body><div class="moz-cite-prefix">On 02/03/2026 10:15, Bob wrote:<br></div><blockquote type="cite"><p>old</p></blockquote><p>See attached</p>|</body></html>`,
	"answers between":                         `<body><blockquote type="cite">old</blockquote>yes<blockquote type="cite">more</blockquote>no|</body>`,
	"answers between, the last quote without": `<body><blockquote type="cite">old</blockquote>yes|<blockquote type="cite">more</blockquote> &nbsp; </body>`,
	"two quotes at the end":                   `<body>yes|<blockquote type="cite">more</blockquote>` + "\n" + `<blockquote type="cite">old</blockquote></body>`,
	"Yahoo":                                   `<body><div class="ydpyahoo-style-wrap">Hi</div>|<div id="yahoo_quoted_1" class="ydp1yahoo_quoted"><div>On Monday wrote: old</div></div></body>`,
	"Proton":                                  `Hi|<br><div class="protonmail_quote">On Monday wrote:<blockquote class="protonmail_quote" type="cite">old</blockquote></div>`,
	"forwarded by Thunderbird":                `<body>Hi|<div class="moz-forward-container"><br>-------- Forwarded Message --------<table><tr><td>Subject:</td></tr></table></div></body>`,
	"forwarded by Gmail":                      `<div dir="ltr">Hi|<br><br><div class="gmail_quote"><div class="gmail_attr">---------- Forwarded message ---------</div>old</div></div>`,
	"Hotmail":                                 `<body><div>Hi</div>|<hr id="stopSpelling">From: b<br>old</body>`,
	"several parents":                         `<body><div><center><div>Hi</div>|<div class="gmail_quote">old</div></center></div></body>`,
	"unclosed paragraph":                      `<body><p>Hi|<div class="gmail_quote">old</div></body>`,
	"blank line above":                        `<body>Hi|<br><br><div><br><blockquote type="cite">old</blockquote></div></body>`,
	// Not certain: the notice goes to the end.
	"quote in a table":                  `<body><table><tr><td>Hi<div class="gmail_quote">old</div></td></tr></table>|</body>`,
	"quote in a link":                   `<body><a href="x">Hi<div class="gmail_quote">old</div></a>|</body>`,
	"hidden quote":                      `<body>Hi<div style="Display: None"><div class="gmail_quote">old</div></div>|</body>`,
	"hidden by an attribute":            `<body>Hi<div hidden><div class="gmail_quote">old</div></div>|</body>`,
	"mark in a comment":                 `<body>Hi<!-- <div class="gmail_quote"> --> there|</body>`,
	"mark in an attribute":              `<body>Hi<img alt='<div class="gmail_quote">'> there|</body>`,
	"mark in a style":                   `<head><style>.gmail_quote{} <div class="gmail_quote"></style></head><body>Hi there|</body>`,
	"mark in a script":                  `<body><script>"<div class='gmail_quote'>"</script>Hi there|</body>`,
	"mark for Outlook alone":            `<body>Hi<![if mso]><div class="gmail_quote">old</div><![endif]>|</body>`,
	"mark for Outlook, in a comment":    `<body>Hi<!--[if mso]><div class="gmail_quote"><![endif]-->|</body>`,
	"another class":                     `<body>Hi<div class="my_gmail_quote_style">text</div>|</body>`,
	"a line in a design":                `<body>Hi<div style="border-top:1px solid #E1E1E1">text</div>|</body>`,
	"a citation":                        `<body>Hi<blockquote>to be or not to be</blockquote>|</body>`,
	"our notice, quoted":                `<body>Hi|<br><blockquote type="cite">old<table role="presentation"><tr><td><a href="https://files.acmecorp.test/d/AAAAAAAAAAAAAAAAAAAAAA">https://files.acmecorp.test/d/AAAAAAAAAAAAAAAAAAAAAA</a></td></tr></table></blockquote></body>`,
	"our notice, not marked as a quote": `<body>Hi<p>From: Bob</p>old<table role="presentation"><tr><td>https://files.acmecorp.test/d/AAAAAAAAAAAAAAAAAAAAAA</td></tr></table>|</body>`,
}

func TestNoticeIsAboveTheHistoryInHTML(t *testing.T) {
	for name, c := range htmlReplies {
		before, after, ok := strings.Cut(c, "|")
		if !ok {
			t.Fatal(name)
		}
		for _, encoding := range []string{"8bit", "quoted-printable", "base64"} {
			m := open(t, letter(group("mixed", textIn(t, "html", "utf-8", encoding, strings.ReplaceAll(before+after, "\r\n", "\n")), named("a.pdf"))))
			next, own := m.taking()
			if own {
				t.Errorf("%s (%s): a part of its own", name, encoding)
				continue
			}
			got := next.foreign(next.bodies.HTML)
			head, tail, found := strings.Cut(got, `<table role="presentation" width="100%"`)
			_, tail, found2 := strings.Cut(tail, "</table></td></tr></table>")
			if !found || !found2 || trimBreaks(head, before) != strings.ReplaceAll(before, "\r\n", "\n") || trimBreaks(tail, after) != strings.ReplaceAll(after, "\r\n", "\n") {
				t.Errorf("%s (%s): %s became\n%s|%s", name, encoding, c, head, tail)
			}
		}
	}
}

func TestNoticeBehindAnElementThatHidesItGetsAPartOfItsOwn(t *testing.T) {
	for _, s := range []string{
		`<body>Hi<div style="display:none">x</body>`, `<body>Hi<template>x</body>`, `<body>Hi<select><option>x</body>`, `Hi<details>x`, `Hi<div style="visibility: hidden">x`,
		`<html><frameset><frame src=x>`, `Hi<object>x</html>`,
	} {
		m := open(t, letter(group("mixed", markup(s), named("a.pdf"))))
		if next, own := m.taking(); !own {
			t.Errorf("%q took the notice:\n%s", s, next.body)
		}
	}
	for _, s := range []string{`<body>Hi<div style="display:none">x</div></body>`, `<body>Hi<details open>x</body>`, `<p><span style="display:none">x</p>Hi`} {
		m := open(t, letter(group("mixed", markup(s), named("a.pdf"))))
		if next, own := m.taking(); own {
			t.Errorf("%q did not take the notice:\n%s", s, next.body)
		}
	}
}

var plainReplies = map[string]string{
	"quoted":                     "See attached.\n\n|On Mon, 2 Mar 2026 at 10:15, Bob <bob@ext.test> wrote:\n> old\n> text\n>> older\n",
	"quoted, wrapped":            "See attached.\n\n|On Mon, Mar 2, 2026 at 10:15 AM Bob Baker the Third\n<bob2026@ext.test> wrote:\n\n> old\n\n> text\n\n",
	"quoted, answer right above": "Hi\n|Am 02.03.2026 um 10:15 schrieb Bob:\n> old",
	"quoted, no answer":          "|On Mon, 2 Mar 2026, Bob wrote:\n> old\n",
	"no date":                    "Hi\n\nBob wrote:\n> old\n|",
	"no attribution":             "Hi\n\n> old\n|",
	"answer below":               "On Mon, 2 Mar 2026, Bob wrote:\n> old\n\nSee attached\n|",
	"answers between":            "On Mon, 2 Mar 2026, Bob wrote:\n> old\nyes\n> more\nno\n> end\n|",
	"quote of a quote":           "> On Mon, 2 Mar 2026, Bob wrote:\n> > old\n|",
	"Outlook":                    "Hi\n\n|-----Original Message-----\nFrom: Bob\nSent: Monday\nTo: Alice\nSubject: x\n\nold\n",
	"Outlook in German":          "Hi\n\n|-----Ursprüngliche Nachricht-----\nVon: Bob\nGesendet: Montag\nAn: Alice\nBetreff: x\n\nold\n",
	"Outlook in French":          "Hi\n|________________________________\nDe : Bob\nEnvoyé : lundi\nÀ : Alice\nObjet : x\n\nold\n",
	"forwarded by Gmail":         "Hi\n\n|---------- Forwarded message ---------\nFrom: Bob <bob@ext.test>\nDate: Mon\nSubject: x\nTo: Alice\n\nold\n",
	"a rule in the text":         "Hi\n--------------------\nFrom: here on\nit is quiet\n-----Part two-----\nmore\n|",
	"signature":                  "See attached.\n\n|-- \nBob Baker\nExt Ltd\n",
	"signature at once":          "See attached.\n|-- \nBob Baker",
	"nothing but a signature":    "|-- \nBob Baker",
	"signature without a blank":  "See attached.\n--\nBob\n|",
	"two signatures":             "See attached.\n-- \nBob\n-- \nlist\n|",
	"long signature":             "See attached.\n-- \n" + strings.Repeat("line\n", maxSignature+1) + "|",
	"signature above the quote":  "See attached.\n\n|-- \nBob\n\nOn Mon, 2 Mar 2026, Bob wrote:\n> old\n> -- \n> Bob\n",
	"signature below the quote":  "On Mon, 2 Mar 2026, Bob wrote:\n> old\n> -- \n> Ann\nSee attached\n\n|-- \nBob\n",
	"our notice, quoted":         "Thanks\n\n|On Mon, 2 Mar 2026, Bob wrote:\n> 1 attachment of this message is kept at files.acmecorp.test:\n> https://files.acmecorp.test/d/AAAAAAAAAAAAAAAAAAAAAA\n",
	"one line":                   "Hi|",
}

func TestNoticeIsAboveTheHistoryAndTheSignatureInPlainText(t *testing.T) {
	for name, c := range plainReplies {
		before, after, ok := strings.Cut(c, "|")
		if !ok {
			t.Fatal(name)
		}
		for _, encoding := range []string{"8bit", "quoted-printable", "base64"} {
			for _, eol := range []string{"\r\n", "\n"} {
				m := open(t, strings.ReplaceAll(letter(group("mixed", textIn(t, "plain", "utf-8", encoding, before+after), named("a.pdf"))), "\r\n", eol))
				want := before
				switch {
				case want == "":
				case !strings.HasSuffix(want, "\n"):
					want += "\n\n"
				case after == "" || !strings.HasSuffix(want, "\n\n"):
					want += "\n"
				}
				want += strings.Join(noticeOf(m.part("application/pdf")).Text(), "\n") + "\n"
				if after != "" {
					want += "\n" + after
				}
				next, own := m.taking()
				if got := next.foreign(next.bodies.Text); own || got != want {
					t.Errorf("%s (%s, %q): text is\n%s\nwant\n%s", name, encoding, eol, got, want)
				}
				if encoding == "quoted-printable" {
					checkQPLines(t, encoded(next.body, next.bodies.Text), eol)
				}
			}
		}
	}
}

// A line end may itself be encoded, or lie behind a soft line break.
func TestPlaceInQuotedPrintableThatIsNotInLines(t *testing.T) {
	for raw, want := range map[string]string{
		"Hi=0D=0A-- =0D=0ABob":       "Hi\n\n%\n-- \nBob",
		"Hi\r\n=\r\n-- =\r\n\r\nBob": "Hi\n\n%\n-- \nBob",
		"Hi\r\n-=\r\n-=20\r\nBob":    "Hi\n\n%\n-- \nBob",
		"=2D-=20\r\nBob":             "%\n-- \nBob",
	} {
		m := open(t, letter(group("mixed", piece(strings.ReplaceAll(raw, "\r\n", "\n"), "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable"), named("a.pdf"))))
		want = strings.Replace(want, "%", strings.Join(noticeOf(m.part("application/pdf")).Text(), "\n")+"\n", 1)
		next, own := m.taking()
		if got := next.foreign(next.bodies.Text); own || got != want {
			t.Errorf("%q: text is\n%s\nwant\n%s", raw, got, want)
		}
		checkQPLines(t, encoded(next.body, next.bodies.Text), "\r\n")
	}
}

func TestLanguageAndDirectionOfADocument(t *testing.T) {
	windows1255 := "\xf9\xec\xe5\xed" // shalom
	for _, c := range []struct {
		charset, text, lang string
		rtl                 bool
	}{
		{"utf-8", `<p>Hello`, "", false},
		{"utf-8", `<html lang="de-AT"><body lang=EN-US>Hallo`, "de-AT", false},
		{"utf-8", `<html xmlns="x"><body lang=DE>Hallo`, "DE", false},
		{"utf-8", `<html dir="RTL"><body>Hello`, "", true},
		{"utf-8", `<html><body dir=rtl>Hello`, "", true},
		{"utf-8", `<html><body dir="ltr">שלום`, "", false},
		{"utf-8", `<div dir="rtl">שלום, see the plan`, "", false},
		{"utf-8", `<div>שלום לכולם, see it`, "", true},
		{"utf-8", `<p>سلام`, "", true},
		{"utf-8", `<p>&#1513;&#1500;`, "", true},
		{"windows-1255", "<p>" + windows1255, "", true},
		{"iso-8859-1", "<p>" + windows1255, "", false},
		{"utf-8", `<title>שלוםשלום</title><style>שלוםשלום</style><p>hello`, "", false},
		{"utf-8", `<p>hello<div class="gmail_quote">שלום לכולם`, "", false},
		{"utf-8", `<p>報告`, "", false},
	} {
		cs, _ := LookupCharset(c.charset)
		if p := readPage([]byte(c.text), cs); p.lang != c.lang || p.rtl != c.rtl {
			t.Errorf("%s: language %q, from right to left %v", c.text, p.lang, p.rtl)
		}
	}
}

func TestQuotedLinks(t *testing.T) {
	const page = "https://files.acmecorp.test/d/"
	a, b, c := strings.Repeat("a", 22), strings.Repeat("B", 20)+"-_", strings.Repeat("9", 22)
	text := "see\n> " + page + a + "\n> " + page + a + "." + page + "short\n" + page + b + "x\n" + page
	safe := `<a href="https://safe.ext.test/?url=https%3A%2F%2Ffiles.acmecorp.test%2Fd%2F` + b + `&amp;data=1">x</a> <a href="` + page + c + `">`
	for _, encoding := range []string{"7bit", "quoted-printable", "base64"} {
		m := open(t, letter(group("alternative", textIn(t, "plain", "us-ascii", encoding, text), textIn(t, "html", "us-ascii", encoding, safe))))
		got := m.bodies.QuotedLinks(strings.NewReader(string(m.body)), page, 22)
		if want := []string{a, c, b}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", encoding, got, want)
		}
	}
	m := open(t, letter(textIn(t, "plain", "utf-16le", "base64", text)))
	if got := m.bodies.QuotedLinks(strings.NewReader(string(m.body)), page, 22); len(got) != 1 || got[0] != a {
		t.Errorf("UTF-16: %q", got)
	}
	var many strings.Builder
	for i := range 2 * maxQuotedLinks {
		fmt.Fprintf(&many, "%s%022d\n", page, i)
	}
	m = open(t, letter(plain(many.String())))
	if got := m.bodies.QuotedLinks(strings.NewReader(string(m.body)), page, 22); len(got) != maxQuotedLinks {
		t.Errorf("%d links", len(got))
	}
}

// FuzzPlace puts the notice into any text, and fails unless the rest is what it
// was and a browser shows the link.
func FuzzPlace(f *testing.F) {
	for _, replies := range []map[string]string{htmlReplies, plainReplies} {
		for _, s := range replies {
			for kind := range uint8(3) {
				f.Add([]byte(strings.Replace(s, "|", "", 1)), kind<<2)
				f.Add([]byte(strings.Replace(s, "|", "", 1)), kind<<2|1)
			}
		}
	}
	charsets := []string{"utf-8", "windows-1252", "shift_jis", "gb18030"}
	f.Fuzz(func(t *testing.T, text []byte, kind uint8) {
		subtype, charset := "plain", charsets[kind>>5&3]
		if kind&1 != 0 {
			subtype = "html"
		}
		flowed := ""
		if kind&2 != 0 {
			flowed = "; format=flowed"
		}
		encoding, body := "8bit", string(text)
		switch kind >> 2 & 3 {
		case 1:
			encoding, body = "quoted-printable", encodeQP(body, "\r\n")
		case 2:
			encoding, body = "base64", string(encodeBase64(text, "\r\n"))
		}
		if len(text) > 32<<10 || strings.Contains(body, "--=_place") || strings.Contains(body, "files.acmecorp.test") {
			return
		}
		m := open(t, "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_place\"\r\n\r\n--=_place\r\nContent-Type: text/"+subtype+"; charset="+charset+flowed+
			"\r\nContent-Transfer-Encoding: "+encoding+"\r\n\r\n"+body+"\r\n--=_place\r\n"+crlf(named("a.pdf"))+"\r\n--=_place--\r\n")
		if m.tree.Opaque != "" || m.alone != "" {
			return
		}
		next, own := m.taking()
		if own {
			return
		}
		old, p, block := content(t, m.body, m.tree.Root.Children[0]), next.bodies.Text, ""
		if subtype == "html" {
			p = next.bodies.HTML
			rtl := readPage([]byte(old), charsetOf(p)).rtl
			block = strings.Join(noticeOf(m.part("application/pdf")).html(builtinTexts()["en"], rtl), "\r\n")
		} else {
			block = strings.Join(noticeOf(m.part("application/pdf")).Text(), "\r\n")
		}
		now := content(t, next.body, p)
		head, tail, found := strings.Cut(now, block)
		if !found || !isRest(old, head, tail) {
			t.Fatalf("%q became\n%q", old, now)
		}
		if subtype == "html" && !showsLink(t, charsetOf(p).Decode([]byte(now))) {
			t.Fatalf("nobody sees the link in\n%q", now)
		}
	})
}

func charsetOf(p *Part) Charset {
	cs, _ := LookupCharset(p.Type.Get("charset"))
	return cs
}

// isRest tells whether head and tail are old, but for the line breaks that
// stand around a notice.
func isRest(old, head, tail string) bool {
	for range 4 {
		rest := tail
		for range 3 {
			if head+rest == old {
				return true
			}
			rest = strings.TrimPrefix(rest, "\r\n")
		}
		head = strings.TrimSuffix(head, "\r\n")
	}
	return false
}

// showsLink tells whether a browser shows the link of noticeOf.
func showsLink(t *testing.T, document string) bool {
	t.Helper()
	root, err := html.Parse(strings.NewReader(document))
	if err != nil {
		return true // nested beyond what this parser takes
	}
	url := noticeOf().URL
	for n := range root.Descendants() {
		if n.DataAtom != atom.A || n.FirstChild == nil || n.FirstChild.Data != url {
			continue
		}
		shown := true
		for a := n.Parent; a != nil; a = a.Parent {
			if hides(a.DataAtom) && !hasAttribute(a, "open") || isRaw(a.DataAtom) || hasAttribute(a, "hidden") || hasHidingStyle(a) {
				shown = false
			}
		}
		if shown {
			return true
		}
	}
	return false
}

func hasAttribute(n *html.Node, key string) bool {
	for _, a := range n.Attr {
		if a.Key == key {
			return true
		}
	}
	return false
}

func hasHidingStyle(n *html.Node) bool {
	for _, a := range n.Attr {
		if a.Key == "style" && isHiddenStyle(appendSqueezed(nil, []byte(a.Val))) {
			return true
		}
	}
	return false
}
