package main

// cloakroom directory list | lookup | export

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/policy/directory"
)

func newDirectoryCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:   "directory",
		Short: "Look at the users, and exchange them with another mail system",
		Example: `  cloakroom directory lookup bob@acmecorp.com
  cloakroom directory export --format google-csv --side here -o contacts.csv
  cloakroom directory diff users-of-google.csv`,
	}, newDirectoryListCmd(g), newDirectoryLookupCmd(g), newDirectoryExportCmd(g), newDirectoryImportCmd(g), newDirectoryDiffCmd(g))
}

// withDirectory opens the directory of the configuration for a command.
func (g *globals) withDirectory(cmd *cobra.Command, f func(*app.Directory, *slog.Logger) error) error {
	cfg, err := g.loadConfig(cmd)
	if exitCode(err) == exitFailure {
		return &exitError{code: exitConfig, err: err}
	}
	if err != nil {
		return err
	}
	if cfg.Log.Level == "info" { // that a file was read is no news here
		cfg.Log.Level = "warn"
	}
	log := cfg.Log.Logger(cmd.ErrOrStderr())
	d, err := app.OpenDirectory(cfg, log)
	if err != nil {
		return directoryError(err)
	}
	defer d.Close()
	return directoryError(f(d, log))
}

// directoryError gives the exit code of what can go wrong with a directory. It
// is never 1 for diff and lookup, where that is an answer.
func directoryError(err error) error {
	var coded *exitError
	var bad *app.BadFileError
	var file *directory.FileError
	switch {
	case err == nil || errors.As(err, &coded):
		return err
	case errors.Is(err, fs.ErrPermission):
		return &exitError{code: exitPermission, err: err}
	case errors.As(err, &bad):
		return &exitError{code: exitData, err: err}
	case errors.As(err, &file):
		return &exitError{code: exitData, err: err, hint: "directory.file must be mended before users can be read"}
	case errors.Is(err, app.ErrNoUsers), errors.Is(err, app.ErrExists):
		return &exitError{code: exitFailure, err: err}
	case errors.Is(err, app.ErrNoDirectory), errors.Is(err, app.ErrNoRoutes):
		return &exitError{code: exitConfig, err: err}
	}
	return &exitError{code: exitUnavailable, err: err}
}

// selectFlags are the flags that say which users are meant.
type selectFlags struct {
	app.Select
	side string
}

func (f *selectFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Group, "group", "", "only members of this group, written as the directory has it")
	cmd.Flags().StringVar(&f.Department, "department", "", "only users of this department")
	cmd.Flags().StringVar(&f.System, "system", "", "only users whose mailbox is in this mail system")
	cmd.Flags().StringVar(&f.side, "side", "", "only users whose mailbox is here, or there: in another mail system")
}

func (f *selectFlags) take() (app.Select, error) {
	f.Side = app.Side(f.side)
	if f.Side != "" && f.Side != app.Here && f.Side != app.There {
		return f.Select, &exitError{code: exitUsage, err: fmt.Errorf("--side: %q is neither here nor there", f.side)}
	}
	return f.Select, nil
}

