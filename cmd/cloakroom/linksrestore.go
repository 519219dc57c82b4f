package main

// cloakroom links restore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
)

// restoreFlags say which mails are restored and where to.
type restoreFlags struct {
	mailFlags
	address            string
	imap, imapPassword string
	imapCA             string
	login              app.IMAPOptions // read from the files
	eml, mbox          string
	submit             bool
	from               string
	to                 []string
	check              bool
	noDKIM             bool
	all, yes, asJSON   bool
}

func newLinksRestoreCmd(g *globals) *cobra.Command {
	var flags restoreFlags
	cmd := &cobra.Command{
		Use:   "restore [MAIL...] --eml PATH | --mbox FILE | --imap URL | --submit | --check",
		Short: "Rebuild original mails, attachments and all, byte for byte",
		Long: `Rebuilds the mails that are named (queue id, Message-ID, key, or the id or address of a
link), that the flags select, or with --all everything. Each is compared with the digest
that was taken when it came; one that differs in a byte is told and not handed out. DKIM
signatures are verified too, with the keys that DNS has today. A mail that was delivered
unchanged (only copies of its files are in a vault), or whose original was given up, is
skipped, which is a failure only if it is named.

Where to: --eml a folder, a file for a single mail, or - for standard output; --mbox a file
or -; --imap a mailbox, by APPEND; --submit sends them again through submit.smtp, to their
own recipients or to --to; --check only checks. A user's whole mail: --address. Started by root, the command runs as the
owner of the data folder: a folder must be writable for it, a single file or mbox need not.`,
		Example: `  cloakroom links restore 4XYZabc --eml original.eml
  cloakroom links restore --address bob@acmecorp.com --mbox bob.mbox
  cloakroom links restore --recipient carol@acmecorp.com --newer 7d --submit --to carol@acmecorp.com
  cloakroom links restore --all --check`,
		RunE: func(cmd *cobra.Command, args []string) error { return g.restore(cmd, args, &flags) },
	}
	flags.mailFlags.register(cmd, "only mails")
	f := cmd.Flags()
	f.StringVar(&flags.address, "address", "", "mails from or to this address, or @domain")
	f.StringVar(&flags.eml, "eml", "", "write .eml files: to a folder, a single one to a file, or - for standard output")
	f.StringVar(&flags.mbox, "mbox", "", "write one mbox file (mboxrd); - is standard output")
	f.StringVar(&flags.imap, "imap", "", "append to a mailbox: imaps://user@host/Mailbox")
	f.StringVar(&flags.imapPassword, "imap-password-file", "", "file whose first line is the password for --imap")
	f.StringVar(&flags.imapCA, "imap-ca-file", "", "file with the certificates that sign the server's, instead of the system's")
	f.BoolVar(&flags.submit, "submit", false, "send the mails again through submit.smtp")
	f.StringVar(&flags.from, "from", "", "with --submit: another envelope sender; <> is the null sender")
	f.StringArrayVar(&flags.to, "to", nil, "with --submit: another recipient; repeat it for several")
	f.BoolVar(&flags.check, "check", false, "only check that the mails can be restored")
	f.BoolVar(&flags.noDKIM, "no-dkim", false, "do not verify DKIM signatures")
	f.BoolVar(&flags.all, "all", false, "all mails")
	f.BoolVarP(&flags.yes, "yes", "y", false, "with --submit: do not ask")
	f.BoolVar(&flags.asJSON, "json", false, "print the results as JSON, one a line")
	cmd.MarkFlagsMutuallyExclusive("eml", "mbox", "imap", "submit", "check")
	cmd.MarkFlagsOneRequired("eml", "mbox", "imap", "submit", "check")
	cmd.MarkFlagsRequiredTogether("imap", "imap-password-file")
	return cmd
}

func (g *globals) restore(cmd *cobra.Command, args []string, flags *restoreFlags) error {
	filter, err := flags.filter()
	if err != nil {
		return err
	}
	filter.Address = trimAngles(flags.address)
	if err := some(cmd, args, flags.all || !filter.IsZero()); err != nil {
		return err
	}
	// Files are opened before this process becomes the owner of the data.
	sink, report, err := flags.files(cmd)
	if err != nil {
		return err
	}
	return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, log *slog.Logger) error {
		keys, err := s.SelectMails(cmd.Context(), args, filter)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return errors.New("no mail is selected")
		}
		if sink == nil {
			if sink, err = flags.sink(cmd, cfg, log); err != nil {
				return err
			}
		}
		if flags.submit {
			if err := confirmMany(cmd, flags.yes, len(keys), fmt.Sprintf("Send %d mails again?", len(keys))); err != nil {
				return err
			}
		}
		check := &app.SignatureCheck{}
		if flags.noDKIM {
			check = nil
		}
		nothing := 0
		failed, err := s.Restore(cmd.Context(), keys, sink, check, func(r app.Restored) {
			if r.Nothing != "" {
				nothing++
			}
			flags.tell(report, r)
		})
		if len(args) > 0 { // these very mails were asked for
			failed += nothing
		}
		if sink != nil {
			err = errors.Join(err, sink.Close())
		}
		if err == nil && failed > 0 {
			err = fmt.Errorf("%d of %d mails were not restored", failed, len(keys))
		}
		return err
	})
}

// files opens the file that mails are written to, if it is a single one, and reads
// the password, while this process may still read what its user can. The results go to standard output, unless the mails do.
func (f *restoreFlags) files(cmd *cobra.Command) (sink app.Sink, report io.Writer, err error) {
	report = cmd.OutOrStdout()
	path, make := f.eml, app.NewEML
	if f.mbox != "" {
		path, make = f.mbox, app.NewMbox
	}
	switch {
	case path == "-":
		return make(cmd.OutOrStdout(), "standard output"), cmd.ErrOrStderr(), nil
	case f.imap != "":
		f.login, err = app.ReadIMAPOptions(f.imap, f.imapPassword, f.imapCA)
		return nil, report, err
	case path == "", f.eml != "" && !strings.EqualFold(filepath.Ext(path), ".eml"):
		return nil, report, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return make(file, path), report, nil
}

// sink is where mails go if it is no single file; nil for --check.
func (f *restoreFlags) sink(cmd *cobra.Command, cfg *config.Config, log *slog.Logger) (app.Sink, error) {
	switch {
	case f.eml != "":
		return app.NewEMLFolder(f.eml)
	case f.imap != "":
		return app.NewIMAP(cmd.Context(), f.login)
	case f.submit:
		return app.NewSubmission(cfg, f.sender(cmd), f.recipients(), log)
	}
	return nil, nil
}

func (f *restoreFlags) tell(w io.Writer, r app.Restored) {
	if f.asJSON {
		_ = printJSONLine(w, r) // the mails are what matters
		return
	}
	app.PrintRestored(w, r)
}

// sender is the envelope sender that was given; nil where none was.
func (f *restoreFlags) sender(cmd *cobra.Command) *string {
	if !cmd.Flags().Changed("from") {
		return nil
	}
	from := trimAngles(f.from)
	return &from
}

func (f *restoreFlags) recipients() []string {
	out := make([]string, len(f.to))
	for i, to := range f.to {
		out[i] = trimAngles(to)
	}
	return out
}
