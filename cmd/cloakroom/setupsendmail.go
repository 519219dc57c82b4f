package main

// cloakroom setup sendmail

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/mtasetup"
	"cloakroom/internal/mtasetup/attach"
)

// sendmailFlags are the flags of setup sendmail.
type sendmailFlags struct {
	setupFlags
	folder string
}

func newSetupSendmailCmd(g *globals) *cobra.Command {
	var f sendmailFlags
	cmd := &cobra.Command{
		Use:   "sendmail",
		Short: "Tell what Sendmail needs for Cloakroom, or do it",
		Long: `Reads sendmail.mc and sendmail.cf, compares them with Cloakroom's configuration, and prints
the lines to add to sendmail.mc, before MAILER(...): the filter with F=T and its time limits,
its place among the others, macros that are missing, and the listeners that submit.smtp and
co-existence need. Filters are told by their addresses or names; where that cannot be,
--scanner, --verifier and --signer say what they do.

With --apply the lines are written into sendmail.mc between two marks, after a backup, and
sendmail.cf is made from it: by "make" where /etc/mail has a Makefile, else by m4 if the
present sendmail.cf is what m4 makes of sendmail.mc. If neither is so, the step is printed.
If the new sendmail.cf does not come out with Cloakroom in it, everything is put back. Lines
that are not Cloakroom's (DAEMON_OPTIONS of yours) are never changed: what they need is told.

--undo takes the lines out. Files that nobody has edited since become what they were, byte for
byte. Sendmail reads its configuration when it starts: restart it after both.`,
		Example: `  cloakroom setup sendmail
  cloakroom setup sendmail --apply && systemctl restart sendmail
  cloakroom setup sendmail --signer inet:8892@localhost --json | jq .changes
  cloakroom setup sendmail --undo && systemctl restart sendmail`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(g, cmd) },
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.folder, "config-directory", attach.SendmailFolder, "the `folder` of sendmail.mc and sendmail.cf")
	return cmd
}

func (f *sendmailFlags) run(g *globals, cmd *cobra.Command) error {
	s, err := attach.OpenSendmail(f.folder)
	if err != nil {
		return setupError(err)
	}
	if f.undo {
		return f.takeBack(cmd, s)
	}
	cfg, err := g.loadConfig(cmd)
	if err != nil {
		return err
	}
	set := app.SetupSettings(cfg)
	plan := func(m *mtasetup.SendmailMachine) *mtasetup.Plan { return mtasetup.Sendmail(set, m, f.Options) }
	absent := app.ProbeMilter(cmd.Context(), cfg.Milter.Listen)
	if f.apply {
		made, done, err := s.Apply(cmd.Context(), plan, time.Now())
		if err != nil {
			return setupError(err)
		}
		warnAbsent(made, absent)
		if f.json {
			return printJSON(cmd, appliedReport{made, done, false})
		}
		return app.PrintSetupDone(cmd.OutOrStdout(), made, done)
	}
	m, err := s.Machine(cmd.Context())
	if err != nil {
		return setupError(err)
	}
	return f.print(cmd, plan(m), absent)
}

func (f *sendmailFlags) takeBack(cmd *cobra.Command, s *attach.Sendmail) error {
	undone, err := s.Undo(cmd.Context())
	switch {
	case errors.Is(err, attach.ErrNothing):
		return f.nothing(cmd)
	case err != nil:
		return setupError(err)
	case f.json:
		return printJSON(cmd, undone)
	}
	return app.PrintSetupUndone(cmd.OutOrStdout(), undone)
}
