package main

// cloakroom setup, and setup postfix

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
	"cloakroom/internal/config"
	"cloakroom/internal/mtasetup"
	"cloakroom/internal/mtasetup/attach"
)

func newSetupCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:     "setup",
		Short:   "Attach Cloakroom to an MTA, and detach it",
		Example: "  cloakroom setup postfix\n  cloakroom setup postfix --apply --reload\n  cloakroom setup postfix --undo --reload\n  cloakroom setup sendmail",
	}, newSetupPostfixCmd(g), newSetupSendmailCmd(g))
}

// setupFlags are what both MTAs share.
type setupFlags struct {
	mtasetup.Options
	apply, undo, json bool
}

func (f *setupFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.apply, "apply", false, "make the changes, with a backup")
	flags.BoolVar(&f.undo, "undo", false, "take back what --apply changed")
	flags.BoolVar(&f.json, "json", false, "print as JSON")
	flags.StringArrayVar(&f.Scanners, "scanner", nil, "the `address` of a milter that scans mail; may be repeated")
	flags.StringArrayVar(&f.Verifiers, "verifier", nil, "the `address` of a milter that verifies mail from outside; may be repeated")
	flags.StringArrayVar(&f.Signers, "signer", nil, "the `address` of a milter that signs mail; may be repeated")
	flags.StringVar(&f.After, "after", "", "stand behind the milter at this `address`, wherever it is listed")
	flags.StringVar(&f.Before, "before", "", "stand before the milter at this `address`, wherever it is listed")
	flags.IntVar(&f.GatewayPort, "gateway-port", 0, "the `port` of a new listener for the other mail system (default: the first free one from 10025)")
	cmd.MarkFlagsMutuallyExclusive("apply", "undo")
	cmd.MarkFlagsMutuallyExclusive("after", "before")
}

// postfixFlags are the flags of setup postfix.
type postfixFlags struct {
	setupFlags
	folder string
	reload bool
}

func newSetupPostfixCmd(g *globals) *cobra.Command {
	var f postfixFlags
	cmd := &cobra.Command{
		Use:   "postfix",
		Short: "Tell what Postfix needs for Cloakroom, or do it",
		Long: `Looks at this host's Postfix by postconf, compares it with Cloakroom's configuration, and
prints what to add to main.cf and master.cf, with the reason for each line. Milters that are
there keep their place: on port 25 Cloakroom stands behind scanners and verifiers, on
submission and for sendmail(1) behind scanners and before what signs.

With --apply the changes are made by postconf: main.cf and master.cf are copied first, and if
"postfix check" fails after it, everything is put back. What was there is kept in
cloakroom-setup.json beside main.cf. A second run finds nothing to do.

--undo takes it all back. Files that nobody has edited since become what they were, byte for
byte; in others, only values that are still Cloakroom's are put back, and the rest is told.

New SMTP sessions may see a changed main.cf at once, master.cf only after "postfix reload":
run it, or use --reload, which does not reload while Cloakroom is not there to answer.`,
		Example: `  cloakroom setup postfix
  cloakroom setup postfix --apply --reload
  cloakroom setup postfix --signer inet:localhost:11332 --apply
  cloakroom setup postfix --config-directory /etc/postfix-out --json | jq .changes
  cloakroom setup postfix --undo --reload`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(g, cmd) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.reload, "reload", false, "with --apply or --undo: reload Postfix afterwards")
	flags.StringVar(&f.folder, "config-directory", "", "Postfix's configuration `folder`, as postconf -c takes it (default: Postfix's own)")
	flags.StringArrayVar(&f.Attach, "attach", nil, "a `service` of master.cf that Cloakroom shall see, whatever it looks like; may be repeated")
	flags.StringArrayVar(&f.Leave, "leave", nil, "a `service` of master.cf that Cloakroom shall not see; may be repeated")
	return cmd
}

func (f *postfixFlags) run(g *globals, cmd *cobra.Command) error {
	if f.reload && !f.apply && !f.undo {
		return usageError(cmd, errors.New("--reload goes with --apply or --undo"))
	}
	p, err := attach.Open(cmd.Context(), f.folder)
	if err != nil {
		return setupError(err)
	}
	if f.undo {
		return f.takeBack(cmd, p)
	}
	cfg, err := g.loadConfig(cmd)
	if err != nil {
		return err
	}
	set := app.SetupSettings(cfg)
	plan := func(m *mtasetup.Machine) *mtasetup.Plan { return mtasetup.Postfix(set, m, f.Options) }
	absent := app.ProbeMilter(cmd.Context(), cfg.Milter.Listen)
	if f.apply {
		return f.change(cmd, p, cfg, set, plan, absent)
	}
	m, err := p.Machine(cmd.Context(), set)
	if err != nil {
		return setupError(err)
	}
	return f.print(cmd, plan(m), absent)
}

