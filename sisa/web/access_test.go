package web

import (
	"bytes"
	"context"
	"fmt"
	"io"
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

// mailbox is a Mailer that keeps what it is given.
type mailbox struct {
	mu    sync.Mutex
	delay time.Duration // of each mail
	sent  []sentMail
}

type sentMail struct{ to, subject, text string }

func (g *mailbox) SendCode(_ context.Context, to, subject, text string) error {
	time.Sleep(g.delay)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent = append(g.sent, sentMail{to, subject, text})
	return nil
}

// mails waits until n mails were sent, and a moment for one too many.
func (g *mailbox) mails(t *testing.T, n int) []sentMail {
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
func guarded(t *testing.T, g sisa.Guard) (*stage, *mailbox) {
	m := &mailbox{}
	s := newStage(t, func(s *stage, _ *Config) { s.parts.Mailer = m })
	s.guard(g)
	return s, m
}

// guard says who may open the link from now on.
func (s *stage) guard(g sisa.Guard) {
	s.links.set(func() {
		link := s.links.links[s.token]
		link.Guard = g
		s.links.links[s.token] = link
	})
}

func forRecipients(t *testing.T) (*stage, *mailbox) {
	return guarded(t, sisa.Guard{ByMail: true, Recipients: []string{"Carol@ext.test", "dave@ext.test"}})
}

// askFor enters an address, and gives the cookie that waits for its code.
func (s *stage) askFor(address string) (cookie string) {
	s.t.Helper()
	r := s.post(s.page(), form("address", address))
	s.wantStatus(r, http.StatusSeeOther)
	if r.Header.Get("Location") != s.token+"?asked" {
		s.t.Errorf("leads to %q", r.Header.Get("Location"))
	}
	return cookieOf(s.t, r, askedCookie)
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

// cookieOf takes a cookie of an answer, as a browser sends it back.
func cookieOf(t testing.TB, r reply, name string) string {
	t.Helper()
	for _, c := range r.Cookies() {
		if c.Name == name && c.MaxAge > 0 {
			return c.Name + "=" + c.Value
		}
	}
	t.Fatalf("no cookie %s: %v", name, r.Cookies())
	return ""
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

	r = s.get(s.page() + "?asked")
	s.wantText(r, "Who are you?", "your browser does not keep cookies") // it did not send one
	cookie := s.askFor(" carol@EXT.test ")
	r = s.get(s.page()+"?asked", "Cookie", cookie)
	s.wantStatus(r, http.StatusOK)
	s.wantText(r, "Enter the code", "If <bdi>carol@ext.test</bdi> is one of", `autocomplete="one-time-code"`)
	mail := g.mails(t, 1)[0]
	code := eightDigits.FindString(mail.text)
	if mail.to != "Carol@ext.test" || code == "" || mail.subject != "Your code: "+code || !strings.Contains(mail.text, "files.acmecorp.test") {
		t.Errorf("mail %+v", mail)
	}
	if eightDigits.Match(r.body) {
		t.Error("the page tells the code")
	}
	s.wantText(s.get(s.page(), "Cookie", cookie), "Enter the code") // a tab that the phone loaded again
	s.wantText(s.get(s.page()+"?again", "Cookie", cookie), "Who are you?")

	r = s.post(s.page(), form("code", code[:4]+" "+code[4:]), "Cookie", cookie)
	s.wantStatus(r, http.StatusSeeOther)
	if r.Header.Get("Location") != s.token {
		t.Errorf("leads to %q", r.Header.Get("Location"))
	}
	in := cookieOf(t, r, sessionCookie)
	for _, c := range r.Cookies() {
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/d/"+s.token || c.Name == sessionCookie && c.MaxAge != 12*60*60 {
			t.Errorf("cookie %v", c)
		}
	}
	again := s.post(s.page(), form("code", code), "Cookie", cookie)
	s.wantStatus(again, http.StatusSeeOther) // one press that was sent twice
	s.advance(doubleTap)
	s.wantStatus(s.post(s.page(), form("code", code), "Cookie", cookie), http.StatusForbidden)
	r = s.get(s.page(), "Cookie", in)
	s.wantStatus(r, http.StatusOK)
	s.wantText(r, "report.pdf", "Open only files that you expect")
	if bytes.Contains(r.body, []byte("Whoever has the address")) {
		t.Error("the page says that its address is enough")
	}
	r = s.post(s.page(), "file=5", "Cookie", in)
	s.wantStatus(r, http.StatusSeeOther)
	base, _ := url.Parse(s.page())
	to, _ := base.Parse(r.Header.Get("Location"))
	if file := s.get(to.String()); string(file.body) != "0123456789" {
		t.Errorf("got %q", file.body)
	}
	if d := s.links.recorded(); len(d) != 1 || d[0].Proven != "Carol@ext.test" {
		t.Errorf("recorded %+v", d)
	}
	// What the visitor proved no longer holds.
	s.guard(sisa.Guard{ByMail: true, Recipients: []string{"dave@ext.test"}})
	wantAsked := s.get(s.page(), "Cookie", in)
	s.wantText(wantAsked, "Who are you?")
	s.guard(sisa.Guard{ByMail: true, Recipients: []string{"carol@ext.test"}})
	s.advance(sessionTime)
	s.wantText(s.get(s.page(), "Cookie", in), "Who are you?")
}

func TestStrangersLearnNothingAndGetNothing(t *testing.T) {
	s, g := forRecipients(t)
	known, unknown := s.askFor("dave@ext.test"), s.askFor("evil@ext.test")
	if len(known) != len(unknown) {
		t.Errorf("the answers differ:\n%s\n%s", known, unknown)
	}
	a, b := s.get(s.page()+"?asked", "Cookie", known), s.get(s.page()+"?asked", "Cookie", unknown)
	if a.StatusCode != b.StatusCode || !bytes.Equal(bytes.ReplaceAll(a.body, []byte("dave"), []byte("evil")), b.body) {
		t.Errorf("the answers differ:\n%s\n%s", a.body, b.body)
	}
	code := eightDigits.FindString(g.mails(t, 1)[0].text)
	own, _ := s.site.signer.open("asked", sisa.TokenID(s.token), strings.TrimPrefix(unknown, askedCookie+"="), s.now())
	nonce, _, _ := strings.Cut(own, " ")
	for name, c := range map[string]struct{ cookie, code string }{
		"another's code":  {unknown, code},
		"wrong code":      {known, "00000000"},
		"empty code":      {known, ""},
		"code of evil":    {unknown, s.site.signer.code(sisa.TokenID(s.token), askedFor{nonce, "evil@ext.test"})},
		"asked by others": {s.askFor("dave@ext.test"), code},
	} {
		r := s.post(s.page(), form("code", c.code), "Cookie", c.cookie)
		s.wantStatus(r, http.StatusForbidden)
		s.wantText(r, "The code is wrong.", `role="alert"`, `aria-invalid="true"`)
		if len(r.Cookies()) != 0 {
			t.Errorf("%s: a cookie was given", name)
		}
	}
	s.wantStatus(s.post(s.page(), form("code", code)), http.StatusForbidden) // without what asked for it
	for _, address := range []string{"", "evil", "a@b@c", "evil@ext.test\r\nBcc: x@ext.test", "Evil <evil@ext.test>", "evil@ext.test, dave@ext.test", strings.Repeat("x", 400) + "@ext.test"} {
		r := s.post(s.page(), form("address", address))
		s.wantStatus(r, http.StatusBadRequest)
		s.wantText(r, "That is not a mail address.")
	}
	g.mails(t, 2)
	s.advance(codeTime)
	r := s.post(s.page(), form("code", code), "Cookie", known)
	s.wantStatus(r, http.StatusForbidden)
	s.wantText(r, "The code is too old")
}

func TestCodesAndCookiesAreBoundToWhatTheyAreFor(t *testing.T) {
	s := signer{key: testKey}
	asked := askedFor{"nonce", "a@ext.test"}
	code := s.code("link", asked)
	if len(code) != codeDigits || !s.checkCode("link", asked, code) {
		t.Errorf("code %s", code)
	}
	if s.checkCode("link2", asked, code) || s.checkCode("link", askedFor{"nonce", "b@ext.test"}, code) || s.checkCode("link", askedFor{"other", "a@ext.test"}, code) ||
		(signer{key: testKey[1:]}).checkCode("link", asked, code) {
		t.Error("a code opens what it is not for")
	}
	sealed := s.seal("asked", "link", "text", testStart.Add(time.Minute))
	if text, ok := s.open("asked", "link", sealed, testStart); !ok || text != "text" {
		t.Errorf("opened: %q %v", text, ok)
	}
	for name, ok := range map[string]bool{
		"another use": opens(s, "fetched", "link", sealed, testStart), "another link": opens(s, "asked", "link2", sealed, testStart),
		"late": opens(s, "asked", "link", sealed, testStart.Add(time.Minute)), "another key": opens(signer{key: testKey[1:]}, "asked", "link", sealed, testStart),
		"longer": opens(s, "asked", "link", "9"+sealed, testStart), "cut": opens(s, "asked", "link", sealed[:len(sealed)-1], testStart),
		"empty": opens(s, "asked", "link", "", testStart), "dots": opens(s, "asked", "link", "1.2.3", testStart),
	} {
		if ok {
			t.Errorf("%s: opened", name)
		}
	}
	if bytes.Equal(s.sum("a", "b", "c"), s.sum("a", "bc", "")) || bytes.Equal(s.sum("code", "x"), s.sum("session", "x")) {
		t.Error("two things have one MAC")
	}
}

func opens(s signer, label, linkID, value string, now time.Time) bool {
	_, ok := s.open(label, linkID, value, now)
	return ok
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
	cookie := s.askFor("dave@ext.test")
	code := eightDigits.FindString(g.mails(t, 1)[0].text)
	for range triesPerCode {
		s.wantStatus(s.post(s.page(), form("code", "00000000"), "Cookie", cookie), http.StatusForbidden)
	}
	r := s.post(s.page(), form("code", code), "Cookie", cookie)
	s.wantStatus(r, http.StatusForbidden)
	s.wantText(r, "Please have another code sent.")

	// From many networks, mails stop for recipient and stranger alike.
	from := func(n int) []string { return []string{"X-Forwarded-For", fmt.Sprintf("192.0.2.%d", n)} }
	for i, address := range []string{"dave@ext.test", "evil@ext.test"} {
		for n := 1 - i; n < mailsAtOnce; n++ {
			s.wantStatus(s.post(s.page(), form("address", address), from(10*i+n)...), http.StatusSeeOther)
		}
		r := s.post(s.page(), form("address", address), from(200)...)
		s.wantStatus(r, http.StatusTooManyRequests)
		s.wantText(r, "Many codes were asked for")
		if r.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	g.mails(t, mailsAtOnce)
	s.advance(29 * time.Minute)
	s.wantStatus(s.post(s.page(), form("address", "dave@ext.test"), from(201)...), http.StatusTooManyRequests)
	s.advance(2 * time.Minute)
	s.wantStatus(s.post(s.page(), form("address", "dave@ext.test"), from(202)...), http.StatusSeeOther)

	// One network that asks for many addresses uses up nothing of what others have.
	for n := range 2 * mailsAtOnceClient {
		r = s.post(s.page(), form("address", fmt.Sprintf("x%d@ext.test", n)), from(203)...)
	}
	s.wantStatus(r, http.StatusTooManyRequests)
	s.wantStatus(s.post(s.page(), form("address", "carol@ext.test"), from(204)...), http.StatusSeeOther)
	for n := range mailsAtOnceLink {
		r = s.post(s.page(), form("address", fmt.Sprintf("y%d@ext.test", n)), from(n)...)
	}
	s.wantStatus(r, http.StatusTooManyRequests)
	g.mails(t, mailsAtOnce+2)
}

func TestAddressesAreComparedAsPeopleWriteThem(t *testing.T) {
	for written, want := range map[string]string{
		" Bob@EXT.test ": "bob@ext.test", "bob@bücher.test": "bob@xn--bcher-kva.test", "bob@XN--BCHER-KVA.test": "bob@xn--bcher-kva.test",
		"büro@ext.test": "büro@ext.test", "bob@[192.0.2.1]": "bob@[192.0.2.1]", "bob@-x.test": "bob@-x.test",
		"Foo..bar.@docomo.test": "foo..bar.@docomo.test", `"Bob B"@ext.test`: `"bob b"@ext.test`, `"a@b"@ext.test`: `"a@b"@ext.test`,
	} {
		if got, ok := normalAddress(written); !ok || got != want {
			t.Errorf("%q: %q, %v, want %q", written, got, ok, want)
		}
	}
	for _, written := range []string{"", "@", "bob", "bob@", "@ext.test", "Bob <bob@ext.test>", "bob@ext.test\r\nBcc: x@ext.test", "bob@ext.test, al@ext.test",
		"bob b@ext.test", "bob@ext.test (Bob)", "bob\xff@ext.test", "bob@ext.test; x", strings.Repeat("b", 320) + "@ext.test"} {
		if got, ok := normalAddress(written); ok {
			t.Errorf("%q is taken for %q", written, got)
		}
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	s, g := forRecipients(t)
	for _, site := range []string{"cross-site", "same-site"} {
		s.wantStatus(s.post(s.page(), form("address", "dave@ext.test"), "Sec-Fetch-Site", site), http.StatusForbidden)
	}
	g.mails(t, 0)
	s.guard(sisa.Guard{})
	s.wantStatus(s.post(s.page(), form("file", "2"), "Sec-Fetch-Site", "cross-site"), http.StatusForbidden)
	if n := len(s.links.recorded()); n != 0 {
		t.Errorf("%d downloads counted", n)
	}
	s.wantStatus(s.post(s.page(), form("file", "2"), "Sec-Fetch-Site", "same-origin"), http.StatusSeeOther)
}

func TestTheAnswerTakesTheSameTimeForRecipientsAndStrangers(t *testing.T) {
	t.Parallel()
	const tries = 20
	s, g := forRecipients(t)
	g.delay = 200 * time.Millisecond // of the mail
	times := map[string][]time.Duration{}
	for range tries {
		s.advance(31 * time.Minute)
		for _, address := range []string{"dave@ext.test", "evil@ext.test"} {
			began := time.Now()
			s.wantStatus(s.post(s.page(), form("address", address)), http.StatusSeeOther)
			times[address] = append(times[address], time.Since(began))
		}
	}
	for _, all := range times {
		slices.Sort(all)
	}
	known, unknown := times["dave@ext.test"][0], times["evil@ext.test"][0] // the fastest: what else the machine does only slows
	t.Logf("fastest of %d: recipient %v, stranger %v", tries, known, unknown)
	if (known-unknown).Abs() > 10*time.Millisecond || known > g.delay {
		t.Errorf("a recipient waits %v, a stranger %v", known, unknown)
	}
}

// TestSlowFormsAreAnsweredNoFaster: the time counts from when all was sent.
func TestSlowFormsAreAnsweredNoFaster(t *testing.T) {
	t.Parallel()
	s, _ := forRecipients(t)
	for _, to := range []string{s.page(), s.server.URL + "/d/" + sisa.Token(make([]byte, 32), [32]byte{9}, 9)} {
		body, w := io.Pipe()
		sent := make(chan time.Time, 1)
		go func() {
			io.WriteString(w, "address=")
			time.Sleep(2 * missTime)
			sent <- time.Now()
			io.WriteString(w, "evil@ext.test")
			w.Close()
		}()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, body)
		if err == nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		s.send(req, err)
		if took := time.Since(<-sent); took < missTime {
			t.Errorf("answered after %v", took)
		}
	}
}

func TestRevocationAndExpiryComeBeforeTheQuestion(t *testing.T) {
	s, _ := forRecipients(t)
	s.links.set(func() { s.links.errs[s.token] = sisa.ErrNotFound })
	s.wantStatus(s.get(s.page()), http.StatusNotFound)
	s.wantStatus(s.post(s.page(), form("address", "dave@ext.test")), http.StatusNotFound)
}

func TestUsedCodesAreRememberedInBoundedMemory(t *testing.T) {
	o := newOnce()
	if !o.use("kept", testStart) || o.use("kept", testStart.Add(doubleTap)) {
		t.Error("a name was not used once")
	}
	for n := range maxQuotas - 1 {
		o.use(strings.Repeat("x", n%7)+string(rune(n)), testStart)
	}
	if n := len(o.young) + len(o.old); n > maxQuotas {
		t.Errorf("%d names", n)
	}
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
