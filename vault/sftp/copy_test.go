package sftp_test

// Copies that the server makes, and links.

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"cloakroom/vault"
	"cloakroom/vault/sftp"
	"cloakroom/vault/vaulttest"
)

// unsent is a content that must not be read.
func unsent(t *testing.T, b []byte) vault.Content {
	c := vaulttest.Content(b)
	c.Open = func() (io.ReadSeekCloser, error) {
		t.Error("the content is read again")
		return nil, os.ErrInvalid
	}
	return c
}

func inode(t *testing.T, name string) uint64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestCopiesAreMadeByTheServer(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	b := vaulttest.Bytes(40<<20+5, 1) // several requests
	for name, c := range map[string]struct {
		change  func(*sftp.Config)
		unable  bool
		oneFile bool
	}{
		"copied":         {func(*sftp.Config) {}, false, false},
		"linked":         {func(c *sftp.Config) { c.HardLinksUsersCannotWrite = true }, false, true},
		"linked only":    {func(c *sftp.Config) { c.HardLinksUsersCannotWrite, c.ServerSideCopy = true, false }, false, true},
		"not configured": {func(c *sftp.Config) { c.ServerSideCopy = false }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			base, root := space(t, s)
			cfg := configFor(s)
			cfg.Base, cfg.Verify = base, sftp.VerifySize // copies are read back nevertheless
			c.change(&cfg)
			d := open(t, cfg)
			if err := d.Put(t.Context(), "bob/a", vaulttest.Content(b), vaulttest.Attempt()); err != nil {
				t.Fatal(err)
			}
			err := d.Copy(t.Context(), "bob/a", "alice/2026/a", unsent(t, b), vaulttest.Attempt())
			if c.unable {
				if !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := d.Same(t.Context(), "alice/2026/a", vaulttest.Content(b)); err != nil || !ok {
				t.Errorf("same: %v, %v", ok, err)
			}
			one := inode(t, filepath.Join(root, "bob/a")) == inode(t, filepath.Join(root, "alice/2026/a"))
			if one != c.oneFile {
				t.Errorf("one file under two names: %v", one)
			}
			if err := d.Copy(t.Context(), "bob/a", "alice/2026/a", unsent(t, b), vaulttest.Attempt()); !errors.Is(err, vault.ErrTaken) {
				t.Errorf("copy again: %v", err)
			}
			changed := vaulttest.Bytes(len(b), 2)
			if err := d.Copy(t.Context(), "bob/a", "alice/other", unsent(t, changed), vaulttest.Attempt()); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("copy of another content: %v", err)
			}
			wantStagingEmpty(t, root)
		})
	}
}

func TestModesOfFilesAndFolders(t *testing.T) {
	s := startSSHD(t)
	base, root := space(t, s)
	cfg := configFor(s)
	cfg.Base, cfg.FileMode, cfg.DirMode = base, "0640", "2750"
	if err := open(t, cfg).Put(t.Context(), "bob/2026/a", vaulttest.Content([]byte("x")), vaulttest.Attempt()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{
		"bob/2026/a":        0o640,
		"bob/2026":          0o750 | os.ModeDir | os.ModeSetgid,
		"bob":               0o750 | os.ModeDir | os.ModeSetgid,
		".cloakroom-upload": 0o700 | os.ModeDir,
	} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}
