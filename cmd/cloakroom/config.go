package main

// cloakroom config check | show | example

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"cloakroom/internal/config"
)

func newConfigCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:   "config",
		Short: "Check, show or begin the configuration",
		Example: `  cloakroom config check
  cloakroom config show --json`,
	}, newConfigCheckCmd(g), newConfigShowCmd(g), newConfigExampleCmd(g))
}

func newConfigCheckCmd(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Report every mistake in the configuration, with line and column",
		Long: `Reads the configuration as the daemon would, its rules included, and reports every
mistake with line and column. Exits with 78 if there is any. Warnings alone are no failure.`,
		Example: `  cloakroom config check
  cloakroom --config new.yaml config check && mv new.yaml /etc/cloakroom/cloakroom.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := g.loadConfig(cmd); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: no mistakes\n", g.configPath())
			return err
		},
	}
}

func newConfigShowCmd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration in effect, defaults filled in",
		Long: `Prints the configuration as the daemon would use it: defaults filled in, paths absolute,
domains in their ASCII form. There are no secrets in it, only the names of their files.`,
		Example: "  cloakroom config show\n  cloakroom config show --json | jq .milter.listen",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := g.loadConfig(cmd)
			if err != nil {
				return err
			}
			write := cfg.YAML
			if asJSON {
				write = cfg.JSON
			}
			return output(cmd, write)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func newConfigExampleCmd(*globals) *cobra.Command {
	return &cobra.Command{
		Use:   "example",
		Short: "Print a configuration to start from, every key explained",
		Long: `Prints a configuration file with every key, what it means and its default. It can be used
once hostname, domains and web.url are your own.`,
		Example: "  cloakroom config example > /etc/cloakroom/cloakroom.yaml",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return output(cmd, config.Example) },
	}
}

// output writes what a package has composed to the command's output.
func output(cmd *cobra.Command, compose func() ([]byte, error)) error {
	text, err := compose()
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// missingConfig explains a configuration file that is not there: the commonest
// first contact with the program.
func missingConfig(path string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &exitError{code: exitConfig, err: err,
		hint: "cloakroom config example > " + path + " writes one to start from;\n--config or " + configEnv + " name another"}
}
