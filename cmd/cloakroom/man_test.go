package main

// The manual pages: complete, and without a mistake that groff would tell of.

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cloakroom/internal/config"
)

func TestEveryCommandHasAManualPage(t *testing.T) {
	root := newRootCmd(&globals{})
	pages, err := manPages(root)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		page := pages["man1/"+strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"]
		for _, want := range []string{".SH \"NAME\"\n", ".SH \"SYNOPSIS\"\n", ".SH \"DESCRIPTION\"\n", ".SH \"EXAMPLES\"\n", "\\fB\\-\\-config file\\fR"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: its page has no %q", cmd.CommandPath(), want)
			}
		}
		for _, child := range cmd.Commands() {
			if !child.Hidden && child.IsAvailableCommand() && child.Name() != "completion" && child.Name() != "help" {
				walk(child)
			}
		}
	}
	walk(root)
	keys, err := config.Keys()
	if err != nil {
		t.Fatal(err)
	}
	settings := pages["man5/cloakroom.yaml.5"]
	for _, k := range keys {
		if !strings.Contains(settings, "\\fB"+k.Path+"\\fR\n") {
			t.Errorf("cloakroom.yaml(5) has no key %s", k.Path)
		}
	}
}

// requests are what roff lines may begin with.
var requests = regexp.MustCompile(`^\.(TH|SH|PP|TP|IP|RS|RE|nf|fi|nh|ad)( |$)`)

func TestManualPagesAreWellFormed(t *testing.T) {
	pages, err := manPages(newRootCmd(&globals{}))
	if err != nil || len(pages) < 20 {
		t.Fatalf("%d pages (%v)", len(pages), err)
	}
	groff, missing := exec.LookPath("groff")
	for name, text := range pages {
		for i, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, ".") && !requests.MatchString(line) || strings.HasPrefix(line, "'") {
				t.Errorf("%s:%d: %q would be read as a request", name, i+1, line)
			}
		}
		if missing != nil {
			continue // a second opinion, where there is one
		}
		cmd := exec.Command(groff, "-man", "-Kutf8", "-Tutf8", "-ww", "-z")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: groff: %v\n%s", name, err, out)
		}
	}
}
