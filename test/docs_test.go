package test

// What stands in the text of documents: tables that the program knows better are
// compared with it (UPDATE_DOCS=1 writes them anew), commands that are named exist
// with their flags, and links lead somewhere.

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cloakroom/policy"
	vaultname "cloakroom/vault/name"
)

// tables are what stands between <!-- NAME --> and <!-- end -->.
var tables = map[string]func() string{"facts": factTable, "fields": fieldTable}

// othersTables are compared by tests of what they are about.
var othersTables = []string{"commands", "metrics", "tested"}

func TestTablesSayWhatTheProgramKnows(t *testing.T) {
	for _, name := range allDocuments(t) {
		text := mustRead(t, filepath.Join(root, name))
		for _, part := range regexp.MustCompile(`(?s)<!-- (\w+) -->\n(.*?)<!-- end -->`).FindAllStringSubmatch(text, -1) {
			table := tables[part[1]]
			if table == nil && slices.Contains(othersTables, part[1]) {
				continue
			}
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
