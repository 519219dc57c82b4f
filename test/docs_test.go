package test

// The documents: whatever they show is run, and the tables that the program
// knows better are compared with it. UPDATE_DOCS=1 writes the tables anew.

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cloakroom/policy"
	vaultname "cloakroom/vault/name"
)

// documents are those whose snippets are run. A fenced block is one of
//
//	yaml  a configuration, or the part of one that begins with a key such as
//	      rules; or cases, run against the configuration above them
//	cel   conditions, one a line
//	sh    commands, of which those of cloakroom must exist
//	text  what programs print; not run
var documents = []string{"docs/policy.md", "docs/vault.md"}

// tables are what stands between <!-- NAME --> and <!-- end -->.
var tables = map[string]func() string{"facts": factTable, "fields": fieldTable}

func TestDocumentsShowWhatRuns(t *testing.T) {
	for _, name := range documents {
		t.Run(name, func(t *testing.T) {
			text := mustRead(t, filepath.Join(root, name))
			config := ""
			kinds := map[string]int{}
			for _, s := range snippets(t, text) {
				kinds[s.language]++
				where := fmt.Sprintf("%s:%d", name, s.line)
				switch {
				case s.language == "yaml" && strings.HasPrefix(s.text, "cases:"):
					checkCases(t, where, config, s.text)
				case s.language == "yaml":
					config = completed(s.text)
					checkConfig(t, where, config)
				case s.language == "cel":
					checkConditions(t, where, s.text)
				case s.language == "sh":
					checkCommands(t, where, s.text)
				case s.language != "text":
					t.Errorf("%s: a block of %q; say yaml, cel, sh or text", where, s.language)
				}
			}
			if len(kinds) == 0 {
				t.Error("no snippet was found")
			}
			checkLinks(t, name, text)
		})
	}
}

func TestTablesSayWhatTheProgramKnows(t *testing.T) {
	for _, name := range documents {
		text := mustRead(t, filepath.Join(root, name))
		for _, part := range regexp.MustCompile(`(?s)<!-- (\w+) -->\n(.*?)<!-- end -->`).FindAllStringSubmatch(text, -1) {
			table := tables[part[1]]
			if table == nil {
				t.Errorf("%s: no table is called %s", name, part[1])
				continue
			}
			if part[2] == table() {
				continue
			}
			if os.Getenv("UPDATE_DOCS") == "" {
				t.Errorf("%s: the table %s is not what the program says; run UPDATE_DOCS=1 go test ./test -run Tables", name, part[1])
				continue
			}
			text = strings.Replace(text, part[0], "<!-- "+part[1]+" -->\n"+table()+"<!-- end -->", 1)
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func factTable() string {
	var b strings.Builder
	b.WriteString("| name | type | what it is |\n|---|---|---|\n")
	for _, f := range policy.Vocabulary() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Type, strings.ReplaceAll(f.Doc, "|", `\|`))
	}
	return b.String()
}

type snippet struct {
	language, text string
	line           int // of its first line
}

// snippets lists the fenced blocks of a document.
func snippets(t *testing.T, text string) []snippet {
	t.Helper()
	var out []snippet
	var open *snippet
	for i, line := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &snippet{language: fence, line: i + 2}
		case isFence:
			out = append(out, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Errorf("the block at line %d does not end", open.line)
	}
	return out
}

// completed adds to a part of a configuration what every configuration has.
func completed(text string) string {
	for key, line := range map[string]string{
		"domains":   "domains: [acmecorp.test]\n",
		"web":       "web: {url: https://files.acmecorp.test}\n",
		"data":      "data: data\n",
		"directory": "directory: {file: users.yaml}\n",
	} {
		if !regexp.MustCompile(`(?m)^` + key + `:`).MatchString(text) {
			text = line + text
		}
	}
	return text
}

// snippetUsers are the users of the snippets.
const snippetUsers = "users:\n  - {address: alice@acmecorp.test, groups: [research, pilot], department: labs}\n  - {address: bob@acmecorp.test}\n"

// configFolder writes a configuration and its users.
func configFolder(t *testing.T, config string) (folder, file string) {
	t.Helper()
	folder = t.TempDir()
	file = filepath.Join(folder, "cloakroom.yaml")
	for name, text := range map[string]string{file: config, filepath.Join(folder, "users.yaml"): snippetUsers} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder, file
}

func checkConfig(t *testing.T, where, config string) {
	t.Helper()
	_, file := configFolder(t, config)
	if _, stderr, code := cloakroom(t, "--config", file, "config", "check"); code != 0 || stderr != "" {
		t.Errorf("%s: exit code %d\n%s", where, code, stderr)
	}
}

func checkCases(t *testing.T, where, config, cases string) {
	t.Helper()
	folder, file := configFolder(t, config)
	tests := filepath.Join(folder, "tests")
	if err := os.Mkdir(tests, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tests, "cases.yaml"), []byte(cases), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := cloakroom(t, "--config", file, "policy", "test", tests); code != 0 {
		t.Errorf("%s: exit code %d\n%s%s", where, code, stdout, stderr)
	}
}

func checkConditions(t *testing.T, where, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		condition := strings.TrimSpace(line)
		if condition == "" {
			continue
		}
		set, err := policy.Compile([]policy.Rule{{Name: "r", If: condition, Tag: &policy.TagAction{Text: "x"}}})
		if err != nil {
			t.Errorf("%s: %v", where, err)
		} else if doubts := set.Warnings(); len(doubts) > 0 {
			t.Errorf("%s: %s: %v", where, condition, doubts)
		}
	}
}

var wordPattern = regexp.MustCompile(`^[a-z][a-z-]*$`)

func checkCommands(t *testing.T, where, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "cloakroom" {
			continue
		}
		stdout, _, code := cloakroom(t, append(words[1:], "--help")...)
		command := []string{"cloakroom"}
		for i := 1; i < len(words); i++ {
			if words[i] == "--config" {
				i++
			} else if !wordPattern.MatchString(words[i]) || len(command) == 3 {
				break
			} else {
				command = append(command, words[i])
			}
		}
		if code != 0 || !strings.Contains(stdout, strings.Join(command, " ")+" ") {
			t.Errorf("%s: there is no command %q", where, strings.TrimSpace(line))
		}
	}
}

var (
	linkTarget = regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading    = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

func checkLinks(t *testing.T, name, text string) {
	t.Helper()
	for _, m := range linkTarget.FindAllStringSubmatch(text, -1) {
		target := filepath.Join(root, path.Dir(name), m[1])
		if m[1] == "" {
			target = filepath.Join(root, name)
		}
		content, err := os.ReadFile(target)
		if info, statErr := os.Stat(target); statErr != nil || err != nil && !info.IsDir() {
			t.Errorf("%s: the link to %s leads nowhere", name, m[1])
			continue
		}
		if m[2] == "" {
			continue
		}
		found := false
		for _, h := range heading.FindAllStringSubmatch(string(content), -1) {
			slug := strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")
			found = found || "#"+slug == m[2]
		}
		if !found {
			t.Errorf("%s: %s has no heading %s", name, m[1], m[2])
		}
	}
}

// fieldTable lists the fields of the vault's templates.
func fieldTable() string {
	var b strings.Builder
	b.WriteString("| field | what it is |\n|---|---|\n")
	for _, f := range vaultname.Fields() {
		fmt.Fprintf(&b, "| `{%s}` | %s |\n", f.Name, f.Doc)
	}
	return b.String()
}
