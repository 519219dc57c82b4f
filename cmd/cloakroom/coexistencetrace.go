package main

// cloakroom coexistence trace

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
)

func newCoexistenceTraceCmd(g *globals) *cobra.Command {
	var flags envelopeFlags
	var header []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "trace --from ADDRESS --to ADDRESS [--to ADDRESS ...]",
		Short: "Tell the way a mail would take, and the replies its sender would get",
		Long: `Decides a mail that does not exist, with this envelope, as the daemon would: whether the sender
counts as ours, what becomes of each recipient and with which envelope sender, and the replies
at RCPT and at the end of the message. Nothing is sent and nothing is written. Who the MTA
itself refuses before it asks Cloakroom is not seen here.`,
		Example: `  cloakroom coexistence trace --from someone@example.org --to boss@acmecorp.com --client-ip 198.51.100.7
  cloakroom coexistence trace --from boss@acmecorp.com --to bob@acmecorp.com --client-ip 192.0.2.1 --daemon gapps-in
  cloakroom coexistence trace --from boss@acmecorp.com --to bob@acmecorp.com --client-ip 192.0.2.1 --header "X-Acme-Gateway: $(cat secret)"`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := flags.envelope()
			if err != nil {
				return err
			}
			cfg, err := g.loadConfig(cmd)
			if err != nil {
				return err
			}
			for _, h := range header {
				if !strings.Contains(h, ":") || strings.ContainsAny(h, "\r\n") {
					return usageError(cmd, errors.New("--header: write one field as \"Name: value\""))
				}
			}
			fields := strings.Join(header, "\r\n")
			if fields != "" {
				fields += "\r\n"
			}
			// Without a data directory that this account may read, only addresses
			// made by SRS cannot be told.
			secrets, err := app.OpenSecret(cfg)
			if err != nil {
				secrets = nil
			}
			trace, err := app.Trace(cmd.Context(), cfg, secrets, env, fields)
			if err != nil {
				return &exitError{code: exitTemporary, err: err}
			}
			if asJSON {
				return printJSON(cmd, trace)
			}
			return app.PrintTrace(cmd.OutOrStdout(), trace)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringArrayVar(&header, "header", nil, "a header `field` of the mail, \"Name: value\"; repeat it for several")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}
