package main

// cloakroom pause | resume

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
)

// auditHint is for where a change was made and could not be remembered.
const auditHint = "it was done all the same; `cloakroom doctor` looks at the database"

func newPauseCmd(g *globals) *cobra.Command {
	var why, last string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "pause [--for DURATION] [--why TEXT]",
		Short: "Let mail pass untouched at once; links and uploads go on",
		Long: `Takes Cloakroom's hands off the mail without taking it out of the MTA: from the next message on
nothing is detached, kept, refused, held or marked. What was done before goes on: links are
served, uploads and copies under way are finished, the dashboard answers. The running daemon
obeys within a second, and the pause holds over restarts, until resume or until --for is over.

Only co-existence goes on: mail for a mailbox in the other system is forwarded, with its rules
about forwarding, its rewritten senders and its marks, and what goes in circles is refused. Without
that it would be lost or bounce. Where it needs a copy of its own, that copy is made and sent.

The command tells what is missed meanwhile. Mail that passes is not on record: vault backfill
cannot bring its attachments later. What a rule refuses, or holds, is let in.

The pause is the file "paused" in the data folder, and can be made and removed without the
command too. It is for this host. --for and --why are told wherever the pause is: log, /readyz,
dashboard, doctor, audit. A pause takes the place of an earlier one.`,
		Example: `  cloakroom pause --for 2h --why 'a customer gets broken PDFs, see #4711'
  cloakroom pause`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := app.Pause{Who: app.Actor(), Why: why, Since: time.Now().Truncate(time.Second)}
			if last != "" {
				d, err := config.ParseDuration(last)
				if err != nil || d <= 0 {
					return usageError(cmd, errors.Join(errors.New("--for: how long, such as 2h or 30m"), err))
				}
				p.Until = p.Since.Add(d)
			}
			return g.withBrake(cmd, func(cfg *config.Config) (unaudited, err error) {
				done, unaudited, err := app.PauseMail(cmd.Context(), cfg, p, cfg.Log.Logger(cmd.ErrOrStderr()))
				switch {
				case err != nil:
				case asJSON:
					err = printJSON(cmd, done)
				default:
					err = app.PrintPause(cmd.OutOrStdout(), done)
				}
				return unaudited, err
			})
		},
	}
	cmd.Flags().StringVar(&last, "for", "", "end by itself after this `duration` (2h, 30m, 1d)")
	cmd.Flags().StringVar(&why, "why", "", "the reason, for whoever wonders")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newResumeCmd(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "End a pause: mail goes by the rules again",
		Long: `Ends what pause began: from the next message on, and within a second, mail goes by the rules
of the configuration. Mail that passed meanwhile stays as it was delivered. Where there is no
pause nothing happens.`,
		Example: "  cloakroom resume",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			who := app.Actor()
			return g.withBrake(cmd, func(cfg *config.Config) (unaudited, err error) {
				was, unaudited, err := app.ResumeMail(cmd.Context(), cfg, who, cfg.Log.Logger(cmd.ErrOrStderr()))
				if err != nil {
					return unaudited, err
				}
				return unaudited, app.PrintResume(cmd.OutOrStdout(), was, time.Now())
			})
		},
	}
	return cmd
}

// withBrake does something to the brake as the owner of the data folder.
func (g *globals) withBrake(cmd *cobra.Command, f func(*config.Config) (unaudited, err error)) error {
	cfg, err := g.loadConfig(cmd)
	if err != nil {
		return err
	}
	if err := app.BecomeOwner(cfg.Data); err != nil {
		return err
	}
	unaudited, err := f(cfg)
	if err == nil && unaudited != nil {
		err = &exitError{code: exitFailure, err: fmt.Errorf("not written into the audit: %w", unaudited), hint: auditHint}
	}
	return err
}
