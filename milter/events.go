package milter

// What go-milter reports: the envelope, the end of the header, the body.

import (
	"errors"
	"net"
	"net/textproto"
	"time"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
	"cloakroom/message"
)

// Connect reports the SMTP client.
func (s *session) Connect(string, string, uint16, net.IP, *gomilter.Modifier) (gomilter.Response, error) {
	var err error
	if s.client, err = parseConnect(s.payload); err != nil {
		return nil, err
	}
	s.connMacros = s.take(gomilter.CodeConn)
	return s.carryOn(gomilter.OptNoConnReply), nil
}

// Helo reports HELO or EHLO; a client says it again after STARTTLS.
func (s *session) Helo(name string, _ *gomilter.Modifier) (gomilter.Response, error) {
	s.helo = name
	s.heloMacros = s.take(gomilter.CodeHelo)
	return s.carryOn(gomilter.OptNoHeloReply), nil
}

// MailFrom begins a message.
func (s *session) MailFrom(string, *gomilter.Modifier) (gomilter.Response, error) {
	macros := s.take(gomilter.CodeMail)
	s.endMail() // an MTA may drop a transaction without a word
	_, sender, args, err := parsePath(s.payload)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	limit := now.Add(s.cfg.MessageTimeout)
	s.tx = newTransaction(s.ctx, limit, s.log)
	s.tx.header.leadingSpace = s.opts.agreed(gomilter.OptHeaderLeadingSpace)
	s.tx.env = &flow.Envelope{
		Sender: sender, SenderArgs: args,
		Client: s.client.addr, Host: s.client.name, Helo: s.helo, Received: now,
	}
	learn(s.tx.env, s.connMacros)
	learn(s.tx.env, s.heloMacros)
	learn(s.tx.env, macros)
	s.tx.env.Probe = macros[macroProbe] != ""
	s.tx.emulated = s.emulated()
	s.tap.begin(limit)
	return s.carryOn(gomilter.OptNoMailReply), nil
}

// Header is never called: intercept keeps header fields from go-milter.
func (s *session) Header(string, string, *gomilter.Modifier) (gomilter.Response, error) {
	return nil, errOrder
}

// Headers asks the handler whether it wants the message.
func (s *session) Headers(textproto.MIMEHeader, *gomilter.Modifier) (gomilter.Response, error) {
	x := s.tx
	if x == nil || x.mail != nil {
		return nil, errOrder
	}
	if x.err != nil {
		return s.tempFail(x.err), nil
	}
	if x.refusal != nil {
		return s.refuse(x.refusal), nil
	}
	h, err := message.ParseHeader(x.header.raw)
	if err != nil && x.header.defect == "" {
		x.header.defect = err.Error()
	}
	if x.header.defect != "" {
		// Who cannot read the header cannot tell what is in the body, and a later
		// try would bring the same header. The envelope is good all the same: rules
		// about it hold, and whose mailbox is elsewhere gets the mail there.
		x.logger().Warn("body left alone: unusable header", "reason", x.header.defect)
		h.Err = errors.New(x.header.defect)
	}
	x.header.raw = nil // the Mail's from here on
	err = s.attend(false, func() error {
		mail, err := s.handler.Open(x.ctx, x.env, h)
		x.mail = mail
		return err
	})
	if err != nil {
		return s.tempFail(err), nil
	}
	if x.mail == nil {
		return s.accept(), nil
	}
	return gomilter.RespContinue, nil
}

// BodyChunk is never called: the tap keeps body chunks from go-milter.
func (s *session) BodyChunk([]byte, *gomilter.Modifier) (gomilter.Response, error) {
	return nil, errOrder
}

// body passes body bytes on.
func (s *session) body(b []byte) error {
	if !s.takesBody() {
		return errOrder // a chunk before the end of the header would be lost
	}
	s.tx.write(b)
	return nil
}

func (s *session) takesBody() bool { return s.tx != nil && (s.tx.mail != nil || s.tx.err != nil) }

// Body is the end of the message: the handler decides, we carry it out.
func (s *session) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	x := s.tx
	if x == nil {
		return nil, errOrder
	}
	if x.err == nil && x.mail == nil {
		return nil, errOrder // an end without a header
	}
	if x.err != nil {
		return s.tempFail(x.err), nil
	}
	var out *flow.Outcome
	err := s.attend(true, func() (err error) {
		out, err = x.mail.Finish(x.ctx)
		return err
	})
	if err == nil && out == nil {
		err = errors.New("the handler gave no outcome")
	}
	if err == nil && out.Reject != nil {
		return s.refuse(out.Reject), nil
	}
	if err == nil {
		err = guard(func() error { return s.apply(out, m) })
	}
	if err != nil {
		return s.tempFail(err), nil
	}
	return s.accept(), nil
}

// Abort ends a message that the MTA gave up.
func (s *session) Abort(*gomilter.Modifier) error {
	s.endMail()
	return nil
}
