package web

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom/sisa"
)

// limit lets each file of the link be fetched n times.
func (s *stage) limit(n int) {
	s.guard(sisa.Guard{Downloads: n})
	s.links.set(func() {
		link := s.links.links[s.token]
		for i := range link.Files {
			link.Files[i].Left = int64(n)
		}
		s.links.links[s.token] = link
	})
}

func TestLimitedFilesAreFetchedAsOftenAsTheLinkAllows(t *testing.T) {
	s := newStage(t)
	s.limit(2)
	s.wantText(s.get(s.page()), "can be downloaded 2 more times", "Download all as ZIP")
	for _, method := range []string{"HEAD", "GET"} {
		s.do(method, s.page())
	}
	r := s.post(s.page(), "file=2")
	s.wantStatus(r, http.StatusSeeOther)
	base, _ := url.Parse(s.page())
	to, _ := base.Parse(r.Header.Get("Location"))
	for range 3 { // pieces and repetitions of one download are one
		s.do("HEAD", to.String())
		if got := s.get(to.String(), "Range", "bytes=0-9"); got.StatusCode != http.StatusPartialContent {
			t.Errorf("status %d", got.StatusCode)
		}
	}
	mine := cookieOf(t, r, fetchedCookie)
	s.wantStatus(s.post(s.page(), "file=2", "Cookie", mine), http.StatusSeeOther) // the phone lost its line
	page := s.get(s.page())
	s.wantText(page, "can be downloaded 1 more time<", "can be downloaded 2 more times")

	s.wantStatus(s.post(s.page(), "file=all"), http.StatusSeeOther) // counts for each
	page = s.get(s.page())
	s.wantText(page, "downloaded as often as the link allows", "can be downloaded 1 more time<")
	if bytes.Contains(page.body, []byte(`value="2"`)) || bytes.Contains(page.body, []byte(`value="all"`)) || !bytes.Contains(page.body, []byte(`value="5"`)) {
		t.Errorf("buttons:\n%s", page.body)
	}
	for _, form := range []string{"file=2", "file=all"} {
		r := s.post(s.page(), form)
		s.wantStatus(r, http.StatusGone)
		s.wantText(r, "no longer available", "as often as the link allows")
		if len(r.Cookies()) != 0 {
			t.Error("a cookie for nothing")
		}
	}
	s.wantStatus(s.get(to.String()), http.StatusOK) // what was begun goes on

	// Who has it may fetch it again for a while, and sees the button.
	page = s.get(s.page(), "Cookie", mine)
	s.wantText(page, "you can still fetch it again", `value="2"`, `value="all"`)
	r = s.post(s.page(), "file=all", "Cookie", mine)
	s.wantStatus(r, http.StatusSeeOther)
	s.wantText(s.get(s.page(), "Cookie", cookieOf(t, r, fetchedCookie)), "you can still fetch it again")
	s.wantStatus(s.post(s.page(), "file=5"), http.StatusGone)
	s.advance(againTime)
	s.wantStatus(s.post(s.page(), "file=2", "Cookie", mine), http.StatusGone)
	s.wantStatus(s.post(s.page(), "file=2", "Cookie", strings.Replace(mine, "=1", "=9", 1)), http.StatusGone)
}

func TestWithoutARecordThereIsNoLimitedDownload(t *testing.T) {
	s := newStage(t)
	s.links.set(func() { s.links.recordErr = errors.New("away") })
	s.wantStatus(s.post(s.page(), "file=2"), http.StatusSeeOther)
	s.limit(1)
	r := s.post(s.page(), "file=2")
	s.wantStatus(r, http.StatusServiceUnavailable)
	if len(r.Cookies()) != 0 {
		t.Error("a cookie for nothing")
	}
}

func TestReceiptsAreInTheWordsOfThePages(t *testing.T) {
	s := newStage(t)
	subject, text := s.site.ReceiptText(Receipt{Files: []string{"a/b\n.pdf"}, Subject: "Plans\r\nBcc: x", Recipients: []string{"dave@ext.test"}, At: testStart, Proven: "dave@ext.test"})
	if !strings.HasPrefix(subject, "Downloaded: ") || !strings.HasSuffix(subject, ".pdf") || strings.ContainsAny(subject, "\r\n/") {
		t.Errorf("subject %q", subject)
	}
	for _, want := range []string{"By: dave@ext.test\n", "Mail: Plans", "To: dave@ext.test\n", "24 November 2026, 09:30 UTC"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\nBcc") {
		t.Errorf("a line was planted:\n%s", text)
	}
	german := newStage(t, func(_ *stage, cfg *Config) { cfg.Language = "de" })
	subject, text = german.site.ReceiptText(Receipt{Files: []string{"a", "b"}, At: testStart.Add(time.Hour), Proven: "password"})
	if subject != "Heruntergeladen: 2 Dateien" || !strings.Contains(text, "Von: jemand, der das Passwort wusste") {
		t.Errorf("%q\n%s", subject, text)
	}
}
