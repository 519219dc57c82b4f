package flow

import (
	"io"

	"cloakroom/message"
)

// Outcome is what the MTA shall do with a message.
type Outcome struct {
	// Header edits, in the order they are to be sent. Empty when nothing changes.
	Header []message.HeaderEdit
	// Body is the new body; nil leaves the MTA's body alone. It is valid until
	// the Mail it came from is closed.
	Body io.WriterTo
}

// Changed tells whether anything is sent back at all.
func (o *Outcome) Changed() bool { return o.Body != nil || len(o.Header) > 0 }
