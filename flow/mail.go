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
	"cloakroom/policy/directory"
	"cloakroom/policy/forward"
)

// Mail is one message on its way: opened at the end of its header, fed with
// its body, finished once, closed always.
type Mail struct {
	engine   *Engine
	settings *Settings
	env      *Envelope
	header   message.Header
	start    time.Time

	arrival   forward.Arrival     // which other system it came from
	pending   bool                // the header may yet prove one
	ways      []forward.Decision  // by recipient; nil without co-existence
	groups    map[string][]string // of the directory, by address
	refused   *Reply              // at the end of the header, for a recipient
	split     split
	users     map[string]*directory.User // by address as it came
	vaulted   []spaceCopy                // copies for the vault
	whole     *find                      // the mail as one of them
	named     []string                   // see visible
	itsKey    ledger.Key                 // see key; zero before
	factsRead *policy.Facts              // see allFacts; nil before
	copied    bool                       // copies may be under way: the mail must not pass as it came

	ours       bool // the sender
	sender     *policy.User
	recipients []policy.Recipient
	passes     string // why no attachment becomes a link, whatever the body holds
	starved    bool   // because the disk is nearly full
	needsBody  bool   // false: envelope and header decided everything

	drafts    drafts
	spool     *spool.Buffer
	inspector *message.Inspector
	scanner   *message.Scanner
	failed    error // of the spool
	tooLarge  bool

	tree   *message.Tree
	bodies message.Bodies
	alone  string
	plan   *policy.Plan
	links  *policy.Plan // for those who stay in the transaction
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
	if m.failed != nil || m.tooLarge || m.spool == nil {
		return len(b), nil
	}
	if _, err := m.spool.Write(b); errors.Is(err, spool.ErrTooLarge) {
		m.tooLarge = true
	} else if err != nil {
		m.failed = err
	}
	if m.needsBody {
		m.scanner.Write(b)
	}
	return len(b), nil
}

// KeepBody has the body kept even if nobody looks at it, for a door that must
// write it itself. It comes before the first Write.
func (m *Mail) KeepBody() {
	if m.spool == nil {
		m.spool = m.engine.Spool.New(MaxMessage)
	}
}

// Original is the body as it came, after KeepBody. It is an error when not all
// of it could be kept.
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
	if m.spool != nil {
		m.spool.Close()
	}
	if m.skeleton != nil {
		m.skeleton.Close()
	}
	m.drafts.close()
}

// Finish decides the message at its end and makes everything durable that
// the outcome relies on. An error means a temporary failure: answer 4xx.
func (m *Mail) Finish(ctx context.Context) (*Outcome, error) {
	out, err := m.finish(ctx)
	if err != nil {
		if err = m.pardon(ctx, err); err != nil {
			return nil, err
		}
		return &Outcome{}, nil
	}
	m.observe(ctx, out, nil)
	if !m.env.Probe {
		m.summary(out)
	}
	return out, nil
}
