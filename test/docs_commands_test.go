package test

// Each command of ours that documents name in their text exists, with the flags it
// is named with, and their links lead somewhere. (Blocks are run, see docs_run_test.go.)

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"cloakroom/internal/testserver"
	"cloakroom/sisa"
)

// allDocuments are those of the repository, whatever they are called.
func allDocuments(t *testing.T) []string {
	t.Helper()
	out := repositoryFiles(t, ".md")
	if len(out) < 10 {
		t.Fatalf("only %v were found", out)
	}
	return out
}

// ownCommands finds our commands in a line of a shell.
func ownCommands(line string) (out []string) {
	if at := strings.Index(line, " #"); at >= 0 {
		line = line[:at]
	}
	for _, part := range regexp.MustCompile(`&&|\|\||[|;<>]|\$\(`).Split(line, -1) {
		part = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(part), "sudo "))
		if part == "cloakroom" || strings.HasPrefix(part, "cloakroom ") {
			out = append(out, strings.TrimRight(part, ")\""))
		}
	}
	return out
}

var (
	wordPattern   = regexp.MustCompile(`^[a-z][a-z-]*$`)
	inlineCommand = regexp.MustCompile("`(cloakroom [a-z][^`]*)`")
	flagPattern   = regexp.MustCompile(`(?:^|[\s\[])(--[a-z][a-z-]*)`)
)

var (
	inlineTest = regexp.MustCompile("`go test [^`]*-(?:run|bench) ([A-Z][a-zA-Z]+)[^`]*`")
	inlineMake = regexp.MustCompile("`make ([a-z][a-z-]*)[^`]*`")
)

func TestDocumentsNameTestsAndTargetsThatExist(t *testing.T) {
	makefile := mustRead(t, filepath.Join(root, "Makefile"))
	tests, targets := 0, 0
	for _, name := range allDocuments(t) {
		text := strings.Join(strings.Fields(mustRead(t, filepath.Join(root, name))), " ")
		for _, m := range inlineTest.FindAllStringSubmatch(text, -1) {
			if tests++; m[1] != "NAME" && !hasTest(t, regexp.MustCompile(`\./[a-z/]+`).FindString(m[0]), m[1]) {
				t.Errorf("%s: there is no test for %s", name, m[0])
			}
		}
		for _, m := range inlineMake.FindAllStringSubmatch(text, -1) {
			if targets++; !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: there is no target for %s", name, m[0])
			}
		}
	}
	if tests < 5 || targets < 5 {
		t.Errorf("only %d tests and %d targets were found", tests, targets)
	}
}

// hasTest tells whether a package has a test or benchmark with a name in its own.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	is := regexp.MustCompile(`(?m)^func (?:Test|Benchmark)\w*` + name)
	return slices.ContainsFunc(files, func(f string) bool { return is.MatchString(mustRead(t, f)) })
}

// helps remembers what commands say of themselves.
type helps map[string]string

// of gives the help of the command that words begin with; "" if there is none.
func (h helps) of(t *testing.T, words []string) string {
	t.Helper()
	for n := min(len(words), 3); n > 0; n-- {
		path := strings.Join(words[:n], " ")
		if _, known := h[path]; !known {
			stdout, _, code := cloakroom(t, append(slices.Clone(words[:n]), "--help")...)
			if !regexp.MustCompile(`(?m)^\s+cloakroom `+regexp.QuoteMeta(path)+`( |$)`).MatchString(stdout) || code != 0 {
				stdout = ""
			}
			h[path] = stdout
		}
		if h[path] != "" {
			return h[path]
		}
	}
	return ""
}

// wrong says what is wrong with a command line; "" for nothing.
func (h helps) wrong(t *testing.T, command string) string {
	t.Helper()
	var words []string
	for _, w := range strings.Fields(command)[1:] {
		if w == "--config" && len(words) == 0 {
			continue
		}
		if !wordPattern.MatchString(w) {
			if len(words) == 0 && strings.HasSuffix(w, ".yaml") {
				continue // the file of --config
			}
			break
		}
		words = append(words, w)
	}
	if len(words) == 0 || words[0] == "help" {
		return ""
	}
	help := h.of(t, words)
	if help == "" {
		return "there is no such command"
	}
	// A group takes nothing but its commands.
	if strings.Contains(help, "Available Commands:") && len(words) > 1 && h[strings.Join(words[:min(len(words), 3)], " ")] == "" && h[strings.Join(words[:2], " ")] == "" {
		return "there is no such command"
	}
	for _, f := range flagPattern.FindAllStringSubmatch(command, -1) {
		if !regexp.MustCompile(`(?m)^\s+(-\w, )?` + f[1] + `\b`).MatchString(help) {
			return "it has no flag " + f[1]
		}
	}
	return ""
}

func TestDocumentsNameCommandsAndFlagsThatExist(t *testing.T) {
	known := helps{}
	checked := 0
	for _, name := range allDocuments(t) {
		text := mustRead(t, filepath.Join(root, name))
		var commands []string
		for _, m := range inlineCommand.FindAllStringSubmatch(text, -1) {
			commands = append(commands, ownCommands(m[1])...)
		}
		for _, c := range commands {
			checked++
			if wrong := known.wrong(t, c); wrong != "" {
				t.Errorf("%s: %s: %s", name, c, wrong)
			}
		}
		checkLinks(t, name, text)
	}
	if checked < 80 {
		t.Errorf("only %d commands were found", checked)
	}
	for command, want := range map[string]bool{"cloakroom links list --newer 7d": true, "cloakroom links lsit": false, "cloakroom links list --nower 7d": false,
		"cloakroom --config c.yaml config check": true, "cloakroom frobnicate": false, "cloakroom vault test assets": true} {
		if (known.wrong(t, command) == "") != want {
			t.Errorf("%q is taken for right: %v", command, !want)
		}
	}
}

// linkPassword is the hash of a link's password.
var linkPassword = sync.OnceValue(func() string {
	hash, err := sisa.HashPassword("five random words")
	if err != nil {
		panic(err)
	}
	return hash
})

// parameterLine is a line of main.cf, or one that is commented out.
var parameterLine = regexp.MustCompile(`^#?([a-z][a-z0-9_]*_[a-z0-9_]+) *= ?\S`)

func TestExamplesNamePostfixParametersThatExist(t *testing.T) {
	known, err := testserver.PostfixParameters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	examples, err := filepath.Glob(filepath.Join(root, "deploy/postfix/*.example"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range examples {
		for line := range strings.Lines(mustRead(t, file)) {
			m := parameterLine.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				continue
			}
			if checked++; !known[m[1]] {
				t.Errorf("%s: Postfix has no parameter %s", file, m[1])
			}
		}
	}
	if checked < 4 {
		t.Errorf("only %d parameters were found", checked)
	}
}
