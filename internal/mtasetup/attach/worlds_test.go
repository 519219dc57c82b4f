package attach

// Plans for configurations as they are met in the field, read by the real
// postconf: each file in testdata/worlds has one, and the plan for it. A plan that
// is carried out leaves nothing to plan. UPDATE=1 writes the plans anew; read
// them.

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"cloakroom/internal/mtasetup"
	"cloakroom/internal/testserver"
)

// TestMain puts the commands of the Postfix at hand on the PATH.
func TestMain(m *testing.M) {
	folder, env, err := testserver.PostfixCommands(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		os.Setenv(name, value)
	}
	os.Exit(m.Run())
}

// world is a file of testdata/worlds.
type world struct {
	folder string // of the configuration
	set    mtasetup.Settings
	opt    mtasetup.Options
	want   string
}

func readWorld(t *testing.T, archive *txtar.Archive) *world {
	t.Helper()
	w := &world{folder: t.TempDir()}
	for _, f := range archive.Files {
		var err error
		switch f.Name {
		case "main.cf", "master.cf":
			err = os.WriteFile(filepath.Join(w.folder, f.Name), f.Data, 0o644)
		case "maps":
			for _, name := range strings.Fields(string(f.Data)) {
				err = os.WriteFile(filepath.Join(w.folder, name), nil, 0o644)
			}
		case "setup":
			err = json.Unmarshal(f.Data, &w.set)
		case "options":
			err = json.Unmarshal(f.Data, &w.opt)
		case "plan":
			w.want = string(f.Data)
		default:
			t.Fatalf("a file %s means nothing here", f.Name)
		}
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	return w
}

func TestPlansForConfigurationsOfTheField(t *testing.T) {
	files, err := filepath.Glob("testdata/worlds/*.txtar")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := readWorld(t, archive)
			p := openFolder(t, w.folder)
			settle(w.folder)
			made := planOf(t, p, w)
			got := brief(made, w.folder)
			if os.Getenv("UPDATE") != "" {
				archive.Files = append(slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == "plan" }), txtar.File{Name: "plan", Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != w.want {
				t.Errorf("the plan is\n%s\nand was\n%s", got, w.want)
			}
			converges(t, p, w, made)
		})
	}
}

// converges carries a plan out, by what it prints as commands, and plans again.
func converges(t *testing.T, p *Postfix, w *world, made *mtasetup.Plan) {
	t.Helper()
	for _, c := range made.Changes {
		if c.Kind == mtasetup.File {
			if err := os.WriteFile(c.Name, []byte(c.New), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, argv := range made.Commands() {
		if err := p.edit(t.Context(), argv...); err != nil {
			t.Fatal(err)
		}
	}
	again := planOf(t, p, w)
	if len(again.Changes) > 0 {
		t.Errorf("carried out, the plan still has\n%s", brief(again, w.folder))
	}
	if got, want := sees(again), sees(made); got != want {
		t.Errorf("carried out, mail is seen by\n%s, planned was\n%s", got, want)
	}
}

func openFolder(t *testing.T, folder string) *Postfix {
	t.Helper()
	p, err := Open(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	p.edited = func() { settle(folder) }
	return p
}

// settle makes the files look old: every program of Postfix waits until a
// configuration file is two seconds old, in case that somebody is writing it.
func settle(folder string) {
	past := time.Now().Add(-time.Minute)
	for _, name := range configFiles {
		_ = os.Chtimes(filepath.Join(folder, name), past, past) // what cannot be changed only takes longer
	}
}

func planOf(t *testing.T, p *Postfix, w *world) *mtasetup.Plan {
	t.Helper()
	m, err := p.Machine(t.Context(), w.set)
	if err != nil {
		t.Fatal(err)
	}
	return mtasetup.Postfix(w.set, m, w.opt)
}

// brief is a plan in lines, with the folder of this test left out.
func brief(plan *mtasetup.Plan, folder string) string {
	var b strings.Builder
	for _, c := range plan.Changes {
		where := "main.cf"
		switch c.Kind {
		case mtasetup.Override:
			where = c.Service
		case mtasetup.Service:
			fmt.Fprintf(&b, "new service: %s\n", c.New)
			continue
		case mtasetup.File:
			fmt.Fprintf(&b, "new file %s: %q\n", c.Name, c.New)
			continue
		}
		fmt.Fprintf(&b, "%s: %s = %s\n    %s\n", where, c.Name, c.New, c.Reason)
	}
	for _, s := range plan.Steps {
		fmt.Fprintf(&b, "step: %s\n    %s\n", s.Command, strings.Join(s.Lines, "\n    "))
	}
	b.WriteString(sees(plan))
	for _, r := range plan.Remarks {
		fmt.Fprintf(&b, "%s: %s\n", r.Level, r.Text)
	}
	return strings.ReplaceAll(b.String(), folder, "FOLDER")
}

func sees(plan *mtasetup.Plan) string {
	var lines []string
	for _, l := range plan.Listeners {
		lines = append(lines, fmt.Sprintf("%s (%s) is seen by: %s\n", l.Service, l.Purpose, strings.Join(l.Milters, " | ")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
