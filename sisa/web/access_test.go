package web

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/sisa"
)

// guard is a Gate and a Mailer that tests set and read.
type guard struct {
	mu     sync.Mutex
	access Access
	err    error
	delay  time.Duration // of each mail
	sent   []sentMail
}

type sentMail struct{ to, subject, text string }

func (g *guard) Access(context.Context, string) (Access, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.access, g.err
}

func (g *guard) SendCode(_ context.Context, to, subject, text string) error {
	time.Sleep(g.delay)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent = append(g.sent, sentMail{to, subject, text})
	return nil
}

func (g *guard) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// mails waits until n mails were sent, and a moment for one too many.
func (g *guard) mails(t *testing.T, n int) []sentMail {
	t.Helper()
	for range 100 {
		g.mu.Lock()
		got := len(g.sent)
		g.mu.Unlock()
		if got >= n {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sent) != n {
		t.Fatalf("%d mails, want %d", len(g.sent), n)
	}
	return slices.Clone(g.sent)
}

// guarded is a stage whose link is guarded.
func guarded(t *testing.T, access Access) (*stage, *guard) {
	g := &guard{access: access}
	s := newStage(t, func(s *stage, _ *Config) { s.parts.Gate, s.parts.Mailer = g, g })
	return s, g
}

func forRecipients(t *testing.T) (*stage, *guard) {
	return guarded(t, Access{Mode: AccessRecipients, Recipients: []string{"Carol@ext.test", "dave@ext.test"}})
}

var eightDigits = regexp.MustCompile(`\b[0-9]{8}\b`)

// form makes a form's body of name, value pairs.
func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

// cookieOf takes the cookie of an answer.
func cookieOf(t *testing.T, r reply) *http.Cookie {
	t.Helper()
	cookies := r.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies: %v", len(cookies), cookies)
	}
	return cookies[0]
}

// wantClosed fails where an answer tells anything of the mail.
func wantClosed(t *testing.T, s *stage, r reply) {
	t.Helper()
	for _, secret := range []string{"report", "bob@", "Plans", "Carol", "dave", "2 files", "MB"} {
		if bytes.Contains(r.body, []byte(secret)) {
			t.Errorf("a closed link tells %q:\n%s", secret, r.body)
		}
	}
	if len(s.links.recorded()) != 0 {
		t.Error("a download was counted")
	}
}

func TestRecipientGetsACodeAndIsLetInWithIt(t *testing.T) {
	s, g := forRecipients(t)
	r := s.get(s.page())
	s.wantStatus(r, http.StatusOK)
	s.wantText(r, "Who are you?", `type="email"`, `<label for="field">Your mail address</label>`)
	wantClosed(t, s, r)
	r = s.post(s.page(), "file=2")
	s.wantStatus(r, http.StatusForbidden)
	wantClosed(t, s, r)

	r = s.post(s.page(), form("address", " carol@EXT.test "))
	s.wantStatus(r, http.StatusOK)
	s.wantText(r, "Enter the code", "If <bdi>carol@ext.test</bdi> is one of", `autocomplete="one-time-code"`, `value="carol@ext.test"`)
	mail := g.mails(t, 1)[0]
	code := eightDigits.FindString(mail.text)
	if mail.to != "carol@ext.test" || code == "" || mail.subject != "Your code: "+code || !strings.Contains(mail.text, "files.acmecorp.test") {
		t.Errorf("mail %+v", mail)
	}
	if eightDigits.Match(r.body) {
		t.Error("the page tells the code")
	}

	r = s.post(s.page(), form("address", "carol@ext.test", "code", code[:4]+" "+code[4:]))
	s.wantStatus(r, http.StatusSeeOther)
	if r.Header.Get("Location") != s.token {
		t.Errorf("leads to %q", r.Header.Get("Location"))
	}
	c := cookieOf(t, r)
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/d/"+s.token || c.MaxAge != 12*60*60 {
		t.Errorf("cookie %v", c)
	}
	r = s.get(s.page(), "Cookie", c.Name+"="+c.Value)
	s.wantStatus(r, http.StatusOK)
	s.wantText(r, "report.pdf", "Open only files that you expect")
	if bytes.Contains(r.body, []byte("Whoever has the address")) {
		t.Error("the page says that its address is enough")
	}
	r = s.post(s.page(), "file=5", "Cookie", c.Name+"="+c.Value)
	s.wantStatus(r, http.StatusSeeOther)
	base, _ := url.Parse(s.page())
	to, _ := base.Parse(r.Header.Get("Location"))
	if file := s.get(to.String()); string(file.body) != "0123456789" {
		t.Errorf("got %q", file.body)
	}
	// What the visitor proved no longer holds.
	g.set(func() { g.access.Recipients = []string{"dave@ext.test"} })
	wantAsked := s.get(s.page(), "Cookie", c.Name+"="+c.Value)
	s.wantText(wantAsked, "Who are you?")
	g.set(func() { g.access.Recipients = []string{"carol@ext.test"} })
	s.advance(sessionTime)
	s.wantText(s.get(s.page(), "Cookie", c.Name+"="+c.Value), "Who are you?")
}

