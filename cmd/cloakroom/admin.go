package main

// cloakroom admin password

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"cloakroom/admin"
)

func newAdminCmd(*globals) *cobra.Command {
	return group(&cobra.Command{Use: "admin", Short: "Who may use the dashboard",
		Example: "  cloakroom admin password alice >> /etc/cloakroom/admins"}, newAdminPasswordCmd())
}

func newAdminPasswordCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "password NAME",
		Short: "Make a line for admin.password_file",
		Long: `Reads a password from standard input, one line, and prints the line for the file that
admin.password_file names: the name and the password's bcrypt hash. Add it there; a running
daemon takes notice. What somebody does on the dashboard is remembered under that name.`,
		Example: `  cloakroom admin password alice >> /etc/cloakroom/admins`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s takes the name", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			fmt.Fprint(cmd.ErrOrStderr(), "Password (it is shown): ")
			password, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			line, err := admin.HashPassword(args[0], strings.TrimRight(password, "\r\n"))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
			return err
		},
	}
}
