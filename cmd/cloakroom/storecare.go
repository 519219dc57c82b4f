package main

// cloakroom store verify | gc | where

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/message"
	"cloakroom/sisa"
)

func newStoreVerifyCmd(g *globals) *cobra.Command {
	var asJSON, quarantine bool
	var rate string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read and hash everything that is stored, and tell what is missing or damaged",
		Long: `Reads every file of the store, compares it with its SHA-256, and looks whether all that
mails and their links need is there. The daemon may run meanwhile. The exit code is 1 when
something is missing or damaged; files that nothing needs any more are counted only, as
garbage collection takes them in time. A damaged file is mended by itself when a mail brings
the same file again, but only once it is out of the way: --quarantine.`,
		Example: "  cloakroom store verify --rate 50MB\n  cloakroom store verify --json | jq .damaged",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opt := sisa.VerifyOptions{Quarantine: quarantine}
			if rate != "" {
				var err error
				if opt.Rate, err = config.ParseSize(rate); err != nil {
					return &exitError{code: exitUsage, err: fmt.Errorf("--rate: %w", err)}
				}
			}
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, log *slog.Logger) error {
				bar := app.NewBar(cmd.ErrOrStderr())
				opt.Progress = func(p sisa.Progress) {
					bar.Show(p.Bytes, p.AllBytes, fmt.Sprintf("%d files, %s of %s, %d missing, %d damaged", p.Blobs, message.FormatSize(p.Bytes),
						message.FormatSize(max(p.Bytes, p.AllBytes)), p.Missing, p.Damaged))
				}
				v, err := s.Keeper(log).Verify(cmd.Context(), opt)
				bar.End()
				if err != nil {
					return err
				}
				if asJSON {
					err = printJSON(cmd, v)
				} else {
					err = app.PrintVerification(cmd.OutOrStdout(), v)
				}
				if err == nil && !v.OK() {
					err = &exitError{code: exitFailure, err: fmt.Errorf("%d files are missing and %d are damaged", len(v.Missing), len(v.Damaged)),
						hint: "restore them from a backup into blobs/ in the data folder: a file's name is its SHA-256"}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&quarantine, "quarantine", false, "move damaged files to blobs/damaged")
	cmd.Flags().StringVar(&rate, "rate", "", "read at most this much in a second (50MB)")
	return cmd
}

func newStoreGCCmd(g *globals) *cobra.Command {
	var asJSON, dryRun bool
	var grace string
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Delete the files that no mail and no link needs any more",
		Long: `Gives up the originals of mails whose last link was revoked or has expired longer ago
than the time of grace (store.gc.grace), then deletes the files that nothing needs any more
and that no mail has used for as long. The daemon does the same every store.gc.every, and
may run meanwhile. What is under a legal hold stays.`,
		Example: "  cloakroom store gc --dry-run\n  cloakroom store gc",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			actor := app.Actor()
			return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, log *slog.Logger) error {
				opt := sisa.GCOptions{Grace: app.StoreConfig(cfg).GC.Grace, DryRun: dryRun}
				if grace != "" {
					var err error
					if opt.Grace, err = config.ParseDuration(grace); err != nil {
						return &exitError{code: exitUsage, err: fmt.Errorf("--grace: %w", err)}
					}
				}
				stats, err := s.Links.Stats(cmd.Context())
				if err != nil {
					return err
				}
				bar := app.NewBar(cmd.ErrOrStderr())
				opt.Progress = func(looked int64) { bar.Show(looked, stats.Blobs, fmt.Sprintf("%d files", looked)) }
				r, err := s.AuditedGC(cmd.Context(), opt, actor, log)
				bar.End()
				if asJSON {
					return errors.Join(err, printJSON(cmd, r))
				}
				return errors.Join(err, app.PrintGC(cmd.OutOrStdout(), r))
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what would be deleted")
	cmd.Flags().StringVar(&grace, "grace", "", "another time of grace than that of the configuration; it must be longer than your oldest backup")
	return cmd
}

func newStoreWhereCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "where SHA256",
		Short: "Tell which mails and links have a file",
		Long: `Lists the mails that have the file with this SHA-256, with their senders, recipients and
links, and why it is kept. The exit code is 1 when it is not known at all.`,
		Example: "  cloakroom store where $(sha256sum plan.pdf | cut -c1-64)",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var sum ledger.Hash
			if err := sum.UnmarshalText([]byte(args[0])); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, log *slog.Logger) error {
				place, err := s.Where(cmd.Context(), sum, log)
				if err != nil {
					return err
				}
				if !place.Stored && place.Created.IsZero() && len(place.Uses)+len(place.Uploads) == 0 {
					return fmt.Errorf("%s is neither stored nor known: %w", sum, fs.ErrNotExist)
				}
				if asJSON {
					return printJSON(cmd, place)
				}
				return app.PrintPlace(cmd.OutOrStdout(), place)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newStorePurgeCmd(g *globals) *cobra.Command {
	var before string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "purge-downloads",
		Short: "Delete old downloads from the log",
		Long: `Deletes downloads from the log that are older than store.keep_downloads, or than --older.
The daemon does the same every day. Those of mails under a legal hold stay.`,
		Example: "  cloakroom store purge-downloads --older 90d",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			actor := app.Actor()
			limit, err := moment("--older", before, time.Now())
			if err != nil {
				return err
			}
			return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, log *slog.Logger) error {
				if limit.IsZero() {
					limit = time.Now().Add(-app.StoreConfig(cfg).KeepDownloads)
				}
				n := int64(0)
				err := s.Audited(cmd.Context(), actor, "purge downloads", "before "+limit.Format("2006-01-02 15:04"), func(ctx context.Context) (_ string, err error) {
					n, err = s.Keeper(log).PurgeDownloads(ctx, limit)
					return fmt.Sprintf("deleted: %d", n), err
				})
				if asJSON {
					return errors.Join(err, printJSON(cmd, map[string]int64{"deleted": n}))
				}
				fmt.Fprintf(cmd.OutOrStdout(), "downloads deleted from the log: %d\n", n)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().StringVar(&before, "older", "", "those from before this date (2026-01-31), or older than this (90d)")
	return cmd
}
