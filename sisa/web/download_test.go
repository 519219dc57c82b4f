package web

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/sisa"
)

func TestButtonLeadsToTheBytesAndIsRecordedOnce(t *testing.T) {
	s := newStage(t)
	r := s.post(s.page(), "file=2", "User-Agent", "Browser/1.0 (bad\tbytes \x80)")
	s.wantStatus(r, http.StatusSeeOther)
	location := r.Header.Get("Location")
	if !strings.HasPrefix(location, "../f/") || !strings.HasSuffix(location, "/report.pdf") || strings.Contains(location, s.token) {
		t.Errorf("Location %q", location)
	}
	base, _ := url.Parse(s.page())
	to, err := base.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // any number of times
		file := s.get(to.String())
		s.wantStatus(file, http.StatusOK)
		if !bytes.Equal(file.body, s.files[2]) {
			t.Errorf("%d bytes, want the %d of the file", len(file.body), len(s.files[2]))
		}
	}
	want := sisa.Download{LinkID: sisa.TokenID(s.token), Part: 2, Client: "127.0.0.1", Agent: "Browser/1.0 (badbytes )", At: testStart}
	if got := s.links.recorded(); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("recorded %+v,\nwant %+v", got, want)
	}
}

func TestFollowedPostGivesTheFileAsWithCurlL(t *testing.T) {
	s := newStage(t)
	follow := *s.client
	follow.CheckRedirect = nil
	resp, err := follow.PostForm(s.page()+"?utm_source=%zz;x", url.Values{"file": {"5"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "0123456789" || resp.Request.Method != "GET" {
		t.Errorf("%v, %q by %s", err, body, resp.Request.Method)
	}
}

func TestMultipartFormWorksToo(t *testing.T) {
	s := newStage(t)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	form.WriteField("file", "5")
	form.Close()
	r := s.post(s.page(), body.String(), "Content-Type", form.FormDataContentType())
	s.wantStatus(r, http.StatusSeeOther)
}

func TestFormsThatNameNoFileAreRefused(t *testing.T) {
	s := newStage(t)
	for _, c := range []struct {
		form, contentType string
		status            int
	}{
		{"", "", http.StatusBadRequest},
		{"file=", "", http.StatusBadRequest},
		{"file=two", "", http.StatusBadRequest},
		{"file=2&file=5", "", http.StatusBadRequest},
		{"other=2", "", http.StatusBadRequest},
		{"file=%zz", "", http.StatusBadRequest},
		{"file=2", "text/plain", http.StatusBadRequest},
		{"file=2", "multipart/form-data; boundary=x", http.StatusBadRequest},
		{"file=99999999999999999999", "", http.StatusBadRequest},
		{"file=3", "", http.StatusNotFound},
		{"file=-1", "", http.StatusNotFound},
		{"file=2&y=%zz", "", http.StatusBadRequest},
		{"--x\r\nContent-Disposition: form-data; name=file\r\n\r\n2" + strings.Repeat("2", 1<<16), "multipart/form-data; boundary=x", http.StatusRequestEntityTooLarge},
		{"file=2&x=" + strings.Repeat("x", 1<<20), "", http.StatusRequestEntityTooLarge},
	} {
		headers := []string{}
		if c.contentType != "" {
			headers = []string{"Content-Type", c.contentType}
		}
		if r := s.post(s.page(), c.form, headers...); r.StatusCode != c.status {
			t.Errorf("form %.40q: status %d, want %d", c.form, r.StatusCode, c.status)
		} else if !strings.Contains(string(r.body), "go back to the list") {
			t.Errorf("form %.40q: the page does not help:\n%s", c.form, r.body)
		}
	}
	if len(s.links.recorded()) != 0 {
		t.Error("a refused download was recorded")
	}
}

func TestFailureToRecordDoesNotBlockTheDownload(t *testing.T) {
	s := newStage(t)
	s.links.recordErr = errors.New("disk full")
	if r := s.get(s.press("5")); string(r.body) != "0123456789" {
		t.Errorf("got %q", r.body)
	}
	if !strings.Contains(s.log.String(), "disk full") {
		t.Error("the failure is not logged")
	}
}

func TestRangesAndConditionsWork(t *testing.T) {
	s := newStage(t)
	file := s.press("5")
	etag := s.get(file).Header.Get("ETag")
	if len(etag) != 66 {
		t.Fatalf("ETag %q", etag)
	}
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		body    string
	}{
		{"first bytes", []string{"Range", "bytes=0-3"}, 206, "0123"},
		{"rest", []string{"Range", "bytes=7-"}, 206, "789"},
		{"last bytes", []string{"Range", "bytes=-2"}, 206, "89"},
		{"resume of the same file", []string{"Range", "bytes=4-", "If-Range", etag}, 206, "456789"},
		{"resume of another file", []string{"Range", "bytes=4-", "If-Range", `"other"`}, 200, "0123456789"},
		{"known already", []string{"If-None-Match", etag}, 304, ""},
		{"malformed", []string{"Range", "lines=1-2"}, 416, ""},
	} {
		r := s.get(file, c.headers...)
		if r.StatusCode != c.status || c.status < 300 && string(r.body) != c.body {
			t.Errorf("%s: status %d %q, want %d %q", c.name, r.StatusCode, r.body, c.status, c.body)
		}
	}
	beyond := s.get(file, "Range", "bytes=10-")
	if beyond.StatusCode != 416 || beyond.Header.Get("Content-Range") != "bytes */10" || !strings.Contains(beyond.Header.Get("Cache-Control"), "no-store") {
		t.Errorf("beyond the end: status %d, %v", beyond.StatusCode, beyond.Header)
	}
	several := s.get(file, "Range", "bytes=0-1,8-9")
	if mt, _, _ := mime.ParseMediaType(several.Header.Get("Content-Type")); several.StatusCode != 206 || mt != "multipart/byteranges" {
		t.Errorf("two ranges: status %d, type %q", several.StatusCode, mt)
	}
	if n := len(s.links.recorded()); n != 1 {
		t.Errorf("%d downloads recorded, want 1", n)
	}
	if strings.Contains(s.log.String(), "cut short") {
		t.Errorf("a whole answer was taken for a broken one:\n%s", s.log)
	}
}

func TestHeadOfAFileTellsItsSizeAndIsNotRecorded(t *testing.T) {
	s := newStage(t)
	r := s.do("HEAD", s.press("2"))
	if r.StatusCode != 200 || len(r.body) != 0 || r.Header.Get("Content-Length") != strconv.Itoa(len(s.files[2])) {
		t.Errorf("status %d, %d bytes, Content-Length %s", r.StatusCode, len(r.body), r.Header.Get("Content-Length"))
	}
	if n := len(s.links.recorded()); n != 1 {
		t.Errorf("%d downloads recorded, want that of the press", n)
	}
	if strings.Contains(s.log.String(), "cut short") {
		t.Error("HEAD was taken for a broken download")
	}
}

func TestTamperedAddressesAreNotFoundAndNotLookedUp(t *testing.T) {
	s := newStage(t)
	good := strings.TrimPrefix(s.press("2"), s.server.URL)
	lookups := s.links.lookups
	other := sisa.TokenID(sisa.Token(testKey, [32]byte{4}, 0))
	for name, change := range map[string]struct {
		segment int
		value   string
	}{
		"link":             {2, other},
		"part":             {3, "5"},
		"part, other text": {3, "02"},
		"later expiry":     {4, strconv.FormatInt(testStart.Add(time.Hour).Unix(), 10)},
		"no expiry":        {4, ""},
		"no signature":     {5, ""},
		"long signature":   {5, strings.Repeat("A", 5000)},
		"signature":        {5, "AAAAAAAAAAAAAAAAAAAAAA"},
	} {
		segments := strings.Split(good, "/")
		if segments[change.segment] == change.value {
			t.Fatalf("%s: nothing was changed", name)
		}
		segments[change.segment] = change.value
		if r := s.get(s.server.URL + strings.Join(segments, "/")); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", name, r.StatusCode)
		}
	}
	if r := s.get(s.server.URL + strings.TrimSuffix(good, "/report.pdf")); r.StatusCode != http.StatusNotFound {
		t.Errorf("without a name: status %d, want 404", r.StatusCode)
	}
	if s.links.lookups != lookups {
		t.Error("a forged address was looked up")
	}
	if r := s.get(s.server.URL + strings.TrimSuffix(good, "report.pdf") + "any/other%2Fname"); r.StatusCode != http.StatusOK {
		t.Errorf("another name: status %d, want 200: the signature decides", r.StatusCode)
	}
}

func TestSignaturesOfAnotherKeyAreRefused(t *testing.T) {
	s := newStage(t)
	forged := signer{key: []byte("another key, as long as it may be")}.ticket(ticketFile, sisa.TokenID(s.token), "2", testStart.Add(time.Minute))
	if r := s.get(s.server.URL + strings.TrimPrefix(forged.location("x"), "..")); r.StatusCode != http.StatusNotFound {
		t.Errorf("status %d, want 404", r.StatusCode)
	}
}

func TestAddressIsShortLivedAndSaysSo(t *testing.T) {
	s := newStage(t)
	file := s.press("5")
	s.advance(10*time.Minute - time.Second)
	s.wantStatus(s.get(file), http.StatusOK)
	s.advance(time.Second)
	r := s.get(file)
	s.wantStatus(r, http.StatusGone)
	s.wantText(r, "short-lived", "go back to the link")
	if strings.Contains(string(r.body), s.token) {
		t.Error("the page tells the token")
	}
	s.wantStatus(s.get(s.press("5")), http.StatusOK)
}

func TestRevocationAndExpiryHoldForAddressesGivenBefore(t *testing.T) {
	s := newStage(t, func(_ *stage, cfg *Config) { cfg.DownloadURLTTL = 24 * time.Hour })
	file := s.press("5")
	s.wantStatus(s.get(file), http.StatusOK)
	s.links.set(func() { s.links.errs[s.token] = sisa.ErrNotFound })
	s.wantStatus(s.get(file), http.StatusNotFound)
	s.wantStatus(s.get(file, "Range", "bytes=5-"), http.StatusNotFound)
	s.links.set(func() { s.links.errs[s.token] = sisa.ErrExpired })
	r := s.get(file)
	s.wantStatus(r, http.StatusGone)
	s.wantText(r, "This link has expired")
}

func TestFileThatLeftTheLinkIsNotServed(t *testing.T) {
	s := newStage(t)
	file := s.press("5")
	s.links.set(func() {
		link := s.links.links[s.token]
		link.Files = link.Files[:1]
		s.links.links[s.token] = link
	})
	s.wantStatus(s.get(file), http.StatusNotFound)
}

func TestMissingAndDamagedContentIsAnErrorNotAShortFile(t *testing.T) {
	s := newStage(t)
	files := s.links.links[s.token].Files
	one, two := s.press("2"), s.press("5")
	if err := os.Remove(s.blobs.path(files[0].SHA256)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.blobs.path(files[1].SHA256), 4); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{one, two} {
		r := s.get(address)
		s.wantStatus(r, http.StatusInternalServerError)
		s.wantText(r, `class="reference">`)
		if r.Header.Get("Content-Disposition") != "" {
			t.Error("the error page would be saved as the file")
		}
	}
	if !strings.Contains(s.log.String(), "it has 4 bytes, not 10") {
		t.Errorf("log:\n%s", s.log)
	}
}

func TestHeadersOfEveryKindOfAnswer(t *testing.T) {
	s := newStage(t)
	file := s.press("5")
	policy := s.site.face.policy
	for name, r := range map[string]reply{
		"page":       s.get(s.page()),
		"redirect":   s.post(s.page(), "file=5"),
		"file":       s.get(file),
		"range":      s.get(file, "Range", "bytes=1-2"),
		"bad range":  s.get(file, "Range", "bytes=99-"),
		"not found":  s.get(s.server.URL + "/x"),
		"bad form":   s.post(s.page(), ""),
		"bad method": s.do("PUT", s.page()),
		"home":       s.get(s.server.URL + "/"),
		"robots":     s.get(s.server.URL + "/robots.txt"),
	} {
		for key, want := range map[string]string{
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
			"X-Robots-Tag":                 "noindex, nofollow",
			"Cache-Control":                "private, no-store, no-transform",
			"Strict-Transport-Security":    "max-age=31536000",
			"Content-Security-Policy":      policy,
			"Last-Modified":                "",
			"Server":                       "",
		} {
			if got := r.Header.Get(key); got != want {
				t.Errorf("%s: %s: %q, want %q", name, key, got, want)
			}
		}
	}
	for _, directive := range []string{"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, directive) {
			t.Errorf("the policy lacks %s", directive)
		}
	}
	r := s.get(file)
	if got := r.Header.Get("Content-Type"); got != "text/plain" {
		t.Errorf("Content-Type %q", got)
	}
	want := `attachment; filename="_bersicht 2026.txt"; filename*=UTF-8''%C3%9Cbersicht%202026.txt`
	if got := r.Header.Get("Content-Disposition"); got != want {
		t.Errorf("Content-Disposition %s,\nwant %s", got, want)
	}
}

