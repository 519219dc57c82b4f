package message

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// hostileNames are file names as senders would like to see them shown.
var hostileNames = []string{
	"", "plan.pdf", "<script>alert(1)</script>.pdf", "</bdi></td></table></body>.pdf", "\" onmouseover=\"alert(1)", "'><img src=x onerror=alert(1)>",
	"&lt;b&gt;.pdf", "&#60;script&#62;", "a<!--.pdf", "--><b>", "a\r\nFrom: x", "a\u2028b", "invoice\u202efdp.exe", "\u2066a\u2069.pdf", "a\x00b", "\x1b[31m",
	strings.Repeat("&", 300), strings.Repeat("'", 300), strings.Repeat("é", 150), strings.Repeat("報", 100), strings.Repeat("😀", 80), strings.Repeat("a", 200),
	"From me.pdf", "--b.pdf", ". .pdf", "\xff\xfe.pdf", "متن.pdf", "https://evil.ext.test/x",
}

func TestNamesCannotBreakOutOfTheNotice(t *testing.T) {
	want := skeleton(t, Notice{URL: "https://f.test/d/x", Site: "f.test", Files: []NoticeFile{{Name: "a"}}})
	for _, raw := range hostileNames {
		name := CleanName(raw)
		for _, n := range []string{name, raw} { // CleanName is the first fence, not the only one
			got := skeleton(t, Notice{URL: "https://f.test/d/x", Site: "f.test", Files: []NoticeFile{{Name: n}}})
			if got != want {
				t.Errorf("%q changes the markup:\n%s\nnot\n%s", n, got, want)
			}
		}
		notice := Notice{URL: "https://f.test/d/x", Site: "f.test", Files: []NoticeFile{{Name: name}}}
		for _, line := range append(notice.Text(), notice.HTML()...) {
			if strings.ContainsAny(line, "\r\n\x00\x1b") || strings.Contains(line, "\u202e") || len(line) > maxLine {
				t.Errorf("%q: line %q", raw, line)
			}
		}
		for _, line := range notice.HTML() {
			if !isASCII(line) {
				t.Errorf("%q: HTML beyond ASCII: %q", raw, line)
			}
		}
		for _, line := range notice.Text() {
			if strings.TrimSpace(line) != line || strings.HasPrefix(line, "From ") || strings.HasPrefix(line, ">") || strings.HasPrefix(line, "-") || line == "." {
				t.Errorf("%q: text line %q", raw, line)
			}
		}
		if shown := fileCell(t, notice); name != "" && shown != name {
			t.Errorf("%q is shown as %q", name, shown)
		}
	}
}

// skeleton is the markup of a notice, without text.
func skeleton(t *testing.T, n Notice) string {
	t.Helper()
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(strings.Join(n.HTML(), "\r\n")))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
		default:
			if tok := z.Token(); tok.Data != "wbr" {
				b.WriteString(tok.String())
			}
		}
	}
}

// fileCell is the text of the notice's only bdi element.
func fileCell(t *testing.T, n Notice) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(strings.Join(n.HTML(), "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for node := range root.Descendants() {
		if node.Type != html.TextNode {
			continue
		}
		for a := node.Parent; a != nil; a = a.Parent {
			if a.Data == "bdi" {
				text.WriteString(node.Data)
			}
		}
	}
	return text.String()
}

func TestURLIsEscaped(t *testing.T) {
	for _, u := range []string{"https://f.test/d/x?a=1&b=2", `https://f.test/"><script>`, "https://f.test/é'"} {
		n := Notice{URL: u, Site: "f.test"}
		root, err := html.Parse(strings.NewReader(strings.Join(n.HTML(), "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for node := range root.Descendants() {
			if node.Data == "script" {
				t.Errorf("%s broke out", u)
			}
			if node.Data != "a" || node.Type != html.ElementNode {
				continue
			}
			for _, a := range node.Attr {
				if a.Key == "href" && a.Val == u && node.FirstChild != nil && node.FirstChild.Data == u {
					found++
				}
			}
		}
		if found != 1 {
			t.Errorf("%d links to %s in %s", found, u, n.HTML())
		}
	}
}

func TestNoticeSaysWhatThereIs(t *testing.T) {
	n := Notice{URL: "https://files.acmecorp.test/d/abc", Site: "files.acmecorp.test", Files: []NoticeFile{
		{Name: "Übersicht.pdf", Size: 3 << 20, SHA256: [32]byte{0xab, 31: 0xcd}},
		{Size: 17},
	}}
	hash := "ab" + strings.Repeat("00", 30) + "cd"
	want := []string{
		"2 attachments of this message are kept at files.acmecorp.test:", "",
		"* Übersicht.pdf (3.0 MB)", "SHA-256 " + hash,
		"* unnamed (17 bytes)", "SHA-256 " + strings.Repeat("00", 32), "",
		"https://files.acmecorp.test/d/abc", "Available without a time limit.",
	}
	if got := n.Text(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("text\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	n.Expires = time.Date(2026, 3, 1, 23, 30, 0, 0, time.FixedZone("", -3600))
	n.Files = n.Files[:1]
	markup := strings.Join(n.HTML(), "\n")
	for _, s := range []string{"1 attachment of this message is kept at files.acmecorp.test:", "&#220;bersicht.pdf", "</bdi> (3.0 MB)<br>", hash,
		`href="https://files.acmecorp.test/d/abc"`, "Available until 2 March 2026, 00:30 UTC."} {
		if !strings.Contains(markup, s) {
			t.Errorf("no %s in\n%s", s, markup)
		}
	}
	if strings.Contains(strings.ToLower(markup), "click") {
		t.Error("the notice asks to click")
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1: "1 byte", 1023: "1023 bytes", 1024: "1.0 KB", 1536: "1.5 KB", 1 << 20: "1.0 MB",
		1<<20 - 1: "1.0 MB", 1<<20 - 100: "1023.9 KB", 1<<30 - 1: "1.0 GB", 5 << 30: "5.0 GB", 1 << 50: "1048576.0 GB"} {
		if got := FormatSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestLongNamesAreBrokenInsideOfTagsOnly(t *testing.T) {
	for _, c := range []string{"&", "a", "é", "報", "😀"} {
		for _, n := range []int{69, 70, 71, 140, 141, 500} {
			name := strings.Repeat(c, n)
			notice := Notice{Files: []NoticeFile{{Name: name}}}
			if got := fileCell(t, notice); got != name {
				t.Errorf("%d of %s are shown as %q", n, c, got)
			}
			for _, line := range notice.HTML() {
				if len(line) > maxLine {
					t.Errorf("%d of %s: line of %d bytes", n, c, len(line))
				}
			}
			if want := (n - 1) / 70; strings.Count(fmt.Sprint(notice.HTML()), "<wbr") != want {
				t.Errorf("%d of %s: %d breaks, want %d", n, c, strings.Count(fmt.Sprint(notice.HTML()), "<wbr"), want)
			}
		}
	}
}
