package main

// cloakroom backup, cloakroom restore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/backup"
	"cloakroom/internal/config"
	"cloakroom/internal/db"
	"cloakroom/message"
)

// keptBackups is how many backups a folder keeps unless said otherwise: a week of
// nights.
const keptBackups = 7

func newBackupCmd(g *globals) *cobra.Command {
	o := backup.Options{Keep: keptBackups}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Save the data folder into another one, while mail goes on",
		Long: `Saves database, journal, attachments, secret and configuration file as they are at one moment.
The daemon goes on meanwhile. Attachments that the folder has already are not copied again, and
all backups in it share them; the rest is small. A backup counts once all of it is on disk: one
that was cut off is none, is tidied away by the next, and its attachments need not be copied again.

DIR is made where it is missing. Run by root, the work is done by the owner of the data folder,
who must be able to write into DIR. It holds attachments, addresses and the secret in clear.
What store forget deletes is deleted from DIR too, by the next backup.

The exit code is 1 when something was missing or damaged in the data folder (the rest is saved
all the same), and 75 while another backup runs into DIR. Give it back with restore.`,
		Example: `  cloakroom backup /srv/backup/cloakroom
  cloakroom backup /srv/backup/cloakroom --verify --keep 30 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Keep < 1 {
				return usageError(cmd, errors.New("--keep: at least 1"))
			}
			return g.backup(cmd, args[0], o, asJSON)
		},
	}
	cmd.Flags().IntVar(&o.Keep, "keep", o.Keep, "how many backups DIR keeps; older ones are dropped")
	cmd.Flags().BoolVar(&o.Verify, "verify", false, "read the attachments that DIR has, and copy damaged ones again")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func (g *globals) backup(cmd *cobra.Command, dir string, o backup.Options, asJSON bool) error {
	cfg, err := g.loadConfig(cmd)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(g.configPath()) // while this process may
	if err != nil {
		return err
	}
	if err := app.PrepareBackup(cfg, dir); err != nil {
		return backupHint(err, dir)
	}
	return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, _ *slog.Logger) error {
		bar := app.NewBar(cmd.ErrOrStderr())
		o.Progress = showBackup(bar)
		r, err := s.Backup(cmd.Context(), cfg, text, thisBuild().Version, dir, o)
		bar.End()
		if err != nil {
			return backupHint(err, dir)
		}
		if r.SameDisk {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s is on the disk of the data folder, and is lost with it\n", dir)
		}
		if asJSON {
			err = printJSON(cmd, r)
		} else {
			err = app.PrintBackup(cmd.OutOrStdout(), r)
		}
		if err == nil && !r.Whole() {
			err = &exitError{code: exitFailure, err: fmt.Errorf("saved, but %d files were missing and %d damaged", len(r.Missing), len(r.Damaged)),
				hint: "cloakroom store verify tells which mails need them"}
		}
		return err
	})
}

func showBackup(bar *app.Bar) func(backup.Progress) {
	return func(p backup.Progress) {
		bar.Show(p.Done, p.All, fmt.Sprintf("%s, %s of %s", p.What, message.FormatSize(p.Done), message.FormatSize(p.All)))
	}
}

// backupHint says what to do about an error of a backup.
func backupHint(err error, dir string) error {
	switch {
	case errors.Is(err, backup.ErrBusy), errors.Is(err, db.ErrLocked):
		return &exitError{code: exitTemporary, err: err}
	case errors.Is(err, os.ErrPermission):
		return &exitError{code: exitPermission, err: err, hint: "the owner of the data folder must be able to write there: chown -R cloakroom: " + dir}
	case errors.Is(err, backup.ErrNotEmpty):
		return &exitError{code: exitFailure, err: err, hint: "stop the daemon and move what is there away: mv DATA DATA.old; restore makes it anew"}
	case errors.Is(err, backup.ErrNotOurs):
		return &exitError{code: exitFailure, err: err, hint: "name a new folder, or an empty one"}
	case errors.Is(err, backup.ErrOtherFolder):
		return &exitError{code: exitFailure, err: err, hint: "if the data folder was lost, get it back: cloakroom restore " + dir + ". Else give this one a folder of its own"}
	case errors.Is(err, backup.ErrOtherJournal):
		return &exitError{code: exitFailure, err: err, hint: "restore an older backup, which this journal goes on from, or restore without --journal"}
	}
	return err
}

// restoreDataFlags say what restore does.
type restoreDataFlags struct {
	app.RestoreOptions
	list, check, asJSON bool
}

func newRestoreCmd(g *globals) *cobra.Command {
	var flags restoreDataFlags
	cmd := &cobra.Command{
		Use:   "restore DIR",
		Short: "Put a backup into an empty data folder (single mails: links restore)",
		Long: `Fills the data folder of the configuration, which must be empty, from a backup that backup made:
the newest one, or --generation. Every file is compared with its SHA-256 while it is copied.
Run by root, the files belong to the owner of the data folder afterwards. Cut off, it can be
begun again; nothing starts on what is half restored.

A journal that survived, or was saved later, tells what came after the backup: give its folder as
--journal, and all of it is there again but for files that only the lost disk had. Mails that were
forgotten after the backup are forgotten again.

--list and --check change nothing: they list the backups, and read one of them whole. The exit
code is 1 when files that mails need are missing.`,
		Example: `  cloakroom restore /srv/backup/cloakroom --check
  cloakroom restore /srv/backup/cloakroom
  cloakroom restore /srv/backup/cloakroom --journal /mnt/olddisk/cloakroom/journal`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case flags.list:
				return listBackups(cmd, args[0], flags.asJSON)
			case flags.check:
				return checkBackup(cmd, args[0], &flags)
			}
			return g.restoreData(cmd, args[0], &flags)
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.Generation, "generation", "", "another backup than the newest, by its name")
	f.StringVar(&flags.Journal, "journal", "", "folder with a journal that goes on where the backup ends")
	f.BoolVar(&flags.list, "list", false, "only list the backups")
	f.BoolVar(&flags.check, "check", false, "only read the backup, and tell what is missing or damaged")
	f.BoolVar(&flags.asJSON, "json", false, "print as JSON")
	cmd.MarkFlagsMutuallyExclusive("list", "check", "journal")
	return cmd
}

func listBackups(cmd *cobra.Command, dir string, asJSON bool) error {
	f, err := backup.Open(dir)
	if err != nil {
		return err
	}
	names, err := f.Generations()
	if err != nil {
		return err
	}
	all := []*backup.Manifest{}
	var damaged error // those that can be read are wanted all the more
	for _, name := range names {
		m, err := f.Manifest(name)
		if err != nil {
			damaged = errors.Join(damaged, err)
			continue
		}
		all = append(all, m)
	}
	if asJSON {
		return errors.Join(printJSON(cmd, all), damaged)
	}
	return errors.Join(app.PrintBackups(cmd.OutOrStdout(), all), damaged)
}

func checkBackup(cmd *cobra.Command, dir string, flags *restoreDataFlags) error {
	f, err := backup.Open(dir)
	if err != nil {
		return err
	}
	bar := app.NewBar(cmd.ErrOrStderr())
	c, err := f.Check(cmd.Context(), flags.Generation, showBackup(bar))
	bar.End()
	if err != nil {
		return err
	}
	if flags.asJSON {
		err = printJSON(cmd, c)
	} else {
		err = app.PrintChecked(cmd.OutOrStdout(), c)
	}
	if err == nil && !c.OK() {
		err = &exitError{code: exitFailure, err: fmt.Errorf("%d files of the backup are missing and %d are damaged", len(c.Absent), len(c.Damaged)),
			hint: "cloakroom backup DIR --verify copies attachments again that the data folder still has"}
	}
	return err
}

func (g *globals) restoreData(cmd *cobra.Command, dir string, flags *restoreDataFlags) error {
	flags.Actor = app.Actor()
	cfg, err := g.loadConfig(cmd)
	if err != nil {
		return err
	}
	bar := app.NewBar(cmd.ErrOrStderr())
	flags.Progress = showBackup(bar)
	r, err := app.RestoreData(cmd.Context(), cfg, dir, flags.RestoreOptions, cfg.Log.Logger(cmd.ErrOrStderr()))
	bar.End()
	if err != nil {
		return backupHint(err, dir)
	}
	if flags.asJSON {
		err = printJSON(cmd, r)
	} else {
		err = app.PrintRestoredData(cmd.OutOrStdout(), r)
	}
	if err == nil && !r.OK() {
		err = &exitError{code: exitFailure, err: errors.New("restored, but files that mails need are missing"),
			hint: "look for them in other backups: a file of blobs/ may be copied by hand, its name is its SHA-256"}
	}
	return err
}