func newDirectoryListCmd(g *globals) *cobra.Command {
	var flags selectFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the users",
		Long: `Lists the users of the directory, a file's in its order. The last column is where co-existence
sends their mail. Large directories are written as they are read.`,
		Example: "  cloakroom directory list --group gapps\n  cloakroom directory list --json | jq -r '.[].address'",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			selected, err := flags.take()
			if err != nil {
				return err
			}
			return g.withDirectory(cmd, func(d *app.Directory, _ *slog.Logger) error {
				if asJSON {
					_, err := d.ListJSON(cmd.Context(), cmd.OutOrStdout(), selected)
					return err
				}
				n, err := d.List(cmd.Context(), cmd.OutOrStdout(), selected)
				if err == nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "%d users\n", n)
				}
				return err
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newDirectoryLookupCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lookup ADDRESS...",
		Short: "Tell who is behind addresses, and where their mail goes",
		Long: `Tells whose address each is, as the daemon would find out: by the primary address, an
alias, or with a subaddress (user+tag). The last line says which co-existence route applies
and where it sends the mail. Loops and bounces are told by "policy explain", which sees a
mail. The exit code is 1 when an address is nobody's.`,
		Example: "  cloakroom directory lookup bob@acmecorp.com bob+news@acmecorp.com",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("%s needs an address", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			asked := make([]string, len(args))
			for i, a := range args {
				asked[i] = trimAngles(a)
				if _, err := directory.Normalize(asked[i]); err != nil {
					return &exitError{code: exitUsage, err: fmt.Errorf("%q: %w", a, err)}
				}
			}
			return g.withDirectory(cmd, func(d *app.Directory, _ *slog.Logger) error {
				known, err := d.Lookup(cmd.Context(), asked)
				if err != nil {
					return err
				}
				if asJSON {
					err = printJSON(cmd, known)
				} else {
					err = app.PrintKnown(cmd.OutOrStdout(), known)
				}
				nobody := 0
				for _, k := range known {
					if k.User == nil {
						nobody++
					}
				}
				if err == nil && nobody > 0 {
					err = &exitError{code: exitFailure, err: fmt.Errorf("%d of %d addresses are nobody's", nobody, len(known))}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newDirectoryExportCmd(g *globals) *cobra.Command {
	var flags selectFlags
	var e app.Export
	formats := app.ExportFormats()
	cmd := &cobra.Command{
		Use:   "export --format FORMAT",
		Short: "Write the users as an address book, or as a map for the MTA",
		Long: `Writes the users of the directory. The formats:

  google-csv                for the import of Google Contacts
  vcard                     vCard 4.0
  ldif                      inetOrgPerson entries below --base
  csv, yaml                 what directory.file reads
  postfix-virtual           for virtual_alias_maps: addresses whose mailbox is in the other
                            system, for what no milter sees (aliases, .forward, bounces)
  virtusertable             the same for Sendmail
  postfix-srs               a regexp table for relay_recipient_maps: rewritten senders
  postfix-relay-recipients  the same as whole domains

With -o the file appears at once when it is complete; a new one has mode 0640, one that is
replaced hands on owner, group and mode. If anything fails, or not
one user is found, what was there stays. What a format cannot hold is told on standard error.`,
		Example: `  cloakroom directory export --format google-csv --side here --organization "Acme Corp" -o contacts.csv
  cloakroom directory export --format postfix-virtual -o /etc/postfix/cloakroom && postmap /etc/postfix/cloakroom`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(formats, e.Format) {
				return &exitError{code: exitUsage, err: fmt.Errorf("--format: %q is not known; there are %s", e.Format, strings.Join(formats, ", "))}
			}
			var err error
			if e.Select, err = flags.take(); err != nil {
				return err
			}
			if e.Out != "" {
				e.Progress = func(n int) { fmt.Fprintf(cmd.ErrOrStderr(), "%d users ...\n", n) }
			}
			return g.withDirectory(cmd, func(d *app.Directory, _ *slog.Logger) error {
				done, err := d.Export(cmd.Context(), cmd.OutOrStdout(), e)
				if err != nil {
					return err
				}
				reportExport(cmd, e, done)
				return nil
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&e.Format, "format", "", "one of "+strings.Join(formats, ", "))
	cmd.Flags().StringVarP(&e.Out, "out", "o", "", "`file` to write (default standard output)")
	cmd.Flags().StringVar(&e.Organization, "organization", "", "the organisation of all users, for address books")
	cmd.Flags().StringVar(&e.Base, "base", "", "ldif: the `DN` below which the users stand (default ou=people and the first of domains)")
	cmd.Flags().BoolVar(&e.Force, "force", false, "write a file even if no user was found for it")
	cmd.MarkFlagRequired("format")
	return cmd
}

// reportExport tells on standard error what was written and what was not.
func reportExport(cmd *cobra.Command, e app.Export, done app.Exported) {
	w := cmd.ErrOrStderr()
	for _, n := range done.Notices {
		fmt.Fprintln(w, app.Plain(n.String()))
	}
	if done.More > 0 {
		fmt.Fprintf(w, "and %d more such notices\n", done.More)
	}
	if done.Hint != "" {
		fmt.Fprintln(w, done.Hint)
	}
	if e.Out != "" {
		fmt.Fprintf(w, "%s: %d entries\n", e.Out, done.Users)
	}
}
