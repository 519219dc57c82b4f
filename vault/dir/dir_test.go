package dir

// The conformance suite, on a disk and in memory; links, modes, groups, mounts.

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/vault"
	"cloakroom/vault/vaulttest"
)

// open gives a destination in a new folder; change, if not nil, its settings.
func open(t *testing.T, base string, change func(*Config)) vaulttest.Fixture {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Base = base
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return vaulttest.Fixture{Destination: d, Root: base}
}

func TestConformance(t *testing.T) {
	vaulttest.Run(t, func(*testing.T) func(*testing.T) vaulttest.Fixture {
		return func(t *testing.T) vaulttest.Fixture { return open(t, t.TempDir(), nil) }
	})
}

func TestConformanceInMemory(t *testing.T) {
	const shm = "/dev/shm"
	vaulttest.Run(t, func(*testing.T) func(*testing.T) vaulttest.Fixture {
		return func(t *testing.T) vaulttest.Fixture {
			base, err := os.MkdirTemp(shm, "cloakroom-dir-*")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(base) })
			return open(t, base, func(c *Config) { c.Verify = verifySize })
		}
	})
}

func put(t *testing.T, d vault.Destination, path string, b []byte) error {
	t.Helper()
	return d.Put(t.Context(), path, vaulttest.Content(b), vaulttest.Attempt())
}

func wantScope(t *testing.T, err error, scope vault.Scope, words string) {
	t.Helper()
	var fault *vault.Fault
	if !errors.As(err, &fault) || fault.Scope != scope {
		t.Errorf("got %v (%+v), want a fault of scope %d", err, fault, scope)
		return
	}
	if text := fault.Error() + "; " + fault.Hint; !strings.Contains(text, words) {
		t.Errorf("%q does not say %q", text, words)
	}
}

func TestCopiesWhereTheFileSystemCan(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	b := vaulttest.Bytes(3_000_000, 1)
	if err := put(t, f.Destination, "bob/a", b); err != nil {
		t.Fatal(err)
	}
	if err := f.Destination.Copy(t.Context(), "bob/a", "alice/a", vaulttest.Content(b), "x"); err != nil {
		t.Fatal(err)
	}
	var one, other syscall.Stat_t
	if err := errors.Join(syscall.Stat(f.Root+"/bob/a", &one), syscall.Stat(f.Root+"/alice/a", &other)); err != nil {
		t.Fatal(err)
	}
	if one.Ino == other.Ino || other.Nlink != 1 {
		t.Error("the copy is the same file")
	}
}

