package main

// cloakroom links hold | release | holds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

func newLinksHoldCmd(g *globals) *cobra.Command {
	var flags mailFlags
	var acts actFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "hold MATTER [MAIL...]",
		Short: "Keep mails and their files for a legal matter",
		Long: `Holds the mails that are named (queue id, Message-ID, key, or the id of a link) or that
the flags select, until the matter releases them: no garbage collection and no deletion on
demand touches their files, originals, records and downloads. Several matters can hold the
same mail. Links still expire and can be revoked; the files stay. Mail that comes later is
not held: run it again, from cron if need be.`,
		Example: `  cloakroom links hold 'case 2026-7' --sender alice@acmecorp.com --reason 'letter of 3 March'`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			act := acts.who()
			return g.withMails(cmd, &flags, args[1:], func(s *app.Store, keys []ledger.Key, log *slog.Logger) error {
				if err := confirmMany(cmd, acts.yes, len(keys), fmt.Sprintf("Hold %d mails for %q?", len(keys), args[0])); err != nil {
					return err
				}
				var n int
				var retired []ledger.Key
				err := s.AuditedMails(cmd.Context(), act.By, "hold mails", args[0], keys, func(ctx context.Context) (_ string, err error) {
					n, retired, err = s.Keeper(log).Hold(ctx, args[0], keys, act)
					return fmt.Sprintf("held: %d more, of %d that were selected", n, len(keys)), err
				})
				if asJSON {
					return errors.Join(err, printJSON(cmd, map[string]any{"matter": args[0], "selected": len(keys), "held": n,
						"without_files": append([]ledger.Key{}, retired...)}))
				}
				fmt.Fprintf(cmd.OutOrStdout(), "held: %d more for %q, of %d that are selected\n", n, args[0], len(keys))
				if len(retired) > 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "of these, %d have no files any more: they were given up before\n", len(retired))
				}
				return err
			})
		},
	}
	flags.register(cmd, "only mails")
	acts.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newLinksReleaseCmd(g *globals) *cobra.Command {
	var flags mailFlags
	var acts actFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "release MATTER [MAIL...]",
		Short: "End a legal hold",
		Long: `Releases the mails that are named or that the flags select from a matter; without either,
all that it holds. What no other matter holds and no link needs goes with the next garbage
collection.`,
		Example: `  cloakroom links release 'case 2026-7'`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			act := acts.who()
			release := func(s *app.Store, keys []ledger.Key, log *slog.Logger) error {
				if err := confirmMany(cmd, acts.yes, len(keys), fmt.Sprintf("Release %d mails from %q?", len(keys), args[0])); err != nil {
					return err
				}
				n := 0
				err := s.AuditedMails(cmd.Context(), act.By, "release mails", args[0], keys, func(ctx context.Context) (_ string, err error) {
					n, err = s.Keeper(log).Release(ctx, args[0], keys, act)
					return fmt.Sprintf("released: %d", n), err
				})
				if asJSON {
					return errors.Join(err, printJSON(cmd, map[string]any{"matter": args[0], "selected": len(keys), "released": n}))
				}
				fmt.Fprintf(cmd.OutOrStdout(), "released: %d\n", n)
				return err
			}
			if filter, err := flags.filter(); err == nil && filter.IsZero() && len(args) == 1 {
				return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, log *slog.Logger) error {
					keys, err := s.Keeper(log).HeldBy(cmd.Context(), args[0])
					if err == nil && len(keys) == 0 {
						err = fmt.Errorf("%q holds nothing", args[0])
					}
					if err != nil {
						return err
					}
					return release(s, keys, log)
				})
			}
			return g.withMails(cmd, &flags, args[1:], release)
		},
	}
	flags.register(cmd, "only mails")
	acts.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newLinksHoldsCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "holds",
		Short:   "List the legal matters that hold mails",
		Example: "  cloakroom links holds",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, log *slog.Logger) error {
				rows, err := s.Keeper(log).Matters(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, append([]sisa.MatterRow{}, rows...))
				}
				return app.PrintMatters(cmd.OutOrStdout(), rows)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// withMails finds the mails that are named or selected; none is an error.
func (g *globals) withMails(cmd *cobra.Command, flags *mailFlags, names []string, f func(*app.Store, []ledger.Key, *slog.Logger) error) error {
	filter, err := flags.filter()
	if err != nil {
		return err
	}
	if err := some(cmd, names, !filter.IsZero()); err != nil {
		return err
	}
	return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, log *slog.Logger) error {
		keys, err := s.SelectMails(cmd.Context(), names, filter)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return errors.New("no mail is selected")
		}
		return f(s, keys, log)
	})
}
