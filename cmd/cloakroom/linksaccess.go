package main

// cloakroom links access | allow | password

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/sisa"
)

// accessFlags say who may open links.
type accessFlags struct {
	anyone, recipients bool
	passwordFile       string
}

func (f *accessFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.anyone, "anyone", false, "whoever has the address")
	cmd.Flags().BoolVar(&f.recipients, "recipients", false, "who enters a code that goes to a recipient of the mail")
	cmd.Flags().StringVar(&f.passwordFile, "password-file", "", "who enters the password whose line, as `links password` prints it, is in this `file`")
	cmd.MarkFlagsMutuallyExclusive("anyone", "recipients")
	cmd.MarkFlagsMutuallyExclusive("anyone", "password-file")
	cmd.MarkFlagsOneRequired("anyone", "recipients", "password-file")
}

func (f *accessFlags) access() (a sisa.Access, err error) {
	a.ByMail = f.recipients
	if f.passwordFile == "" {
		return a, nil
	}
	content, err := os.ReadFile(f.passwordFile)
	if err != nil {
		return a, fmt.Errorf("--password-file: %w", err)
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	a.Password = string(bytes.TrimSpace(line))
	if err := sisa.CheckPasswordHash(a.Password); err != nil {
		return a, fmt.Errorf("--password-file: %s: its first line %w; write what `cloakroom links password` prints", f.passwordFile, err)
	}
	return a, nil
}

func newLinksAccessCmd(g *globals) *cobra.Command {
	var flags linkFlags
	var acts actFlags
	var who accessFlags
	cmd := &cobra.Command{
		Use:   "access [ID...] --anyone | --recipients | --password-file FILE",
		Short: "Say who may open links",
		Long: `Says who may open the links whose ids begin with ID, or all that the flags select, from
now on, whatever the rule said that made them. Whoever was let in before has to prove
himself again, and a mail that comes again does not change it. --recipients and
--password-file together ask for both. Addresses of downloads that were given out before
work for their short time (web.download_url_ttl).`,
		Example: `  cloakroom links access 3fa9 --recipients --reason 'forwarded to a list'
  cloakroom links access --sender alice@acmecorp.com --newer 7d --password-file alice.hash`,
		RunE: func(cmd *cobra.Command, args []string) error {
			act := acts.who()
			filter, err := flags.filter()
			if err == nil {
				err = some(cmd, args, !filter.IsZero())
			}
			if err != nil {
				return err
			}
			access, err := who.access()
			if err != nil {
				return err
			}
			return g.withStore(cmd, false, func(cfg *config.Config, s *app.Store, _ *slog.Logger) error {
				if access.ByMail && cfg.Submit.SMTP == "" {
					return errors.New("--recipients: without submit.smtp no code can be sent, and nobody could open the links")
				}
				ids, mails, err := chosen(cmd, s, args, filter, acts.yes, "Change")
				if err != nil {
					return err
				}
				words := (&sisa.Guard{ByMail: access.ByMail, Password: access.Password}).Access()
				err = s.AuditedMails(cmd.Context(), act.By, "change access of links", strings.Join(ids, " "), mails, func(ctx context.Context) (string, error) {
					return "open to: " + words, s.Links.Protect(ctx, ids, access, act)
				})
				if err != nil {
					return err
				}
				for _, id := range ids {
					fmt.Fprintf(cmd.OutOrStdout(), "%.12s opens to: %s\n", id, words)
				}
				return nil
			})
		},
	}
	flags.register(cmd)
	acts.register(cmd)
	who.register(cmd)
	return cmd
}

func newLinksAllowCmd(g *globals) *cobra.Command {
	var flags linkFlags
	var acts actFlags
	var more int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "allow [ID...] --more N",
		Short: "Allow more downloads through links that have a limit",
		Long: `Lets each file behind the links whose ids begin with ID, or behind all that the flags
select, be fetched N times more. Links without a limit stay so.`,
		Example: `  cloakroom links allow 3fa9 --more 5 --reason 'the download broke off'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			act := acts.who()
			filter, err := flags.filter()
			if err == nil {
				err = some(cmd, args, !filter.IsZero())
			}
			if err != nil {
				return err
			}
			if more < 1 || more > maxMore {
				return &exitError{code: exitUsage, err: fmt.Errorf("--more: %d is not between 1 and %d", more, maxMore)}
			}
			return g.withStore(cmd, false, func(_ *config.Config, s *app.Store, _ *slog.Logger) error {
				ids, mails, err := chosen(cmd, s, args, filter, acts.yes, "Change")
				if err != nil {
					return err
				}
				var done []sisa.Allowance
				err = s.AuditedMails(cmd.Context(), act.By, "allow downloads", strings.Join(ids, " "), mails, func(ctx context.Context) (_ string, err error) {
					done, err = s.Links.Allow(ctx, ids, more, act)
					return fmt.Sprintf("%d more for each file of %d links", more, len(done)), err
				})
				if asJSON {
					return errors.Join(err, printJSON(cmd, append([]sisa.Allowance{}, done...)))
				}
				app.PrintAllowances(cmd.OutOrStdout(), done)
				return err
			})
		},
	}
	flags.register(cmd)
	acts.register(cmd)
	cmd.Flags().IntVar(&more, "more", 1, "how many more")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// maxMore is as many downloads as a rule can allow.
const maxMore = 1_000_000

func newLinksPasswordCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "password",
		Short: "Print the line that is kept of a password, for links that ask for it",
		Long: `Reads a password, twice and unseen from the terminal or else the first line of the standard
input, and prints what a link rule's password_file has to contain. The password cannot be
read from it, but tried: choose one that nobody guesses, such as five random words.`,
		Example: `  cloakroom links password > partners.hash
  openssl rand -base64 15 | tee /dev/tty | cloakroom links password > partners.hash`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			hash, err := sisa.HashPassword(password)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), hash)
			return err
		},
	}
}

// readPassword asks twice at a terminal, and reads a line of anything else.
func readPassword(cmd *cobra.Command) (string, error) {
	f, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 64<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var typed [2][]byte
	for i, prompt := range []string{"Password: ", "The same again: "} {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		var err error
		typed[i], err = term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
	}
	if !bytes.Equal(typed[0], typed[1]) {
		return "", errors.New("these are two different passwords: nothing was printed")
	}
	return string(typed[0]), nil
}