func TestStrangersLearnNothingAndGetNothing(t *testing.T) {
	s, g := forRecipients(t)
	known, unknown := s.post(s.page(), form("address", "dave@ext.test")), s.post(s.page(), form("address", "evil@ext.test"))
	if known.StatusCode != unknown.StatusCode || !bytes.Equal(bytes.ReplaceAll(known.body, []byte("dave"), []byte("evil")), unknown.body) {
		t.Errorf("the answers differ:\n%s\n%s", known.body, unknown.body)
	}
	code := eightDigits.FindString(g.mails(t, 1)[0].text)
	for name, f := range map[string]string{
		"another's code":   form("address", "evil@ext.test", "code", code),
		"wrong code":       form("address", "dave@ext.test", "code", "00000000"),
		"empty code":       form("address", "dave@ext.test", "code", ""),
		"code of evil":     form("address", "evil@ext.test", "code", s.site.signer.code(sisa.TokenID(s.token), "evil@ext.test", s.now())),
		"code of dave now": form("address", "carol@ext.test", "code", code),
	} {
		r := s.post(s.page(), f)
		s.wantStatus(r, http.StatusForbidden)
		s.wantText(r, "The code is wrong or too old.", `role="alert"`, `aria-invalid="true"`)
		if len(r.Cookies()) != 0 {
			t.Errorf("%s: a cookie was given", name)
		}
	}
	for _, address := range []string{"", "evil", "a@b@c", "evil@ext.test\r\nBcc: x@ext.test", "Evil <evil@ext.test>", "evil@ext.test, dave@ext.test", strings.Repeat("x", 400) + "@ext.test"} {
		r := s.post(s.page(), form("address", address))
		s.wantStatus(r, http.StatusBadRequest)
		s.wantText(r, "That is not a mail address.")
	}
	g.mails(t, 1)
	s.advance(codeSlots * codeSlot)
	s.wantStatus(s.post(s.page(), form("address", "dave@ext.test", "code", code)), http.StatusForbidden)
}

func TestCodesAreGoodForTenMinutesAndBoundToLinkAndAddress(t *testing.T) {
	s := signer{key: testKey}
	for offset := range int64(codeSlot.Seconds()) / 10 {
		at := testStart.Add(time.Duration(offset*10) * time.Second)
		code := s.code("link", "a@ext.test", at)
		if len(code) != codeDigits || !s.checkCode("link", "a@ext.test", code, at.Add(10*time.Minute)) || s.checkCode("link", "a@ext.test", code, at.Add(12*time.Minute)) {
			t.Errorf("offset %d s: code %s is not good for 10 to 12 minutes", offset*10, code)
		}
		if s.checkCode("link2", "a@ext.test", code, at) || s.checkCode("link", "b@ext.test", code, at) || (signer{key: testKey[1:]}).checkCode("link", "a@ext.test", code, at) {
			t.Error("a code opens what it is not for")
		}
	}
	if bytes.Equal(s.sum("a", "b", "c"), s.sum("a", "bc", "")) || bytes.Equal(s.sum("code", "x"), s.sum("session", "x")) {
		t.Error("two things have one MAC")
	}
}

