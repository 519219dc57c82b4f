package web

// Links that ask for a password, alone or beside a code.

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cloakroom/sisa"
)

// hashOf is a hash of password that takes less time than those of sisa.HashPassword.
func hashOf(t *testing.T, password string) string {
	t.Helper()
	const salt = "0123456789abcdef"
	key, err := pbkdf2.Key(sha256.New, password, []byte(salt), 1000, 32)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawStdEncoding
	return "pbkdf2-sha256$1000$" + b64.EncodeToString([]byte(salt)) + "$" + b64.EncodeToString(key)
}

func TestPasswordOpensTheLink(t *testing.T) {
	hash, err := sisa.HashPassword("pass phrase ü")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := guarded(t, sisa.Guard{Password: hash})
	r := s.get(s.page())
	s.wantText(r, `type="password"`, "The sender of the mail can tell you.")
	wantClosed(t, s, r)
	r = s.post(s.page(), form("password", "wrong"))
	s.wantStatus(r, http.StatusForbidden)
	s.wantText(r, "The password is wrong.")
	wantClosed(t, s, r)
	r = s.post(s.page(), form("password", "pass phrase ü"))
	s.wantStatus(r, http.StatusSeeOther)
	in := cookieOf(t, r, passwordCookie)
	s.wantText(s.get(s.page(), "Cookie", in), "report.pdf")
	s.wantStatus(s.post(s.page(), "file=2", "Cookie", in), http.StatusSeeOther)
	if d := s.links.recorded(); len(d) != 1 || d[0].Proven != "password" {
		t.Errorf("recorded %+v", d)
	}
	s.guard(sisa.Guard{Password: hashOf(t, "another")})
	s.wantText(s.get(s.page(), "Cookie", in), `type="password"`)
	s.guard(sisa.Guard{Password: "broken"})
	s.wantStatus(s.post(s.page(), form("password", "")), http.StatusInternalServerError)
	for _, bad := range []string{"x", "pbkdf2-sha256$0$AA$AA", "pbkdf2-sha256$600000$!$AA", hash + "A", strings.Replace(hash, "600000", "600000000", 1)} {
		if ok, err := sisa.CheckPassword(bad, "x"); ok || err == nil {
			t.Errorf("hash %q: %v %v", bad, ok, err)
		}
	}
	for _, bad := range []string{"", strings.Repeat("x", 1001)} {
		if _, err := sisa.HashPassword(bad); err == nil {
			t.Errorf("a password of %d bytes is taken", len(bad))
		}
	}
}

func TestAGuardThatFailsLetsNobodyIn(t *testing.T) {
	for _, unknown := range []bool{true, false} {
		s := newStage(t) // without a mailer
		s.guard(sisa.Guard{ByMail: true, Recipients: []string{"dave@ext.test"}})
		if unknown {
			s.links.set(func() { s.links.errs[s.token] = sisa.ErrGuard })
		}
		for _, r := range []reply{s.get(s.page()), s.post(s.page(), "file=2"), s.post(s.page(), form("address", "dave@ext.test"))} {
			if r.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("guard unknown: %v: status %d", unknown, r.StatusCode)
			}
			wantClosed(t, s, r)
		}
	}
	s, _ := guarded(t, sisa.Guard{ByMail: true}) // all recipients were forgotten
	s.askFor("dave@ext.test")
	s.wantText(s.get(s.page()), "Who are you?")
}

func TestPasswordAndCodeAreBothAskedFor(t *testing.T) {
	s, g := guarded(t, sisa.Guard{ByMail: true, Recipients: []string{"dave@ext.test"}, Password: hashOf(t, "x")})
	s.wantText(s.get(s.page()), `type="password"`)
	s.wantStatus(s.post(s.page(), form("address", "dave@ext.test")), http.StatusForbidden)
	g.mails(t, 0) // who lacks the password has nobody mailed
	r := s.post(s.page(), form("password", "x"))
	s.wantStatus(r, http.StatusSeeOther)
	one := cookieOf(t, r, passwordCookie)
	s.wantText(s.get(s.page(), "Cookie", one), "Who are you?")
	s.wantStatus(s.post(s.page(), "file=2", "Cookie", one), http.StatusForbidden)
	r = s.post(s.page(), form("address", "dave@ext.test"), "Cookie", one)
	asked := cookieOf(t, r, askedCookie)
	r = s.post(s.page(), form("code", eightDigits.FindString(g.mails(t, 1)[0].text)), "Cookie", one+"; "+asked)
	two := cookieOf(t, r, sessionCookie)
	s.wantText(s.get(s.page(), "Cookie", two), `type="password"`)
	s.wantText(s.get(s.page(), "Cookie", one+"; "+two), "report.pdf")
}

func TestPasswordsCannotBeTriedWithoutEnd(t *testing.T) {
	s, _ := guarded(t, sisa.Guard{Password: hashOf(t, "x")})
	try := func(n int) reply {
		return s.post(s.page(), form("password", "y"), "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", n))
	}
	for range triesAtOnceClient {
		s.wantStatus(try(1), http.StatusForbidden)
	}
	r := try(1)
	s.wantStatus(r, http.StatusTooManyRequests)
	s.wantText(r, "Wrong passwords were entered too often.")
	for n := range triesAtOnceLink - triesAtOnceClient {
		s.wantStatus(try(2+n), http.StatusForbidden)
	}
	s.wantStatus(try(100), http.StatusTooManyRequests)
}
