package main

// cloakroom directory import | diff

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/policy/directory/book"
)

// filesText tells which files of the other side can be read.
const filesText = `FILE is in CSV: the list of users that the admin console of Google Workspace downloads, an
export of Google Contacts, or a users file of Cloakroom. Columns are known by their names.`

func newDirectoryImportCmd(g *globals) *cobra.Command {
	var in app.Import
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take the users of the other mail system into a users file",
		Long: `Tells what would change if the users of FILE were taken in; with --into it writes the users
file. Nobody is taken away: users who are there stay as they are, and only get what is new,
the group of --group above all. Suspended accounts are not taken.

` + filesText + `

With --into a file that is not there yet gets the users of the directory and the new ones. A
file that is there is only written with --force, and keeps its own users; comments in it are
lost. It is tried before it is put in place; reload the daemon afterwards.`,
		Example: `  cloakroom directory import users.csv --group gapps
  cloakroom directory import users.csv --group gapps --into /etc/cloakroom/users.yaml --force`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Path = args[0]
			return g.withDirectory(cmd, func(d *app.Directory, log *slog.Logger) error {
				merged, base, err := d.Import(cmd.Context(), in, log)
				if err != nil {
					return err
				}
				if asJSON {
					err = printJSON(cmd, merged)
				} else {
					err = app.PrintMerged(cmd.OutOrStdout(), merged)
				}
				if err != nil {
					return err
				}
				if in.Into == "" {
					fmt.Fprintf(cmd.ErrOrStderr(), "compared with %s; nothing was written: --into names a users file to write\n", base)
				} else {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d users, of %s and of %s\n", in.Into, len(merged.Users), base, in.Path)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&in.Group, "group", "", "the group to put the users into, such as coexistence's")
	cmd.Flags().StringVar(&in.Into, "into", "", "users `file` to write, .yaml or .csv")
	cmd.Flags().BoolVar(&in.Force, "force", false, "write the file of --into though it is there")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newDirectoryDiffCmd(g *globals) *cobra.Command {
	var asJSON, all bool
	var only []string
	var kinds []string
	for _, k := range book.Differences() {
		kinds = append(kinds, string(k))
	}
	cmd := &cobra.Command{
		Use:   "diff FILE",
		Short: "Compare the directory with the other mail system's users",
		Long: `Compares our users with those of FILE and tells what differs, the worst first:

  neither     each side believes that the mailbox is in the other: mail is lost
  off         we send mail to an account that is suspended
  both        there is a mailbox on both sides: each gets a part of the mail
  split       the addresses of one user belong to several on the other side
  only-there  a user whom our directory does not have
  only-here   a user whom the other side's list does not have
  address, aliases, department, system, groups
              a user of both sides who has others there, as far as FILE has such a column

` + filesText + ` Only a list of Workspace's users tells where
mailboxes are.

The exit code is 0 when nothing differs, 1 when something does, and another one when the
comparison was not possible.`,
		Example: `  cloakroom directory diff users.csv
  cloakroom directory diff users.csv --only neither,off,both || mail -s "co-existence" postmaster < /dev/null`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			var wanted []book.Difference
			for _, k := range only {
				if !slices.Contains(kinds, k) {
					return &exitError{code: exitUsage, err: fmt.Errorf("--only: %q is not known; there are %s", k, strings.Join(kinds, ", "))}
				}
				wanted = append(wanted, book.Difference(k))
			}
			return g.withDirectory(cmd, func(d *app.Directory, _ *slog.Logger) error {
				report, err := d.Diff(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if wanted != nil {
					report.Only(wanted...)
				}
				if asJSON {
					err = printJSON(cmd, report)
				} else {
					err = app.PrintDiff(cmd.OutOrStdout(), report, all)
				}
				if err == nil && len(report.Findings) > 0 {
					err = &exitError{code: exitFailure, err: fmt.Errorf("%d differences", len(report.Findings))}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&all, "all", false, "print every difference, not only the first ones of each kind")
	cmd.Flags().StringSliceVar(&only, "only", nil, "tell, and count for the exit code, these differences alone; several with commas")
	return cmd
}

// oneFile is for commands that read one file.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s needs one file, but got %d", cmd.CommandPath(), len(args))
	}
	return nil
}
