package vaulttest

// Copies on the target, sweeping, removing.

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/vault"
)

func copies(t *testing.T, f Fixture) {
	for _, size := range []int{0, 1, largeSize} {
		b := Bytes(size, uint64(size))
		from, to := "bob/from/a "+Attempt(), "alice/new folder/b "+Attempt()
		put(t, f, from, b)
		err := f.Destination.Copy(t.Context(), from, to, Content(b), Attempt())
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			f.wantAbsent(t, to)
			continue
		case err != nil:
			t.Fatal(err)
		}
		f.wantFile(t, to, b)
		if size == 0 {
			continue
		}
		// Users edit their files: no two may be one.
		tamper(t, f.file(to), 0)
		f.wantFile(t, from, b)
	}
	if _, hidden := f.list(t); len(hidden) != 0 {
		t.Errorf("left behind: %q", hidden)
	}
}

func copyTampered(t *testing.T, f Fixture) {
	b := Bytes(100_000, 1)
	put(t, f, "bob/changed", b)
	tamper(t, f.file("bob/changed"), 70_000)
	put(t, f, "bob/shorter", b[1:])
	put(t, f, "bob/folder/x", b)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, b, 0o644); err != nil {
		t.Fatal(err)
	}
	_ = os.Symlink(outside, f.file("bob/link")) // where we may
	for _, from := range []string{"bob/changed", "bob/shorter", "bob/missing", "nobody/missing", "bob/folder", "bob/link"} {
		to := "alice/copy of " + filepath.Base(from)
		if err := f.Destination.Copy(t.Context(), from, to, Content(b), Attempt()); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("copy %q: %v", from, err)
		}
		f.wantAbsent(t, to)
	}
	if _, hidden := f.list(t); len(hidden) != 0 {
		t.Errorf("left behind: %q", hidden)
	}
}

func copyTaken(t *testing.T, f Fixture) {
	b, other := Bytes(1000, 1), Bytes(1000, 2)
	put(t, f, "bob/a", b)
	put(t, f, "alice/a", other)
	put(t, f, "alice/folder/x", other)
	for _, to := range []string{"alice/a", "alice/folder", "bob/a"} {
		err := f.Destination.Copy(t.Context(), "bob/a", to, Content(b), Attempt())
		if !errors.Is(err, vault.ErrTaken) && !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("copy to %q: %v", to, err)
		}
	}
	f.wantFile(t, "bob/a", b)
	f.wantFile(t, "alice/a", other)
	f.wantFile(t, "alice/folder/x", other)
}

func (f Fixture) wantAbsent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(f.file(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q: %v; it should not be there", path, err)
	}
}

// temporaryName puts a file, looks for its temporary file meanwhile, and gives
// the name of that, and the attempt in it.
func temporaryName(t *testing.T, f Fixture) (name, attempt string) {
	t.Helper()
	attempt = Attempt()
	p := "bob/temporary.bin"
	c := Watched(Bytes(largeSize, 7), 64<<10, func(read int64) error {
		if name == "" && read >= largeSize/2 {
			if found := f.holding(t, attempt); len(found) > 0 {
				name = found[0]
			}
		}
		f.wantAbsent(t, p)
		return nil
	})
	if err := f.Destination.Put(t.Context(), p, c, attempt); err != nil {
		t.Fatal(err)
	}
	if name == "" {
		_, hidden := f.list(t)
		t.Fatalf("no hidden file has %q in its name while it is put; there are %q", attempt, hidden)
	}
	return name, attempt
}

func temporary(t *testing.T, f Fixture) {
	name, _ := temporaryName(t, f)
	f.wantAbsent(t, name)
	f.wantNothing(t, "bob/temporary.bin")
	if _, hidden := f.list(t); len(hidden) != 0 {
		t.Errorf("left behind: %q", hidden)
	}
}

func sweep(t *testing.T, f Fixture) {
	if n, err := f.Destination.Sweep(t.Context(), time.Hour); err != nil || n != 0 {
		t.Fatalf("with nothing there: %d, %v", n, err)
	}
	temp, attempt := temporaryName(t, f)
	old := time.Now().Add(-48 * time.Hour)
	plant := func(path string, when time.Time) {
		t.Helper()
		if err := os.WriteFile(f.file(path), []byte("part of"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(f.file(path), when, when); err != nil {
			t.Fatal(err)
		}
	}
	named := func(attempt2 string) string { return strings.ReplaceAll(temp, attempt, attempt2) }
	plant(named("old-1"), old)
	plant(named("old-2"), old)
	plant(named("young"), time.Now())
	// What people, or other programs, put beside them is not ours.
	strange := filepath.ToSlash(filepath.Join(filepath.Dir(temp), "notes.txt"))
	plant(strange, old)

	delivered := Bytes(5000, 1)
	keep := []string{"bob/old.bin", ".hidden by name/.x", "bob/.profile", "bob/.x.part", "bob/y.tmp"}
	for _, p := range keep {
		put(t, f, p, delivered)
		if err := os.Chtimes(f.file(p), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := f.Destination.Sweep(t.Context(), 24*time.Hour); err != nil || n != 2 {
		t.Errorf("removed %d, %v; want 2", n, err)
	}
	f.wantAbsent(t, named("old-1"))
	f.wantAbsent(t, named("old-2"))
	f.wantFile(t, named("young"), []byte("part of"))
	f.wantFile(t, strange, []byte("part of"))
	for _, p := range keep {
		f.wantFile(t, p, delivered)
	}
	f.wantFile(t, "bob/temporary.bin", Bytes(largeSize, 7))
}

func remove(t *testing.T, f Fixture) {
	put(t, f, "bob/a", []byte("x"))
	put(t, f, "bob/folder/b", []byte("x"))
	if err := f.Destination.Remove(t.Context(), "bob/a"); err != nil {
		t.Error(err)
	}
	f.wantAbsent(t, "bob/a")
	for _, p := range []string{"bob/a", "bob/missing", "nobody/at all/missing"} {
		if err := f.Destination.Remove(t.Context(), p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("remove %q: %v", p, err)
		}
	}
	if err := f.Destination.Remove(t.Context(), "bob/folder"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove a folder: %v", err)
	}
	f.wantFile(t, "bob/folder/b", []byte("x"))
	put(t, f, "bob/a", []byte("again"))
}

// everyCall runs each method once.
func everyCall(ctx context.Context, d vault.Destination) map[string]error {
	c := Content([]byte("x"))
	errs := map[string]error{
		"put":    d.Put(ctx, "bob/late", c, Attempt()),
		"copy":   d.Copy(ctx, "bob/a", "bob/late copy", c, Attempt()),
		"remove": d.Remove(ctx, "bob/a"),
	}
	_, errs["same"] = d.Same(ctx, "bob/a", c)
	_, errs["sweep"] = d.Sweep(ctx, time.Hour)
	return errs
}
