package archive

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

const pythonZips = `
import io, sys, zipfile
class Pipe(io.RawIOBase):
    "cannot be sought: the writer puts sizes behind the files"
    def __init__(self, f): self.f = f
    def writable(self): return True
    def write(self, b): return self.f.write(b)
def plain(z):
    z.writestr("docs/plan.txt", "x" * 5000)
    z.writestr("tools/setup.exe", b"MZ" * 50000)
    z.writestr(zipfile.ZipInfo("empty/"), "")
def unicode(z):
    z.writestr("\u00fcber.exe", "x")
    z.writestr("\u65e5\u672c\u8a9e.txt", "x")
def large(z):
    with z.open("large.bin", "w", force_zip64=True) as f: f.write(b"\0" * 300000)
def many(z):
    for i in range(70000): z.writestr("d/%d" % (i % 100), "")
def write(name, fill, **options):
    with open(sys.argv[1] + "/" + name, "wb") as f:
        target = Pipe(f) if options.pop("pipe", False) else f
        f.write(options.pop("prefix", b""))
        with zipfile.ZipFile(target, "w", **options) as z:
            fill(z)
            if name == "comment": z.comment = b"of many words " * 1000
import warnings; warnings.simplefilter("ignore")
write("stored", plain)
write("deflated", plain, compression=zipfile.ZIP_DEFLATED)
write("lzma", plain, compression=zipfile.ZIP_LZMA)
write("piped", plain, pipe=True)
write("unicode", unicode)
write("zip64", large)
write("many", many)
write("comment", plain)
write("behind", plain, prefix=b"#!/bin/sh\n" * 20000)
`

// TestZipsOfPython reads what another writer makes.
func TestZipsOfPython(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	cmd, err := testserver.Python(ctx, "-c", pythonZips, dir)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]string{
		"stored": "plan.txt setup.exe", "deflated": "plan.txt setup.exe", "lzma": "plan.txt setup.exe", "piped": "empty plan.txt setup.exe", // a folder whose size comes later may be a file
		"behind": "plan.txt setup.exe", "comment": "plan.txt setup.exe", "zip64": "large.bin",
	} {
		c := readFile(t, dir, name)
		if got := strings.Join(c.Names, " "); got != want || c.Encrypted || !c.Complete {
			t.Errorf("%s: %q, encrypted %v, complete %v (%s)", name, got, c.Encrypted, c.Complete, c.Why)
		}
	}
	if c := readFile(t, dir, "unicode"); !c.Complete || !strings.Contains(strings.Join(c.Names, " "), "über.exe") || !strings.Contains(strings.Join(c.Names, " "), "日本語.txt") {
		t.Errorf("unicode: %q, %s", c.Names, c.Why)
	}
	// More files than 16 bits count, with a hundred names.
	if c := readFile(t, dir, "many"); !c.Complete || len(c.Names) != 100 {
		t.Errorf("many: %d names, %s", len(c.Names), c.Why)
	}
}

func readFile(t *testing.T, dir, name string) *Contents {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