func TestHSTSIsSentWhereTheClientSpeaksHTTPSAndNowhereElse(t *testing.T) {
	for name, c := range map[string]struct {
		trusted bool
		headers []string
		want    bool
	}{
		"plain":                       {true, nil, false},
		"proxy says https":            {true, []string{"X-Forwarded-Proto", "https"}, true},
		"two proxies":                 {true, []string{"X-Forwarded-Proto", "https, http"}, true},
		"proxy says http":             {true, []string{"X-Forwarded-Proto", "http"}, false},
		"a stranger says https":       {false, []string{"X-Forwarded-Proto", "https"}, false},
		"nobody says what it is like": {true, []string{"X-Forwarded-Proto", ""}, false},
	} {
		s := newStage(t, func(s *stage, cfg *Config) {
			s.proto = ""
			if !c.trusted {
				cfg.TrustedProxies = nil
			}
		})
		if got := s.get(s.page(), c.headers...).Header.Get("Strict-Transport-Security") != ""; got != c.want {
			t.Errorf("%s: HSTS %v, want %v", name, got, c.want)
		}
	}
}

func TestNastyNamesPassThroughThePressAndTheHeaders(t *testing.T) {
	names := map[int]string{
		20: "..", 21: "../../etc/passwd", 22: "a\"b;c\\d.txt", 23: "x\r\nSet-Cookie: a=b",
		24: strings.Repeat("long ü", 200) + ".docx", 25: "100%2F.txt", 26: "?#&=+ .txt", 27: "",
	}
	s := newStage(t, func(s *stage, _ *Config) {
		for part, name := range names {
			s.addFile(part, name, "text/html", []byte(name))
		}
	})
	for part, name := range names {
		r := s.get(s.press(strconv.Itoa(part)))
		s.wantStatus(r, http.StatusOK)
		if string(r.body) != name {
			t.Errorf("%q: other content", name)
		}
		disposition, params, err := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
		if err != nil || disposition != "attachment" || params["filename"] != cleanName(name) {
			t.Errorf("%q: %v %s %q", name, err, disposition, params)
		}
		if r.Header.Get("Set-Cookie") != "" || r.Header.Get("Content-Type") != opaqueType {
			t.Errorf("%q: headers %v", name, r.Header)
		}
	}
}

