package web

// Cookies: who was let in, who waits for a code, and who fetched what a moment
// ago. Each is good for one link's page only.

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloakroom/sisa"
)

const (
	// sessionTime is how long a visitor is let in without being asked again: a
	// working day.
	sessionTime = 12 * time.Hour
	// againTime is how long a file can be fetched once more without being counted:
	// a phone that lost its line, a browser that could not save it.
	againTime = time.Hour

	sessionCookie  = "cloakroom"          // has a recipient's address proven
	passwordCookie = "cloakroom-password" // and this a password
	askedCookie    = "cloakroom-asked"
	fetchedCookie  = "cloakroom-fetched"

	maxCookieBytes = 3000 // browsers keep 4096 with the attributes
)

// setCookie gives a cookie for a link's page.
func (s *Site) setCookie(x *exchange, name, token, value string, age time.Duration) {
	http.SetCookie(x, &http.Cookie{
		Name:     name,
		Value:    value,
		Path:     s.prefix + "/d/" + token,
		MaxAge:   int(age.Seconds()),
		HttpOnly: true,
		Secure:   x.hsts || s.secure,
		SameSite: http.SameSiteLaxMode, // the link in a mail is followed from elsewhere
	})
}

func (s *Site) dropCookie(x *exchange, name, token string) {
	s.setCookie(x, name, token, "", -time.Second)
}

// seeOther leads the browser on, by an address that is relative to the page.
func (s *Site) seeOther(x *exchange, location string) {
	x.Header().Set("Location", location)
	x.Header().Set("Content-Length", "0")
	x.WriteHeader(http.StatusSeeOther)
}

// letIn gives the cookie and leads back to the page. who is what the visitor
// proved: an address or a password's hash.
func (s *Site) letIn(x *exchange, cookie, linkID, token, who string) {
	s.setCookie(x, cookie, token, s.signer.session(linkID, who, s.now().Add(sessionTime)), sessionTime)
	s.seeOther(x, token)
	s.log.Info("web: visitor let in", x.attrs()...)
}

// hasSession tells whether the visitor proved before what still holds.
func (s *Site) hasSession(x *exchange, name, linkID, who string) bool {
	if who == "" {
		return false
	}
	for _, cookie := range x.r.CookiesNamed(name) {
		if s.signer.checkSession(cookie.Value, linkID, who, s.now()) {
			return true
		}
	}
	return false
}

// provenAddress is the recipient's address that the visitor proved, as the mail has
// it, if it still is one; "" for none.
func (s *Site) provenAddress(x *exchange, linkID string, g *sisa.Guard) string {
	for _, r := range g.Recipients {
		if address, ok := normalAddress(r); ok && s.hasSession(x, sessionCookie, linkID, address) {
			return r
		}
	}
	return ""
}

// asked is what a code was asked for, if the visitor waits for one.
func (s *Site) asked(x *exchange, linkID string) (askedFor, bool) {
	for _, cookie := range x.r.CookiesNamed(askedCookie) {
		if text, ok := s.signer.open("asked", linkID, cookie.Value, s.now()); ok {
			nonce, address, _ := strings.Cut(text, " ")
			return askedFor{nonce, address}, true
		}
	}
	return askedFor{}, false
}

// fetched lists the parts of a link that the visitor fetched a moment ago.
func (s *Site) fetched(x *exchange, linkID string) (parts []int) {
	for _, cookie := range x.r.CookiesNamed(fetchedCookie) {
		text, ok := s.signer.open("fetched", linkID, cookie.Value, s.now())
		if !ok {
			continue
		}
		for field := range strings.FieldsSeq(text) {
			if part, err := strconv.Atoi(field); err == nil {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// setFetched notes that the visitor fetches more parts.
func (s *Site) setFetched(x *exchange, linkID, token string, parts []int) {
	parts = slices.Clone(parts)
	slices.Sort(parts)
	var fields []string
	for _, part := range slices.Compact(parts) {
		fields = append(fields, strconv.Itoa(part))
	}
	value := s.signer.seal("fetched", linkID, strings.Join(fields, " "), s.now().Add(againTime))
	if len(value) <= maxCookieBytes { // else each time counts
		s.setCookie(x, fetchedCookie, token, value, againTime)
	}
}
