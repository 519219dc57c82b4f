package main

// cloakroom queue hold | release | retry | drop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
)

// changeFlags are the flags of commands that change jobs.
type changeFlags struct {
	whichFlags
	all, jobs, json bool
}

func (f *changeFlags) register(cmd *cobra.Command) {
	f.whichFlags.register(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "every job; needed where nothing else is said")
	cmd.Flags().BoolVar(&f.json, "json", false, "print as JSON")
}

// take gives the jobs that are meant; the store is needed for their names.
func (f *changeFlags) take(cmd *cobra.Command, args []string) (app.Which, error) {
	w, err := f.whichFlags.take(cmd)
	switch {
	case err != nil:
		return w, err
	case len(args) > 0 && (!w.IsZero() || f.all):
		return w, usageError(cmd, errors.New("name jobs, or choose them by flags; not both"))
	case len(args) == 0 && w.IsZero() && !f.all:
		return w, usageError(cmd, errors.New("which jobs? Name them, choose them by flags, or say --all"))
	case f.all && !w.IsZero():
		return w, usageError(cmd, errors.New("--all is every job: leave it out, or the other flags"))
	}
	return w, nil
}

// run opens the store, finds the jobs that are named, and has them changed.
func (f *changeFlags) run(g *globals, cmd *cobra.Command, args []string, change func(context.Context, *config.Config, *app.Store, app.Which) (*app.QueueChange, error)) error {
	which, err := f.take(cmd, args)
	if err != nil {
		return err
	}
	actor := app.Actor()
	return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, _ *slog.Logger) error {
		for _, name := range args {
			key, err := s.Resolve(cmd.Context(), name)
			if err != nil {
				return jobError(err)
			}
			which.Keys = append(which.Keys, key)
		}
		var done *app.QueueChange
		err := s.Audited(cmd.Context(), actor, cmd.Name()+" jobs", which.String(), func(ctx context.Context) (_ string, err error) {
			done, err = change(ctx, cfg, s, which)
			return app.ChangeWords(done), err
		})
		if done == nil {
			return err
		}
		var shown error
		if f.json {
			shown = printJSON(cmd, done)
		} else {
			shown = app.PrintQueueChange(cmd.OutOrStdout(), done)
		}
		return errors.Join(err, shown)
	})
}

// holdLong is what hold and release have in common.
const holdLong = `--target alone means the target as a whole, and --kind copy alone the sending of copies: jobs
that come later too. Everything else, and --jobs, means the jobs that are there now, one by one.`

func newQueueHoldCmd(g *globals) *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:   "hold {JOB... | --target TARGET | FILTERS | --all}",
		Short: "Keep a target, or single jobs, from being worked",
		Long: `Stops a target, or keeps jobs that wait from being worked, until they are released. Nothing is
lost: mail goes on being delivered, and its uploads wait. What is under way is finished.

` + holdLong,
		Example: `  cloakroom queue hold --target assets             # all of it, and what comes
  cloakroom queue hold --target assets --jobs      # the jobs that wait now
  cloakroom queue hold --owner bob@acmecorp.com`,
		RunE: func(cmd *cobra.Command, args []string) error { return flags.holdOrRelease(g, cmd, args, true) },
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&flags.jobs, "jobs", false, "the jobs that are there now, not the target")
	return cmd
}

func newQueueReleaseCmd(g *globals) *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:   "release {JOB... | --target TARGET | FILTERS | --all}",
		Short: "End what hold began; also of a target that held itself",
		Long: `Lets a target that is held go on, or jobs. A target also holds itself where it does not let us
in: its host key or certificate changed, or it refused our account. Mend that first; vault test
tells whether it is mended.

` + holdLong,
		Example: `  cloakroom queue release --target assets
  cloakroom queue release 91ab3c4d`,
		RunE: func(cmd *cobra.Command, args []string) error { return flags.holdOrRelease(g, cmd, args, false) },
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&flags.jobs, "jobs", false, "the jobs that are there now, not the target")
	return cmd
}

func (f *changeFlags) holdOrRelease(g *globals, cmd *cobra.Command, args []string, hold bool) error {
	return f.run(g, cmd, args, func(ctx context.Context, cfg *config.Config, s *app.Store, w app.Which) (*app.QueueChange, error) {
		if kind, target, whole := w.WholeTarget(); whole && !f.jobs {
			done, err := s.SetTarget(ctx, cfg, kind, target, hold)
			if unknown, ok := errors.AsType[*app.ErrNoTarget](err); ok {
				return nil, &exitError{code: exitUsage, err: unknown, hint: "cloakroom vault targets lists them"}
			}
			return done, err
		}
		if hold {
			return s.HoldJobs(ctx, w)
		}
		return s.ReleaseJobs(ctx, w)
	})
}

func newQueueRetryCmd(g *globals) *cobra.Command {
	var flags changeFlags
	cmd := &cobra.Command{
		Use:   "retry {JOB... | FILTERS | --all}",
		Short: "Try jobs now that failed, or that wait for their next try",
		Long: `Has jobs tried at once that failed for good or wait after a failure; their attempts and their
age count anew. Targets that are down are asked at once too. What is held stays held.`,
		Example: `  cloakroom queue retry --state failed --target assets
  cloakroom queue retry 91ab3c4d`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(g, cmd, args, func(ctx context.Context, _ *config.Config, s *app.Store, w app.Which) (*app.QueueChange, error) {
				return s.RetryJobs(ctx, w)
			})
		},
	}
	flags.register(cmd)
	return cmd
}

func newQueueDropCmd(g *globals) *cobra.Command {
	var flags changeFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "drop {JOB... | FILTERS | --all}",
		Short: "Delete jobs for good, after asking",
		Long: `Deletes jobs that wait, are held or have failed. It tells what is lost and asks; --yes does not
ask. What came after the question stays, and so does what is under way. An upload that is dropped
is forgotten: only the same mail coming again, or vault backfill, makes it anew. A copy is mail:
dropped, its recipients never get it.`,
		Example: `  cloakroom queue drop --state failed --older 30d
  cloakroom queue drop --target old-server --yes`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(g, cmd, args, func(ctx context.Context, _ *config.Config, s *app.Store, w app.Which) (*app.QueueChange, error) {
				lost, err := s.CountLost(ctx, w)
				if err != nil {
					return nil, err
				}
				if lost.Uploads+lost.Copies+lost.Done == 0 {
					return &app.QueueChange{Did: "dropped"}, nil
				}
				if !yes {
					if err := app.PrintLost(cmd.ErrOrStderr(), lost); err != nil {
						return nil, err
					}
					if err := confirm(cmd); err != nil {
						return nil, err
					}
				}
				return s.DropJobs(ctx, w, lost.Until)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm asks, and is an error unless the answer is yes.
func confirm(cmd *cobra.Command) error {
	fmt.Fprint(cmd.ErrOrStderr(), "Type yes to go on: ")
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(answer) == "yes" {
		return nil
	}
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	return &exitError{code: exitFailure, err: errors.New("nothing was deleted"), hint: "say --yes where nobody can answer"}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb"
}