// print tells a plan.
func (f *setupFlags) print(cmd *cobra.Command, made *mtasetup.Plan, absent error) error {
	warnAbsent(made, absent)
	var err error
	if f.json {
		err = printJSON(cmd, made)
	} else {
		_, err = fmt.Fprint(cmd.OutOrStdout(), made.Text())
	}
	if problems := made.Problems(); err == nil && len(problems) > 0 {
		err = &exitError{code: exitFailure, err: fmt.Errorf("in the way of the set-up: %d", len(problems)), hint: problems[0]}
	}
	return err
}

// warnAbsent adds that the milter does not answer.
func warnAbsent(plan *mtasetup.Plan, absent error) {
	if absent != nil {
		plan.Remarks = append(plan.Remarks, mtasetup.Remark{Level: mtasetup.Warning,
			Text: absent.Error() + ": start Cloakroom before the MTA knows of it, or mail has to wait"})
	}
}

// appliedReport is what --apply prints as JSON.
type appliedReport struct {
	*mtasetup.Plan
	Done     *attach.Done `json:"done"`
	Reloaded bool         `json:"reloaded"`
}

func (f *postfixFlags) change(cmd *cobra.Command, p *attach.Postfix, cfg *config.Config, set mtasetup.Settings, plan func(*mtasetup.Machine) *mtasetup.Plan, absent error) error {
	made, done, err := p.Apply(cmd.Context(), set, plan, time.Now())
	if err != nil {
		return setupError(err)
	}
	warnAbsent(made, absent)
	reload := f.reload // also where nothing is to do: the run before may have been refused its reload
	var reloadErr error
	switch {
	case reload && absent != nil:
		reloadErr = &exitError{code: exitTemporary, err: fmt.Errorf("the changes are made, but Postfix was not reloaded: %w", absent),
			hint: "start Cloakroom, then: postfix reload"}
	case reload:
		reloadErr = p.Reload(cmd.Context())
	}
	if f.json {
		err = printJSON(cmd, appliedReport{made, done, reload && reloadErr == nil})
	} else {
		err = app.PrintSetupDone(cmd.OutOrStdout(), made, done)
		f.next(cmd, p, len(done.Changes) > 0, reload && reloadErr == nil)
	}
	return errors.Join(err, reloadErr)
}

// next tells what remains to be done.
func (f *postfixFlags) next(cmd *cobra.Command, p *attach.Postfix, changed, reloaded bool) {
	switch {
	case reloaded:
		fmt.Fprintln(cmd.OutOrStdout(), "Postfix was reloaded")
	case changed:
		fmt.Fprintln(cmd.OutOrStdout(), "to do: "+mtasetup.Shell([]string{"postfix", "-c", p.Folder, "reload"}))
	}
}

func (f *postfixFlags) takeBack(cmd *cobra.Command, p *attach.Postfix) error {
	undone, err := p.Undo(cmd.Context())
	if errors.Is(err, attach.ErrNothing) {
		return f.nothing(cmd)
	}
	if err != nil {
		return setupError(err)
	}
	var reloadErr error
	if f.reload {
		reloadErr = p.Reload(cmd.Context())
	}
	if f.json {
		err = printJSON(cmd, undone)
	} else {
		err = app.PrintSetupUndone(cmd.OutOrStdout(), undone)
		f.next(cmd, p, true, f.reload && reloadErr == nil)
	}
	return errors.Join(err, reloadErr)
}

// nothing tells that there is nothing to undo.
func (f *setupFlags) nothing(cmd *cobra.Command) error {
	if f.json {
		return printJSON(cmd, attach.Undone{Exact: true, Restored: []mtasetup.Change{}, Left: []string{}, Backups: []string{}})
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), attach.ErrNothing)
	return err
}

// setupError gives the exit code of what can go wrong.
func setupError(err error) error {
	switch {
	case errors.Is(err, attach.ErrNoPostfix):
		return &exitError{code: exitUnavailable, err: err}
	case errors.Is(err, attach.ErrMoved), errors.Is(err, attach.ErrOtherSetup):
		return &exitError{code: exitTemporary, err: err}
	case errors.Is(err, fs.ErrPermission):
		return &exitError{code: exitPermission, err: err, hint: "run it as root"}
	}
	return err
}
