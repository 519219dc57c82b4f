package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"cloakroom/sisa"
)

func TestAFileThatIsFetchedAgainGetsNoMoreTime(t *testing.T) {
	s := newStage(t)
	s.limit(1)
	r := s.post(s.page(), "file=2")
	s.wantStatus(r, http.StatusSeeOther)
	mine := cookieOf(t, r, fetchedCookie)
	s.advance(againTime / 2)
	r = s.post(s.page(), "file=all", "Cookie", mine) // file 5 for the first time
	s.wantStatus(r, http.StatusSeeOther)
	mine = cookieOf(t, r, fetchedCookie)
	s.advance(againTime/2 - time.Second)
	s.wantStatus(s.post(s.page(), "file=2", "Cookie", mine), http.StatusSeeOther)
	s.advance(time.Second)
	s.wantText(s.get(s.page(), "Cookie", mine), "downloaded as often", "you can still fetch it again")
	s.wantStatus(s.post(s.page(), "file=2", "Cookie", mine), http.StatusGone)
	s.wantStatus(s.post(s.page(), "file=all", "Cookie", mine), http.StatusGone)
	r = s.post(s.page(), "file=5", "Cookie", mine)
	s.wantStatus(r, http.StatusSeeOther)
	s.wantStatus(s.post(s.page(), "file=2", "Cookie", cookieOf(t, r, fetchedCookie)), http.StatusGone)
}

// TestCookiesMakeNoWork: each that is looked at is compared with all recipients.
func TestCookiesMakeNoWork(t *testing.T) {
	s, g := forRecipients(t)
	asked := s.askFor("carol@ext.test")
	r := s.post(s.page(), form("code", eightDigits.FindString(g.mails(t, 1)[0].text)), "Cookie", asked)
	in := cookieOf(t, r, sessionCookie)
	const other = sessionCookie + "=9999999999.x; "
	s.wantText(s.get(s.page(), "Cookie", strings.Repeat(other, maxCookies-1)+in), "report")
	s.wantText(s.get(s.page(), "Cookie", strings.Repeat(other, maxCookies)+in), "Who are you?")
}

func TestWhoWasLetInBeforeAnAdministratorSpokeIsAskedAgain(t *testing.T) {
	guard := sisa.Guard{ByMail: true, Recipients: []string{"dave@ext.test"}, Password: hashOf(t, "open sesame")}
	s, g := guarded(t, guard)
	for i := range 2 {
		r := s.post(s.page(), form("password", "open sesame"))
		jar := cookieOf(t, r, passwordCookie)
		r = s.post(s.page(), form("address", "dave@ext.test"), "Cookie", jar)
		asked := cookieOf(t, r, askedCookie)
		r = s.post(s.page(), form("code", eightDigits.FindString(g.mails(t, i+1)[i].text)), "Cookie", jar+"; "+asked)
		mail := cookieOf(t, r, sessionCookie)
		s.wantText(s.get(s.page(), "Cookie", jar+"; "+mail), "report")
		guard.Since += 1000 // links access, with the same words as before
		s.guard(guard)
		s.wantText(s.get(s.page(), "Cookie", jar+"; "+mail), "protected by a password")
		s.wantStatus(s.post(s.page(), "file=2", "Cookie", jar+"; "+mail), http.StatusForbidden)
	}
}

// TestOthersTriesCostAVisitorNoneOfHis: he is told to wait for the link only.
func TestOthersTriesCostAVisitorNoneOfHis(t *testing.T) {
	s, _ := guarded(t, sisa.Guard{Password: hashOf(t, "x")})
	id := sisa.TokenID(s.token)
	for s.site.triesByLink.take(id, s.now()) == 0 {
	}
	for range triesAtOnceClient + 2 {
		s.wantStatus(s.post(s.page(), form("password", "x")), http.StatusTooManyRequests)
	}
	s.advance(61 * time.Second) // brings one try back to the link, and half of one to a client
	s.wantStatus(s.post(s.page(), form("password", "x")), http.StatusSeeOther)
}
