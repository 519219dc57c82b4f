package main

// cloakroom vault targets | test | backfill

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/policy"
)

func newVaultCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:   "vault",
		Short: "Look at the targets of the vault, and test them",
		Example: `  cloakroom vault targets --check
  cloakroom vault test assets`,
	}, newVaultTargetsCmd(g), newVaultTestCmd(g), newVaultBackfillCmd(g))
}

func newVaultTargetsCmd(g *globals) *cobra.Command {
	var asJSON, check bool
	cmd := &cobra.Command{
		Use:   "targets",
		Short: "List the targets: state, last error, and what waits for them",
		Long: `Lists the targets: whether each is up, down or held and since when, its last error, and its
jobs. unused is a target that never had a job. With --check each is connected to, which tells
how long that and one question take; the exit code is 1 where one does not answer.`,
		Example: "  cloakroom vault targets\n  cloakroom vault targets --check --json | jq '.[].check.latency_ms'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withStoreIfAny(cmd, func(cfg *config.Config, s *app.Store) error {
				all, err := app.VaultTargets(cmd.Context(), s, cfg)
				if err != nil {
					return err
				}
				failed := 0
				for i := range all {
					if t, found := cfg.Vault.Targets[all[i].Name]; check && found {
						c := app.CheckTarget(cmd.Context(), t)
						all[i].Check = &c
						if c.Error != "" {
							failed++
						}
					}
				}
				if asJSON {
					err = printJSON(cmd, all)
				} else {
					err = app.PrintVaultTargets(cmd.OutOrStdout(), all, time.Now())
				}
				if err == nil && failed > 0 {
					err = &exitError{code: exitFailure, err: fmt.Errorf("%d of %d targets do not answer", failed, len(all))}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "connect to each and measure")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newVaultTestCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test TARGET",
		Short: "Put a file on a target as an upload would, and delete it again",
		Long: `Connects to a target and does what uploads do: a file of 256 KB is written, verified and renamed,
read back, not replaced by another, copied on the server where it can, and deleted. Each step
is shown with its time; where one fails, why, and what to do. The file is in the hidden folder
.cloakroom-test below the target's base, which stays, empty. The exit code is 1 where a step
failed. The daemon need not run.`,
		Example: "  cloakroom vault test assets\n  cloakroom vault test assets --json | jq '.[] | select(.ok | not)'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := g.loadConfig(cmd)
			if err != nil {
				return err
			}
			t, found := cfg.Vault.Targets[args[0]]
			if !found {
				names := strings.Join(slices.Sorted(maps.Keys(cfg.Vault.Targets)), ", ")
				return &exitError{code: exitUsage, err: fmt.Errorf("there is no target %q in `vault.targets`", args[0]), hint: "there is " + names}
			}
			// Files that root made could not be changed by the daemon.
			if err := app.BecomeOwner(cfg.Data); err != nil {
				return err
			}
			show := func(s app.TestStep) { _ = app.PrintTestStep(cmd.OutOrStdout(), s) }
			if asJSON {
				show = nil
			}
			steps, err := app.TestTarget(cmd.Context(), t, show)
			if err != nil {
				return &exitError{code: exitConfig, err: err}
			}
			if asJSON {
				err = printJSON(cmd, steps)
			}
			for _, s := range steps {
				if err == nil && !s.OK && !s.Skipped {
					err = &exitError{code: exitFailure, err: fmt.Errorf("target %s: %s failed", args[0], s.Name)}
				}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newVaultBackfillCmd(g *globals) *cobra.Command {
	var b app.Backfill
	var since string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backfill {--user ADDRESS | --department NAME}",
		Short: "Upload what is still there for somebody who joins the vault later",
		Long: `Goes through the mail on record that a user sent or got, and makes the uploads that would have
been made had today's rules and users been there when it came; uploads that were made before
are not made again. Only mail that Cloakroom kept something of is on record.

The rules are asked about the original mail, which is kept where links were made. For other mail,
and to go by no rules, name a --target (and --space): then every attachment on record goes there
whose content the store still has. What the MTA said of the connection (HELO, host name, service,
TLS) is not on record; rules that ask for it see nothing.

The jobs are worked by the daemon; --dry-run shows them and makes none.`,
		Example: `  cloakroom vault backfill --user bob@acmecorp.com --dry-run
  cloakroom vault backfill --department research --since 2026-01-01
  cloakroom vault backfill --user bob@acmecorp.com --target assets --space user`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkBackfill(&b, since); err != nil {
				return usageError(cmd, err)
			}
			actor := app.Actor()
			return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, log *slog.Logger) error {
				if _, found := cfg.Vault.Targets[b.Target]; b.Target != "" && !found {
					return &exitError{code: exitUsage, err: fmt.Errorf("there is no target %q in `vault.targets`", b.Target)}
				}
				uploads := []app.BackfillUpload{}
				b.Each = func(u app.BackfillUpload) error {
					if asJSON {
						uploads = append(uploads, u)
						return nil
					}
					return app.PrintBackfillUpload(cmd.OutOrStdout(), u)
				}
				sum, err := s.AuditedBackfill(cmd.Context(), cfg, b, actor, log)
				if sum == nil {
					return err
				}
				if asJSON {
					return errors.Join(err, printJSON(cmd, map[string]any{"uploads": uploads, "sum": sum}))
				}
				return errors.Join(err, app.PrintBackfill(cmd.OutOrStdout(), sum))
			})
		},
	}
	cmd.Flags().StringVar(&b.User, "user", "", "the `address` of a user; aliases in the directory count")
	cmd.Flags().StringVar(&b.Department, "department", "", "everybody of this department in the directory")
	cmd.Flags().StringVar(&since, "since", "", "only mail from this `date` on, such as 2026-01-31")
	cmd.Flags().StringVar(&b.Target, "target", "", "take everything the store has to this target, without asking rules")
	cmd.Flags().StringVar(&b.Space, "space", "", "with --target: user (default), department, or a template")
	cmd.Flags().BoolVar(&b.Dry, "dry-run", false, "only tell what would be uploaded")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func checkBackfill(b *app.Backfill, since string) error {
	if (b.User == "") == (b.Department == "") {
		return errors.New("give either --user or --department")
	}
	b.User = trimAngles(b.User)
	if b.Space != "" {
		if b.Target == "" {
			return errors.New("--space goes with --target; without it rules decide")
		}
		if err := policy.CheckSpace(b.Space); err != nil {
			return fmt.Errorf("--space: %w", err)
		}
	}
	if since == "" {
		return nil
	}
	var err error
	if b.Since, err = time.ParseInLocation(time.DateOnly, since, time.Local); err != nil {
		return fmt.Errorf("--since: %q is not a date such as 2026-01-31", since)
	}
	return nil
}
