package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"cloakroom/sisa"
)

func TestPageSaysWhatTheMailHad(t *testing.T) {
	s := newStage(t)
	r := s.get(s.page())
	s.wantStatus(r, http.StatusOK)
	sum := sha256.Sum256(s.files[2])
	s.wantText(r,
		"<title>2 files from bob@acmecorp.test</title>",
		"Plans for the new building",
		"24 November 2026, 08:30 UTC",
		"until <time datetime=\"2026-12-12T09:31:00Z\">12 December 2026, 09:31 UTC</time> (18 days left)",
		"report.pdf", "PDF document, 2.5 MB", hex.EncodeToString(sum[:]),
		"Übersicht 2026.txt", "plain text, 10 bytes",
		`lang="en"`, `name="viewport"`, `name="robots" content="noindex`,
		"files.acmecorp.test",
	)
	if len(s.links.recorded()) != 0 {
		t.Error("showing the page was counted")
	}
}

func TestPageOfALinkWithoutExpirySenderOrSubject(t *testing.T) {
	s := newStage(t, func(s *stage, _ *Config) {
		link := s.links.links[s.token]
		link.Expires, link.Sender, link.Subject, link.Files = time.Time{}, "", "", link.Files[:1]
		s.links.links[s.token] = link
	})
	r := s.get(s.page())
	s.wantText(r, "<title>1 file</title>", "without an end date")
	for _, no := range []string{"from <bdi>", "Subject", "Total", "0001"} {
		if strings.Contains(string(r.body), no) {
			t.Errorf("%q is on the page", no)
		}
	}
}

func TestHeadIsThePageWithoutItsBody(t *testing.T) {
	s := newStage(t)
	get, head := s.get(s.page()), s.do("HEAD", s.page())
	if head.StatusCode != http.StatusOK || len(head.body) != 0 {
		t.Errorf("status %d, %d bytes", head.StatusCode, len(head.body))
	}
	for key := range get.Header {
		if key != "Date" && get.Header.Get(key) != head.Header.Get(key) {
			t.Errorf("%s: HEAD %q, GET %q", key, head.Header.Get(key), get.Header.Get(key))
		}
	}
	if len(s.links.recorded()) != 0 {
		t.Error("HEAD was counted")
	}
}

func TestWhatStrangersWroteIsShownAsText(t *testing.T) {
	s := newStage(t, func(s *stage, _ *Config) {
		link := s.links.links[s.token]
		link.Sender = `"><script>alert(1)</script>@ext.test`
		link.Subject = "</title><img src=x onerror=alert(2)>\u202egnp"
		s.links.links[s.token] = link
		s.addFile(7, `<script>alert(3)</script>.html`, `text/html"><b>`, []byte("a"))
		s.addFile(8, "invoice\u202efdp.exe", "image/svg+xml", []byte("b"))
		s.addFile(9, `" onfocus="alert(4)`, "a/b", []byte("c"))
		s.addFile(10, "שלום.pdf", "application/pdf", []byte("d"))
		s.addFile(11, "line\r\nbreak\x00.txt", "text/plain", []byte("e"))
	})
	r := s.get(s.page())
	s.wantStatus(r, http.StatusOK)

	doc, err := html.Parse(bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for n := range doc.Descendants() {
		switch n.Data {
		case "script", "img", "b", "iframe", "link":
			if n.Type == html.ElementNode {
				t.Errorf("a <%s> element is on the page", n.Data)
			}
		case "bdi":
			if n.FirstChild != nil && n.Parent.Data == "h2" {
				names = append(names, n.FirstChild.Data)
			}
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" {
				t.Errorf("attribute %s=%q", a.Key, a.Val)
			}
		}
	}
	want := []string{"report.pdf", "Übersicht 2026.txt", "<script>alert(3)<_script>.html", "invoicefdp.exe",
		`" onfocus="alert(4)`, "שלום.pdf", "line  break.txt"}
	if strings.Join(names, "|") != strings.Join(want, "|") {
		t.Errorf("names %q,\nwant %q", names, want)
	}
	if bytes.ContainsRune(r.body, '\u202e') {
		t.Error("a direction override is on the page")
	}
}

func TestEveryFileHasALabelledFormThatPostsToThePage(t *testing.T) {
	s := newStage(t)
	doc, err := html.Parse(bytes.NewReader(s.get(s.page()).body))
	if err != nil {
		t.Fatal(err)
	}
	var parts, labels []string
	headings := 0
	for n := range doc.Descendants() {
		switch n.Data {
		case "form":
			if attr(n, "method") != "post" || attr(n, "action") != "" {
				t.Errorf("form with method %q, action %q", attr(n, "method"), attr(n, "action"))
			}
		case "input":
			if attr(n, "name") != "file" {
				t.Errorf("field %q", attr(n, "name"))
			}
			parts = append(parts, attr(n, "value"))
		case "button":
			label := attr(n, "aria-label")
			if label == "" {
				label = textOf(n)
			} else if !strings.Contains(label, textOf(n)) { // WCAG 2.5.3: who speaks what is seen must be understood
				t.Errorf("a button that says %q is announced as %q", textOf(n), label)
			}
			labels = append(labels, label)
		case "h1":
			headings++
		}
	}
	if got := strings.Join(parts, " "); got != "2 5 all" {
		t.Errorf("parts %q", got)
	}
	if got := strings.Join(labels, "|"); got != "Download report.pdf|Download Übersicht 2026.txt|Download all as ZIP (2.5 MB)" {
		t.Errorf("labels %q", got)
	}
	if headings != 1 {
		t.Errorf("%d h1", headings)
	}
}

func TestPolicyAllowsTheStyleOnThePageAndNothingElseIsNeeded(t *testing.T) {
	s := newStage(t)
	for _, target := range []string{s.page(), s.server.URL + "/nothing"} {
		r := s.get(target)
		m := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindSubmatch(r.body)
		if m == nil {
			t.Fatal("no style")
		}
		sum := sha256.Sum256(m[1])
		want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		if csp := r.Header.Get("Content-Security-Policy"); !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %q", csp, want)
		}
		for _, external := range []string{"http://", "https://", "url(", "@import", "src=", "<script", "<link"} {
			if bytes.Contains(r.body, []byte(external)) {
				t.Errorf("the page has %q", external)
			}
		}
	}
}

func TestExpiredLinkIsGone(t *testing.T) {
	s := newStage(t)
	reported := sisa.Token(testKey, [32]byte{9}, 0)
	s.links.errs[reported] = sisa.ErrExpired
	r := s.get(s.server.URL + "/d/" + reported)
	s.wantStatus(r, http.StatusGone)
	s.wantText(r, "This link has expired")

	s.advance(19 * 24 * time.Hour) // the store still gives it: our clock decides
	for _, r := range []reply{s.get(s.page()), s.post(s.page(), "file=2")} {
		s.wantStatus(r, http.StatusGone)
		s.wantText(r, "This link has expired")
		if strings.Contains(string(r.body), "report.pdf") {
			t.Error("an expired link tells its files")
		}
	}
	if len(s.links.recorded()) != 0 {
		t.Error("a refused download was recorded")
	}
}

func TestAllExpiredLinksGiveOnePage(t *testing.T) {
	s := newStage(t)
	s.links.errs[s.token] = sisa.ErrExpired
	other := sisa.Token(testKey, [32]byte{9}, 0)
	s.links.errs[other] = sisa.ErrExpired
	if !bytes.Equal(s.get(s.page()).body, s.get(s.server.URL+"/d/"+other).body) {
		t.Error("two expired links give different pages")
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}
