package web

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloakroom/sisa"
)

func TestUnknownRevokedAndMalformedLinksLookTheSame(t *testing.T) {
	s := newStage(t)
	revoked := sisa.Token(testKey, [32]byte{2}, 0)
	s.links.errs[revoked] = sisa.ErrNotFound
	want := s.get(s.server.URL + "/d/" + sisa.Token(testKey, [32]byte{3}, 0))
	s.wantStatus(want, http.StatusNotFound)

	for name, path := range map[string]string{
		"revoked":   "/d/" + revoked,
		"malformed": "/d/short",
		"elsewhere": "/admin",
	} {
		got := s.get(s.server.URL + path)
		if got.StatusCode != want.StatusCode || !bytes.Equal(got.body, want.body) {
			t.Errorf("%s: status %d, body differs: %v", name, got.StatusCode, !bytes.Equal(got.body, want.body))
		}
		got.Header.Del("Date")
		want.Header.Del("Date")
		if len(got.Header) != len(want.Header) {
			t.Errorf("%s: headers %v, want %v", name, got.Header, want.Header)
		}
		for key := range want.Header {
			if got.Header.Get(key) != want.Header.Get(key) {
				t.Errorf("%s: %s: %q, want %q", name, key, got.Header.Get(key), want.Header.Get(key))
			}
		}
	}
	unknown := s.post(s.server.URL+"/d/"+sisa.Token(testKey, [32]byte{3}, 0), "file=2")
	gone := s.post(s.server.URL+"/d/"+revoked, "file=2")
	if unknown.StatusCode != http.StatusNotFound || gone.StatusCode != http.StatusNotFound || !bytes.Equal(unknown.body, gone.body) {
		t.Error("POST tells unknown from revoked")
	}
}

func TestMalformedTokensAreNotLookedUp(t *testing.T) {
	s := newStage(t)
	for _, path := range []string{
		"/d/", "/d", "/d/" + s.token + "/", "/d/" + s.token + "A", "/d/" + s.token[:21],
		"/d/" + strings.Repeat("A", 1000), "/d/%00%00", "/d/../d/" + s.token, "//d/" + s.token, "/D/" + s.token,
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			req, err := http.NewRequest(method, s.server.URL, nil)
			if err == nil {
				req.URL.Opaque = path // as it is, uncleaned
			}
			if r := s.send(req, err); r.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: status %d, want 404", method, path, r.StatusCode)
			}
		}
	}
	if s.links.lookups != 0 {
		t.Errorf("%d lookups", s.links.lookups)
	}
}

func TestHomePageAndRobotsTellNothing(t *testing.T) {
	s := newStage(t)
	home := s.get(s.server.URL + "/")
	s.wantStatus(home, http.StatusOK)
	for _, secret := range []string{"acmecorp", "loakroom"} {
		if strings.Contains(string(home.body), secret) {
			t.Errorf("the home page says %q", secret)
		}
	}
	robots := s.get(s.server.URL + "/robots.txt")
	if string(robots.body) != "User-agent: *\nDisallow: /\n" || robots.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("robots.txt: %q %q", robots.Header.Get("Content-Type"), robots.body)
	}
}

func TestOtherMethodsAreRefusedWithTheAllowedOnes(t *testing.T) {
	s := newStage(t)
	file := s.press("2")
	for _, c := range []struct{ method, target, allow string }{
		{"PUT", s.page(), "GET, HEAD, POST"},
		{"DELETE", s.page(), "GET, HEAD, POST"},
		{"OPTIONS", s.page(), "GET, HEAD, POST"},
		{"POST", file, "GET, HEAD"},
		{"POST", s.server.URL + "/", "GET, HEAD"},
		{"PUT", s.server.URL + "/robots.txt", "GET, HEAD"},
	} {
		r := s.do(c.method, c.target)
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: status %d, Allow %q, want 405 and %q", c.method, c.target, r.StatusCode, r.Header.Get("Allow"), c.allow)
		}
	}
	if n := len(s.links.recorded()); n != 1 {
		t.Errorf("%d downloads recorded, want that of the one press", n)
	}
}

func TestFailingStoreIsA503WithTheLogsReference(t *testing.T) {
	s := newStage(t)
	file := s.press("2")
	s.links.set(func() { s.links.broken = errors.New("database is away") })
	for _, r := range []reply{s.get(s.page()), s.post(s.page(), "file=2"), s.get(file)} {
		s.wantStatus(r, http.StatusServiceUnavailable)
		_, rest, found := strings.Cut(string(r.body), `class="reference">`)
		if !found || len(rest) < 9 {
			t.Fatalf("no reference in\n%s", r.body)
		}
		if ref := rest[:9]; !strings.Contains(s.log.String(), "reference="+ref) {
			t.Errorf("the log does not have %s", ref)
		}
		if strings.Contains(string(r.body), "database is away") {
			t.Error("the page tells the cause")
		}
		if r.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if n := len(s.links.recorded()); n != 1 {
		t.Errorf("%d downloads recorded, want 1", n)
	}
}

func TestPanicIsA500WithTheLogsReference(t *testing.T) {
	s := newStage(t, func(s *stage, _ *Config) {
		s.tune = func(site *Site, _ *http.Server) { site.links = nil } // the lookup will panic
	})
	r := s.get(s.page())
	s.wantStatus(r, http.StatusInternalServerError)
	s.wantText(r, `class="reference">`)
	if !strings.Contains(s.log.String(), "panic:") || !strings.Contains(s.log.String(), "reference=") {
		t.Errorf("log:\n%s", s.log)
	}
}

func TestNewRefusesWhatIsNotSafeToServeWith(t *testing.T) {
	good := DefaultConfig()
	good.URL = "https://files.acmecorp.test"
	for name, f := range map[string]func(){
		"short key":   func() { New(good, nil, nil, testKey[:16], time.Now, slog.Default()) },
		"unvalidated": func() { New(DefaultConfig(), nil, nil, testKey, time.Now, slog.Default()) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestLogsHoldNoTokensAndNoSignatures(t *testing.T) {
	s := newStage(t)
	file := s.press("2")
	s.get(s.page())
	s.get(file)
	s.get(file + "x")
	s.do("PUT", s.page())
	s.links.set(func() { s.links.broken = errors.New("away") })
	s.get(s.page())
	s.get(file)

	parts := strings.Split(strings.TrimPrefix(file, s.server.URL), "/") // "", f, id, part, expiry, mac, name
	log := s.log.String()
	for name, secret := range map[string]string{"token": s.token, "signature": parts[5], "whole link ID": parts[2]} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds the %s", name)
		}
	}
	if !strings.Contains(log, "link="+parts[2][:idPrefix]) {
		t.Errorf("the log does not name the link:\n%s", log)
	}
}
