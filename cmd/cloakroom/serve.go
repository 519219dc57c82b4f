package main

// cloakroom serve

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/db"
)

func newServeCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon: the milter for the MTA and the pages for recipients",
		Long: `Runs in the foreground until SIGTERM or SIGINT; messages and downloads in flight finish
first. SIGHUP reads the configuration again: rules, domains, trusted, mode and milter.on_error
take effect at once, for mail that begins then; a file with mistakes changes nothing.
The log goes to standard error.`,
		Example: "  cloakroom serve\n  cloakroom --config /etc/cloakroom/cloakroom.yaml serve",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.loadConfig(cmd)
			if err != nil {
				return err
			}
			err = app.Serve(cmd.Context(), g.configPath(), cfg, cfg.Log.Logger(os.Stderr))
			if errors.Is(err, db.ErrLocked) {
				return &exitError{code: exitUnavailable, err: err}
			}
			return err
		},
	}
}
