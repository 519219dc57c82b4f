package tnef

// Streams of real mail programs.

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCorpus(t *testing.T) {
	root := os.Getenv("CORPUS")
	if root == "" {
		const why = "CORPUS is not set: it names a folder of real messages"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	streams, files, complete, compared := 0, 0, 0, 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".tnef" && filepath.Base(path) != "winmail.dat" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		c, err := Decode(bytes.NewReader(raw), int64(len(raw)), "")
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		streams++
		files += len(c.Files)
		if c.Complete {
			complete++
		}
		t.Logf("%s: class %s, complete %v: %s", filepath.Base(path), c.Class, c.Complete, c.Why)
		var names []string
		for _, f := range c.Files {
			t.Logf("    %s %q %q at %d, %d bytes, %s", f.Kind, f.Name, f.Names, f.Offset, f.Size, f.Type)
			if f.Offset < 0 || f.Size < 0 || f.Offset+f.Size > int64(len(raw)) {
				t.Errorf("%s: %q lies outside", path, f.Name)
			}
			names = append(names, f.Name)
		}
		compared += compareList(t, strings.TrimSuffix(path, ".tnef")+".list", names)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if streams == 0 {
		t.Fatal("CORPUS: there is no TNEF in it")
	}
	t.Logf("%d streams with %d files, %d complete; %d names as others read them", streams, files, complete, compared)
}

// compareList compares names with the list that lies beside a stream, where
// there is one, and counts them.
func compareList(t *testing.T, file string, names []string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	compared := 0
	for want := range strings.Lines(string(text)) {
		want = strings.TrimSpace(want)
		if want == "" || strings.HasPrefix(want, "body.") || strings.HasPrefix(want, "message.") || strings.HasPrefix(want, "Untitled") {
			continue
		}
		if !slices.Contains(names, want) {
			t.Errorf("%s: there is no %q in %q", filepath.Base(file), want, names)
		}
		compared++
	}
	return compared
}
