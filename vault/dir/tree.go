package dir

// The tree below the base, by file descriptors: no step follows a link.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"cloakroom/vault"
)

const (
	openFolder = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	// openForRead does not wait for the other end of a pipe.
	openForRead = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
)

// again repeats a system call that a signal interrupted, as file systems in
// user space may have it.
func again(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

func openAt(folder int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() (err error) {
		fd, err = unix.Openat(folder, name, flags, mode)
		return err
	})
	return fd, err
}

func statAt(folder int, name string) (st unix.Stat_t, err error) {
	err = again(func() error { return unix.Fstatat(folder, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

func fstat(fd int) (st unix.Stat_t, err error) {
	err = again(func() error { return unix.Fstat(fd, &st) })
	return st, err
}

// base is the opened base folder. It is opened for every call, as a volume may
// be mounted and unmounted meanwhile.
type base struct{ fd int }

func (b *base) close() { unix.Close(b.fd) }

// openBase opens the base folder, which must exist.
func (d *Dir) openBase() (*base, error) {
	fd, err := openAt(unix.AT_FDCWD, d.cfg.Base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		err = fmt.Errorf("base folder %s: %w", d.cfg.Base, err)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &vault.Fault{Scope: vault.Target, Hint: "is it mounted? It is never made, make it yourself", Err: err}
		}
		return nil, onTarget(err)
	}
	if d.cfg.Marker != "" {
		if _, err := statAt(fd, d.cfg.Marker); err != nil {
			unix.Close(fd)
			err = fmt.Errorf("base folder %s: marker %s: %w", d.cfg.Base, d.cfg.Marker, err)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, &vault.Fault{Scope: vault.Target, Hint: "is it mounted? The marker is not in it", Err: err}
			}
			return nil, onTarget(err)
		}
	}
	return &base{fd}, nil
}

// parent opens the folder that path lies in.
func (b *base) parent(p string) (fd int, name string, err error) {
	folders, name := path.Split(p)
	fd, err = openAt(b.fd, ".", openFolder, 0)
	if err != nil {
		return -1, "", onTarget(err)
	}
	for _, folder := range strings.Split(strings.TrimSuffix(folders, "/"), "/") {
		if folder == "" {
			break
		}
		next, err := openAt(fd, folder, openFolder, 0)
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			err = notFolder(fd, folder)
		}
		unix.Close(fd)
		if err != nil {
			return -1, "", onPath(p, err)
		}
		fd = next
	}
	return fd, name, nil
}

// notFolder is why name cannot be opened as a folder.
func notFolder(folder int, name string) error {
	if st, err := statAt(folder, name); err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return fmt.Errorf("folder %s: %w", name, errLink)
	}
	return fmt.Errorf("folder %s: %w", name, unix.ENOTDIR)
}

// stat looks at what is under the name, be it a link.
func (b *base) stat(p string) (unix.Stat_t, error) {
	folder, name, err := b.parent(p)
	if err != nil {
		return unix.Stat_t{}, err
	}
	defer unix.Close(folder)
	st, err := statAt(folder, name)
	return st, onPath(p, err)
}

// openFile opens a regular file for reading.
func (b *base) openFile(p string) (*os.File, error) {
	folder, name, err := b.parent(p)
	if err != nil {
		return nil, err
	}
	defer unix.Close(folder)
	fd, err := openAt(folder, name, openForRead, 0)
	if err != nil {
		return nil, onPath(p, err)
	}
	st, err := fstat(fd)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("it is not a regular file")
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		unix.Close(fd)
		return nil, &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%s: %w", p, err)}
	}
	return os.NewFile(uintptr(fd), p), nil
}

// makeFolders opens the base and all folders of path, made where they are
// missing. The last is the one that name lies in.
func (b *base) makeFolders(p string, mode uint32) (fds []int, name string, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	fd, err := openAt(b.fd, ".", openFolder, 0)
	if err != nil {
		return nil, "", onTarget(err)
	}
	fds = append(fds, fd)
	names := strings.Split(p, "/")
	for _, folder := range names[:len(names)-1] {
		if fd, err = openOrMake(fd, folder, mode); err != nil {
			return fds, "", onPath(p, err)
		}
		fds = append(fds, fd)
	}
	return fds, names[len(names)-1], nil
}

// openOrMake opens a folder, and makes it when it is missing. Another call may
// make it at the same moment.
func openOrMake(parent int, name string, mode uint32) (int, error) {
	fd, err := openAt(parent, name, openFolder, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return -1, notFolder(parent, name)
	}
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	err = again(func() error { return unix.Mkdirat(parent, name, mode) })
	made := err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	fd, err = openAt(parent, name, openFolder, 0)
	if err != nil || !made {
		return fd, err
	}
	// Whatever the umask; an inherited set-group-ID bit stays.
	st, err := fstat(fd)
	if err == nil {
		err = chmod(fd, mode|uint32(st.Mode)&unix.S_ISGID)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// chmod sets the mode where the file system has modes: on others the mount
// options decide, and nothing else refuses it to the owner.
func chmod(fd int, mode uint32) error {
	err := again(func() error { return unix.Fchmod(fd, mode) })
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// syncFolder makes the names in a folder durable, where the file system knows
// how: some in user space do not.
func syncFolder(fd int) error {
	err := again(func() error { return unix.Fsync(fd) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
