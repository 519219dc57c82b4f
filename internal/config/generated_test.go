package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write reference.json and docs/config.md anew")

const (
	moduleRoot    = "../.."
	referenceFile = "reference.json"
	markdownFile  = moduleRoot + "/docs/config.md"
)

// TestGeneratedReference keeps reference.json what the doc comments say.
func TestGeneratedReference(t *testing.T) {
	comments := make(map[string]string)
	collectComments(t, reflect.TypeFor[Config](), comments)
	want, err := json.MarshalIndent(comments, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(bytes.ReplaceAll(want, []byte(`\u003c`), []byte("<")), '\n')
	if *update {
		if err := os.WriteFile(referenceFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		referenceJSON = want // what the next tests describe
	}
	if !bytes.Equal(referenceJSON, want) {
		t.Errorf("%s does not say what the doc comments of the configuration say; run go generate ./internal/config", referenceFile)
	}
}

// TestGeneratedMarkdown keeps docs/config.md what the program says.
func TestGeneratedMarkdown(t *testing.T) {
	want, err := Markdown()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(markdownFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(markdownFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/config.md is not what the program says; run go generate ./internal/config")
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	keys, err := Keys()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.Doc == "" {
			t.Errorf("%s has no description: give its field a doc comment", k.Path)
		}
	}
	for _, path := range []string{"hostname", "milter.listen", "milter.on_error", "web.url", "rules[].if", "rules[].link.expires"} {
		if !containsKey(keys, path) {
			t.Errorf("%s is not among the keys", path)
		}
	}
}

func containsKey(keys []Key, path string) bool {
	for _, k := range keys {
		if k.Path == path {
			return true
		}
	}
	return false
}

// collectComments finds the doc comment of every field that is a key.
func collectComments(t *testing.T, section reflect.Type, out map[string]string) {
	t.Helper()
	for _, f := range fieldsOf(section) {
		key := commentKey(f.owner, f.field)
		if _, done := out[key]; done {
			continue
		}
		out[key] = fieldComment(t, f.owner, f.field)
		if inner, _ := innerStruct(f.typ); inner != nil {
			collectComments(t, inner, out)
		}
	}
}

func fieldComment(t *testing.T, owner reflect.Type, name string) string {
	t.Helper()
	folder, found := strings.CutPrefix(owner.PkgPath(), "cloakroom/")
	if !found {
		t.Fatalf("%s is not a type of this module", owner)
	}
	files, err := filepath.Glob(filepath.Join(moduleRoot, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if comment, found := commentIn(file, owner.Name(), name); found {
			return comment
		}
	}
	t.Fatalf("no declaration of %s.%s in %s", owner, name, folder)
	return ""
}

func commentIn(file *ast.File, typeName, fieldName string) (comment string, found bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != typeName {
			return true
		}
		structure, ok := spec.Type.(*ast.StructType)
		if !ok {
			return false
		}
		for _, f := range structure.Fields.List {
			for _, n := range f.Names {
				if n.Name == fieldName {
					comment, found = oneLineParagraphs(f.Doc.Text()+"\n"+f.Comment.Text()), true
				}
			}
		}
		return false
	})
	return comment, found
}

func oneLineParagraphs(text string) string {
	var out []string
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if words := strings.Fields(paragraph); len(words) > 0 {
			out = append(out, strings.Join(words, " "))
		}
	}
	return strings.Join(out, "\n\n")
}
