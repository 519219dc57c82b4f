package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"cloakroom/internal/spool"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/policy"
)

// Mail is one message on its way: opened at the end of its header, fed with
// its body, finished once, closed always.
type Mail struct {
	engine   *Engine
	settings *Settings
	env      *Envelope
	header   message.Header
	start    time.Time

	ours       bool // the sender
	recipients []policy.Recipient

	spool     *spool.Buffer
	inspector *message.Inspector
	scanner   *message.Scanner
	failed    error // of the spool
	tooLarge  bool

	tree   *message.Tree
	bodies message.Bodies
	alone  string
	plan   *policy.Plan
	taken  []*message.Part
	kept   map[int]string // why an attachment that policy would link stays
	record *ledger.Mail
	// skeleton is the record's skeleton where it is too large to be inline
	skeleton *spool.Buffer
	report   Report
}

// Write takes the next bytes of the body. It never fails: an error of the
// spool is told by Finish, when the MTA can be answered.
func (m *Mail) Write(b []byte) (int, error) {
	if m.failed != nil || m.tooLarge {
		return len(b), nil
	}
	if _, err := m.spool.Write(b); errors.Is(err, spool.ErrTooLarge) {
		m.tooLarge = true
	} else if err != nil {
		m.failed = err
	}
	m.scanner.Write(b)
	return len(b), nil
}

// Original is the body as it came, for a door that must write it itself. It
// is an error when not all of it could be kept.
func (m *Mail) Original() (io.Reader, error) {
	if m.failed != nil {
		return nil, fmt.Errorf("spool the message: %w", m.failed)
	}
	if m.tooLarge {
		return nil, fmt.Errorf("message over the limit of %d bytes", int64(MaxMessage))
	}
	return m.spool.Reader(), nil
}

// Close frees what the message holds. The outcome's body is gone with it.
func (m *Mail) Close() {
	m.spool.Close()
	if m.skeleton != nil {
		m.skeleton.Close()
	}
}

// Finish decides the message at its end and makes everything durable that
// the outcome relies on. An error means a temporary failure: answer 4xx.
func (m *Mail) Finish(ctx context.Context) (*Outcome, error) {
	out, err := m.finish(ctx)
	if err != nil && (m.settings.Observe || m.settings.AcceptOnError && ctx.Err() == nil) {
		// Nothing but links is at stake here: the mail is whole without them.
		m.engine.Log.Error("mail passes unchanged after an error, as mode or on_error says", "queue_id", m.env.QueueID, "err", err)
		return &Outcome{}, nil
	}
	if err == nil {
		m.summary(out)
	}
	return out, err
}
