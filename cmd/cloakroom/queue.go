package main

// cloakroom queue list | show | stats | watch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/internal/jobs"
)

func newQueueCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:   "queue",
		Short: "Look at the jobs that wait, and decide about them",
		Long: `The queue has what the daemon does apart from the mail itself: uploads of attachments to the
vault, and copies of mail that go out on their own where two mail systems share a domain. All
of these commands work while the daemon runs, and while it does not.`,
		Example: `  cloakroom queue stats
  cloakroom queue list --state failed
  cloakroom queue hold --target assets`,
	}, newQueueListCmd(g), newQueueShowCmd(g), newQueueStatsCmd(g), newQueueWatchCmd(g),
		newQueueHoldCmd(g), newQueueReleaseCmd(g), newQueueRetryCmd(g), newQueueDropCmd(g))
}

// whichFlags are the flags that say which jobs are meant.
type whichFlags struct {
	app.Which
	states []string
	older  string
}

func (f *whichFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.states, "state", nil, "only jobs in this `state`: waiting, running, failed, held, done; several with commas")
	cmd.Flags().StringVar(&f.Target, "target", "", "only jobs of this target of the vault")
	cmd.Flags().StringVar(&f.Kind, "kind", "", "only jobs of this kind: vault (uploads), copy (mail) or receipt (news of downloads)")
	cmd.Flags().StringVar(&f.Owner, "owner", "", "only jobs for this address")
	cmd.Flags().StringVar(&f.older, "older", "", "only jobs made at least so long ago, such as 2h or 3d")
	cmd.Flags().StringVar(&f.Error, "error", "", "only jobs whose last error contains this `text`")
	cmd.Flags().StringVar(&f.File, "file", "", "only uploads whose path on the target contains this `text`")
}

func (f *whichFlags) take(cmd *cobra.Command) (app.Which, error) {
	w := f.Which
	for _, s := range f.states {
		state, err := jobs.ParseState(s)
		if err != nil {
			return w, usageError(cmd, fmt.Errorf("--state: %w", err))
		}
		w.States = append(w.States, state)
	}
	if w.Kind != "" && w.Kind != "vault" && w.Kind != "copy" && w.Kind != "receipt" {
		return w, usageError(cmd, fmt.Errorf("--kind: %q is none of vault, copy and receipt", w.Kind))
	}
	if f.older != "" {
		var err error
		if w.Older, err = config.ParseDuration(f.older); err != nil || w.Older <= 0 {
			return w, usageError(cmd, fmt.Errorf("--older: %q is not a duration such as 90s, 2h or 3d", f.older))
		}
	}
	return w, nil
}

// jobError gives the exit code of a job that is not there.
func jobError(err error) error {
	if errors.Is(err, app.ErrNoJob) || errors.Is(err, jobs.ErrNotFound) {
		return &exitError{code: exitFailure, err: err, hint: "cloakroom queue list shows the IDs; a job that is done is forgotten after a week"}
	}
	return err
}

func newQueueListCmd(g *globals) *cobra.Command {
	var flags whichFlags
	var asJSON bool
	var after string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List jobs, oldest first",
		Long: `Lists jobs, those first that were to be done first: id, state, target, owner, file (or
recipients of a copy), age, how often it was tried, when it is tried next, and the last error.
Where there are more than --limit the last line tells how to see them. What is done is listed
with --state done only.`,
		Example: `  cloakroom queue list --target assets --state failed,held
  cloakroom queue list --owner bob@acmecorp.com --older 1h
  cloakroom queue list --error "permission denied" --json | jq -r '.jobs[].key'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			which, err := flags.take(cmd)
			if err != nil {
				return err
			}
			if len(which.States) == 0 {
				which.States = []jobs.State{jobs.Waiting, jobs.Running, jobs.Failed, jobs.Held}
			}
			if limit < 1 {
				return usageError(cmd, errors.New("--limit: at least 1"))
			}
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				if after != "" {
					if after, err = s.Resolve(cmd.Context(), after); err != nil {
						return jobError(err)
					}
				}
				page, err := s.ListJobs(cmd.Context(), which, after, limit)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, page)
				}
				if err := app.PrintJobs(cmd.OutOrStdout(), page, time.Now()); err != nil || page.After == "" {
					return err
				}
				_, err = fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --after %s goes on, or raise --limit\n", page.Jobs[len(page.Jobs)-1].ID)
				return err
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&after, "after", "", "go on behind this `job`")
	cmd.Flags().IntVar(&limit, "limit", defaultRows, "rows at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newQueueShowCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show JOB",
		Short: "Show everything about one job",
		Long: `Shows a job: its mail, file and path, its attempts and last error, and what happens to it next.
JOB is the ID that lists show, or the key that --json shows.`,
		Example: "  cloakroom queue show 91ab3c4d",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				key, err := s.Resolve(cmd.Context(), args[0])
				if err != nil {
					return jobError(err)
				}
				d, err := s.ShowJob(cmd.Context(), key)
				if err != nil {
					return jobError(err)
				}
				if asJSON {
					return printJSON(cmd, d)
				}
				return app.PrintJob(cmd.OutOrStdout(), d, time.Now())
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newQueueStatsCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Count the jobs by kind, target and state",
		Long:    `Counts the jobs by kind, target and state, with the age of the oldest.`,
		Example: "  cloakroom queue stats\n  cloakroom queue stats --json | jq 'map(select(.state == \"failed\") | .count) | add // 0'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				stats, err := s.QueueStats(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, stats)
				}
				return app.PrintQueueStats(cmd.OutOrStdout(), stats)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// watchEvery is how often what is watched is shown anew.
const watchEvery = time.Second

func newQueueWatchCmd(g *globals) *cobra.Command {
	var asJSON, once bool
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show what goes on, each second, until interrupted",
		Long: `Shows the counts by target and state, targets that are down or held, and how far the uploads
under way have come: in a terminal a page that is renewed each second, elsewhere a line a
second, with --json an object a line. --once shows it once and ends.`,
		Example: "  cloakroom queue watch\n  cloakroom queue watch --once --json | jq .uploads",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				w := s.Watch()
				for {
					now, err := w.Snapshot(cmd.Context())
					if err != nil {
						return err
					}
					if err := showSnapshot(cmd.OutOrStdout(), now, asJSON, once); err != nil || once {
						return err
					}
					select {
					case <-time.After(watchEvery):
					case <-cmd.Context().Done():
						return nil
					}
				}
			})
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "show it once")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func showSnapshot(w io.Writer, s *app.Snapshot, asJSON, once bool) error {
	switch {
	case asJSON:
		return json.NewEncoder(w).Encode(s)
	case once:
		return app.PrintSnapshot(w, s)
	case !isTerminal(w):
		return app.PrintSnapshotLine(w, s)
	}
	var b strings.Builder
	if err := app.PrintSnapshot(&b, s); err != nil {
		return err
	}
	// From the top left corner: each line's rest is cleared, and what is below.
	_, err := io.WriteString(w, "\x1b[H"+strings.ReplaceAll(b.String(), "\n", "\x1b[K\n")+"\x1b[J")
	return err
}
