package main

// cloakroom report

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/internal/report"
)

func newReportCmd(g *globals) *cobra.Command {
	var since string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "report [--since TIME]",
		Short: "Tell what rules did to the mail; with mode: observe, what they would have done",
		Long: `Sums up the mail of the last days: how many were seen, what became links (in mode: observe, what
would have), how many bytes of it came more than once, copies for the vault by target, forwarded
recipients, refusals, who sent and who got the most, and each rule's share. Where rules link a
file and it stays, the reasons are told.

It is counted as mail is answered, day by day (UTC), and kept for 92 days. The daemon writes it down every
ten seconds: a crash loses as much. In mode: observe every attachment is decoded and hashed as
it would be, so that repetitions are found by content; up to 500,000 files are remembered. People
outside are counted by domain. cloakroom filter is not counted.`,
		Example: `  cloakroom report
  cloakroom report --since 30d --json | jq '.modes[].links'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			from, err := moment("--since", since, now)
			if err != nil {
				return err
			}
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				r, err := report.Read(cmd.Context(), s.DB.Read(), from, now)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, r)
				}
				return app.PrintReport(cmd.OutOrStdout(), r)
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "7d", "from this `time` on: how long ago (7d), or a date (2026-01-31)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}
