package web

// Links that not everyone may open who has their address: who is let in.

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cloakroom/sisa"
)

// What Access.Mode can be.
const (
	// AccessAnyone lets in whoever has the link's address; so does "".
	AccessAnyone = "anyone"
	// AccessRecipients lets in who can read mail at one of the recipients' addresses.
	AccessRecipients = "recipients"
	// AccessPassword lets in who knows a password.
	AccessPassword = "password"
)

// Access says who may open a link.
type Access struct {
	Mode       string
	Recipients []string // addresses; for AccessRecipients
	Password   string   // made by sisa.HashPassword; for AccessPassword
}

// Gate tells how a link is guarded. It is asked for links that exist and are in
// force, each time. An error is a failure of the store, and lets nobody in.
type Gate interface {
	Access(ctx context.Context, linkID string) (Access, error)
}

// Mailer sends a short plain text by mail. It is called beside the request that
// wants it, so that the time of the answer tells nothing; ctx ends after
// mailTime.
type Mailer interface {
	SendCode(ctx context.Context, to, subject, text string) error
}

const (
	// sessionTime is how long a visitor is let in without being asked again: a
	// working day.
	sessionTime = 12 * time.Hour
	// mailTime is how long the hand-over of a code to the MTA may take.
	mailTime = 60 * time.Second
	// maxMails bounds how many codes are being sent at once.
	maxMails = 16
)

var errUnknownMode = errors.New("the link's access mode is not known")

// admit tells whether the visitor may see the link, and how it is guarded. If it
// is false the visitor has been answered: asked who they are, or told to wait.
func (s *Site) admit(x *exchange, link sisa.Link, token string) (Access, bool) {
	access, err := s.access(x.r.Context(), link.ID)
	if err != nil {
		s.fail(x, http.StatusServiceUnavailable, err)
		return access, false
	}
	if access.Mode == AccessAnyone || s.hasSession(x, link.ID, access) {
		return access, true
	}
	form := x.r.PostForm // nil for GET
	switch {
	case access.Mode == AccessRecipients && form.Has("code"):
		s.takeCode(x, link.ID, token, access)
	case access.Mode == AccessRecipients && form.Has("address"):
		s.takeAddress(x, link.ID, access)
	case access.Mode == AccessPassword && form.Has("password"):
		s.takePassword(x, link.ID, token, access)
	case form != nil: // a download, without the cookie
		s.ask(x, http.StatusForbidden, firstQuestion(access), "", "")
	default:
		s.ask(x, http.StatusOK, firstQuestion(access), "", "")
	}
	return access, false
}

func (s *Site) access(ctx context.Context, linkID string) (Access, error) {
	if s.gate == nil {
		return Access{Mode: AccessAnyone}, nil
	}
	access, err := s.gate.Access(ctx, linkID)
	if err != nil {
		return Access{}, err
	}
	switch access.Mode {
	case "":
		access.Mode = AccessAnyone
	case AccessAnyone, AccessPassword:
	case AccessRecipients:
		if s.mailer == nil {
			return Access{}, errors.New("the link asks for a code by mail, but nothing here sends mail")
		}
	default:
		return Access{}, errUnknownMode
	}
	return access, nil
}

// takeAddress sends a code, if the address is one of the recipients'. Nothing in
// the answer tells.
func (s *Site) takeAddress(x *exchange, linkID string, access Access) {
	address, ok := normalAddress(x.r.PostForm.Get("address"))
	if !ok {
		s.ask(x, http.StatusBadRequest, questionAddress, "bad_address", "")
		return
	}
	now := s.now()
	if wait := max(s.mailsByLink.take(linkID, now), s.mailsByAddress.take(address, now)); wait > 0 {
		s.busy(x, wait)
		return
	}
	if isRecipient(access, address) {
		s.sendCode(x, linkID, address)
	}
	x.pauseUntil(missTime)
	s.ask(x, http.StatusOK, questionCode, "", address)
}

// sendCode does not wait for the mail, and not for the visitor either.
func (s *Site) sendCode(x *exchange, linkID, address string) {
	code := s.signer.code(linkID, address, s.now())
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
		if err := s.mailer.SendCode(ctx, address, subject, text); err != nil {
			s.log.Error("web: code not sent", append(attrs, "error", err)...)
			return
		}
		s.log.Info("web: code sent", attrs...)
	}()
}

// takeCode lets in who has the code that went to a recipient.
func (s *Site) takeCode(x *exchange, linkID, token string, access Access) {
	address, ok := normalAddress(x.r.PostForm.Get("address"))
	if !ok {
		s.ask(x, http.StatusBadRequest, questionAddress, "bad_address", "")
		return
	}
	now := s.now()
	if wait := max(s.tries.take(linkID+" "+address, now), s.triesByLink.take(linkID, now)); wait > 0 {
		s.busy(x, wait)
		return
	}
	// Both are worked out, whatever the first says.
	right := s.signer.checkCode(linkID, address, x.r.PostForm.Get("code"), now)
	if right = isRecipient(access, address) && right; right {
		s.letIn(x, linkID, token, address)
		return
	}
	s.limiter.miss(x.client, now)
	x.pauseUntil(missTime)
	s.ask(x, http.StatusForbidden, questionCode, "bad_code", address)
}

// takePassword lets in who knows the password.
func (s *Site) takePassword(x *exchange, linkID, token string, access Access) {
	now := s.now()
	if wait := s.triesByLink.take(linkID, now); wait > 0 {
		s.busy(x, wait)
		return
	}
	select { // a hash takes a processor for a while: a few at once
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-x.r.Context().Done():
		return
	}
	right, err := sisa.CheckPassword(access.Password, x.r.PostForm.Get("password"))
	if err != nil {
		s.fail(x, http.StatusInternalServerError, err)
		return
	}
	if right {
		s.letIn(x, linkID, token, access.Password)
		return
	}
	s.limiter.miss(x.client, now)
	s.ask(x, http.StatusForbidden, questionPassword, "bad_password", "")
}

// letIn gives the cookie and leads back to the page. who is what the visitor
// proved: an address or a password's hash.
func (s *Site) letIn(x *exchange, linkID, token, who string) {
	http.SetCookie(x, &http.Cookie{
		Name:     sessionCookie,
		Value:    s.signer.session(linkID, who, s.now().Add(sessionTime)),
		Path:     s.prefix + "/d/" + token,
		MaxAge:   int(sessionTime.Seconds()),
		HttpOnly: true,
		Secure:   x.hsts || s.secure,
		SameSite: http.SameSiteLaxMode, // the link in a mail is followed from elsewhere
	})
	x.Header().Set("Location", token)
	x.Header().Set("Content-Length", "0")
	x.WriteHeader(http.StatusSeeOther)
	s.log.Info("web: visitor let in", x.attrs()...)
}

// hasSession tells whether the visitor was let in before, for what still holds.
func (s *Site) hasSession(x *exchange, linkID string, access Access) bool {
	proofs := []string{access.Password}
	if access.Mode == AccessRecipients {
		proofs = access.Recipients
	}
	for _, cookie := range x.r.CookiesNamed(sessionCookie) {
		for _, who := range proofs {
			if access.Mode == AccessRecipients {
				who, _ = normalAddress(who)
			}
			if who != "" && s.signer.checkSession(cookie.Value, linkID, who, s.now()) {
				return true
			}
		}
	}
	return false
}

// isRecipient looks at all recipients, whichever fits.
func isRecipient(access Access, address string) bool {
	found := false
	for _, r := range access.Recipients {
		if normal, ok := normalAddress(r); ok && normal == address {
			found = true
		}
	}
	return found
}