func TestForgedCookiesAreRefused(t *testing.T) {
	s, _ := forRecipients(t)
	id := sisa.TokenID(s.token)
	good := s.site.signer.session(id, "dave@ext.test", testStart.Add(time.Hour))
	s.wantText(s.get(s.page(), "Cookie", sessionCookie+"="+good), "report.pdf")
	s.wantText(s.get(s.page(), "Cookie", sessionCookie+"=x; "+sessionCookie+"="+good), "report.pdf")
	for name, value := range map[string]string{
		"another link":    s.site.signer.session(sisa.TokenID("x"), "dave@ext.test", testStart.Add(time.Hour)),
		"another address": s.site.signer.session(id, "evil@ext.test", testStart.Add(time.Hour)),
		"nobody":          s.site.signer.session(id, "", testStart.Add(time.Hour)),
		"another key":     signer{key: testKey[1:]}.session(id, "dave@ext.test", testStart.Add(time.Hour)),
		"longer":          "9" + good,
		"cut":             good[:len(good)-1],
		"old":             s.site.signer.session(id, "dave@ext.test", testStart),
		"empty":           "",
		"dots":            "....",
	} {
		r := s.get(s.page(), "Cookie", sessionCookie+"="+value)
		if bytes.Contains(r.body, []byte("report.pdf")) {
			t.Errorf("%s: let in", name)
		}
	}
}

