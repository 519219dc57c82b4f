package milter

// What go-milter leaves out: negotiation, macros, header bytes, odd commands.

import (
	"fmt"

	gomilter "github.com/emersion/go-milter"
)

// intercept handles what go-milter does not, and lets the rest pass.
func (s *session) intercept(code gomilter.Code, payload []byte) (bool, error) {
	s.payload = payload
	if s.negotiated == (code == gomilter.CodeOptNeg) {
		return false, fmt.Errorf("protocol error: unexpected command %q", rune(code))
	}
	switch code {
	case gomilter.CodeOptNeg:
		return false, s.negotiate(payload)
	case gomilter.CodeMacro:
		stage, macros, err := parseMacros(payload)
		if err == nil && hasMacros(stage) {
			s.macros[stage] = macros
		}
		return false, err
	case gomilter.CodeHeader:
		// go-milter would gather the fields of all messages in one map.
		if s.tx == nil {
			return false, errOrder
		}
		s.tx.header.add(payload)
		return false, s.proceed(gomilter.OptNoHeaderReply)
	case gomilter.CodeBody:
		if !s.takesBody() {
			return false, errOrder
		}
		return false, s.proceed(gomilter.OptNoBodyReply)
	case gomilter.CodeData:
		s.learnStage(code)
		return false, s.proceed(gomilter.OptNoDataReply)
	case codeUnknown:
		return false, s.proceed(gomilter.OptNoUnknownReply)
	case gomilter.CodeQuitNewConn:
		s.endMail()
		s.reset()
		return false, nil
	case gomilter.CodeEOB:
		s.learnStage(code)
		if s.tx != nil && len(payload) > 0 {
			// The end may carry the last body chunk (libmilter takes it so, and
			// early Postfix sent it so); go-milter would drop it.
			s.tx.write(payload)
		}
	case gomilter.CodeEOH:
		s.learnStage(code)
	}
	return true, nil
}

func (s *session) negotiate(offer []byte) error {
	want := wantProtocol
	if s.checker != nil {
		want &^= gomilter.OptNoRcptReply
	}
	opts, err := negotiate(offer, want)
	if err != nil {
		return err
	}
	s.opts, s.negotiated, s.tap.greeted = opts, true, true
	if !opts.may(gomilter.OptChangeBody | gomilter.OptChangeHeader | gomilter.OptAddHeader) {
		s.log.Error("the MTA does not let this milter change messages: mail that needs a change will be deferred",
			"offered_actions", fmt.Sprintf("%#x", opts.actions))
	}
	return s.tap.writePacket(byte(gomilter.CodeOptNeg), opts.payload())
}

// proceed answers a command that we have nothing to say about.
func (s *session) proceed(silent gomilter.OptProtocol) error {
	if s.opts.agreed(silent) {
		return nil
	}
	return s.tap.writePacket(byte(gomilter.ActContinue), nil)
}

// carryOn is proceed for go-milter's callbacks: no response means no reply.
func (s *session) carryOn(silent gomilter.OptProtocol) gomilter.Response {
	if s.opts.agreed(silent) {
		return nil
	}
	return gomilter.RespContinue
}

// take gives the macros that came for a command, once.
func (s *session) take(code gomilter.Code) map[string]string {
	m := s.macros[code]
	delete(s.macros, code)
	return m
}

// learnStage completes the envelope: Sendmail tells the queue id with MAIL,
// Postfix later.
func (s *session) learnStage(code gomilter.Code) {
	if m := s.take(code); s.tx != nil {
		learn(s.tx.env, m)
	}
}
