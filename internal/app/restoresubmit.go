package app

// Restored mails sent again, through the MTA that takes our own mail.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"cloakroom/internal/config"
	"cloakroom/internal/submit"
)

// submission sends every mail again, byte for byte.
type submission struct {
	sender *submit.Sender
	from   *string
	to     []string
}

// NewSubmission sends to the mails' own recipients, or to others. from is the
// envelope sender; nil is that of each mail.
func NewSubmission(cfg *config.Config, from *string, to []string, log *slog.Logger) (Sink, error) {
	if cfg.Submit.SMTP == "" {
		return nil, errors.New("the configuration says nowhere to send mail: set submit.smtp to an MTA without our milter")
	}
	sender, err := submit.New(cfg.Submit, cfg.Hostname, log)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	return &submission{sender, from, to}, nil
}

func (s *submission) Put(ctx context.Context, o *Original) (where string, was bool, err error) {
	env := submit.Envelope{From: o.Mail.Sender, Size: o.Size}
	if s.from != nil {
		env.From = *s.from
	}
	to := s.to
	if len(to) == 0 {
		to = o.Mail.Recipients
	}
	for _, address := range to {
		if address != "" { // else it was forgotten
			env.To = append(env.To, submit.Rcpt{Address: address})
		}
	}
	if len(env.To) == 0 {
		return "", false, errors.New("no recipient is left: give --to")
	}
	if env.EightBit, env.SMTPUTF8, err = highBytes(o); err != nil {
		return "", false, err
	}
	result, err := s.sender.Send(ctx, env, o.Reader())
	if errors.Is(err, submit.ErrUnavailable) {
		return "", false, &StopError{err}
	}
	if err != nil {
		return "", false, err
	}
	var taken, refused []string
	for _, r := range result.Recipients {
		if r.Outcome == submit.Accepted {
			taken = append(taken, r.Address)
		} else {
			refused = append(refused, fmt.Sprintf("%s: %v", r.Address, r.Err))
		}
	}
	if len(refused) > 0 {
		return "", false, fmt.Errorf("sent to %d of %d recipients; %s", len(taken), len(env.To), strings.Join(refused, "; "))
	}
	return "sent to " + strings.Join(taken, ", "), false, nil
}

func (*submission) Close(context.Context) error { return nil }

// highBytes tells whether the message, and whether its header, has bytes above 127.
func highBytes(o *Original) (body, header bool, err error) {
	buf := make([]byte, 64<<10)
	at := int64(0)
	for r := o.Reader(); ; {
		n, err := r.Read(buf)
		for i, c := range buf[:n] {
			if c >= 0x80 {
				return true, at+int64(i) < o.Mail.Skeleton.Header, nil
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return false, false, nil
		}
		if err != nil {
			return false, false, err
		}
	}
}
