package flow

// Receipts tell the senders of mails that somebody fetched a file: a job for each
// first download, written in the transaction that counts it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/internal/submit"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

// JobReceipt is the kind of jobs that tell a sender of a download.
const JobReceipt = "receipt"

// receiptGivenUp is how long it is tried: later it is no news. Nobody is told
// then: the list of downloads has it.
const receiptGivenUp = 2 * 24 * time.Hour

// Receipt is the payload of such a job.
type Receipt struct {
	Mail   ledger.Key  `json:"mail"`
	Link   ledger.Hash `json:"link"`
	Parts  []int       `json:"parts"`
	At     time.Time   `json:"at"`
	Proven string      `json:"proven,omitempty"` // see sisa.Download
	To     string      `json:"to"`
}

// ReceiptRetry is how receipts are repeated; Handle gives one up itself, earlier
// than the queue would.
func ReceiptRetry() jobs.Retry {
	r := jobs.DefaultRetry()
	r.MaxAge = receiptGivenUp + 24*time.Hour
	return r
}

// Receipts makes and works these jobs. All fields are set before first use.
type Receipts struct {
	DB      *db.DB
	Jobs    *jobs.Store
	Letters *Letters
	// Words writes a receipt.
	Words func(record *ledger.Mail, r *Receipt) (subject, text string)
	Now   func() time.Time
	Log   *slog.Logger
}

// Tell is for sisa.Links: it writes the job.
func (s *Receipts) Tell(ctx context.Context, tx db.Tx, d sisa.FirstDownload) error {
	var to string
	if err := tx.QueryRowContext(ctx, `SELECT sender FROM mails WHERE key = $1`, d.Mail[:]).Scan(&to); err != nil {
		return fmt.Errorf("sender of mail %s: %w", d.Mail, err)
	}
	if to == "" {
		return nil
	}
	payload, err := json.Marshal(Receipt{Mail: d.Mail, Link: d.Link, Parts: d.Parts, At: d.At, Proven: d.Proven, To: to})
	if err != nil {
		return fmt.Errorf("receipt for mail %s: %w", d.Mail, err)
	}
	job := jobs.Job{Key: fmt.Sprintf("%s-%.16s-%.16s-%d", JobReceipt, d.Mail, d.Link, d.Parts[0]), Kind: JobReceipt, Owner: to, Payload: payload}
	db.Also(ctx, db.Fact{Kind: "job", Data: job})
	return s.Jobs.Enqueue(ctx, tx, job)
}

// Handle works one job.
func (s *Receipts) Handle(ctx context.Context, j jobs.Job) (jobs.Effect, error) {
	var r Receipt
	if err := json.Unmarshal(j.Payload, &r); err != nil {
		return nil, jobs.Permanent(fmt.Errorf("payload: %w", err))
	}
	record, err := ledger.Get(ctx, s.DB.Read(), r.Mail)
	if errors.Is(err, ledger.ErrNotFound) || err == nil && record.Sender == "" {
		return nil, nil // forgotten meanwhile
	}
	if err != nil {
		return nil, err
	}
	subject, text := s.Words(record, &r)
	err = s.Letters.Send(ctx, "", record.Sender, subject, text, j.Key)
	switch {
	case err == nil:
		s.Log.Info("sender told of a download", "queue_id", record.QueueID, "sender", record.Sender, "files", len(r.Parts))
		return nil, nil
	case ctx.Err() != nil:
		return nil, err
	case !MayMend(err), s.Now().Sub(j.Since) > receiptGivenUp && j.Attempts > 1:
		s.Log.Warn("sender not told of a download", "queue_id", record.QueueID, "sender", record.Sender, "err", err)
		return nil, nil
	case errors.Is(err, submit.ErrUnavailable):
		return nil, jobs.TargetDown(err)
	}
	return nil, err
}
