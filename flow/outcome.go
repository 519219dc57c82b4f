package flow

import (
	"io"

	"cloakroom/message"
)

// Outcome is what the MTA shall do with a message.
type Outcome struct {
	// Reject refuses the whole message; nothing else is then looked at.
	Reject *Reply
	// Quarantine is the reason to hold the message in the MTA's queue; "" does not.
	Quarantine string
	// Sender is the new MAIL FROM, without angle brackets; nil leaves it.
	Sender *string
	// DeleteRecipients are taken off the envelope, each by the bytes it came with.
	DeleteRecipients []string
	// AddRecipients join the envelope, with ESMTP parameters where the MTA
	// takes them (NOTIFY, ORCPT).
	AddRecipients []Recipient
	// Header edits, in the order they are to be sent. Empty when nothing changes.
	Header []message.HeaderEdit
	// Body is the new body; nil leaves the MTA's body alone. It is valid until
	// the Mail it came from is closed.
	Body io.WriterTo
}

// Changed tells whether anything in the message itself changes.
func (o *Outcome) Changed() bool { return o.Body != nil || len(o.Header) > 0 }

// Reply is an SMTP reply that refuses (RFC 5321 section 4.2, RFC 3463).
type Reply struct {
	Code     int    `json:"code"`     // 4xx or 5xx
	Enhanced string `json:"enhanced"` // such as "5.7.1"; its class is that of Code
	Text     string `json:"text"`     // one line for people
}
