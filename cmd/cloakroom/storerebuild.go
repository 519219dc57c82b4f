package main

// cloakroom store rebuild

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/db"
	"cloakroom/message"
)

func newStoreRebuildCmd(g *globals) *cobra.Command {
	var o app.RebuildOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Make a lost database anew from the journal",
		Long: `Reads the journal of the data folder from its beginning and makes the database anew: mails and
links with their old addresses, downloads, revocations, legal holds, jobs and what became of
them, uploads, the audit log. What was forgotten stays forgotten. The daemon must not run.

The new database grows beside the old place and takes it at the end: where the command is cut
short nothing has changed, and it can be begun again. Then files and database are compared.
A last line that a crash has torn is passed over. Any other line that cannot be read, and a
missing segment, end the command with their places; --skip-damaged goes on without them.

Where there is a database it is not needed: what the journal has and the database does not
is added at each start. --anew moves the database out of the way first.

The exit code is 1 when something is missing: lines, segments, or files that links need.`,
		Example: "  systemctl stop cloakroom\n  cloakroom store rebuild\n  systemctl start cloakroom",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Actor = app.Actor()
			cfg, err := g.loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := app.BecomeOwner(cfg.Data); err != nil {
				return err
			}
			bar := app.NewBar(cmd.ErrOrStderr())
			o.Progress = func(done, all int64) {
				bar.Show(done, all, fmt.Sprintf("%s of %s of the journal", message.FormatSize(done), message.FormatSize(all)))
			}
			r, err := app.Rebuild(cmd.Context(), cfg, o, cfg.Log.Logger(cmd.ErrOrStderr()))
			bar.End()
			if err != nil {
				return rebuildHint(err)
			}
			if asJSON {
				err = printJSON(cmd, r)
			} else {
				err = app.PrintRebuilt(cmd.OutOrStdout(), r)
			}
			if err == nil && !r.OK() {
				err = &exitError{code: exitFailure, err: errors.New("the database is there again, but not all of it"),
					hint: "files that are missing may be in a backup: cloakroom store verify tells which mails need them"}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&o.Anew, "anew", false, "also where there is a database: it is moved out of the way")
	cmd.Flags().BoolVar(&o.SkipDamaged, "skip-damaged", false, "go on without lines that cannot be read, and without missing segments")
	cmd.Flags().BoolVar(&o.OtherSecret, "other-secret", false, "take a journal whose secret is lost: its links keep their addresses")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// rebuildHint says what to do about an error of a rebuild.
func rebuildHint(err error) error {
	code, hint := exitUnavailable, ""
	switch {
	case errors.Is(err, db.ErrLocked):
		code, hint = exitTemporary, "systemctl stop cloakroom"
	case errors.Is(err, app.ErrHasDatabase):
		code, hint = exitFailure, "to make it anew all the same: --anew, which moves it out of the way"
	case errors.Is(err, app.ErrOtherSecret):
		code, hint = exitFailure, "put the right secret back from a backup (mode 0600); if it is lost for good: --other-secret"
	case errors.Is(err, db.ErrReplay):
		code, hint = exitFailure, "nothing was changed. Look for a better copy of these segments in a backup; --skip-damaged goes on without"
	case errors.Is(err, fs.ErrNotExist):
		code, hint = exitFailure, "without a journal only a backup helps: cloakroom restore"
	}
	return &exitError{code: code, err: err, hint: hint}
}
