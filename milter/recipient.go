package milter

// RCPT: the recipients of a message, and the handler's say about each.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
)

var errRecipientTime = errors.New("the check of a recipient took too long")

// RcptTo reports a recipient.
func (s *session) RcptTo(string, *gomilter.Modifier) (gomilter.Response, error) {
	x := s.tx
	if x == nil {
		return nil, errOrder
	}
	path, address, args, err := parsePath(s.payload)
	if err != nil {
		return nil, err
	}
	macros := s.take(gomilter.CodeRcpt)
	learn(x.env, macros)
	r := flow.Recipient{Address: address, Args: args}
	size := len(s.payload)
	switch {
	case macros[macroMailer] == "error": // the MTA has refused it
	case len(x.env.Recipients) == maxRecipients:
		x.err = fmt.Errorf("more than %d recipients", maxRecipients)
	case x.envelope+size > maxEnvelope:
		x.err = fmt.Errorf("recipients of more than %d bytes", maxEnvelope)
	default:
		if refused := s.checkRecipient(r); refused != nil {
			return refused, nil
		}
		x.env.Recipients = append(x.env.Recipients, r)
		x.paths = append(x.paths, path)
		x.envelope += size
	}
	return s.carryOn(gomilter.OptNoRcptReply), nil
}

// emulated tells whether MAIL and RCPT are Postfix's own play for mail that came
// by sendmail(1) or QMQP; asked at MAIL.
//
// Mail by sendmail(1) has a client without a port: localhost, 127.0.0.1, port 0.
// A QMQP client has one, but its message already is in a queue file, so that the
// id is known at MAIL, which in an SMTP session of Postfix it never is before the
// first RCPT was taken. Sendmail, which emulates nothing, always knows the id.
func (s *session) emulated() bool {
	return s.client.port == 0 ||
		s.tx.env.QueueID != "" && strings.HasPrefix(s.connMacros[macroVersion], "Postfix")
}

// checkRecipient asks the handler; nil takes the recipient.
func (s *session) checkRecipient(r flow.Recipient) gomilter.Response {
	x := s.tx
	if s.checker == nil || x.err != nil {
		return nil
	}
	var reply *flow.Reply
	err := s.attend(false, func() (err error) {
		ctx, cancel := context.WithTimeoutCause(x.ctx, recipientTimeout, errRecipientTime)
		defer cancel()
		if reply, err = s.checker.CheckRecipient(ctx, x.env, r); err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return err
	})
	if err == nil && reply == nil {
		return nil
	}
	var text string
	if err == nil {
		text, err = x.replyText(reply)
	}
	switch {
	case x.emulated && err != nil:
		x.err = fmt.Errorf("recipient %s: %w", r.Address, err)
		return nil
	case x.emulated:
		x.refuseLater(reply, r)
		return nil
	case err != nil:
		x.logDeferral("recipient deferred", err, "recipient", r.Address)
		return x.later(err)
	}
	x.logger().Info("recipient refused", "recipient", r.Address,
		"code", reply.Code, "enhanced", reply.Enhanced, "text", reply.Text)
	return gomilter.NewResponseStr(respReply, text)
}

// refuseLater keeps a refusal for the end of the header. A temporary one comes
// first: when the message comes again, the other will be given.
func (x *transaction) refuseLater(reply *flow.Reply, r flow.Recipient) {
	if x.refusal != nil && (x.refusal.Code < 500 || reply.Code >= 500) {
		return
	}
	named := *reply // one message stands for all its recipients
	named.Text = "<" + r.Address + ">: " + reply.Text
	x.refusal = &named
}
