package testserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// asRoot prepares one of Postfix's commands. An ordinary user needs root's
// rights for them: the drop folder belongs to this instance alone.
func (p *Postfix) asRoot(argv ...string) *exec.Cmd { return asRoot(argv, p.env()) }

// Sendmail submits a message as a local program would, by sendmail(1). from is
// the envelope sender, "" the null sender. Lines of msg may end in LF or CRLF.
func (p *Postfix) Sendmail(ctx context.Context, from string, to []string, msg io.Reader) error {
	if from == "" {
		from = "<>"
	}
	argv := []string{filepath.Join(p.programs.commands, "sendmail"), "-C", p.configFolder(), "-i", "-f", from, "--"}
	_, err := p.run(ctx, msg, append(argv, to...)...)
	return err
}

// run runs one of Postfix's commands to its end; an error has what it printed.
func (p *Postfix) run(ctx context.Context, stdin io.Reader, argv ...string) ([]byte, error) {
	cmd := p.asRoot(argv...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &complaint
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(argv[0]), err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), errors.Join(err, ctx.Err()), bytes.TrimSpace(complaint.Bytes()))
	}
	return out.Bytes(), nil
}

// Mailbox lists the files of the messages delivered to an address, oldest
// first. A file begins with the Return-Path and Delivered-To fields of the
// delivery; its lines end in LF.
func (p *Postfix) Mailbox(address string) ([]string, error) {
	address = strings.ToLower(address)
	if !p.mailboxes[address] {
		return nil, fmt.Errorf("no mailbox %s", address)
	}
	folder := filepath.Join(p.folder, "mail", address, "new")
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // made with the first delivery
	}
	if err != nil {
		return nil, fmt.Errorf("mailbox %s: %w", address, err)
	}
	type delivered struct {
		file string
		when time.Time
	}
	var mails []delivered
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("mailbox %s: %w", address, err)
		}
		mails = append(mails, delivered{filepath.Join(folder, e.Name()), info.ModTime()})
	}
	sort.SliceStable(mails, func(i, j int) bool { return mails[i].when.Before(mails[j].when) })
	files := make([]string, len(mails))
	for i, m := range mails {
		files[i] = m.file
	}
	return files, nil
}

// WaitMailbox waits until a mailbox has at least n messages, and lists them
// like Mailbox. When ctx ends first, its error has the end of the log.
func (p *Postfix) WaitMailbox(ctx context.Context, address string, n int) ([]string, error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		files, err := p.Mailbox(address)
		if err != nil || len(files) >= n {
			return files, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("mailbox %s has %d messages, want %d: %w; Postfix says:\n%s", address, len(files), n, ctx.Err(), p.logTail())
		}
	}
}

// logTailBytes is as much of the log as helps in an error message.
const logTailBytes = 4000

func (p *Postfix) logTail() string {
	log := p.Log()
	return log[max(0, len(log)-logTailBytes):]
}

// QueuedMail is a message that Postfix holds, as postqueue(1) tells it.
type QueuedMail struct {
	Queue      string            `json:"queue_name"` // incoming, active, deferred, hold, …
	ID         string            `json:"queue_id"`
	Arrival    int64             `json:"arrival_time"` // seconds since 1970
	Size       int64             `json:"message_size"` // bytes
	Sender     string            `json:"sender"`       // "MAILER-DAEMON" for the null sender
	Recipients []QueuedRecipient `json:"recipients"`
}

// QueuedRecipient is one that has not got the message yet.
type QueuedRecipient struct {
	Address string `json:"address"`
	Reason  string `json:"delay_reason"` // "" before the first attempt
}

// Queue lists the messages that are not delivered yet.
func (p *Postfix) Queue(ctx context.Context) ([]QueuedMail, error) {
	out, err := p.run(ctx, nil, filepath.Join(p.programs.commands, "postqueue"), "-c", p.configFolder(), "-j")
	if err != nil {
		return nil, err
	}
	var mails []QueuedMail
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m QueuedMail
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return mails, nil
		} else if err != nil {
			return nil, fmt.Errorf("postqueue -j: %w in %q", err, out)
		}
		mails = append(mails, m)
	}
}
