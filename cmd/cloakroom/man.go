package main

// cloakroom docs man DIR: the manual pages, made from the commands themselves.
// Hidden: packages are built with it, nobody else needs it.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cloakroom/internal/roff"
)

// manual is the title of the pages about commands.
const manual = "Cloakroom Manual"

func newDocsCmd(*globals) *cobra.Command {
	docs := group(&cobra.Command{
		Use:     "docs",
		Short:   "Write what packages ship beside the program",
		Example: "  cloakroom docs man /tmp/man",
		Hidden:  true,
	}, &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages below DIR",
		Long: `Writes cloakroom(1), a page for each command, and cloakroom.yaml(5) into DIR/man1 and
DIR/man5.`,
		Example: "  cloakroom docs man /tmp/man\n  man /tmp/man/man1/cloakroom.1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pages, err := manPages(cmd.Root())
			if err != nil {
				return err
			}
			for name, text := range pages {
				if err := writePage(filepath.Join(args[0], name), text); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return docs
}

func writePage(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("manual: %w", err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("manual: %w", err)
	}
	return nil
}

// manPages gives all pages by their paths below the folder of manuals.
func manPages(root *cobra.Command) (map[string]string, error) {
	pages := make(map[string]string)
	collectPages(root, pages)
	settings, err := configPage()
	if err != nil {
		return nil, err
	}
	pages["man5/cloakroom.yaml.5"] = settings
	return pages, nil
}

// collectPages writes the page of a command and those below it.
func collectPages(cmd *cobra.Command, pages map[string]string) {
	pages["man1/"+pageName(cmd)+".1"] = commandPage(cmd)
	for _, child := range documented(cmd) {
		collectPages(child, pages)
	}
}

// documented are the commands below cmd that have pages: not the topics of
// help, and not what cobra brings along.
func documented(cmd *cobra.Command) []*cobra.Command {
	var out []*cobra.Command
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() && child.Name() != "completion" && child.Name() != "help" {
			out = append(out, child)
		}
	}
	return out
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func commandPage(cmd *cobra.Command) string {
	p := roff.New(pageName(cmd), 1, "cloakroom "+thisBuild().Version, manual)
	p.Name(pageName(cmd), cmd.Short)
	p.Section("Synopsis")
	if children := documented(cmd); len(children) > 0 {
		p.Text(cmd.CommandPath() + " COMMAND [flags]")
	} else {
		p.Text(cmd.UseLine())
	}
	p.Section("Description")
	if cmd.Long != "" {
		p.Text(cmd.Long)
	} else {
		p.Text(cmd.Short + ".")
	}
	if children := documented(cmd); len(children) > 0 {
		p.Section("Commands")
		for _, child := range children {
			p.Term(pageName(child)+"(1)", child.Short+".")
		}
	}
	flags(p, "Options", cmd.LocalNonPersistentFlags())
	if cmd.HasParent() {
		flags(p, "Options of every command", cmd.InheritedFlags())
	} else {
		flags(p, "Options of every command", cmd.PersistentFlags())
		rootSections(p)
	}
	if cmd.Example != "" {
		p.Section("Examples")
		p.Code(dedent(cmd.Example))
	}
	p.Section("See also")
	p.Text(seeAlso(cmd))
	return p.String()
}

// rootSections are what the page of the program has and the others refer to.
func rootSections(p *roff.Page) {
	p.Section("Exit status")
	_, codes, _ := strings.Cut(exitCodesText, "\n")
	p.Text(codes)
	p.Section("Environment")
	p.Term(configEnv, "The configuration file, where --config does not name another.")
	p.Section("Files")
	p.Term("/etc/cloakroom/cloakroom.yaml", "The configuration; see cloakroom.yaml(5).")
	p.Term("/etc/cloakroom/secrets/", "Files that only root reads, and that systemd hands to the service: FILE is /run/credentials/cloakroom.service/secrets_FILE there.")
	p.Term("/var/lib/cloakroom/", "Database, attachments, journal and the secret key: all that a backup needs besides the configuration.")
	p.Term("/usr/share/doc/cloakroom/", "Documents, and examples for Postfix and of policies.")
	p.Section("Signals")
	p.Term("SIGHUP", "cloakroom serve reads its configuration again.")
	p.Term("SIGTERM, SIGINT", "It ends once messages and downloads in flight have finished, within 60 seconds.")
}

// flags writes a section about flags, if there are any.
func flags(p *roff.Page, title string, set *pflag.FlagSet) {
	begun := false
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if !begun {
			p.Section(title)
			begun = true
		}
		value, usage := pflag.UnquoteUsage(f)
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		if value != "" {
			term += " " + value
		}
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			if !strings.Contains(usage, "default") {
				usage += " (default " + f.DefValue + ")"
			}
		}
		p.Term(term, usage)
	})
}

// seeAlso names the page above, or the configuration's, and the neighbours.
func seeAlso(cmd *cobra.Command) string {
	names := []string{"cloakroom.yaml(5)"}
	if parent := cmd.Parent(); parent != nil {
		names = append([]string{pageName(parent) + "(1)"}, names...)
		for _, sibling := range documented(parent) {
			if sibling != cmd && parent.HasParent() {
				names = append(names, pageName(sibling)+"(1)")
			}
		}
	}
	return strings.Join(names, ", ")
}

// dedent takes away the indentation that help texts give their examples.
func dedent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}
