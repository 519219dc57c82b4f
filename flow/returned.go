package flow

// Copies that could not be delivered: their senders are told.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"cloakroom/internal/jobs"
	"cloakroom/internal/spool"
	"cloakroom/internal/submit"
	"cloakroom/ledger"
	"cloakroom/message"
)

// returned tells the sender whom his mail did not reach. A mail without sender
// can be returned to nobody: its job fails, and stays for an administrator.
func (c *Courier) returned(ctx context.Context, job Copy, record *ledger.Mail, mail *spool.Buffer) error {
	note := submit.Notification{Hostname: c.Hostname, To: record.Sender, Date: c.Now(), Arrival: job.Hop.At, ID: record.Key.String(), Envelope: job.Args}
	for _, u := range job.Returned {
		if wants(u.Recipient.Args) {
			note.Failed = append(note.Failed, submit.FailedRcpt{Address: u.Recipient.named(), Args: u.Recipient.Args, Status: u.Status, Reply: u.Reply})
		}
	}
	refused := fmt.Errorf("not delivered to %s: %s", job.Returned[0].Recipient.Address, job.Returned[0].Reply)
	if record.Sender == "" {
		return jobs.Permanent(refused)
	}
	if len(note.Failed) == 0 {
		c.Log.Warn("sender does not want to know of recipients without mail (NOTIFY)", "queue_id", job.QueueID,
			"sender", record.Sender, "recipients", len(job.Returned))
		return nil
	}
	// A mail that cannot be rebuilt mostly has a header all the same.
	if head, err := headerOf(record, mail); err == nil {
		note.Header = message.ApplyHeader(head, stripped(head, job.Strip))
	}
	to, text, err := onwardText(ctx, c.Onward, note.To, note.Bytes())
	if err != nil {
		return err
	}
	utf8 := note.NeedsUTF8() || !isASCII(to)
	result, err := c.Sender.Send(ctx, submit.Envelope{To: []submit.Rcpt{{Address: to}}, EightBit: !isASCII(string(text)), SMTPUTF8: utf8}, bytes.NewReader(text))
	switch {
	case errors.Is(err, submit.ErrUnavailable):
		return jobs.TargetDown(err)
	case result.All(submit.Accepted):
		c.Log.Info("sender told of recipients without mail", "queue_id", job.QueueID, "sender", record.Sender, "recipients", len(note.Failed))
		return nil
	}
	if why := unauthenticated(result); why != nil {
		return jobs.TargetDown(why)
	}
	last := result.Recipients[0]
	if last.Outcome == submit.Permanent {
		return jobs.Permanent(errors.Join(refused, fmt.Errorf("and its sender cannot be told: %w", last.Err)))
	}
	return last.Err
}

// Onward tells where mail that we send ourselves, from the null sender, goes on
// to, and the header edits that go with it.
func (e *Engine) Onward(ctx context.Context, to string, h message.Header) (string, []message.HeaderEdit, error) {
	m, err := e.begin(ctx, &Envelope{Recipients: []Recipient{{Address: to}}, Received: e.Now()}, h)
	if err == nil {
		err = m.onward(true)
	}
	if err != nil {
		return "", nil, err
	}
	next, goes := m.destination(0)
	if !goes || m.settings.Observe {
		return to, nil, nil
	}
	return next, m.marks([]int{0}), nil
}

// wants tells whether the sender wants to know of a failure (RFC 3461 section 4.1).
func wants(args []string) bool {
	for _, a := range args {
		if keyword, value, _ := strings.Cut(a, "="); strings.EqualFold(keyword, "NOTIFY") {
			return strings.Contains(strings.ToUpper(value), "FAILURE")
		}
	}
	return true
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}
