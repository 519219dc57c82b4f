package main

// Where restored mails go.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/internal/imapbox"
)

// restoreTo is one of several destinations.
type restoreTo struct {
	eml, mbox          string
	imap, imapPassword string
	imapCA             string
	submit             bool
	from               *string // nil: that of each mail
	fromFlag           string
	to                 []string
	check              bool

	login  imapbox.Options // read from the files
	sink   app.Sink        // nil until connect, for what is no file
	report io.Writer       // for the results
}

func (t *restoreTo) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.eml, "eml", "", "write .eml files: to a folder, a single one to a file, or - for standard output")
	f.StringVar(&t.mbox, "mbox", "", "write one mbox file (mboxrd); - is standard output")
	f.StringVar(&t.imap, "imap", "", "append to a mailbox: imaps://user@host/Mailbox")
	f.StringVar(&t.imapPassword, "imap-password-file", "", "file whose first line is the password for --imap")
	f.StringVar(&t.imapCA, "imap-ca-file", "", "file with the certificates that sign the server's, instead of the system's")
	f.BoolVar(&t.submit, "submit", false, "send the mails again through submit.smtp")
	f.StringVar(&t.fromFlag, "from", "", "with --submit: another envelope sender; <> is the null sender")
	f.StringArrayVar(&t.to, "to", nil, "with --submit: another recipient; repeat it for several")
	f.BoolVar(&t.check, "check", false, "only check that the mails can be restored")
	cmd.MarkFlagsMutuallyExclusive("eml", "mbox", "imap", "submit", "check")
	cmd.MarkFlagsOneRequired("eml", "mbox", "imap", "submit", "check")
	cmd.MarkFlagsRequiredTogether("imap", "imap-password-file")
	for _, one := range []string{"eml", "mbox", "imap", "check"} {
		cmd.MarkFlagsMutuallyExclusive(one, "from")
		cmd.MarkFlagsMutuallyExclusive(one, "to")
	}
}

// open reads passwords and opens the file that mails are written to, if it is a
// single one, while this process may still do what its user can. The results go
// to standard output, unless the mails do.
func (t *restoreTo) open(cmd *cobra.Command) (err error) {
	if cmd.Flags().Changed("from") {
		from := trimAngles(t.fromFlag)
		t.from = &from
	}
	for i, to := range t.to {
		t.to[i] = trimAngles(to)
	}
	t.report = cmd.OutOrStdout()
	path, sink := t.eml, app.NewEML
	if t.mbox != "" {
		path, sink = t.mbox, app.NewMbox
	}
	switch {
	case path == "-":
		t.report = cmd.ErrOrStderr()
		t.sink = sink(cmd.OutOrStdout(), "standard output")
		return nil
	case t.imap != "":
		if t.login, err = app.ReadIMAPOptions(t.imap, t.imapPassword, t.imapCA); err != nil {
			err = &exitError{code: exitUsage, err: err}
		}
		return err
	case path == "", t.eml != "" && !strings.EqualFold(filepath.Ext(path), ".eml"):
		return nil
	}
	file, err := newFile(path)
	if err != nil {
		return err
	}
	t.sink = sink(file, path)
	return nil
}

// newFile makes a file, or takes an empty one, as an attempt that failed leaves it.
// Nothing is written over.
func newFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return file, err
	}
	empty, oerr := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if oerr != nil {
		return nil, err
	}
	if info, serr := empty.Stat(); serr != nil || !info.Mode().IsRegular() || info.Size() > 0 {
		empty.Close()
		return nil, err
	}
	return empty, nil
}

// connect opens what is no single file; nil for --check.
func (t *restoreTo) connect(ctx context.Context, cfg *config.Config, log *slog.Logger) (app.Sink, error) {
	switch {
	case t.eml != "":
		return app.NewEMLFolder(t.eml)
	case t.imap != "":
		sink, err := app.NewIMAP(ctx, t.login)
		if err != nil {
			hint := ""
			if t.imapCA == "" && strings.Contains(err.Error(), "x509") {
				hint = "--imap-ca-file names the certificates that are trusted instead of the system's"
			}
			return nil, &exitError{code: exitUnavailable, err: err, hint: hint}
		}
		return sink, nil
	case t.submit:
		return app.NewSubmission(cfg, t.from, t.to, log)
	}
	return nil, nil
}

// where names the place, without a password.
func (t *restoreTo) where() string {
	switch {
	case t.eml != "":
		return "--eml " + absolute(t.eml)
	case t.mbox != "":
		return "--mbox " + absolute(t.mbox)
	case t.imap != "":
		return t.login.Place.String()
	case !t.submit:
		return "--check"
	case len(t.to) > 0:
		return "--submit --to " + strings.Join(t.to, ",")
	}
	return "--submit"
}

// place is where for the list of what was handed out: an mbox is never written to
// again, so that what went into one is not to go into the next.
func (t *restoreTo) place() string {
	if t.mbox != "" {
		return "--mbox"
	}
	return t.where()
}

func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil && path != "-" {
		return full
	}
	return path
}

// question is asked before mails are sent.
func (t *restoreTo) question(n int) string {
	to := "each to all recipients that it had, also outside"
	if len(t.to) > 0 {
		to = "to " + strings.Join(t.to, ", ")
	}
	return fmt.Sprintf("Send %d mails again, %s?", n, to)
}
