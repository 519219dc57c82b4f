package flow

// Letters: short mails that we write ourselves, to people who did not ask us but
// a link of ours.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cloakroom/internal/submit"
	"cloakroom/message"
)

// Onward tells where mail of our own goes on to, and the header edits that belong
// to that.
type Onward func(ctx context.Context, to string, h message.Header) (string, []message.HeaderEdit, error)

// Letters sends short mails. All fields are set before first use.
type Letters struct {
	Sender   *submit.Sender
	Hostname string
	From     string // address in the header
	Name     string // beside it, for people
	Onward   Onward // nil where there is one mail system only
	Now      func() time.Time
	Log      *slog.Logger
}

// errSendAgain marks a failure that may mend.
var errSendAgain = errors.New("the mail was not taken yet")

// MayMend tells whether a letter that was not sent can be sent again. Without an
// MTA (submit.ErrUnavailable) it can, too.
func MayMend(err error) bool {
	return errors.Is(err, errSendAgain) || errors.Is(err, submit.ErrUnavailable)
}

// Send hands a letter to the MTA. sender is who hears if it cannot be delivered;
// "" is nobody. id tells apart what is not the same letter.
func (l *Letters) Send(ctx context.Context, sender, to, subject, text, id string) error {
	letter := submit.Letter{Hostname: l.Hostname, From: l.From, Name: l.Name, To: to, Subject: subject, Text: text, ID: id, Date: l.Now()}
	next, content, err := onwardText(ctx, l.Onward, to, letter.Bytes())
	if err != nil {
		return fmt.Errorf("%w: %w", errSendAgain, err)
	}
	env := submit.Envelope{From: sender, To: []submit.Rcpt{{Address: next}}, SMTPUTF8: letter.NeedsUTF8() || !isASCII(next),
		EightBit: !isASCII(string(content)), Size: int64(len(content))}
	result, err := l.Sender.Send(ctx, env, bytes.NewReader(content))
	if err == nil || !errors.Is(err, submit.ErrUnavailable) {
		if why := unauthenticated(result); why != nil {
			return fmt.Errorf("%w: %w", submit.ErrUnavailable, why)
		}
	}
	switch last := result.Recipients[0]; {
	case errors.Is(err, submit.ErrUnavailable), last.Outcome == submit.Permanent:
		return errors.Join(err, last.Err)
	case last.Outcome == submit.Accepted:
		return nil
	default:
		return fmt.Errorf("%w: %w", errSendAgain, last.Err)
	}
}

// onwardText is a mail of ours as it is sent, and to whom: the mailbox may be in
// the other mail system, and the MTA that takes our mail asks no milter about it.
func onwardText(ctx context.Context, onward Onward, to string, text []byte) (string, []byte, error) {
	if onward == nil {
		return to, text, nil
	}
	end := bytes.Index(text, []byte("\r\n\r\n")) + 2
	h, err := message.ParseHeader(text[:end:end])
	if err != nil {
		return "", nil, fmt.Errorf("header of a mail of our own: %w", err)
	}
	next, edits, err := onward(ctx, to, h)
	if err != nil {
		return "", nil, fmt.Errorf("mailbox of %s: %w", to, err)
	}
	return next, append(message.ApplyHeader(h, edits), text[end:]...), nil
}
