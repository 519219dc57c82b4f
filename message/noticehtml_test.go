package message

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// typicalNotice is one of n files.
func typicalNotice(n int) Notice {
	out := Notice{URL: "https://files.acmecorp.test/d/AbCdEfGhIjKlMnOpQrStUv", Site: "files.acmecorp.test",
		Expires: time.Date(2026, 12, 24, 18, 30, 0, 0, time.UTC)}
	for i := range n {
		out.Files = append(out.Files, NoticeFile{Name: fmt.Sprintf("Minutes of the meeting, part %d.docx", i), Size: int64(i+1) * 12345678, SHA256: [32]byte{byte(i)}})
	}
	return out
}

// variants are the forms that the built-in HTML has.
func variants(t *testing.T) map[string]string {
	t.Helper()
	hebrew, err := ParseTexts("he", []byte("direction: rtl\nheading: \"{n} קבצים נמצאים ב-{site}:\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := NewWording(WordingOptions{PlainURL: true})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, texts := range []*Texts{builtinTexts()["en"], builtinTexts()["de"], hebrew} {
		for _, rtl := range []bool{false, true} {
			for name, w := range map[string]*Wording{"": nil, " plain": plain} {
				n := typicalNotice(3)
				n.Wording = w
				out[texts.Code+" "+direction(rtl)+name] = strings.Join(n.html(texts, rtl), "\r\n")
			}
		}
	}
	return out
}

func TestHTMLIsWellFormedAndSelfContained(t *testing.T) {
	for name, markup := range variants(t) {
		if _, err := checkFragment(markup); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		root, err := html.Parse(strings.NewReader("<!DOCTYPE html><body>" + markup))
		if err != nil {
			t.Fatal(err)
		}
		var children []string
		body := root.LastChild.LastChild
		for c := range body.ChildNodes() {
			children = append(children, c.Data)
		}
		if len(children) != 1 || children[0] != "table" { // a parser moves what does not belong in a table out of it
			t.Errorf("%s: the body has %q", name, children)
		}
		for n := range root.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			switch n.DataAtom {
			case atom.Html, atom.Head, atom.Body, atom.Table, atom.Tbody, atom.Tr, atom.Td, atom.Span, atom.A, atom.Bdi, atom.Br:
			default:
				t.Errorf("%s: <%s>", name, n.Data)
			}
			for _, a := range n.Attr {
				if a.Key == "class" || a.Key == "id" || strings.HasPrefix(a.Key, "on") || strings.Contains(a.Val, "url(") || a.Key == "background" {
					t.Errorf("%s: attribute %s=%q", name, a.Key, a.Val)
				}
			}
		}
		if others := strings.ReplaceAll(markup, typicalNotice(1).URL, ""); strings.Contains(others, "://") {
			t.Errorf("%s: another address in\n%s", name, markup)
		}
	}
}

func TestHTMLSuitsWord(t *testing.T) {
	style := regexp.MustCompile(`<(\w+) [^>]*style="([^"]*)"`)
	for name, markup := range variants(t) {
		for _, m := range style.FindAllStringSubmatch(markup, -1) {
			element, css := m[1], m[2]
			for _, property := range []string{"margin", "padding", "float", "position", "display"} {
				if strings.Contains(css, property) && (property != "padding" || element != "td") {
					t.Errorf("%s: <%s> has %s", name, element, property)
				}
			}
			if element == "td" && strings.Contains(css, "color:") && (!strings.Contains(css, ";color:") || !strings.Contains(css, "background-color:")) {
				t.Errorf("%s: a cell has one colour of two: %s", name, css)
			}
			if i, j := strings.Index(css, "mso-line-height-rule:exactly"), strings.Index(css, "font:"); element == "td" && j >= 0 && (i < 0 || i > j) {
				t.Errorf("%s: the height of lines is told before its rule: %s", name, css)
			}
		}
		if !strings.Contains(markup, `bgcolor="`+colorBack+`"`) || !strings.Contains(markup, "max-width:600px") || !strings.Contains(markup, `width="100%"`) {
			t.Errorf("%s: no colour or width that Word knows:\n%s", name, markup)
		}
	}
}