func TestCodesCannotBeTriedOrMailedWithoutEnd(t *testing.T) {
	s, g := forRecipients(t)
	for range mailsAtOnce {
		s.wantStatus(s.post(s.page(), form("address", "dave@ext.test")), http.StatusOK)
	}
	for _, address := range []string{"dave@ext.test", "evil@ext.test"} { // the limit tells nothing either
		for range mailsAtOnce {
			s.post(s.page(), form("address", address))
		}
		r := s.post(s.page(), form("address", address))
		s.wantStatus(r, http.StatusTooManyRequests)
		if r.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	g.mails(t, mailsAtOnce)
	for range triesAtOnce {
		s.wantStatus(s.post(s.page(), form("address", "dave@ext.test", "code", "00000000")), http.StatusForbidden)
	}
	right := s.site.signer.code(sisa.TokenID(s.token), "dave@ext.test", s.now())
	s.wantStatus(s.post(s.page(), form("address", "dave@ext.test", "code", right)), http.StatusTooManyRequests)
	s.advance(2 * time.Minute)
	s.wantStatus(s.post(s.page(), form("address", "dave@ext.test", "code", right)), http.StatusSeeOther)
	for n := range triesAtOnceLink { // many addresses do not help
		s.post(s.page(), form("address", strings.Repeat("x", n+1)+"@ext.test", "code", "00000000"))
	}
	s.wantStatus(s.post(s.page(), form("address", "carol@ext.test", "code", "00000000")), http.StatusTooManyRequests)
}

func TestTheAnswerTakesTheSameTimeForRecipientsAndStrangers(t *testing.T) {
	t.Parallel()
	const tries = 20
	s, g := forRecipients(t)
	g.delay = 200 * time.Millisecond // of the mail
	times := map[string][]time.Duration{}
	for range tries {
		s.advance(10 * time.Minute)
		for _, address := range []string{"dave@ext.test", "evil@ext.test"} {
			began := time.Now()
			s.wantStatus(s.post(s.page(), form("address", address)), http.StatusOK)
			times[address] = append(times[address], time.Since(began))
		}
	}
	for _, all := range times {
		slices.Sort(all)
	}
	known, unknown := times["dave@ext.test"][tries/2], times["evil@ext.test"][tries/2]
	t.Logf("median of %d: recipient %v, stranger %v", tries, known, unknown)
	if (known-unknown).Abs() > 10*time.Millisecond || known > g.delay {
		t.Errorf("a recipient waits %v, a stranger %v", known, unknown)
	}
}

func TestPasswordOpensTheLink(t *testing.T) {
	hash, err := sisa.HashPassword("pass phrase ü")
	if err != nil {
		t.Fatal(err)
	}
	s, g := guarded(t, Access{Mode: AccessPassword, Password: hash})
	r := s.get(s.page())
	s.wantText(r, `type="password"`, "The sender of the mail can tell you.")
	wantClosed(t, s, r)
	r = s.post(s.page(), form("password", "wrong"))
	s.wantStatus(r, http.StatusForbidden)
	s.wantText(r, "The password is wrong.")
	wantClosed(t, s, r)
	r = s.post(s.page(), form("password", "pass phrase ü"))
	s.wantStatus(r, http.StatusSeeOther)
	c := cookieOf(t, r)
	s.wantText(s.get(s.page(), "Cookie", c.Name+"="+c.Value), "report.pdf")
	if other, err := sisa.HashPassword("another"); err != nil {
		t.Fatal(err)
	} else {
		g.set(func() { g.access.Password = other })
	}
	s.wantText(s.get(s.page(), "Cookie", c.Name+"="+c.Value), `type="password"`)
	// A cookie for nothing opens nothing, and a broken hash neither.
	g.set(func() { g.access.Password = "" })
	empty := s.site.signer.session(sisa.TokenID(s.token), "", testStart.Add(time.Hour))
	s.wantText(s.get(s.page(), "Cookie", c.Name+"="+empty), `type="password"`)
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
	for name, c := range map[string]struct {
		access Access
		err    error
		mailer bool
	}{
		"store away":   {Access{Mode: AccessAnyone}, errors.New("away"), true},
		"unknown mode": {Access{Mode: "friends"}, nil, true},
		"no mailer":    {Access{Mode: AccessRecipients, Recipients: []string{"dave@ext.test"}}, nil, false},
	} {
		g := &guard{access: c.access, err: c.err}
		s := newStage(t, func(s *stage, _ *Config) {
			s.parts.Gate = g
			if c.mailer {
				s.parts.Mailer = g
			}
		})
		for _, r := range []reply{s.get(s.page()), s.post(s.page(), "file=2"), s.post(s.page(), form("address", "dave@ext.test"))} {
			if r.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s: status %d", name, r.StatusCode)
			}
			wantClosed(t, s, r)
		}
	}
	for _, mode := range []string{"", AccessAnyone} {
		s, _ := guarded(t, Access{Mode: mode})
		s.wantText(s.get(s.page()), "report.pdf")
	}
}

func TestRevocationAndExpiryComeBeforeTheQuestion(t *testing.T) {
	s, _ := forRecipients(t)
	s.links.set(func() { s.links.errs[s.token] = sisa.ErrNotFound })
	s.wantStatus(s.get(s.page()), http.StatusNotFound)
	s.wantStatus(s.post(s.page(), form("address", "dave@ext.test")), http.StatusNotFound)
}

func TestQuotaMemoryIsBounded(t *testing.T) {
	q := newQuota(1, 1)
	q.take("kept", testStart)
	for n := range maxQuotas {
		q.take(strings.Repeat("x", n%7)+string(rune(n)), testStart)
		if n%1000 == 0 && q.take("kept", testStart) == 0 {
			t.Fatalf("forgotten after %d", n)
		}
	}
	if n := len(q.young) + len(q.old); n > maxQuotas {
		t.Errorf("%d names", n)
	}
}
