package main

// cloakroom links list | show

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/sisa"
)

// defaultRows is how many links are listed when nobody says.
const defaultRows = 100

func newLinksCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:     "links",
		Short:   "Look at the links that were made",
		Example: "  cloakroom links list\n  cloakroom links show 3fa9",
	}, newLinksListCmd(g), newLinksShowCmd(g))
}

func newLinksListCmd(g *globals) *cobra.Command {
	var filter sisa.Filter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List links, newest first",
		Long: `Lists links, newest first: id, when made, expiry, files, downloads, sender and subject.
The id is no secret and opens nothing; the token in a mail is kept nowhere.`,
		Example: "  cloakroom links list --sender alice@acmecorp.com\n  cloakroom links list --json | jq .[0]",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				rows, err := s.Links.List(cmd.Context(), filter)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, rows)
				}
				return app.PrintLinks(cmd.OutOrStdout(), rows)
			})
		},
	}
	cmd.Flags().StringVar(&filter.Mails.Sender, "sender", "", "only links of this envelope sender")
	cmd.Flags().IntVar(&filter.Limit, "limit", defaultRows, "rows at most")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newLinksShowCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one link: its mail, its files and what was downloaded",
		Long: `Shows the link whose id begins with ID. The address itself can be given too, in quotes:
what is looked up is the hash of its token.`,
		Example: "  cloakroom links show 3fa9\n  cloakroom links show 'https://files.acmecorp.com/d/…'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				d, err := s.LinkDetail(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, d)
				}
				return app.PrintLinkDetail(cmd.OutOrStdout(), d)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// printJSON writes v for programs: indented, with a line end.
func printJSON(cmd *cobra.Command, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
	return err
}
