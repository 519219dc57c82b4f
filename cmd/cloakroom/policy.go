package main

// cloakroom policy …

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"cloakroom/internal/app"
)

func newPolicyCmd(g *globals) *cobra.Command {
	return group(&cobra.Command{
		Use:     "policy",
		Short:   "See what the rules do",
		Example: "  cloakroom policy explain mail.eml --from alice@acmecorp.com --to bob@example.org",
	}, newPolicyExplainCmd(g), newPolicyTestCmd(g))
}

func newPolicyExplainCmd(g *globals) *cobra.Command {
	var flags envelopeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain FILE --from ADDRESS --to ADDRESS [--to ADDRESS ...]",
		Short: "Tell what would become of a message, and which rule says so",
		Long: `Takes a message apart and decides it as the daemon would: the tree of its parts, for each
attachment and recipient the rule that decides, the rules asked before and why they did not
match, where co-existence sends the mail, what the vault keeps, and what would change. Nothing
is written. FILE may be - for standard input.`,
		Example: `  cloakroom policy explain mail.eml --from alice@acmecorp.com --auth alice --to bob@example.org`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			env, err := flags.envelope()
			if err != nil {
				return err
			}
			cfg, err := g.loadConfig(cmd)
			if err != nil {
				return err
			}
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if errors.Is(err, fs.ErrNotExist) {
					return &exitError{code: exitData, err: err}
				}
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			ex, err := app.Explain(cmd.Context(), cfg, env, in)
			if err != nil {
				return &exitError{code: exitData, err: err}
			}
			if asJSON {
				return printJSON(cmd, ex)
			}
			return app.PrintExplanation(cmd.OutOrStdout(), ex)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}
