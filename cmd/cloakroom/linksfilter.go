package main

// The flags that select links or mails, and the question before many of them
// are changed.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

// mailFlags select mails.
type mailFlags struct {
	mail, sender, recipient, file, older, newer string
}

func (f *mailFlags) register(cmd *cobra.Command, what string) {
	cmd.Flags().StringVar(&f.mail, "mail", "", what+" of the mail with this queue id, Message-ID or key")
	cmd.Flags().StringVar(&f.sender, "sender", "", what+" from this envelope sender, or @domain; <> is the null sender")
	cmd.Flags().StringVar(&f.recipient, "recipient", "", what+" to this recipient, or @domain")
	cmd.Flags().StringVar(&f.file, "file", "", what+" with a linked file of this name; * and ? are wildcards")
	cmd.Flags().StringVar(&f.older, "older", "", what+" from before this date (2026-01-31), or older than this (90d)")
	cmd.Flags().StringVar(&f.newer, "newer", "", what+" from this date on, or newer than this")
}

func (f *mailFlags) filter() (ledger.Filter, error) {
	out := ledger.Filter{Mail: f.mail, Sender: inAngles(f.sender), Recipient: trimAngles(f.recipient), File: f.file}
	var err error
	if out.Before, err = moment("--older", f.older, time.Now()); err != nil {
		return out, err
	}
	out.Since, err = moment("--newer", f.newer, time.Now())
	return out, err
}

// inAngles takes the angle brackets off an address, but for the null sender's.
func inAngles(address string) string {
	if address == ledger.NullSender {
		return address
	}
	return trimAngles(address)
}

// moment reads a date, in local time, or how long before now it was.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day, nil
	}
	d, err := config.ParseDuration(text)
	if err != nil {
		return time.Time{}, &exitError{code: exitUsage, err: fmt.Errorf("%s: %q is neither a date such as 2026-01-31 nor a duration such as 90d", flag, text)}
	}
	return now.Add(-d), nil
}

// patiently tells on a terminal, if it takes long, that the names of all files are
// looked through for a part of one. It ends with stop.
func patiently(cmd *cobra.Command, f ledger.Filter) (stop func()) {
	if !f.ByPartOfName() {
		return func() {}
	}
	return app.NewBar(cmd.ErrOrStderr()).Wait("looking through the names of all files; with --sender or --recipient it is quicker, Ctrl-C ends it")
}

// linkFlags select links.
type linkFlags struct {
	mailFlags
	state string
}

func (f *linkFlags) register(cmd *cobra.Command) {
	f.mailFlags.register(cmd, "only links")
	cmd.Flags().StringVar(&f.state, "state", "", "only links that are active, expired or revoked")
}

func (f *linkFlags) filter() (sisa.Filter, error) {
	mails, err := f.mailFlags.filter()
	if err != nil {
		return sisa.Filter{}, err
	}
	out := sisa.Filter{Mails: mails, State: sisa.State(f.state)}
	switch out.State {
	case "", sisa.Active, sisa.Expired, sisa.Revoked:
		return out, nil
	}
	return out, &exitError{code: exitUsage, err: fmt.Errorf("--state: %q is none of active, expired, revoked", f.state)}
}

// some makes sure that something was selected, and not all by mistake.
func some(cmd *cobra.Command, names []string, filtered bool) error {
	switch {
	case len(names) > 0 && filtered:
		return usageError(cmd, errors.New("give either names or flags that select, not both"))
	case len(names) == 0 && !filtered:
		return usageError(cmd, errors.New("select something: give names, or flags such as --sender and --mail"))
	}
	return nil
}

// confirmMany asks before more than one thing is changed. Whoever cannot be asked
// gives --yes.
func confirmMany(cmd *cobra.Command, yes bool, n int, question string) error {
	if yes || n <= 1 {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return &exitError{code: exitFailure, err: errors.New("nothing was changed"), hint: "answer y, or give --yes"}
}

// actFlags say who does something, and why.
type actFlags struct {
	reason string
	yes    bool
}

func (f *actFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the journal")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
}

// who is to be asked before the process becomes the owner of the data.
func (f *actFlags) who() sisa.Act { return sisa.Act{By: app.Actor(), Reason: f.reason} }
