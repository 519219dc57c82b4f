package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers is the order of the packages, from the top down: a package imports
// packages of its own layer and of those below, never one above. A name stands
// for the folders below it too, unless they are named themselves.
var layers = [][]string{
	// what people run
	{"cmd", "test", "deploy"},
	// the pieces put together, and the ground under the tests
	{"internal/app", "internal/coexist", "internal/config", "internal/testserver"},
	// doors: protocols that others speak to us, and destinations we speak to
	{"milter", "sisa/web", "admin", "vault/sftp", "vault/ftps", "vault/dir", "internal/mtasetup/attach", "internal/doctor", "internal/imapbox"},
	// the order of work for one message, and what came of all
	{"flow", "internal/report"},
	// concepts that remember
	{"sisa", "vault", "archive", "ledger", "policy/directory", "internal/backup", "internal/jobs", "internal/submit"},
	// decisions
	{"policy", "policy/forward", "vault/name", "internal/mtasetup"},
	// bytes, and where they rest
	{"message", "sisa/blob", "internal/db", "internal/spool", "internal/diskspace", "internal/secret", "internal/certificate", "internal/unixsocket", "internal/roff", "internal/mtasetup"},
}

// pure are the packages that take values and give values: what they decide
// depends on nothing but their arguments.
var pure = []string{"message", "message/archive", "message/tnef", "policy", "policy/forward", "vault/name", "internal/mtasetup"}

// impureImports would give a pure package the outside world, chance or the
// clock. A path stands for those below it too.
var impureImports = []string{"os", "net", "syscall", "database/sql", "math/rand", "crypto/rand", "golang.org/x/sys"}

// harmlessImports are below an impure path and only handle values.
var harmlessImports = []string{"net/netip", "net/url", "net/mail", "net/textproto"}

// clockReads are the functions of package time that read or wait for the clock.
var clockReads = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// modulePath is the first part of our own import paths.
const modulePath = "cloakroom"

func TestImportsGoOnlyDownward(t *testing.T) {
	for _, f := range productionFiles(t) {
		from := layerOf(f.pkg)
		if from < 0 {
			t.Errorf("%s: package %s has no place in the table of layers", f.name, f.pkg)
			continue
		}
		for _, imported := range imports(t, f.syntax) {
			pkg, ours := strings.CutPrefix(imported, modulePath+"/")
			if !ours {
				continue
			}
			if to := layerOf(pkg); to < from {
				t.Errorf("%s: %s imports %s, which is above it", f.name, f.pkg, pkg)
			}
		}
	}
}

func TestDecisionsArePure(t *testing.T) {
	for _, f := range productionFiles(t) {
		if !slices.Contains(pure, f.pkg) {
			continue
		}
		for _, imported := range imports(t, f.syntax) {
			if covers(impureImports, imported) && !covers(harmlessImports, imported) {
				t.Errorf("%s: a pure package imports %s", f.name, imported)
			}
		}
		for _, name := range clockCalls(f.syntax) {
			t.Errorf("%s: a pure package uses time.%s: take the time as an argument", f.name, name)
		}
	}
}

// The checks above would pass if they saw nothing; each must catch its example.
func TestArchitectureChecksCatchViolations(t *testing.T) {
	if layerOf("message") <= layerOf("flow") || layerOf("sisa/web") >= layerOf("sisa") || layerOf("sisa/blob/blobtest") != layerOf("sisa/blob") {
		t.Error("the layer of a package is not found by its longest name")
	}
	if layerOf("util") >= 0 || layerOf("messages") >= 0 {
		t.Error("a package that is not in the table has a layer")
	}
	for imported, impure := range map[string]bool{"os": true, "os/exec": true, "net/http": true, "net/netip": false, "math": false, "math/rand/v2": true} {
		if got := covers(impureImports, imported) && !covers(harmlessImports, imported); got != impure {
			t.Errorf("import %s: impure is %v, want %v", imported, got, impure)
		}
	}
	const source = "package p\nimport clock \"time\"\nvar f = clock.Now\nvar d = clock.Second\n"
	syntax, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := clockCalls(syntax); !slices.Equal(got, []string{"Now"}) {
		t.Errorf("uses of the clock %v, want [Now]", got)
	}
	seen := map[string]bool{}
	for _, f := range productionFiles(t) {
		seen[f.pkg] = true
	}
	for _, pkg := range []string{"cmd/cloakroom", "flow", "message", "policy"} {
		if !seen[pkg] {
			t.Errorf("no file of %s was looked at, only of %v", pkg, slices.Sorted(maps.Keys(seen)))
		}
	}
}

// goFile is a parsed file of the repository.
type goFile struct {
	name   string // relative to the root of the repository, with slashes
	pkg    string // its folder
	syntax *ast.File
}

// productionFiles parses all Go files but the tests: those may reach up to
// internal/testserver for a real server.
func productionFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	for _, name := range repositoryFiles(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, goFile{name: name, pkg: path.Dir(name), syntax: syntax})
	}
	return files
}

// root is the root of the repository, seen from this package's folder.
const root = ".."

// repositoryFiles lists the files with one of the given name endings, without
// hidden folders, test data and what the build makes.
func repositoryFiles(t *testing.T, endings ...string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if file != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) }) {
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// layerOf is the index in layers of the longest name that covers pkg; -1: none.
func layerOf(pkg string) int {
	for p := pkg; p != "."; p = path.Dir(p) {
		for i, names := range layers {
			if slices.Contains(names, p) {
				return i
			}
		}
	}
	return -1
}

// covers tells whether imported is one of paths or below one.
func covers(paths []string, imported string) bool {
	return slices.ContainsFunc(paths, func(p string) bool {
		return imported == p || strings.HasPrefix(imported, p+"/")
	})
}

func imports(t *testing.T, file *ast.File) []string {
	t.Helper()
	var paths []string
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

// clockCalls lists the uses of clockReads in a file, under whatever name it
// imports package time.
func clockCalls(file *ast.File) []string {
	local := ""
	for _, spec := range file.Imports {
		if spec.Path.Value != `"time"` {
			continue
		}
		local = "time"
		if spec.Name != nil {
			local = spec.Name.Name
		}
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && local != "" {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local && slices.Contains(clockReads, s.Sel.Name) {
				found = append(found, s.Sel.Name)
			}
		}
		return true
	})
	return found
}
