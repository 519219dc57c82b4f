package flow

// What is told of each message to whoever counts them: sums and durations,
// nothing of what it says or whose it is.

import (
	"context"
	"errors"
	"time"
)

// Verdict is what became of a message, in one word.
type Verdict uint8

// The verdicts. A message has one; the first that fits in this order.
const (
	// Deferred answered 4xx: the sender's MTA tries again.
	Deferred Verdict = iota
	// Refused answered 5xx, or 4xx because a rule says so.
	Refused
	// Observed would have been changed, but for mode: observe.
	Observed
	// Linked has links in the place of attachments.
	Linked
	// Forwarded goes on to another mail system, otherwise unchanged.
	Forwarded
	// Quarantined is held in the MTA's queue.
	Quarantined
	// Edited has changes in its header only.
	Edited
	// Passed is as it came. Copies of its files may be on their way to a vault.
	Passed
)

// Verdicts are their names, by value.
var Verdicts = [...]string{"deferred", "refused", "observed", "linked", "forwarded", "quarantined", "edited", "passed"}

func (v Verdict) String() string { return Verdicts[v] }

// Trouble is what an error of the mail path was about.
type Trouble uint8

// The kinds of trouble.
const (
	NoTrouble       Trouble = iota
	TroubleOther            // none of the others
	TroubleCanceled         // the MTA left, or the daemon stops
	TroubleRule             // a rule about the whole mail failed
	TroubleUsers            // the directory did not answer
	TroubleSpool            // the message could not be written down while it came
	TroubleLimit            // larger than what rules can be asked about
	TroubleStore            // attachments could not be stored
	TroubleDatabase         // the commit failed
	TroubleSpace            // the disk is nearly full: what would be stored is not
)

// Troubles are their names, by value.
var Troubles = [...]string{"none", "other", "canceled", "rule", "directory", "spool", "limit", "store", "database", "space"}

func (t Trouble) String() string { return Troubles[t] }

// Event is what is told of one message when it is answered.
type Event struct {
	// Recipient tells that not a message but one recipient was refused; then
	// nothing else is set.
	Recipient bool

	Verdict Verdict
	Trouble Trouble // also of a message that passed unchanged in spite of it

	Body    int64 // bytes that were looked at; 0 where envelope and header were enough
	Linked  int   // attachments that became links
	Taken   int64 // their bytes, decoded
	Stored  int64 // of which were new to the store
	Uploads int   // copies for the vault
	Onward  int   // recipients whose mail goes on to another system
	Copies  int   // of the message, for some of its recipients

	// The steps. Receive is from the end of the header to the end of the body,
	// Decide is policy, Store is everything durable; zero where a message did
	// not come to it. Total is all of it.
	Receive, Decide, Store, Total time.Duration
}

// troubled is an error with what it was about.
type troubled struct {
	error
	about Trouble
}

func (t troubled) Unwrap() error { return t.error }

// about notes what an error is about; nil stays nil.
func about(t Trouble, err error) error {
	if err == nil {
		return nil
	}
	return troubled{err, t}
}

// troubleOf tells what an error was about.
func troubleOf(ctx context.Context, err error) Trouble {
	if err == nil {
		return NoTrouble
	}
	if errors.Is(err, errRuleFailed) {
		return TroubleRule
	}
	if ctx.Err() != nil {
		return TroubleCanceled
	}
	if t, ok := errors.AsType[troubled](err); ok {
		return t.about
	}
	return TroubleOther
}

// observe tells of a message that ended with an outcome, or with an error that
// was forgiven if there is an outcome all the same.
func (m *Mail) observe(ctx context.Context, out *Outcome, cause error) {
	if m.env.Probe {
		return
	}
	now := m.engine.Now()
	e := Event{Trouble: troubleOf(ctx, cause), Total: now.Sub(m.start)}
	switch {
	case out == nil:
		e.Verdict = Deferred
	case cause != nil:
		e.Verdict = Passed
	default:
		e.Verdict = m.verdict(out)
		if m.starved {
			e.Trouble = TroubleSpace
		}
		e.Body, e.Linked, e.Stored = m.bodySize(), len(m.taken), m.report.stored
		for _, p := range m.taken {
			e.Taken += p.Content.Size
		}
		if !m.settings.Observe {
			e.Uploads, e.Onward, e.Copies = len(m.vaulted), m.forwarded(), len(m.split.copies)
		}
		if !m.report.decided.IsZero() {
			e.Receive, e.Decide, e.Store = m.report.scanned.Sub(m.start), m.report.decided.Sub(m.report.scanned), now.Sub(m.report.decided)
		}
	}
	if m.engine.Observe != nil {
		m.engine.Observe(e)
	}
	if cause != nil {
		out = nil // nothing was done
	}
	m.count(out, e.Verdict)
}

func (m *Mail) verdict(out *Outcome) Verdict {
	switch {
	case out.Reject != nil:
		return Refused
	case m.settings.Observe && m.plan != nil && (len(m.taken) > 0 || m.plan.Reject != nil || m.plan.Acts()):
		return Observed
	case out.Body != nil:
		return Linked
	case len(out.AddRecipients) > 0 || len(out.DeleteRecipients) > 0:
		return Forwarded
	case out.Quarantine != "":
		return Quarantined
	case out.Changed():
		return Edited
	}
	return Passed
}
