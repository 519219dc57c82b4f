package attach

// Files: written whole or not at all, with owner and mode kept.

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// copyOf writes content to a new file with the owner and mode of another.
func copyOf(of, name string, content []byte) error {
	info, err := os.Stat(of)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = fill(f, info, content)
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// fill gives a new file owner, mode and content, and closes it.
func fill(f *os.File, like fs.FileInfo, content []byte) error {
	_, err := f.Write(content)
	if st, ok := like.Sys().(*syscall.Stat_t); ok && err == nil {
		if err = f.Chown(int(st.Uid), int(st.Gid)); errors.Is(err, fs.ErrPermission) && int(st.Uid) == os.Geteuid() {
			err = nil // a group that is not ours to give
		}
	}
	if err == nil {
		err = f.Chmod(like.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replace puts content in the place of a file, at once.
func replace(name string, content []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".cloakroom-*")
	if err != nil {
		return err
	}
	err = fill(f, info, content)
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncFolder(filepath.Dir(name))
}

func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock keeps two set-ups from working in one folder. It ends with the process at
// the latest.
func lock(folder string) (unlock func(), err error) {
	d, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("%s: %w", folder, ErrOtherSetup)
	}
	return func() { _ = d.Close() }, nil
}

// changeable tells whether we may and should change the configuration files.
func (p *home) changeable(names ...string) error {
	for _, name := range names {
		if err := plainFile(p.file(name)); err != nil {
			return err
		}
		f, err := os.OpenFile(p.file(name), os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("only who may write the MTA's configuration can change it: %w", err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// plainFile refuses symbolic links: postconf would put a file in the link's place,
// and whoever manages the file behind it would not know.
func plainFile(name string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file but %s: change what it leads to by hand, as printed without --apply", name, info.Mode().Type())
	}
	return nil
}
