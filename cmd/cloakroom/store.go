package main

// cloakroom store and its first command, stats

import (
	"log/slog"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
)

func newStoreCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:     "store",
		Short:   "Look after what is stored",
		Example: "  cloakroom store stats",
	}, newStoreStatsCmd(g), newStoreVerifyCmd(g), newStoreGCCmd(g), newStoreWhereCmd(g), newStoreForgetCmd(g), newStorePurgeCmd(g), newStoreRebuildCmd(g))
}

func newStoreStatsCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Tell how much was received, kept and saved",
		Long:    `Sums up what came, what is kept of it, and what is saved because the same file is kept once.`,
		Example: "  cloakroom store stats\n  cloakroom store stats --json | jq .saved",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				stats, err := s.Stats(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, stats)
				}
				return app.PrintStats(cmd.OutOrStdout(), stats)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}
