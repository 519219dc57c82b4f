package message

import (
	"bytes"
	htmltemplate "html/template"
	"strings"
	"testing"
	texttemplate "text/template"
	"time"
)

func mustWording(t *testing.T, o WordingOptions) *Wording {
	t.Helper()
	w, err := NewWording(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestLanguageOfTheNoticeIsThatOfTheMail(t *testing.T) {
	brazilian, err := ParseTexts("pt-BR", []byte("available_always: Sempre."))
	if err != nil {
		t.Fatal(err)
	}
	chinese, err := ParseTexts("zh-Hant", []byte("available_always: 永遠"))
	if err != nil {
		t.Fatal(err)
	}
	auto := mustWording(t, WordingOptions{Texts: []*Texts{brazilian, chinese}})
	german := mustWording(t, WordingOptions{Fallback: "de"})
	fixed := mustWording(t, WordingOptions{Language: "de"})
	for _, c := range []struct {
		wording        *Wording
		header, markup string
		want           string
	}{
		{nil, "de", "<html lang=de>", "en"},
		{auto, "", "<p>", "en"},
		{auto, "de", "<html lang=en>", "de"},
		{auto, "de-AT", "<p>", "de"},
		{auto, "DE-de", "<p>", "de"},
		{auto, "ja, de, en", "<p>", "de"},
		{auto, "ja", "<html lang=de>", "de"},
		{auto, "", "<html lang=de-CH><body lang=EN-US>", "de"},
		{auto, "", "<html><body lang=DE>", "de"},
		{auto, "en-GB", "<html lang=de>", "en"},
		{auto, "pt-br", "<p>", "pt-BR"},
		{auto, "nl", "<p>", "en"}, // which the Dutch understand, but it is not theirs
		{auto, "zh-TW", "<p>", "zh-Hant"},
		{auto, "zh-CN", "<p>", "en"},
		{auto, "?!", "<html lang='%%%'>", "en"},
		{auto, strings.Repeat("ja,", 50) + "de", "<p>", "en"},
		{german, "", "<p>", "de"},
		{german, "en", "<p>", "en"},
		{fixed, "en", "<html lang=en>", "de"},
	} {
		header := ""
		if c.header != "" {
			header = "Content-Language: " + c.header + "\r\n"
		}
		m := open(t, header+letter(group("mixed", group("alternative", plain("t"), markup(c.markup+"text")), named("a.pdf"))))
		n := noticeOf(m.part("application/pdf"))
		n.Wording = c.wording
		rw, err := Remove(m.tree, bytes.NewReader(m.body), m.bodies, m.parts("application/pdf"), n, seed)
		if err != nil {
			t.Fatal(err)
		}
		next := m.apply(rw)
		got := content(t, next.body, next.bodies.HTML)
		if !strings.Contains(got, ` lang="`+c.want+`" dir=`) {
			t.Errorf("Content-Language %q and %q: not %s:\n%s", c.header, c.markup, c.want, got)
		}
		text := content(t, next.body, next.bodies.Text)
		if inGerman := strings.Contains(text, "Anlage"); inGerman != (c.want == "de") {
			t.Errorf("Content-Language %q and %q: text is\n%s", c.header, c.markup, text)
		}
	}
}

func TestWordingThatCannotBeIsRefused(t *testing.T) {
	for want, o := range map[string]WordingOptions{
		`"english please" is not the name`:             {Language: "english please"},
		`there are no texts for "fr", only for de, en`: {Language: "fr"},
		`there are no texts for "ja"`:                  {Fallback: "ja"},
	} {
		if _, err := NewWording(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestTimesAreInTheChosenZone(t *testing.T) {
	n := typicalNotice(1)
	n.Expires = time.Date(2026, 3, 1, 23, 30, 0, 0, time.UTC)
	n.Wording = mustWording(t, WordingOptions{Zone: time.FixedZone("CET", 3600)})
	if got := strings.Join(n.Text(), "\n"); !strings.HasSuffix(got, "Available until 2 March 2026, 00:30 CET.") {
		t.Error(got)
	}
}

const (
	goodHTML = `<table dir="{{.BodyDir}}"><tr><td><h3 dir="{{.Dir}}" lang="{{.Language}}">{{.Heading}}</h3>
{{range .Files}}<p><img src="https://www.acmecorp.example/file.png" alt=""><b>{{.Name}}</b>, {{.Size}}<br>{{.SHA256}}</p>{{end}}
<!-- the link --><a href="{{.URL}}">{{.URL}}</a><br>{{.Expiry}}{{if not .Expires.IsZero}} ({{.Expires.Year}}){{end}}</td></tr></table>
`
	goodText = "{{.Heading}}   \n{{range .Files}}\n> {{.Name}} ({{.Bytes}})\n  {{.SHA256}}\n{{end}}\r\nFrom {{.Site}}: {{.URL}}\n{{.Expiry}}\n\n"
)

func TestTemplatesOfAnAdmin(t *testing.T) {
	w := mustWording(t, WordingOptions{HTML: htmltemplate.Must(htmltemplate.New("").Parse(goodHTML)), Text: texttemplate.Must(texttemplate.New("").Parse(goodText))})
	for _, name := range append(hostileNames, strings.Repeat("長い名前", 40)+".pdf") {
		m := open(t, letter(group("mixed", group("alternative", piece("text", "Content-Type: text/plain; charset=utf-8; format=flowed", "Content-Transfer-Encoding: 8bit"), markup("<p>text")), named("a.pdf"))))
		n := noticeOf(m.part("application/pdf"))
		n.Wording, n.Files[0].Name = w, CleanName(name)
		rw, err := Remove(m.tree, bytes.NewReader(m.body), m.bodies, m.parts("application/pdf"), n, seed)
		if err != nil {
			t.Fatal(err)
		}
		next := m.apply(rw)
		m.checkSplices(rw)
		checkReaders(next)
		label := n.Files[0].label(builtinTexts()["en"])
		text := content(t, next.body, next.bodies.Text)
		want := "text\r\n\r\n1 attachment of this message is kept at files.acmecorp.test:\r\n\r\n >" // a line that would be a quote is stuffed
		if !strings.HasPrefix(text, want+" "+label+" (5)\r\n   ") || !strings.HasSuffix(text, "\r\n From files.acmecorp.test: "+n.URL+"\r\nAvailable until 24 December 2026, 18:30 UTC.\r\n") {
			t.Errorf("%q: text is\n%s", name, text)
		}
		got := content(t, next.body, next.bodies.HTML)
		shown, err := checkFragment(got[len("<p>text"):])
		if err != nil || !strings.Contains(shown, label+", 5 bytes") || !strings.Contains(shown, "UTC. (2026)") || !isASCII(got) {
			t.Errorf("%q: %v in\n%s", name, err, got)
		}
	}
}

func TestTemplatesThatHideWhatAReaderNeedsAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"no link":             {`<a href="{{.URL}}">{{.URL}}</a>`, "", "the link does not stand in it"},
		"link only in href":   {`">{{.URL}}</a>`, `">click here</a>`, "the link does not stand in it"},
		"no name":             {"{{.Name}}", "", "does not stand in it: write {{range .Files}}"},
		"no hash":             {"{{.SHA256}}", "", "does not stand in it"},
		"only one file":       {"{{range .Files}}", "{{range (slice .Files 0 1)}}", "does not stand in it"},
		"unknown field":       {"{{.Expiry}}", "{{.Expired}}", "can't evaluate field Expired"},
		"not closed":          {"</table>", "", "<table> is not closed"},
		"closed twice":        {"</table>", "</table></div>", "</div> does not close"},
		"crossed":             {"<b>", "<i><b></i>", "</i> does not close"},
		"a document":          {"<table", "<!DOCTYPE html><table", "document type"},
		"body":                {"<table", "<body><table", "<body>, which does not belong"},
		"style sheet":         {"<table", "<style>p{}</style><table", "<style>, which does not belong"},
		"script":              {"<table", "<script>1</script><table", "<script>, which does not belong"},
		"script, self-closed": {"<table", "<script/><table", "ends in a non-text context"},
		"a frame":             {"<table", "<iframe/><table", "<iframe/>, which does not belong"},
		"a long tag":          {`alt=""`, `alt="` + strings.Repeat("x", 1000) + `"`, "it has a tag of"},
		"a control character": {"<b>", "\x1b<b>", "U+001B"},
		"much":                {"<b>", strings.Repeat("<br>", maxCustom) + "<b>", "larger than"},
	} {
		if !strings.Contains(goodHTML, c.from) {
			t.Fatal(name)
		}
		tmpl, err := htmltemplate.New("").Parse(strings.Replace(goodHTML, c.from, c.to, 1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = NewWording(WordingOptions{HTML: tmpl}); err == nil || !strings.HasPrefix(err.Error(), "HTML template, in language ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"no link":             {"{{.URL}}", "", "the link does not stand in it"},
		"no name":             {"{{.Name}}", "", "does not stand in it"},
		"a long line":         {"{{.Heading}}", strings.Repeat("x", 999), "a line of 999 bytes"},
		"a control character": {"{{.Heading}}", "\x00", "U+0000"},
		"no end":              {"{{.Heading}}", "{{range 100000000}}x{{end}}", "larger than"},
	} {
		tmpl := texttemplate.Must(texttemplate.New("").Parse(strings.Replace(goodText, c.from, c.to, 1)))
		if _, err := NewWording(WordingOptions{Text: tmpl}); err == nil || !strings.HasPrefix(err.Error(), "text template, in language ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// A template may be right for the examples and wrong for a mail.
func TestTemplateThatFailsForAMailIsNotUsed(t *testing.T) {
	w := mustWording(t, WordingOptions{
		HTML: htmltemplate.Must(htmltemplate.New("").Parse(`{{if lt (len .Files) 5}}` + goodHTML + `{{end}}`)),
		Text: texttemplate.Must(texttemplate.New("").Parse(`{{if lt (len .Files) 5}}` + goodText + `{{else}}{{index .Files 7}}{{end}}`)),
	})
	n := typicalNotice(5)
	builtin := strings.Join(n.Text(), "\n") + strings.Join(n.HTML(), "\n")
	n.Wording = w
	if got := strings.Join(n.Text(), "\n") + strings.Join(n.HTML(), "\n"); got != builtin {
		t.Errorf("not the built-in form:\n%s", got)
	}
	n.Files = n.Files[:4]
	if got := strings.Join(n.HTML(), "\n"); !strings.Contains(got, "<h3") {
		t.Errorf("not the template's form:\n%s", got)
	}
}

func TestFoldedHTMLIsTheSame(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, markup := range []string{
		"<p>" + strings.Repeat("x &amp; ", 500) + "</p>", `<p title="` + long + `" dir="ltr">` + long + `<b class="` + long + `">` + long + "</b></p>", strings.Repeat("&#1234;", 300),
		"<p\n title='" + long + "'>" + long + "\n" + long + "</p>", "short", "", strings.Repeat("<b>", 300) + strings.Repeat("</b>", 300),
	} {
		var parts []string
		for _, lines := range [][]string{{markup}, foldHTML(markup)} {
			text, err := checkFragment(strings.Join(lines, "\n"))
			if err != nil {
				t.Error(err)
			}
			parts = append(parts, text)
			if lines[0] != markup && longestLine(lines) > 820 {
				t.Errorf("line of %d bytes", longestLine(lines))
			}
		}
		if parts[0] != parts[1] {
			t.Errorf("%q became %q", parts[0], parts[1])
		}
	}
}
