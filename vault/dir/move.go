package dir

// Giving a file its name without replacing another.

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"cloakroom/vault"
)

// checkedMoves lets one call of this process after the other look and rename.
var checkedMoves sync.Mutex

// move gives the file its name: by a rename that replaces nothing, or by a link,
// whichever the file system has. NFS has only links, FAT and CIFS only renames.
func (t *temp) move(folder int, name, path string, checked bool) error {
	err := t.rename(folder, name)
	if unsupported(err) {
		err = t.link(folder, name)
	}
	if unsupported(err) && checked {
		err = t.lookAndRename(folder, name)
	}
	switch {
	case err == nil:
		t.moved = true
		return nil
	case errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EISDIR):
		return fmt.Errorf("%s: %w", path, vault.ErrTaken)
	case unsupported(err):
		return &vault.Fault{Scope: vault.Access, Hint: "set move: checked if nobody else writes there",
			Err: fmt.Errorf("%s: the file system can neither rename without replacing nor link: %w", path, err)}
	case errors.Is(err, unix.ENOENT): // somebody removed the folder, or our file
		return &vault.Fault{Scope: vault.OneFile, Err: fmt.Errorf("%s: %w", path, err)}
	}
	return onPath(path, err)
}

// unsupported tells whether the file system lacks the operation. Links are
// refused with EPERM (link(2)).
func unsupported(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM)
}

func (t *temp) rename(folder int, name string) error {
	return again(func() error { return renameNoReplace(t.staging, t.name, folder, name) })
}

// link gives the file a second name and takes away the first. A file server
// whose answer was lost sees the request twice: the second time the name exists,
// and is ours.
func (t *temp) link(folder int, name string) error {
	err := again(func() error { return unix.Linkat(t.staging, t.name, folder, name, 0) })
	if errors.Is(err, unix.EEXIST) {
		there, statErr := statAt(folder, name)
		ours, ourErr := fstat(int(t.file.Fd()))
		if statErr == nil && ourErr == nil && there.Ino == ours.Ino && there.Dev == ours.Dev {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	_ = again(func() error { return unix.Unlinkat(t.staging, t.name, 0) }) // else Sweep does; the file stays
	return nil
}

// lookAndRename may replace what another program makes between its two steps.
func (t *temp) lookAndRename(folder int, name string) error {
	checkedMoves.Lock()
	defer checkedMoves.Unlock()
	_, err := statAt(folder, name)
	if err == nil {
		return unix.EEXIST
	}
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	return again(func() error { return unix.Renameat(t.staging, t.name, folder, name) })
}
