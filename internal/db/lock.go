package db

// The lock that keeps a second daemon off a data directory.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked is returned by Lock when another process holds the directory.
var ErrLocked = errors.New("data directory is in use by another daemon")

// DirLock is a held lock; it ends with Unlock or with the process.
type DirLock struct{ file *os.File }

// Lock takes the daemon's lock (flock on <dir>/lock) without waiting. The
// command line works beside the daemon and does not take it.
func Lock(dir string) (*DirLock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := lockHolder(f)
		f.Close()
		return nil, fmt.Errorf("%w: %s is locked%s; stop it first, or give this one a data directory of its own", ErrLocked, path, holder)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The pid is for people; the lock itself does not depend on it.
	if err := f.Truncate(0); err == nil {
		f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &DirLock{f}, nil
}

// Held tells whether a daemon holds the lock, and by its own word which process;
// pid is 0 where it does not say. Nothing is made or changed.
func Held(dir string) (held bool, pid int, err error) {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, fmt.Errorf("lock of the data directory: %w", err)
	}
	defer f.Close()
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return false, 0, nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return false, 0, fmt.Errorf("lock of the data directory: %w", err)
	}
	pid, _ = strconv.Atoi(strings.TrimPrefix(lockHolder(f), " by process "))
	return true, pid, nil
}

func lockHolder(f *os.File) string {
	b := make([]byte, 16)
	n, _ := f.ReadAt(b, 0)
	pid := strings.TrimSpace(string(b[:n]))
	if _, err := strconv.Atoi(pid); err != nil {
		return ""
	}
	return " by process " + pid
}

// Unlock gives the directory free. The file stays: removing it would let two
// processes lock two different files of that name.
func (l *DirLock) Unlock() error { return l.file.Close() }
