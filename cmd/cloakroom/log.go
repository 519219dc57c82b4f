package main

// cloakroom log

import (
	"fmt"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
)

func newLogCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:     "log",
		Short:   "Read logs whose addresses are hashed",
		Example: "  cloakroom log hash bob@acmecorp.com",
	}, newLogHashCmd(g))
}

func newLogHashCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "hash ADDRESS [ADDRESS ...]",
		Short: "Tell how an address stands in a log with log.addresses: hashed",
		Long: `Prints the hash of each address, one a line: what a log with "log.addresses: hashed" has
in its place. Upper and lower case are the same. It needs the secret, which only root and
the daemon's account can read: nobody else can tell whose a hash is.`,
		Example: `  cloakroom log hash bob@acmecorp.com
  journalctl -u cloakroom | grep -F -e "$(cloakroom log hash bob@acmecorp.com)"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := g.loadConfig(cmd)
			if err != nil {
				return err
			}
			secret, err := app.OpenSecret(cfg)
			if err != nil {
				return &exitError{code: exitUnavailable, err: err}
			}
			for _, address := range args {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), config.HashAddress(app.LogKey(secret), address)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