func TestHTMLIsSmall(t *testing.T) {
	for _, n := range []int{1, 2, 10, 100} {
		size := len(strings.Join(typicalNotice(n).HTML(), "\r\n"))
		t.Logf("%d files: %d bytes", n, size)
		if size > 2<<10+400*n {
			t.Errorf("%d files take %d bytes", n, size)
		}
	}
}

// rgb is a colour, each part from 0 to 1.
type rgb [3]float64

func parseColor(t *testing.T, s string) (c rgb) {
	t.Helper()
	for i := range c {
		v, err := strconv.ParseUint(s[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c[i] = float64(v) / 255
	}
	return c
}

// luminance is defined by WCAG 2.2.
func (c rgb) luminance() float64 {
	linear := func(v float64) float64 {
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

func contrast(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func TestColoursAreReadableAsTheyAreAndInverted(t *testing.T) {
	const enough = 4.5 // WCAG 2.2, 1.4.3, level AA
	modes := map[string]func(rgb) rgb{
		"as it is": func(c rgb) rgb { return c },
		"inverted": func(c rgb) rgb { return rgb{1 - c[0], 1 - c[1], 1 - c[2]} },
		"lightness inverted": func(c rgb) rgb { // the hue stays
			d := 1 - max(c[0], c[1], c[2]) - min(c[0], c[1], c[2])
			return rgb{c[0] + d, c[1] + d, c[2] + d}
		},
		"grey": func(c rgb) rgb { l := c.luminance(); return rgb{l, l, l} },
	}
	for name, mode := range modes {
		back := mode(parseColor(t, colorBack))
		for _, color := range []string{colorText, colorMuted, colorLink} {
			if got := contrast(mode(parseColor(t, color)), back); got < enough {
				t.Errorf("%s: %s on %s has a contrast of %.2f", name, color, colorBack, got)
			}
		}
	}
	// Some readers turn the background dark and make light what they find dark
	// on it; those that turn only the background must not find light text.
	for _, color := range []string{colorText, colorMuted, colorLink, colorBack} {
		if c := parseColor(t, color); c == (rgb{}) || c == (rgb{1, 1, 1}) {
			t.Errorf("%s is pure", color)
		}
	}
	for name, markup := range variants(t) {
		for _, color := range regexp.MustCompile(`[ :"]#[0-9a-f]{3,6}\b`).FindAllString(markup, -1) {
			switch color[1:] {
			case colorText, colorMuted, colorLink, colorBack, colorLine:
			default:
				t.Errorf("%s: colour %s is not checked", name, color)
			}
		}
	}
}

func TestDirectionOfTheNotice(t *testing.T) {
	all := variants(t)
	for name, want := range map[string][]string{
		"en ltr": {` lang="en" dir="ltr">`, `<td align="left"`},
		"en rtl": {` lang="en" dir="rtl">`, `<td align="right"`, `<span dir="ltr">3 attachments of this message are kept at files.acmecorp.test:</span>`},
		"he rtl": {` lang="he" dir="rtl">`, `<td align="right"`, `>3 &#1511;&#1489;`},
		"he ltr": {` lang="he" dir="ltr">`, `<td align="left"`, `<span dir="rtl">3 &#1511;&#1489;`},
	} {
		for _, s := range want {
			if !strings.Contains(all[name], s) {
				t.Errorf("%s: no %s in\n%s", name, s, all[name])
			}
		}
		if n := strings.Count(all[name], `dir="ltr" href=`) + strings.Count(all[name], `<span dir="ltr" style=`); n != 4 {
			t.Errorf("%s: %d of the link and 3 hashes run from left to right", name, n)
		}
	}
	if strings.Contains(all["en ltr plain"], "<a ") || !strings.Contains(all["en ltr plain"], typicalNotice(1).URL) {
		t.Errorf("as plain text, the URL is\n%s", all["en ltr plain"])
	}
}
