package flow

// The courier works the jobs of copies: it rebuilds each mail from its record
// and hands it to the MTA.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/internal/spool"
	"cloakroom/internal/submit"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/sisa/blob"
)

const (
	// giveUpAfter is how long a copy that the MTA refuses for the time being is
	// sent again, before its sender is told (RFC 5321 section 4.5.4.1).
	giveUpAfter = 5 * 24 * time.Hour
	// giveUpAttempts are made in any case: the MTA may have been away for long.
	giveUpAttempts = 5
	// codeUnauthenticated asks for TLS or a login before anything else (RFC 4954
	// section 6, RFC 3207 section 4): the settings are wrong, not the mail.
	codeUnauthenticated = 530
)

// CopyRetry is how copies are repeated. The courier gives a copy up itself,
// earlier than the queue would.
func CopyRetry() jobs.Retry {
	r := jobs.DefaultRetry()
	r.MaxAge = giveUpAfter + 24*time.Hour
	r.MinAttempts = giveUpAttempts + 1
	return r
}

// Courier sends copies. All fields are set before first use.
type Courier struct {
	DB       *db.DB
	Jobs     *jobs.Store
	Blobs    blob.Store
	Spool    *spool.Dir
	Sender   *submit.Sender
	Hostname string // who tells senders of mail that could not be delivered
	Onward   Onward // nil where there is one mail system only
	Now      func() time.Time
	Log      *slog.Logger
}

// Undelivered is a recipient who did not get a mail, and why.
type Undelivered struct {
	Recipient CopyRecipient `json:"recipient"`
	Status    string        `json:"status"` // RFC 3463
	Reply     string        `json:"reply"`  // of the MTA, or our own words
}

// Handle works one job. It may send a mail twice where the MTA did not tell
// whether it took it: twice is better than never.
func (c *Courier) Handle(ctx context.Context, j jobs.Job) (jobs.Effect, error) {
	var job Copy
	if err := json.Unmarshal(j.Payload, &job); err != nil {
		return nil, jobs.Permanent(fmt.Errorf("payload: %w", err))
	}
	record, err := ledger.Get(ctx, c.DB.Read(), job.Mail)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, jobs.Permanent(err)
	}
	if err != nil {
		return nil, err
	}
	mail := c.Spool.New(MaxMessage)
	defer mail.Close()
	err = ledger.Rebuild(ctx, mail, record, c.open)
	if len(job.Returned) > 0 {
		return nil, c.returned(ctx, job, record, mail)
	}
	if err != nil {
		return c.unsent(ctx, j, job, fmt.Errorf("rebuild the mail: %w", err))
	}
	env, body, err := c.outgoing(job, record, mail)
	if err != nil {
		return c.unsent(ctx, j, job, err)
	}
	result, err := c.Sender.Send(ctx, env, body)
	if err == nil || !errors.Is(err, submit.ErrUnavailable) {
		if why := unauthenticated(result); why != nil {
			err = fmt.Errorf("%w: %w", submit.ErrUnavailable, why)
		}
	}
	switch {
	case errors.Is(err, submit.ErrUnavailable):
		return nil, jobs.TargetDown(err)
	case errors.Is(err, submit.ErrBody) || err != nil && ctx.Err() != nil:
		return c.unsent(ctx, j, job, err)
	}
	return c.settle(j, job, result)
}

// unauthenticated is the reply by which an MTA refuses everybody who speaks to
// it as we do; nil where there is none.
func unauthenticated(result submit.Result) error {
	for i := range result.Recipients {
		if r := &result.Recipients[i]; r.Reply.Code == codeUnauthenticated {
			return r.Err
		}
	}
	return nil
}

// unsent ends an attempt that did not come to sending. It is made again, until
// the sender has to be told.
func (c *Courier) unsent(ctx context.Context, j jobs.Job, job Copy, cause error) (jobs.Effect, error) {
	if ctx.Err() != nil || !c.old(j) {
		return nil, cause
	}
	var result submit.Result
	for _, r := range job.Recipients {
		result.Recipients = append(result.Recipients, submit.RcptResult{Address: r.Address, Err: cause})
	}
	return c.settle(j, job, result)
}

func (c *Courier) old(j jobs.Job) bool {
	return c.Now().Sub(j.Since) > giveUpAfter && j.Attempts >= giveUpAttempts
}

func (c *Courier) open(ctx context.Context, sum [32]byte) (io.ReadCloser, error) {
	return c.Blobs.Open(ctx, sum)
}

// outgoing makes envelope and message from what came in: the header edited, the
// body byte for byte.
func (c *Courier) outgoing(job Copy, record *ledger.Mail, mail *spool.Buffer) (submit.Envelope, io.Reader, error) {
	head, err := headerOf(record, mail)
	if err != nil {
		return submit.Envelope{}, nil, err
	}
	head.Raw = message.ApplyHeader(head, c.edits(&job, head))
	block := head.Block()
	size := mail.Size() - record.Skeleton.Header
	env := submit.Envelope{From: job.Sender, Args: job.Args, Size: int64(len(block)) + size}
	for _, r := range job.Recipients {
		env.To = append(env.To, submit.Rcpt{Address: r.Address, Args: r.Args})
	}
	for _, a := range job.Args {
		env.SMTPUTF8 = env.SMTPUTF8 || strings.EqualFold(a, "SMTPUTF8")
	}
	if env.EightBit, err = hasHighBytes(mail.Reader()); err != nil {
		return submit.Envelope{}, nil, err
	}
	return env, io.MultiReader(bytes.NewReader(block), io.NewSectionReader(mail, record.Skeleton.Header, size)), nil
}

