package main

// cloakroom links list | show | downloads

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

// defaultRows is how many rows are listed when nobody says.
const defaultRows = 100

func newLinksCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:     "links",
		Short:   "Look at the links that were made, change them, and restore the mails behind them",
		Example: "  cloakroom links list\n  cloakroom links show 3fa9",
	}, newLinksListCmd(g), newLinksShowCmd(g), newLinksRevokeCmd(g), newLinksExtendCmd(g), newLinksDownloadsCmd(g),
		newLinksRestoreCmd(g), newLinksHoldCmd(g), newLinksReleaseCmd(g), newLinksHoldsCmd(g),
		newLinksAccessCmd(g), newLinksAllowCmd(g), newLinksPasswordCmd())
}

func newLinksListCmd(g *globals) *cobra.Command {
	var flags linkFlags
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List links, newest first",
		Long: `Lists links, newest first: id, when made, expiry, files, downloads, sender and subject.
The id is no secret and opens nothing; the token in a mail is kept nowhere.

A part of a file's name that few files have is looked for in the names of all: some seconds where
there are millions. With --sender, --recipient or --mail only those of their mails are looked at.`,
		Example: `  cloakroom links list --sender alice@acmecorp.com
  cloakroom links list --recipient @example.org --file '*.pdf' --newer 7d
  cloakroom links list --json | jq .[0]`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := flags.filter()
			if err != nil {
				return err
			}
			filter.Limit = limit
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				stop := patiently(cmd, filter.Mails)
				rows, err := s.Links.List(cmd.Context(), filter)
				stop()
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
	flags.register(cmd)
	cmd.Flags().IntVar(&limit, "limit", defaultRows, "rows at most; 0 lists all, and takes 2 KB of memory for each")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newLinksShowCmd(g *globals) *cobra.Command {
	var asJSON, withURL bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one link: its mail, its files and what was downloaded",
		Long: `Shows the link whose id begins with ID. The address itself can be given too, in quotes:
what is looked up is the hash of its token. With --url the address is made again and
printed: whoever reads it can fetch the files. Who had it printed is told by: cloakroom audit.`,
		Example: "  cloakroom links show 3fa9\n  cloakroom links show 'https://files.acmecorp.com/d/…'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			actor := app.Actor()
			return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, _ *slog.Logger) error {
				d, err := s.LinkDetail(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if withURL {
					err = s.AuditedMails(cmd.Context(), actor, "show a link's address", d.ID, []ledger.Key{d.Mail}, func(context.Context) (_ string, err error) {
						d.URL, err = s.LinkURL(cfg, &d.Row)
						return "shown", err
					})
					if err != nil {
						return err
					}
				}
				if asJSON {
					return printJSON(cmd, d)
				}
				return app.PrintLinkDetail(cmd.OutOrStdout(), d)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&withURL, "url", false, "print the address too, which opens the link")
	return cmd
}

func newLinksDownloadsCmd(g *globals) *cobra.Command {
	var flags linkFlags
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "downloads [ID]",
		Short: "List what was downloaded, by whom and when, newest first",
		Long: `Lists downloads of all links, of those that are selected, or of the one whose id begins
with ID. --older and --newer are about the downloads. How long they are kept is set by
store.keep_downloads.`,
		Example: "  cloakroom links downloads --newer 7d\n  cloakroom links downloads 3fa9 --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filter, err := flags.filter()
			if err != nil {
				return err
			}
			filter.Limit = limit
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				if len(args) > 0 {
					row, err := s.LinkRow(cmd.Context(), args[0])
					if err != nil {
						return err
					}
					filter.ID = row.ID
				}
				stop := patiently(cmd, filter.Mails)
				rows, err := s.Links.DownloadLog(cmd.Context(), filter)
				stop()
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, append([]sisa.DownloadRow{}, rows...))
				}
				return app.PrintDownloads(cmd.OutOrStdout(), rows)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().IntVar(&limit, "limit", defaultRows, "rows at most; 0 lists all")
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

// printJSONLine writes v for programs on a line of its own.
func printJSONLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