func TestLinksLeadNowhere(t *testing.T) {
	outside := t.TempDir()
	if err := os.Mkdir(outside+"/2026", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(outside+"/secret", []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := open(t, t.TempDir(), nil)
	if err := put(t, f.Destination, "alice/2026/own", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.Root+"/bob", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"bob/out": outside, "bob/relative": "../../" + filepath.Base(outside), "bob/alice": "../alice", "evil": outside,
		"bob/file": outside + "/secret", "bob/dangling": outside + "/made by us",
	} {
		if err := os.Symlink(to, filepath.Join(f.Root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"bob/out/x", "bob/out/2026/x", "bob/alice/x", "bob/alice/2026/x", "evil/x", "bob/relative/x"} {
		wantScope(t, put(t, f.Destination, path, []byte("x")), vault.ThisPath, "symbolic link")
		if err := f.Destination.Remove(t.Context(), path); err == nil {
			t.Errorf("remove %q: no error", path)
		}
	}
	for _, path := range []string{"bob/file", "bob/dangling", "bob/out", "evil"} {
		if err := put(t, f.Destination, path, []byte("x")); !errors.Is(err, vault.ErrTaken) {
			t.Errorf("put %q: %v", path, err)
		}
	}
	if same, err := f.Destination.Same(t.Context(), "bob/file", vaulttest.Content([]byte("secret"))); same || err != nil {
		t.Errorf("same of a link: %v, %v", same, err)
	}
	if _, err := f.Destination.Same(t.Context(), "bob/out/secret", vaulttest.Content([]byte("secret"))); err == nil {
		t.Error("same through a link gives no error")
	}
	if err := f.Destination.Remove(t.Context(), "bob/file"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(outside + "/secret"); err != nil || string(b) != "secret" {
		t.Errorf("the file outside: %q, %v", b, err)
	}
	if found, _ := filepath.Glob(outside + "/*"); len(found) != 2 {
		t.Errorf("outside there are %q", found)
	}
}

func TestStagingFolderIsNoLinkAndNoSpace(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	outside := t.TempDir()
	if err := os.Symlink(outside, f.Root+"/.cloakroom-upload"); err != nil {
		t.Fatal(err)
	}
	if err := put(t, f.Destination, "bob/a", []byte("x")); err == nil {
		t.Error("it went through a staging folder that is a link")
	}
	wantScope(t, put(t, f.Destination, ".cloakroom-upload/a", []byte("x")), vault.ThisPath, "staging")
	if found, _ := os.ReadDir(outside); len(found) != 0 {
		t.Errorf("outside there is %v", found)
	}
}

func TestPipesDoNotBlock(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	if err := syscall.Mkfifo(f.Root+"/pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	if same, err := f.Destination.Same(t.Context(), "pipe", vaulttest.Content(nil)); same || err != nil {
		t.Errorf("same: %v, %v", same, err)
	}
	if err := f.Destination.Copy(t.Context(), "pipe", "copy", vaulttest.Content(nil), "x"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("copy: %v", err)
	}
}

func TestModesWhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	f := open(t, t.TempDir(), func(c *Config) { c.FileMode, c.DirMode = "0664", "0775" })
	if err := put(t, f.Destination, "bob/2026/a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{
		"bob": fs.ModeDir | 0o775, "bob/2026": fs.ModeDir | 0o775, "bob/2026/a": 0o664, ".cloakroom-upload": fs.ModeDir | 0o700,
	} {
		if info, err := os.Stat(filepath.Join(f.Root, path)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info, err, want)
		}
	}
}

func TestFoldersMayHandDownTheirGroup(t *testing.T) {
	f := open(t, t.TempDir(), func(c *Config) { c.DirMode = "2770" })
	if err := put(t, f.Destination, "bob/2026/a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"bob", "bob/2026"} {
		if info, err := os.Stat(filepath.Join(f.Root, path)); err != nil || info.Mode() != fs.ModeDir|fs.ModeSetgid|0o770 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}

func TestErrorsOfTheFileSystemAreJudged(t *testing.T) {
	for err, want := range map[error]vault.Scope{
		syscall.ENOSPC: vault.Target, syscall.EDQUOT: vault.Target, syscall.EROFS: vault.Target, syscall.EIO: vault.Target,
		syscall.ESTALE: vault.Target, syscall.EACCES: vault.ThisPath, syscall.EPERM: vault.ThisPath, syscall.ENOTDIR: vault.ThisPath,
		syscall.ENAMETOOLONG: vault.ThisPath, syscall.EXDEV: vault.ThisPath, syscall.EMFILE: vault.OneFile,
	} {
		wantScope(t, onPath("bob/a", err), want, "bob/a")
	}
	wantScope(t, onTarget(syscall.EACCES), vault.Access, "let our account")
	wantScope(t, onTarget(syscall.EMFILE), vault.Target, "")
	if err := onPath("bob/a", syscall.ENOENT); !errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*vault.Fault)) {
		t.Errorf("a missing file is %v", err)
	}
}

func TestGroupOfTheFolderIsHandedDown(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	group := os.Getgid()
	if os.Geteuid() == 0 {
		group = 12345 // root may give to any
	}
	folder := f.Root + "/research"
	if err := errors.Join(os.Mkdir(folder, 0o770), os.Chown(folder, -1, group), os.Chmod(folder, 0o770|fs.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	if err := put(t, f.Destination, "research/2026/a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{folder + "/2026", folder + "/2026/a"} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Gid); got != group {
			t.Errorf("%s has group %d, want %d", path, got, group)
		}
		if info.IsDir() && info.Mode()&fs.ModeSetgid == 0 {
			t.Errorf("%s does not hand down its group", path)
		}
	}
}

func TestMissingBaseIsNotMade(t *testing.T) {
	parent := t.TempDir()
	f := open(t, parent+"/volume", nil)
	wantScope(t, put(t, f.Destination, "bob/a", []byte("x")), vault.Target, "mounted")
	_, err := f.Destination.Same(t.Context(), "bob/a", vaulttest.Content(nil))
	wantScope(t, err, vault.Target, "mounted")
	if _, err := os.Stat(parent + "/volume"); err == nil {
		t.Error("the base folder was made")
	}
	if err := os.Mkdir(parent+"/volume", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := put(t, f.Destination, "bob/a", []byte("x")); err != nil {
		t.Errorf("after it was mounted: %v", err)
	}
}

func TestMarkerTellsWhetherTheVolumeIsMounted(t *testing.T) {
	f := open(t, t.TempDir(), func(c *Config) { c.Marker = ".this is the volume" })
	wantScope(t, put(t, f.Destination, "bob/a", []byte("x")), vault.Target, "mounted")
	if found, _ := os.ReadDir(f.Root); len(found) != 0 {
		t.Errorf("something was made: %v", found)
	}
	if err := os.WriteFile(f.Root+"/.this is the volume", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := put(t, f.Destination, "bob/a", []byte("x")); err != nil {
		t.Error(err)
	}
}

// What happens where the file system has no RENAME_NOREPLACE, or no links either.
func TestOtherWaysToMove(t *testing.T) {
	for name, move := range map[string]func(*temp, int, string) error{
		"link":            (*temp).link,
		"look and rename": (*temp).lookAndRename,
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, t.TempDir(), nil)
			d := f.Destination.(*Dir)
			if err := put(t, d, "taken", []byte("old")); err != nil {
				t.Fatal(err)
			}
			for path, want := range map[string]error{"free": nil, "taken": syscall.EEXIST} {
				b, err := d.openBase()
				if err != nil {
					t.Fatal(err)
				}
				tmp, err := d.newTemp(b, vaulttest.Attempt(), func() {})
				if err != nil {
					t.Fatal(err)
				}
				if err := tmp.write(t.Context(), vaulttest.Content([]byte("new")), true); err != nil {
					t.Fatal(err)
				}
				if err := move(tmp, b.fd, path); !errors.Is(err, want) {
					t.Errorf("%s: %v", path, err)
				}
				tmp.discard()
				b.close()
			}
			for path, want := range map[string]string{"free": "new", "taken": "old"} {
				if got, err := os.ReadFile(f.Root + "/" + path); err != nil || string(got) != want {
					t.Errorf("%s holds %q, %v", path, got, err)
				}
			}
			if left, _ := os.ReadDir(f.Root + "/.cloakroom-upload"); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// An NFS client may send a request again whose answer was lost.
func TestLinkThatIsOursIsNotTaken(t *testing.T) {
	f := open(t, t.TempDir(), nil)
	d := f.Destination.(*Dir)
	b, err := d.openBase()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	tmp, err := d.newTemp(b, "once", func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer tmp.discard()
	if err := os.Link(f.Root+"/.cloakroom-upload/put-once", f.Root+"/a"); err != nil {
		t.Fatal(err)
	}
	if err := tmp.link(b.fd, "a"); err != nil {
		t.Error(err)
	}
}

func TestCallThatHangsIsLeft(t *testing.T) {
	f := open(t, t.TempDir(), func(c *Config) { c.Timeout, c.Connections = time.Second, 1 })
	d := f.Destination.(*Dir)
	free := make(chan struct{})
	began := time.Now()
	err := d.run(t.Context(), func(context.Context, func()) error { <-free; return nil })
	wantScope(t, err, vault.Target, "file server")
	wantScope(t, put(t, d, "a", []byte("x")), vault.Target, "file server") // its thread is still held
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := d.Sweep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("sweep: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	close(free)
	if err := put(t, d, "a", []byte("x")); err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

func TestSlowCallIsNotLeft(t *testing.T) {
	f := open(t, t.TempDir(), func(c *Config) { c.Timeout = time.Second })
	err := f.Destination.(*Dir).run(t.Context(), func(_ context.Context, beat func()) error {
		for range 6 {
			time.Sleep(300 * time.Millisecond)
			beat()
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
