package main

// The root of the command line: what all commands share, and how their errors
// become words and an exit code.

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cloakroom/internal/config"
)

// configEnv names the configuration file where --config does not.
const configEnv = "CLOAKROOM_CONFIG"

// globals is what every command gets: the flags of the root.
type globals struct {
	configFlag string
	running    bool // a command's own code has begun; errors before that are of usage
}

// run executes one command line and gives the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	g := &globals{}
	root := newRootCmd(g)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if err != nil && !g.running {
		err = usageError(cmd, err)
	}
	complain(stderr, err)
	return exitCode(err)
}

func newRootCmd(g *globals) *cobra.Command {
	root := &cobra.Command{
		Use:   "cloakroom",
		Short: "Take attachments out of mail in flight and put links in their place",
		Long: `Cloakroom is a milter for Postfix and Sendmail. It takes attachments out of mail in
flight, stores each once, and puts links in their place.`,
		Example: `  cloakroom config example > /etc/cloakroom/cloakroom.yaml
  cloakroom config check`,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&g.configFlag, "config", "",
		"configuration `file` (default "+config.DefaultPath+", or what "+configEnv+" names)")
	for _, part := range parts(g) {
		root.AddGroup(&cobra.Group{ID: part.title, Title: part.title + ":"})
		for _, cmd := range part.commands {
			cmd.GroupID = part.title
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(newDocsCmd(g), exitCodesTopic())
	root.SetHelpCommandGroupID(partOthers)
	root.SetCompletionCommandGroupID(partOthers)
	markRunning(root, g)
	return root
}

// partOthers has the commands that are about the program itself.
const partOthers = "This program"

// part is what the commands are listed by, in the help and in README.md.
type part struct {
	title    string
	commands []*cobra.Command
}

// parts are all commands that people call, by what they are for.
func parts(g *globals) []part {
	return []part{
		{"The daemon, and mail on its way", []*cobra.Command{newServeCmd(g), newPauseCmd(g), newResumeCmd(g), newReportCmd(g), newDoctorCmd(g), newFilterCmd(g)}},
		{"Setting it up", []*cobra.Command{newConfigCmd(g), newSetupCmd(g), newPolicyCmd(g), newDirectoryCmd(g), newCoexistenceCmd(g)}},
		{"What was stored and sent on", []*cobra.Command{newLinksCmd(g), newStoreCmd(g), newVaultCmd(g), newQueueCmd(g), newBackupCmd(g), newRestoreCmd(g)}},
		{"Who did what, and who may", []*cobra.Command{newAuditCmd(g), newLogCmd(g), newAdminCmd(g)}},
		{partOthers, []*cobra.Command{newVersionCmd(g)}},
	}
}

// markRunning notes in g when a command's own code begins.
func markRunning(cmd *cobra.Command, g *globals) {
	if own := cmd.RunE; own != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			g.running = true
			return own(cmd, args)
		}
	}
	for _, child := range cmd.Commands() {
		markRunning(child, g)
	}
}

// group makes a command that only holds others. Called without one of them, or
// with one that it does not have, it is an error and not a page of help that a
// script would take for success.
func group(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.SuggestionsMinimumDistance = 2 // edits; cobra sets it only where it validates itself
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs one of its commands", cmd.CommandPath())
		}
		hint := ""
		if close := cmd.SuggestionsFor(args[0]); len(close) > 0 {
			hint = "; did you mean " + strings.Join(close, " or ") + "?"
		}
		return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)
	}
	// Never reached, but cobra looks at Args only where there is something to run.
	cmd.RunE = func(*cobra.Command, []string) error { return nil }
	return cmd
}

// noArgs is for commands that take flags only.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, but got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// configPath is the configuration file to use: --config, else the environment,
// else the default.
func (g *globals) configPath() string {
	if g.configFlag != "" {
		return g.configFlag
	}
	if path := os.Getenv(configEnv); path != "" {
		return path
	}
	return config.DefaultPath
}

// loadConfig reads the configuration for a command and shows its warnings.
func (g *globals) loadConfig(cmd *cobra.Command) (*config.Config, error) {
	cfg, warnings, err := config.Load(g.configPath())
	for _, w := range warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	return cfg, missingConfig(g.configPath(), err)
}
