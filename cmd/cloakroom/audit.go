package main

// cloakroom audit

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/ledger"
	"cloakroom/ledger/audit"
)

func newAuditCmd(g *globals) *cobra.Command {
	var asJSON bool
	var newer, older, actor, mail string
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Who changed what: by the dashboard and by command",
		Long: `Lists what administrators did, the newest first: what they changed, which mails they restored,
and whose links they had shown. --mail lists what was done about one mail. --json exports it,
one act a line. What has no end was cut off. Who downloaded what: cloakroom links downloads.`,
		Example: "  cloakroom audit --newer 30d\n  cloakroom audit --mail 4XYZabc\n  cloakroom audit --json > audit.jsonl",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := audit.Filter{Actor: actor}
			var err error
			if f.Since, err = moment("--newer", newer, time.Now()); err != nil {
				return err
			}
			if f.Before, err = moment("--older", older, time.Now()); err != nil {
				return err
			}
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				if mail != "" {
					if f.Mails, err = mailsNamed(cmd, s, mail); err != nil {
						return err
					}
				}
				acts, err := audit.List(cmd.Context(), s.DB.Read(), f)
				if err != nil {
					return err
				}
				if !asJSON {
					return app.PrintAudit(cmd.OutOrStdout(), acts)
				}
				lines := json.NewEncoder(cmd.OutOrStdout())
				for _, a := range acts {
					if err := lines.Encode(a); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&newer, "newer", "", "only from this date (2026-01-31) on, or newer than this (90d)")
	cmd.Flags().StringVar(&older, "older", "", "only from before this date, or older than this")
	cmd.Flags().StringVar(&actor, "actor", "", "only what this one did")
	cmd.Flags().StringVar(&mail, "mail", "", "only about the mail with this queue id, Message-ID or key, or this link")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one act a line, as JSON")
	return cmd
}

// mailsNamed finds mails as SelectMails does, and one that was forgotten by its
// key, which is all that is left of it.
func mailsNamed(cmd *cobra.Command, s *app.Store, name string) ([]ledger.Key, error) {
	var key ledger.Key
	if key.UnmarshalText([]byte(name)) == nil {
		return []ledger.Key{key}, nil
	}
	return s.SelectMails(cmd.Context(), []string{name}, ledger.Filter{})
}
