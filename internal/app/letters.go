package app

// Mail about links: codes for those who want to open one, and receipts for those
// who sent it.

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/submit"
	"cloakroom/ledger"
	"cloakroom/sisa/web"
)

// codeWait is how long to wait before a code is handed to the MTA again.
const codeWait = 3 * time.Second

// newLetters gives what sends letters; nil where no MTA takes them.
func newLetters(cfg *config.Config, sender *submit.Sender, onward flow.Onward, log *slog.Logger) *flow.Letters {
	if sender == nil {
		return nil
	}
	from := cfg.Submit.From
	if from == "" {
		from = "postmaster@" + cfg.Domains[0]
	}
	return &flow.Letters{Sender: sender, Hostname: cfg.Hostname, From: from, Name: cfg.Web.Brand.Name, Onward: onward, Now: time.Now, Log: log}
}

// newSender gives what speaks to the MTA for our own mail; nil where there is
// none.
func newSender(cfg *config.Config, log *slog.Logger) (*submit.Sender, error) {
	if cfg.Submit.SMTP == "" {
		return nil, nil
	}
	sender, err := submit.New(cfg.Submit, cfg.Hostname, log)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	return sender, nil
}

// codes sends codes at once, and never later: they are good for minutes, so that
// a queue would only deliver what is of no use, and keep what is secret.
type codes struct{ letters *flow.Letters }

// SendCode implements web.Mailer. An MTA that is starting is waited for.
func (c codes) SendCode(ctx context.Context, to, subject, text string) error {
	id := rand.Text()
	for {
		err := c.letters.Send(ctx, c.letters.From, to, subject, text, id)
		if err == nil || !flow.MayMend(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(codeWait):
		}
	}
}

// mailer is what the pages send codes with; nil for none.
func mailer(letters *flow.Letters) web.Mailer {
	if letters == nil {
		return nil
	}
	return codes{letters}
}

// newReceipts gives what tells senders of downloads, in the words of the pages,
// and has links ask for it; nil without an MTA: then no download counts as told.
func newReceipts(s *Store, letters *flow.Letters, words func(web.Receipt) (subject, text string), log *slog.Logger) *flow.Receipts {
	if letters == nil {
		return nil
	}
	r := &flow.Receipts{DB: s.DB, Jobs: s.Jobs, Letters: letters, Now: time.Now, Log: log}
	r.Words = func(record *ledger.Mail, told *flow.Receipt) (string, string) {
		return words(receiptOf(record, told))
	}
	s.Links.Tell = r.Tell
	return r
}

func receiptOf(record *ledger.Mail, told *flow.Receipt) web.Receipt {
	out := web.Receipt{Subject: record.Subject, At: told.At, Proven: told.Proven}
	for _, to := range record.Recipients {
		if to != "" { // struck from the record
			out.Recipients = append(out.Recipients, to)
		}
	}
	for _, index := range told.Parts {
		for _, p := range record.Parts {
			if p.Index == index {
				out.Files = append(out.Files, p.Name)
			}
		}
	}
	return out
}
