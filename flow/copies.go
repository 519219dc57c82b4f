package flow

// Copies: what leaves the transaction, as jobs that are written in its commit.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/message"
)

// JobCopy is the kind of the jobs that send copies.
const JobCopy = "copy"

// repeatedFor is how long a mail that comes again, with the same Message-ID and
// Date from the same sender to the same recipients, counts as a repetition whose
// copies are under way already. MTAs repeat within hours; what is sent again
// after a day, such as from an archive, is meant to arrive.
const repeatedFor = 24 * time.Hour

// Copy is the payload of such a job: a mail for some of its recipients, rebuilt
// from its record when it is sent.
type Copy struct {
	Mail       ledger.Key      `json:"mail"`
	QueueID    string          `json:"queue_id"` // of the transaction it left
	Sender     string          `json:"sender"`
	Args       []string        `json:"args,omitempty"` // ESMTP parameters of MAIL
	Recipients []CopyRecipient `json:"recipients"`
	Header     []CopyEdit      `json:"header,omitempty"`
	// Strip are the fields that are taken off wherever the header goes: they
	// may hold the secret of a gateway.
	Strip []string `json:"strip,omitempty"`
	Hop   Hop      `json:"hop"`
	// Returned makes it a notification to the sender that these recipients did
	// not get the mail, and why.
	Returned []Undelivered `json:"returned,omitempty"`
}

// CopyRecipient is one of a copy's recipients.
type CopyRecipient struct {
	Recipient
	Came string `json:"came,omitempty"` // his address as the sender wrote it, where that is another
}

// named is the address by which the sender knows him.
func (r *CopyRecipient) named() string {
	if r.Came != "" {
		return r.Came
	}
	return r.Address
}

// CopyEdit is a header edit as JSON keeps it: byte for byte, whatever charset a
// value is in.
type CopyEdit struct {
	Index int    `json:"index,omitempty"`
	Top   bool   `json:"top,omitempty"`
	Name  string `json:"name"`
	Value []byte `json:"value,omitempty"`
}

func keptEdits(edits []message.HeaderEdit) []CopyEdit {
	out := make([]CopyEdit, len(edits))
	for i, e := range edits {
		out[i] = CopyEdit{e.Index, e.Top, e.Name, []byte(e.Value)}
	}
	return out
}

// copies makes the jobs for those who are not in the transaction. edits are
// those that rules make to everybody's message.
func (m *Mail) copies(ctx context.Context, edits []message.HeaderEdit) ([]jobs.Job, error) {
	var out []jobs.Job
	for _, b := range m.split.copies {
		c := Copy{Mail: m.key(), QueueID: m.env.QueueID, Sender: b.sender, Args: m.env.SenderArgs, Hop: m.hop(),
			Strip: m.settings.Routes.GatewayHeaders()}
		for _, i := range b.members {
			r := CopyRecipient{Recipient: m.env.Recipients[i]}
			if to, goes := m.destination(i); goes {
				r = CopyRecipient{Recipient{Address: to, Args: statusArgs(r.Args)}, r.Address}
			}
			c.Recipients = append(c.Recipients, r)
		}
		c.Header = append(keptEdits(edits), keptEdits(m.marks(b.members))...)
		payload, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("copy for %d recipients: %w", len(c.Recipients), err)
		}
		key, err := m.copyKey(ctx, &c)
		if err != nil {
			return nil, err
		}
		out = append(out, jobs.Job{Key: key, Kind: JobCopy, Owner: c.Recipients[0].Address, Payload: payload})
	}
	return out, nil
}

// copyKey names a copy, so that a mail that comes again does not make another:
// by the day, and where the mail came within repeatedFor on the day before, by
// that one.
func (m *Mail) copyKey(ctx context.Context, c *Copy) (string, error) {
	now := m.env.Received
	before := m.copyKeyOf(now.Add(-repeatedFor), c)
	j, err := m.engine.Jobs.Get(ctx, before)
	switch {
	case errors.Is(err, jobs.ErrNotFound):
	case err != nil:
		return "", fmt.Errorf("copy for %d recipients: %w", len(c.Recipients), err)
	case now.Sub(j.Created) < repeatedFor:
		return before, nil
	}
	return m.copyKeyOf(now, c), nil
}

// copyKeyOf names a copy of a mail that came at a time. A mail without identity
// is told from its like by the MTA's queue id.
func (m *Mail) copyKeyOf(at time.Time, c *Copy) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00%s\x00", c.Mail, at.Unix()/int64(repeatedFor/time.Second), c.Sender)
	for _, r := range c.Recipients {
		fmt.Fprintf(h, "%s\x00", r.Address)
	}
	if m.header.Get("Message-Id") == "" || m.header.Get("Date") == "" {
		h.Write([]byte(m.env.QueueID))
	}
	return strings.Join([]string{JobCopy, c.Mail.String()[:16], hex.EncodeToString(h.Sum(nil))[:24]}, "-")
}
