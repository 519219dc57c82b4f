package web

// Cookies: who was let in, who waits for a code, and who fetched what a moment
// ago. Each is good for one link's page only.

import (
	"maps"
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
	// againTime is how long a file can be fetched once more without being counted,
	// from the time that was: a phone that lost its line, a browser that could not
	// save it.
	againTime = time.Hour

	sessionCookie  = "cloakroom"          // has a recipient's address proven
	passwordCookie = "cloakroom-password" // and this a password
	askedCookie    = "cloakroom-asked"
	fetchedCookie  = "cloakroom-fetched"

	maxCookieBytes = 3000 // browsers keep 4096 with the attributes
	maxCookies     = 4    // of one name that are looked at
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

// cookies gives the values of the first cookies of a name. A browser has one; each
// costs some work, which nobody shall multiply.
func cookies(x *exchange, name string) (values []string) {
	for _, cookie := range x.r.CookiesNamed(name) {
		if len(values) < maxCookies && len(cookie.Value) <= maxCookieBytes {
			values = append(values, cookie.Value)
		}
	}
	return values
}

// proof is what a cookie is about: an address or a password's hash, proven since
// an administrator said who may open the link, if one did.
func proof(g *sisa.Guard, who string) string {
	if g.Since == 0 || who == "" {
		return who
	}
	return strconv.FormatInt(g.Since, 10) + " " + who
}

// letIn gives the cookie and leads back to the page. who is what the visitor
// proved.
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
	for _, value := range cookies(x, name) {
		if s.signer.checkSession(value, linkID, who, s.now()) {
			return true
		}
	}
	return false
}

// provenAddress is the recipient's address that the visitor proved, as the mail has
// it, if it still is one; "" for none.
func (s *Site) provenAddress(x *exchange, linkID string, g *sisa.Guard) string {
	for _, r := range g.Recipients {
		if address, ok := normalAddress(r); ok && s.hasSession(x, sessionCookie, linkID, proof(g, address)) {
			return r
		}
	}
	return ""
}

// asked is what a code was asked for, if the visitor waits for one.
func (s *Site) asked(x *exchange, linkID string) (askedFor, bool) {
	for _, value := range cookies(x, askedCookie) {
		if text, ok := s.signer.open("asked", linkID, value, s.now()); ok {
			nonce, address, _ := strings.Cut(text, " ")
			return askedFor{nonce, address}, true
		}
	}
	return askedFor{}, false
}

// fetched has the parts of a link that the visitor fetched a moment ago, and until
// when, in seconds since 1970, each is not counted again.
func (s *Site) fetched(x *exchange, linkID string) map[int]int64 {
	parts := make(map[int]int64)
	for _, value := range cookies(x, fetchedCookie) {
		text, ok := s.signer.open("fetched", linkID, value, s.now())
		if !ok {
			continue
		}
		for field := range strings.FieldsSeq(text) {
			number, end, _ := strings.Cut(field, ":")
			part, err := strconv.Atoi(number)
			until, err2 := strconv.ParseInt(end, 36, 64)
			if err == nil && err2 == nil && s.now().Unix() < until {
				parts[part] = max(parts[part], until)
			}
		}
	}
	return parts
}

// setFetched notes what the visitor fetched.
func (s *Site) setFetched(x *exchange, linkID, token string, parts map[int]int64) {
	var fields []string
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		fields = append(fields, strconv.Itoa(part)+":"+strconv.FormatInt(parts[part], 36))
	}
	value := s.signer.seal("fetched", linkID, strings.Join(fields, " "), s.now().Add(againTime))
	if len(value) <= maxCookieBytes { // else each time counts
		s.setCookie(x, fetchedCookie, token, value, againTime)
	}
}
