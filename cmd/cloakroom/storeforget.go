package main

// cloakroom store forget

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/message"
)

// forgetFlags say what is forgotten.
type forgetFlags struct {
	mailFlags
	actFlags
	address               string
	whole, dryRun, asJSON bool
}

func newStoreForgetCmd(g *globals) *cobra.Command {
	var flags forgetFlags
	cmd := &cobra.Command{
		Use:   "forget [MAIL...]",
		Short: "Delete mails on demand: links, files, originals, records and downloads",
		Long: `Forgets the mails that are named (queue id, Message-ID, key, or the id of a link) or that
the flags select. Their links are unknown at once and for good; names, addresses, subject and
downloads are deleted; files that no other mail needs are deleted without a time of grace.

--address is about a person: mails from that address or to it alone are forgotten; in mails
that others got too, it is taken out of the list of recipients, and the files stay for the
others. With --whole these are forgotten too. --address @domain is about all of a domain.

Mails under a legal hold are refused, and so are those of which copies are still being sent.
For our own users the files may be the only copy: look at --dry-run first. The journal keeps
lines from before; they are not brought back by a rebuild. The next backup deletes the files too.`,
		Example: `  cloakroom store forget 4XYZabc --reason 'request of 3 March'
  cloakroom store forget --address bob@example.org --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error { return g.forget(cmd, args, &flags) },
	}
	flags.mailFlags.register(cmd, "only mails")
	flags.actFlags.register(cmd)
	cmd.Flags().StringVar(&flags.address, "address", "", "mails from or to this address, or @domain")
	cmd.Flags().BoolVar(&flags.whole, "whole", false, "with --address: forget mails that others got too")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "only list the mails")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print as JSON")
	return cmd
}

func (g *globals) forget(cmd *cobra.Command, args []string, flags *forgetFlags) error {
	act := flags.who()
	filter, err := flags.filter()
	if err != nil {
		return err
	}
	filter.Address = trimAngles(flags.address)
	if err := some(cmd, args, !filter.IsZero()); err != nil {
		return err
	}
	return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, log *slog.Logger) error {
		keys, err := s.SelectMails(cmd.Context(), args, filter)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return errors.New("no mail is selected")
		}
		what := app.Forgetting{Keys: keys, Address: filter.Address, Whole: flags.whole, Act: act}
		if flags.dryRun && flags.asJSON {
			r, err := s.WouldForget(cmd.Context(), what)
			return errors.Join(err, printJSON(cmd, r))
		}
		if !flags.yes || flags.dryRun {
			if err := listMails(cmd, s, keys); err != nil || flags.dryRun {
				return err
			}
		}
		if err := confirmMany(cmd, flags.yes, len(keys), fmt.Sprintf("Forget these %d mails? This cannot be undone.", len(keys))); err != nil {
			return err
		}
		r := new(app.ForgetResult)
		// Whose mail it was is not to be remembered here either.
		err = s.AuditedMails(cmd.Context(), act.By, "forget mails", fmt.Sprintf("%d mails", len(keys)), keys, func(ctx context.Context) (_ string, err error) {
			r, err = s.Forget(ctx, what, log)
			return fmt.Sprintf("forgotten: %d, struck from: %d, refused: %d", len(r.Forgotten), len(r.Struck), len(r.Refused)), err
		})
		if flags.asJSON {
			err = errors.Join(err, printJSON(cmd, r))
		} else {
			tellForgotten(cmd, r)
		}
		if err == nil && len(r.Refused) > 0 {
			err = fmt.Errorf("%d mails were not forgotten", len(r.Refused))
		}
		return err
	})
}

func tellForgotten(cmd *cobra.Command, r *app.ForgetResult) {
	w := cmd.OutOrStdout()
	for _, m := range r.Refused {
		fmt.Fprintf(w, "%.12s stays: %s\n", m.Mail, m.Reason)
	}
	if len(r.Struck) > 0 {
		fmt.Fprintf(w, "taken out of the record of mails that others got too: %d\n", len(r.Struck))
	}
	fmt.Fprintf(w, "forgotten: %d; files deleted: %d (%s), kept for other mails: %d\n", len(r.Forgotten), r.Files.Deleted,
		message.FormatSize(r.Files.Bytes), r.Files.Kept)
}

// listMails shows the mails that something is about to happen to.
func listMails(cmd *cobra.Command, s *app.Store, keys []ledger.Key) error {
	var mails []*ledger.Mail
	for _, key := range keys {
		m, err := ledger.Get(cmd.Context(), s.DB.Read(), key)
		if err != nil {
			return err
		}
		mails = append(mails, m)
	}
	return app.PrintMails(cmd.ErrOrStderr(), mails)
}
