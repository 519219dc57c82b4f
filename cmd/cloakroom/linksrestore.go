package main

// cloakroom links restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

// restoreFlags say which mails are restored and where to.
type restoreFlags struct {
	mailFlags
	actFlags
	restoreTo
	address     string
	done        string
	resolver    string
	noDKIM      bool
	all, asJSON bool
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
own recipients or to --to; --check only checks. A user's whole mail: --address. Started by
root, the command runs as the owner of the data folder: a folder must be writable for it, a
single file or mbox need not. Who restored which mails is told by: cloakroom audit.

When it is interrupted, run the same again. A folder and a mailbox get no mail twice. In a
mailbox a mail is there when one of its date, size and header is: the dates of the whole
mailbox are asked for once, at the beginning; nothing is searched for. That fails on a
server that changes dates or sizes, which the end of a run tells. There, and with --submit and --mbox, --done FILE remembers what was handed out, and
leaves it out next time (one mail may be sent twice where the machine was killed).

--imap: write imaps://user@host/Mailbox, %40 for the @ in a user, / between levels, %20 for
a blank. The mailbox is made and subscribed when it is missing. To log in for users without
their passwords use a master user of the server (Dovecot: user%40domain*master).`,
		Example: `  cloakroom links restore 4XYZabc --eml original.eml
  cloakroom links restore --address bob@acmecorp.com --mbox bob.mbox
  cloakroom links restore --address bob@acmecorp.com --imap imaps://bob%40acmecorp.com@mail.acmecorp.com/Restored --imap-password-file pw
  cloakroom links restore --recipient carol@acmecorp.com --newer 7d --submit --to carol@acmecorp.com
  cloakroom links restore --all --check`,
		RunE: func(cmd *cobra.Command, args []string) error { return g.restore(cmd, args, &flags) },
	}
	flags.mailFlags.register(cmd, "only mails")
	flags.restoreTo.register(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.address, "address", "", "mails from or to this address, or @domain")
	f.StringVar(&flags.done, "done", "", "`file` of the mails that were handed out, which are left out; it is made when it is missing")
	f.StringVar(&flags.reason, "reason", "", "why, for the audit")
	f.StringVar(&flags.resolver, "resolver", "", "DNS server `host:port` to ask for DKIM keys, instead of the system's")
	f.BoolVar(&flags.noDKIM, "no-dkim", false, "do not verify DKIM signatures")
	f.BoolVar(&flags.all, "all", false, "all mails")
	f.BoolVarP(&flags.yes, "yes", "y", false, "with --submit: do not ask")
	f.BoolVar(&flags.asJSON, "json", false, "print the results as JSON, one a line")
	return cmd
}

func (g *globals) restore(cmd *cobra.Command, args []string, flags *restoreFlags) error {
	act := flags.who()
	filter, err := flags.filter()
	if err != nil {
		return err
	}
	filter.Address = trimAngles(flags.address)
	if err := some(cmd, args, flags.all || !filter.IsZero()); err != nil {
		return err
	}
	// Files are opened before this process becomes the owner of the data.
	if err := flags.open(cmd); err != nil {
		return err
	}
	what := app.Restoring{Sink: flags.sink}
	if flags.done != "" {
		if what.Done, err = app.OpenDoneList(flags.done, flags.place()); err != nil {
			return fmt.Errorf("--done: %w", err)
		}
	}
	if !flags.noDKIM {
		what.Signatures = &app.SignatureCheck{Server: flags.resolver}
	}
	return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, log *slog.Logger) error {
		if what.Keys, err = s.SelectMails(cmd.Context(), args, filter); err != nil {
			return err
		}
		n := len(what.Keys)
		if n == 0 {
			return errors.New("no mail is selected")
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		if what.Sink == nil {
			if what.Sink, err = flags.connect(ctx, cfg, log); err != nil {
				return err
			}
		}
		if flags.submit {
			if err := confirmMany(cmd, flags.yes, n, flags.question(n)); err != nil {
				return err
			}
		}
		return flags.run(ctx, cmd, s, what, act, len(args) > 0)
	})
}

// run restores, and has it written down where mails are handed out. That there is
// no original is a failure where the mail was named.
func (f *restoreFlags) run(ctx context.Context, cmd *cobra.Command, s *app.Store, what app.Restoring, act sisa.Act, named bool) error {
	var count app.RestoreCount
	bar := app.NewBar(cmd.ErrOrStderr())
	did := 0
	what.Tell = func(r app.Restored) {
		bar.End()
		f.tell(f.report, r)
		if did++; r.Error != "" {
			count.Failed++
		}
		bar.Show(int64(did), int64(len(what.Keys)), fmt.Sprintf("%d of %d mails, %d failed", did, len(what.Keys), count.Failed))
	}
	do := func(ctx context.Context) (string, error) {
		var err error
		count, err = s.Restore(ctx, what)
		if what.Sink != nil {
			err = errors.Join(err, what.Sink.Close(context.WithoutCancel(ctx)))
		}
		return count.String(), errors.Join(err, what.Done.Close())
	}
	var err error
	if f.check {
		_, err = do(ctx)
	} else {
		object := fmt.Sprintf("%s to %s", f.selection(cmd, what.Keys), f.where())
		if act.Reason != "" {
			object += ": " + act.Reason
		}
		err = s.AuditedMails(ctx, act.By, "restore mails", object, what.Keys, do)
	}
	bar.End()
	sum := count.String()
	if f.check {
		sum = strings.Replace(sum, "restored", "whole", 1)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), sum)
	failed := count.Failed
	if named {
		failed += count.Nothing
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d mails were not restored", failed, len(what.Keys))
	}
	var stopped *app.StopError
	if errors.As(err, &stopped) || errors.Is(err, context.Canceled) {
		return &exitError{code: exitFailure, err: err, hint: f.again()}
	}
	return err
}

// again says how to go on.
func (f *restoreFlags) again() string {
	switch {
	case f.imap != "", f.eml != "", f.check, f.done != "":
		return "run the same command again: what was restored is left out"
	}
	return "what was restored is listed above; with --done FILE from the beginning it would be left out next time"
}

// shownKeys is how many mails the audit names by their keys where it shows acts;
// it finds them by all.
const shownKeys = 5

// selection tells which mails were asked for.
func (f *restoreFlags) selection(cmd *cobra.Command, keys []ledger.Key) string {
	var words []string
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		switch flag.Name {
		case "all":
			words = append(words, "--all")
		case "mail", "sender", "recipient", "address", "file", "older", "newer":
			words = append(words, "--"+flag.Name+" "+flag.Value.String())
		}
	})
	if len(words) == 0 && len(keys) <= shownKeys {
		for _, key := range keys {
			words = append(words, key.String()[:12])
		}
	}
	text := fmt.Sprintf("%d mails", len(keys))
	if len(words) > 0 {
		text += " (" + strings.Join(words, " ") + ")"
	}
	return text
}

func (f *restoreFlags) tell(w io.Writer, r app.Restored) {
	if f.asJSON {
		_ = printJSONLine(w, r) // the mails are what matters
		return
	}
	app.PrintRestored(w, r)
}
