// Package milter is the MTA's side of Cloakroom: it speaks the milter protocol
// with Postfix and Sendmail, hands each message to a Handler, and carries the
// handler's decision back.
//
// The protocol engine is emersion/go-milter, one of its servers per accepted
// connection. Between it and the socket stands the tap, which sees every packet
// and does what go-milter leaves out: negotiation by what the MTA offers, macros
// of every stage, ESMTP arguments, deadlines, PROGRESS, large replacement bodies.
package milter

import (
	"context"
	"io"

	"cloakroom/flow"
	"cloakroom/message"
)

// Handler decides about mail.
type Handler interface {
	// Open is called at the end of the header. A nil Mail with a nil error means
	// that nothing can touch the message: it is accepted at once, and its body
	// never crosses the socket. It must be a literal nil: a nil pointer in a
	// Mail is not nil.
	//
	// env stays the same until Close; its QueueID may be filled in later, before
	// Finish. h.Raw belongs to the Mail. An error is answered with 451.
	//
	// ctx lives until Close; it ends early when the connection dies or the
	// message takes longer than message_timeout.
	Open(ctx context.Context, env *flow.Envelope, h message.Header) (Mail, error)
}

// RecipientChecker is a Handler that also decides about each recipient. It costs
// the MTA a round trip for each.
type RecipientChecker interface {
	// CheckRecipient is called for each RCPT that the MTA itself does not
	// refuse; env has the recipients before r. A nil Reply with a nil error
	// takes the recipient. One that is refused, and one whose check fails (it is
	// answered with 451), does not get into the envelope.
	//
	// Postfix plays MAIL and RCPT itself for mail that comes by sendmail(1) or
	// QMQP, and takes a refused RCPT there for a misconfiguration that blocks
	// the message. Such a message is taken up to the end of its header and then
	// refused as a whole, before Open, so that its sender hears of it.
	//
	// ctx ends after 8 s, when MTAs are about to give up.
	CheckRecipient(ctx context.Context, env *flow.Envelope, r flow.Recipient) (*flow.Reply, error)
}

// Mail is one message on its way through the Handler. Its methods are called
// one after the other, never at the same time.
type Mail interface {
	// Write takes body bytes as they come (CRLF line ends) and does not retain
	// p. After an error nothing more is written, and the message is answered
	// with 451 when its end is reached.
	io.Writer
	// Finish is called at the end of the message. The Outcome is never nil
	// when the error is; an empty one accepts the message as it is. An error is
	// answered with 451, and so is an Outcome that cannot be carried out as a
	// whole: one the MTA does not allow, with an address or a text that would
	// arrive as another, or that leaves the message without a recipient.
	Finish(ctx context.Context) (*flow.Outcome, error)
	// Close frees what the Mail holds. It is called exactly once, after Finish
	// and the sending of its Outcome, or instead of Finish when the message was
	// aborted or the connection lost.
	Close()
}