// edits are those of a copy's header. A field that is taken off goes as often
// as it stands there: the record may be of an earlier arrival of the same mail.
func (c *Courier) edits(job *Copy, head message.Header) []message.HeaderEdit {
	var out []message.HeaderEdit
	gone := slices.Clone(job.Strip)
	for _, e := range job.Header {
		if len(e.Value) == 0 {
			gone = append(gone, e.Name)
		}
	}
	out = stripped(head, gone)
	for _, e := range job.Header {
		if len(e.Value) > 0 {
			out = append(out, message.HeaderEdit{Index: e.Index, Top: e.Top, Name: e.Name, Value: string(e.Value)})
		}
	}
	return append(out, message.HeaderEdit{Top: true, Name: "Received", Value: job.Hop.received(c.Hostname, job.QueueID)})
}

// stripped are the edits that delete all fields of some names.
func stripped(head message.Header, names []string) []message.HeaderEdit {
	var out []message.HeaderEdit
	for i, name := range names {
		if !slices.ContainsFunc(names[:i], func(n string) bool { return strings.EqualFold(n, name) }) {
			out = append(out, removed(head, name)...)
		}
	}
	return out
}

// headerOf reads the header off the front of a rebuilt mail.
func headerOf(record *ledger.Mail, mail io.ReaderAt) (message.Header, error) {
	block := make([]byte, record.Skeleton.Header)
	if _, err := mail.ReadAt(block, 0); err != nil && !(errors.Is(err, io.EOF)) {
		return message.Header{}, fmt.Errorf("header of the mail: %w", err)
	}
	raw := block
	for _, eol := range []string{"\r\n", "\n"} {
		if bytes.HasSuffix(raw, []byte(eol)) {
			raw = raw[:len(raw)-len(eol)]
			break
		}
	}
	h, _ := message.ParseHeader(raw[:len(raw):len(raw)])
	h.Blank = block[len(raw):]
	return h, nil
}

func hasHighBytes(r io.Reader) (bool, error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b >= 0x80 {
				return true, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// settle sorts the recipients by what became of them. Those who have the mail
// must not get it again, so what is left goes on as other jobs, written in the
// transaction that completes this one.
func (c *Courier) settle(j jobs.Job, job Copy, result submit.Result) (jobs.Effect, error) {
	again, lost := job, job
	again.Recipients, lost.Recipients = nil, nil
	old := c.old(j)
	var last error
	for i, r := range result.Recipients {
		switch {
		case r.Outcome == submit.Accepted:
			c.Log.Info("copy sent", "queue_id", job.QueueID, "recipient", r.Address, "sender", job.Sender, "reply", result.Reply.String())
			continue
		case r.Outcome == submit.Temporary && !old:
			again.Recipients = append(again.Recipients, job.Recipients[i])
			last = r.Err
			continue
		}
		lost.Returned = append(lost.Returned, Undelivered{Recipient: job.Recipients[i], Status: status(r, old), Reply: reason(r, old)})
		c.Log.Error("copy refused", "queue_id", job.QueueID, "recipient", r.Address, "sender", job.Sender, "reason", reason(r, old))
	}
	if len(again.Recipients) == len(job.Recipients) {
		if last == nil {
			last = errors.New("the MTA took it for nobody")
		}
		return nil, last
	}
	var next []jobs.Job
	for _, rest := range []Copy{again, lost} {
		if len(rest.Recipients) == 0 && len(rest.Returned) == 0 {
			continue
		}
		follow, err := followUp(j, rest)
		if err != nil {
			return nil, err
		}
		next = append(next, follow)
	}
	if len(next) == 0 {
		return nil, nil
	}
	return func(ctx context.Context, tx db.Tx) error {
		for _, n := range next {
			db.Also(ctx, db.Fact{Kind: "job", Data: n})
			if err := c.Jobs.Enqueue(ctx, tx, n); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// followUp is the job for what is left of a copy.
func followUp(j jobs.Job, rest Copy) (jobs.Job, error) {
	payload, err := json.Marshal(rest)
	if err != nil {
		return jobs.Job{}, fmt.Errorf("follow-up of %s: %w", j.Key, err)
	}
	sum := sha256.Sum256(append([]byte(j.Key), payload...))
	base, _, _ := strings.Cut(j.Key, ".")
	return jobs.Job{Key: base + "." + hex.EncodeToString(sum[:8]), Kind: j.Kind, Target: j.Target, Owner: j.Owner, Payload: payload}, nil
}

func status(r submit.RcptResult, old bool) string {
	switch {
	case old:
		return "4.4.7" // RFC 3463: delivery time expired
	case r.Reply.Enhanced != "":
		return r.Reply.Enhanced
	}
	return "5.0.0"
}

func reason(r submit.RcptResult, old bool) string {
	text := r.Reply.String()
	if r.Reply.Code == 0 && r.Err != nil {
		text = r.Err.Error()
	}
	if old {
		text = "not accepted for days; the last answer was: " + text
	}
	return text
}
