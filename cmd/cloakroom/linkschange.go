package main

// cloakroom links revoke | extend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

// chosen finds the links that arguments or flags select, shows them if there are
// several, and asks.
func chosen(cmd *cobra.Command, s *app.Store, names []string, filter sisa.Filter, yes bool, verb string) (ids []string, mails []ledger.Key, err error) {
	rows, err := s.SelectLinks(cmd.Context(), names, filter)
	if err != nil {
		return nil, nil, err
	}
	if len(rows) == 0 {
		return nil, nil, errors.New("no link is selected")
	}
	if len(rows) > 1 && !yes {
		if err := app.PrintLinks(cmd.ErrOrStderr(), rows); err != nil {
			return nil, nil, err
		}
	}
	if err := confirmMany(cmd, yes, len(rows), fmt.Sprintf("%s these %d links?", verb, len(rows))); err != nil {
		return nil, nil, err
	}
	for _, r := range rows {
		ids, mails = append(ids, r.ID), append(mails, r.Mail)
	}
	return ids, mails, nil
}

func newLinksRevokeCmd(g *globals) *cobra.Command {
	var flags linkFlags
	var acts actFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "revoke [ID...]",
		Short: "End links at once",
		Long: `Revokes the links whose ids begin with ID, or all that the flags select. From then on
they look as if they had never been. The files stay for the time of grace (store.gc.grace):
until then the mails can be restored. A link that is revoked does not come back; a mail
that comes again gets a new one.`,
		Example: `  cloakroom links revoke 3fa9 --reason 'sent to the wrong person'
  cloakroom links revoke --sender alice@acmecorp.com --newer 1d`,
		RunE: func(cmd *cobra.Command, args []string) error {
			act := acts.who()
			filter, err := flags.filter()
			if err != nil {
				return err
			}
			if err := some(cmd, args, !filter.IsZero()); err != nil {
				return err
			}
			if filter.State == "" {
				filter.State = sisa.Active
			}
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				ids, mails, err := chosen(cmd, s, args, filter, acts.yes, "Revoke")
				if err != nil {
					return err
				}
				n := 0
				err = s.AuditedMails(cmd.Context(), act.By, "revoke links", strings.Join(ids, " "), mails, func(ctx context.Context) (_ string, err error) {
					n, err = s.Links.Revoke(ctx, ids, act)
					return fmt.Sprintf("revoked: %d of %d", n, len(ids)), err
				})
				if asJSON {
					return errors.Join(err, printJSON(cmd, map[string]int{"selected": len(ids), "revoked": n}))
				}
				fmt.Fprintf(cmd.OutOrStdout(), "revoked: %d of %d\n", n, len(ids))
				return err
			})
		},
	}
	flags.register(cmd)
	acts.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// termFlags say until when links are extended.
type termFlags struct {
	by, until string
	forever   bool
}

func (f *termFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.by, "by", "", "longer by this (30d), counted from the old end or, if that is past, from now")
	cmd.Flags().StringVar(&f.until, "until", "", "until the end of this day (2026-12-31)")
	cmd.Flags().BoolVar(&f.forever, "forever", false, "without end")
	cmd.MarkFlagsMutuallyExclusive("by", "until", "forever")
	cmd.MarkFlagsOneRequired("by", "until", "forever")
}

func (f *termFlags) term() (t sisa.Term, err error) {
	switch {
	case f.forever:
		t.Forever = true
	case f.until != "":
		day, err := time.ParseInLocation(time.DateOnly, f.until, time.Local)
		if err != nil {
			return t, &exitError{code: exitUsage, err: fmt.Errorf("--until: %q is not a date such as 2026-12-31", f.until)}
		}
		t.Until = day.AddDate(0, 0, 1)
		if !t.Until.After(time.Now()) {
			return t, &exitError{code: exitUsage, err: fmt.Errorf("--until: %s is past", f.until)}
		}
	default:
		if t.By, err = config.ParseDuration(f.by); err != nil || t.By == 0 {
			return t, &exitError{code: exitUsage, err: fmt.Errorf("--by: %q is not a duration such as 30d", f.by)}
		}
	}
	return t, nil
}

func newLinksExtendCmd(g *globals) *cobra.Command {
	var flags linkFlags
	var acts actFlags
	var terms termFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "extend [ID...] --by DURATION | --until DATE | --forever",
		Short: "Let links end later",
		Long: `Extends the links whose ids begin with ID, or all that the flags select. A link that
expired works again as long as its files are kept. No link is shortened, and none that was
revoked comes back.`,
		Example: `  cloakroom links extend 3fa9 --by 30d
  cloakroom links extend --recipient bob@example.org --state expired --until 2026-12-31`,
		RunE: func(cmd *cobra.Command, args []string) error {
			act := acts.who()
			filter, err := flags.filter()
			if err != nil {
				return err
			}
			if err := some(cmd, args, !filter.IsZero()); err != nil {
				return err
			}
			term, err := terms.term()
			if err != nil {
				return err
			}
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				return extendLinks(cmd.Context(), cmd, s, args, filter, term, act, acts.yes, asJSON)
			})
		},
	}
	flags.register(cmd)
	acts.register(cmd)
	terms.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func extendLinks(ctx context.Context, cmd *cobra.Command, s *app.Store, args []string, filter sisa.Filter, term sisa.Term, act sisa.Act, yes, asJSON bool) error {
	ids, mails, err := chosen(cmd, s, args, filter, yes, "Extend")
	if err != nil {
		return err
	}
	var done []sisa.Extension
	err = s.AuditedMails(ctx, act.By, "extend links", strings.Join(ids, " "), mails, func(ctx context.Context) (_ string, err error) {
		done, err = s.Links.Extend(ctx, ids, term, act)
		n := 0
		for _, d := range done {
			if d.Refused == "" {
				n++
			}
		}
		return fmt.Sprintf("extended: %d of %d", n, len(ids)), err
	})
	if asJSON {
		return errors.Join(err, printJSON(cmd, done))
	}
	for _, d := range done {
		switch {
		case d.Refused != "":
			fmt.Fprintf(cmd.OutOrStdout(), "%.12s stays: %s\n", d.Link, d.Refused)
		case d.Expires.IsZero():
			fmt.Fprintf(cmd.OutOrStdout(), "%.12s never expires\n", d.Link)
		default:
			fmt.Fprintf(cmd.OutOrStdout(), "%.12s expires %s\n", d.Link, d.Expires.Format("2006-01-02 15:04"))
		}
	}
	return err
}