func TestPublicURLWithAPathBehindAProxy(t *testing.T) {
	for name, strip := range map[string]bool{"path passed on": false, "path taken away": true} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, func(_ *stage, cfg *Config) { cfg.URL = "https://www.acmecorp.test/d/files/" })
			target, _ := url.Parse(s.server.URL)
			var front http.Handler = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Header["X-Forwarded-For"] = []string{"203.0.113.9, 198.51.100.7"}
			}}
			if strip {
				front = http.StripPrefix("/d/files", front)
			}
			proxy := httptest.NewServer(front)
			defer proxy.Close()

			page := PageURL(proxy.URL+"/d/files/", s.token)
			s.wantStatus(s.get(page), http.StatusOK)
			r := s.post(page, "file=5")
			s.wantStatus(r, http.StatusSeeOther)
			base, _ := url.Parse(page)
			to, _ := base.Parse(r.Header.Get("Location"))
			if !strings.HasPrefix(to.Path, "/d/files/f/") {
				t.Errorf("leads to %s", to.Path)
			}
			if file := s.get(to.String()); string(file.body) != "0123456789" {
				t.Errorf("status %d %q", file.StatusCode, file.body)
			}
			if got := s.links.recorded(); len(got) != 1 || got[0].Client != "198.51.100.7" {
				t.Errorf("recorded %+v", got)
			}
			if !strip {
				s.wantStatus(s.get(proxy.URL+"/d/files"), http.StatusOK)
				s.wantStatus(s.get(proxy.URL+"/d/filesystem/d/"+s.token), http.StatusNotFound)
			}
		})
	}
}
