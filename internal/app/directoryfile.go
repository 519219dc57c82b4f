package app

// Files that commands write for other programs: whole or not at all.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// exportMode lets the group read, such as a mail server's: addresses are not
// for everybody on the host.
const exportMode = 0o640

// writeWhole writes the file at path by f, and puts it in place when all of it
// is on the disk. check, if there is one, is asked before, with the name of the
// new file, which ends as path does. On an error what was there stays. A file
// that is replaced hands on its owner, group and mode; a new one has exportMode.
func writeWhole(path string, f func(io.Writer) error, check func(name string) error) (err error) {
	target, err := filepath.EvalSymlinks(path) // replace the file, not a link to it
	if errors.Is(err, fs.ErrNotExist) {
		target, err = path, nil
	}
	if err != nil {
		return err
	}
	folder, base := filepath.Split(target)
	if folder == "" {
		folder = "."
	}
	old, err := os.Stat(target)
	switch {
	case err == nil && !old.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file; leave -o out to write to standard output", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	temp, err := os.CreateTemp(folder, ".cloakroom-*-"+base)
	if err != nil {
		return err
	}
	defer func() {
		temp.Close()
		if err != nil {
			err = fmt.Errorf("%s is left as it was: %w", path, err)
			os.Remove(temp.Name())
		}
	}()
	buffered := bufio.NewWriterSize(temp, 64<<10)
	if err := errors.Join(f(buffered), buffered.Flush()); err != nil {
		return err
	}
	if old != nil {
		if err := handOn(temp, old); err != nil {
			return err
		}
	}
	mode := fs.FileMode(exportMode)
	if old != nil {
		mode = old.Mode().Perm()
	}
	if err := temp.Chmod(mode); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	if check != nil {
		if err := check(temp.Name()); err != nil {
			return err
		}
	}
	if err := os.Rename(temp.Name(), target); err != nil {
		return err
	}
	return syncFolder(folder)
}

// handOn gives a new file the owner and group of the one it replaces: a daemon
// that could read that shall read this.
func handOn(file *os.File, old fs.FileInfo) error {
	now, err := file.Stat()
	if err != nil {
		return err
	}
	was, ok := old.Sys().(*syscall.Stat_t)
	is, also := now.Sys().(*syscall.Stat_t)
	if !ok || !also || was.Uid == is.Uid && was.Gid == is.Gid {
		return nil
	}
	if err := file.Chown(int(was.Uid), int(was.Gid)); err != nil {
		return fmt.Errorf("give the new file the owner of the old one: %w", err)
	}
	return nil
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
