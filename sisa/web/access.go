package web

// Links that not everyone may open who has their address: who is let in.

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cloakroom/sisa"
)

// Mailer sends a short plain text by mail. It is called beside the request that
// wants it, so that the time of the answer tells nothing; ctx ends after
// mailTime.
type Mailer interface {
	SendCode(ctx context.Context, to, subject, text string) error
}

const (
	// mailTime is how long the hand-over of a code to the MTA may be tried: a
	// restart of it is waited for, and a code that comes later is of little use.
	mailTime = 2 * time.Minute
	// maxMails bounds how many codes are being sent at once.
	maxMails = 64

	// provenPassword is what a download has in place of an address.
	provenPassword = "password"
)

var errNoMailer = errors.New("the link asks for a code by mail, but nothing here sends mail: set submit.smtp, and start again")

// admit tells whether the visitor may see the link, and what they had to prove.
// If it is false the visitor has been answered: asked who they are, or told to
// wait. The password comes first: whoever lacks it sends nobody mail.
func (s *Site) admit(x *exchange, link sisa.Link, token string) (proven string, ok bool) {
	g, form := &link.Guard, x.r.PostForm // nil for GET
	if g.ByMail && s.mailer == nil {
		s.fail(x, http.StatusServiceUnavailable, errNoMailer)
		return "", false
	}
	if g.Password != "" {
		proven = provenPassword
		if !s.hasSession(x, passwordCookie, link.ID, proof(g, g.Password)) {
			if form.Has("password") {
				s.takePassword(x, link.ID, token, g)
			} else {
				s.ask(x, statusOf(form != nil), questionPassword, "", "")
			}
			return "", false
		}
	}
	if !g.ByMail {
		return proven, true
	}
	if address := s.provenAddress(x, link.ID, g); address != "" {
		return address, true
	}
	s.askByMail(x, link.ID, token, g)
	return "", false
}

// statusOf a question: in place of the page, or of a download without a cookie.
func statusOf(posted bool) int {
	if posted {
		return http.StatusForbidden
	}
	return http.StatusOK
}

// askByMail asks for an address, or for the code that was sent to it.
func (s *Site) askByMail(x *exchange, linkID, token string, g *sisa.Guard) {
	form := x.r.PostForm
	asked, pending := s.asked(x, linkID)
	switch {
	case form.Has("code") && pending:
		s.takeCode(x, linkID, token, g, asked)
	case form.Has("address"):
		s.takeAddress(x, linkID, token, g)
	case form.Has("code"), form == nil && x.r.URL.RawQuery == askedQuery && !pending:
		s.ask(x, statusOf(form != nil), questionAddress, "no_cookie", "")
	case form != nil:
		s.ask(x, http.StatusForbidden, questionAddress, "", "")
	case pending && x.r.URL.RawQuery != againQuery:
		s.ask(x, http.StatusOK, questionCode, "", asked.address)
	default:
		s.ask(x, http.StatusOK, questionAddress, "", "")
	}
}

// Queries of the page while it asks.
const (
	askedQuery = "asked" // a code was asked for, so the cookie must be there
	againQuery = "again" // another address is to be asked for
)

// takeAddress sends a code, if the address is one of the recipients'. Nothing in
// the answer tells.
func (s *Site) takeAddress(x *exchange, linkID, token string, g *sisa.Guard) {
	address, ok := normalAddress(x.r.PostForm.Get("address"))
	if !ok {
		s.ask(x, http.StatusBadRequest, questionAddress, "bad_address", "")
		return
	}
	if wait := s.mailQuotas.take(linkID, address, clientKey(x.client).String(), s.now()); wait > 0 {
		retryIn(x, wait)
		s.ask(x, http.StatusTooManyRequests, questionAddress, "many_codes", "")
		return
	}
	asked := newAsked(address)
	if to := recipient(g, address); to != "" {
		s.sendCode(x, linkID, asked, to)
	}
	x.pauseUntil(missTime)
	s.setCookie(x, askedCookie, token, s.signer.seal("asked", linkID, asked.text(), s.now().Add(codeTime)), codeTime)
	s.seeOther(x, token+"?"+askedQuery)
}

// sendCode does not wait for the mail, and not for the visitor either.
func (s *Site) sendCode(x *exchange, linkID string, asked askedFor, to string) {
	code := s.signer.code(linkID, asked)
	subject := x.texts.Say("mail_subject", "code", code)
	text := x.texts.Say("mail_text", "code", code, "host", s.face.Host)
	attrs := x.attrs()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), mailTime)
	select {
	case s.mails <- struct{}{}:
	default:
		cancel()
		s.log.Error("web: code not sent: too many are on their way", attrs...)
		return
	}
	go func() {
		defer func() { <-s.mails }()
		defer cancel()
		if err := s.mailer.SendCode(ctx, to, subject, text); err != nil {
			s.log.Error("web: code not sent", append(attrs, "error", err)...)
			return
		}
		s.log.Info("web: code sent", attrs...)
	}()
}

// takeCode lets in who has the code that went to a recipient. Each code can be
// tried a few times, and is good once.
func (s *Site) takeCode(x *exchange, linkID, token string, g *sisa.Guard, asked askedFor) {
	now := s.now()
	if s.tries.take(asked.nonce, now) > 0 {
		s.dropCookie(x, askedCookie, token)
		s.ask(x, http.StatusForbidden, questionAddress, "dead_code", "")
		return
	}
	// All is worked out, whatever the first says.
	right := s.signer.checkCode(linkID, asked, x.r.PostForm.Get("code"))
	if right = recipient(g, asked.address) != "" && right; right && s.usedCodes.use(asked.nonce, now) {
		s.dropCookie(x, askedCookie, token)
		s.letIn(x, sessionCookie, linkID, token, proof(g, asked.address))
		return
	}
	s.limiter.miss(x.client, now)
	x.pauseUntil(missTime)
	s.ask(x, http.StatusForbidden, questionCode, "bad_code", asked.address)
}

// takePassword lets in who knows the password. Only wrong ones count.
func (s *Site) takePassword(x *exchange, linkID, token string, g *sisa.Guard) {
	now, client := s.now(), linkID+" "+clientKey(x.client).String()
	wait := s.triesByClient.take(client, now)
	if wait == 0 {
		if wait = s.triesByLink.take(linkID, now); wait > 0 {
			s.triesByClient.giveBack(client) // what others do is not this one's
		}
	}
	if wait > 0 {
		retryIn(x, wait)
		s.ask(x, http.StatusTooManyRequests, questionPassword, "many_passwords", "")
		return
	}
	select { // a hash takes a processor for a while: a few at once
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-x.r.Context().Done():
		return
	}
	right, err := sisa.CheckPassword(g.Password, x.r.PostForm.Get("password"))
	if err != nil {
		s.fail(x, http.StatusInternalServerError, err)
		return
	}
	if right {
		s.triesByClient.giveBack(client)
		s.triesByLink.giveBack(linkID)
		s.letIn(x, passwordCookie, linkID, token, proof(g, g.Password))
		return
	}
	s.limiter.miss(x.client, now)
	s.ask(x, http.StatusForbidden, questionPassword, "bad_password", "")
}

// recipient is the address among the recipients' that fits, as the mail has it;
// "" for none. It looks at all of them, whichever fits.
func recipient(g *sisa.Guard, address string) string {
	found := ""
	for _, r := range g.Recipients {
		if normal, ok := normalAddress(r); ok && normal == address {
			found = r
		}
	}
	return found
}
