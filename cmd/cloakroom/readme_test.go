package main

// The table of commands in README.md is what the program has. UPDATE_DOCS=1
// writes it anew.

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const (
	readme     = "../../README.md"
	tableBegin = "<!-- commands -->\n"
	tableEnd   = "<!-- end -->"
)

// commandTable lists all commands by their parts.
func commandTable(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("| command | what for |\n|---|---|\n")
	for _, group := range root.Groups() {
		fmt.Fprintf(&b, "| **%s** | |\n", strings.TrimSuffix(group.Title, ":"))
		for _, cmd := range documented(root) {
			if cmd.GroupID != group.ID {
				continue
			}
			var below []string
			for _, child := range documented(cmd) {
				below = append(below, "`"+child.Name()+"`")
			}
			name := "`" + cmd.Name() + "`"
			if len(below) > 0 {
				name += " " + strings.Join(below, ", ")
			}
			fmt.Fprintf(&b, "| %s | %s |\n", name, cmd.Short)
		}
	}
	return b.String()
}

func TestReadmeListsTheCommands(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), tableBegin)
	table, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		t.Fatalf("README.md has no table of commands between %q and %q", tableBegin, tableEnd)
	}
	want := commandTable(newRootCmd(&globals{}))
	if table == want {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatalf("the table of commands in README.md is not what the program has; run UPDATE_DOCS=1 go test ./cmd/cloakroom -run Readme\nwant\n%s", want)
	}
	if err := os.WriteFile(readme, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A command without a part would stand under "Additional Commands" in the help,
// and be missing in README.md.
func TestEachCommandHasAPart(t *testing.T) {
	root := newRootCmd(&globals{})
	for _, cmd := range documented(root) {
		if cmd.GroupID == "" {
			t.Errorf("%s belongs to no part: see parts in root.go", cmd.CommandPath())
		}
	}
	if n := len(documented(root)); n < 15 {
		t.Errorf("only %d commands", n)
	}
}
