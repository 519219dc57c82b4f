package testserver

// Mail by the commands of a private Sendmail, and its queue.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Run runs sendmail(1) with the instance's configuration and returns what it
// prints; an error has what it complained about.
func (s *Sendmail) Run(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	return s.run(ctx, stdin, append([]string{"-C", s.configFile("sendmail")}, args...)...)
}

// Submit submits a message as a local program would, by sendmail(1) with the
// configuration for submission: it hands the mail to the daemon by SMTP. from is
// the envelope sender, "" the null sender. Lines of msg may end in LF or CRLF.
func (s *Sendmail) Submit(ctx context.Context, from string, to []string, msg io.Reader) error {
	if from == "" {
		from = "<>"
	}
	_, err := s.run(ctx, msg, append([]string{"-C", s.configFile("submit"), "-i", "-f", from, "--"}, to...)...)
	return err
}

// RunClientQueue tries once more to hand over what Submit could not.
func (s *Sendmail) RunClientQueue(ctx context.Context) error {
	_, err := s.run(ctx, nil, "-C", s.configFile("submit"), "-q")
	return err
}

func (s *Sendmail) run(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	cmd := asRoot(s.argv(args...), s.env())
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &complaint
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("sendmail: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if err := cmd.Wait(); err != nil {
		return out.Bytes(), fmt.Errorf("sendmail %s: %w: %s", strings.Join(args, " "), errors.Join(err, ctx.Err()), bytes.TrimSpace(complaint.Bytes()))
	}
	return out.Bytes(), nil
}

// SendmailQueued is a message in the queue, as mailq(1) tells it.
type SendmailQueued struct {
	ID   string
	Held bool   // quarantined
	Text string // size, time, sender, recipients and reasons, in mailq's words
}

// queuedLine begins a message in mailq's list; a mark tells that it is in work.
var queuedLine = regexp.MustCompile(`^([0-9A-Za-z]{10,})[*X?-]?\s`)

// Queue lists the messages that are not delivered yet, held ones too.
func (s *Sendmail) Queue(ctx context.Context) ([]SendmailQueued, error) {
	var mails []SendmailQueued
	for _, held := range []bool{false, true} {
		args := []string{"-bp"}
		if held {
			args = append(args, "-qQ")
		}
		out, err := s.Run(ctx, nil, args...)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(out)) {
			if m := queuedLine.FindStringSubmatch(line); m != nil {
				mails = append(mails, SendmailQueued{ID: m[1], Held: held, Text: line})
			} else if n := len(mails); n > 0 && mails[n-1].Held == held && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
				mails[n-1].Text += line
			}
		}
	}
	return mails, nil
}
