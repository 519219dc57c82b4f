package dir

// What the errors of the file system mean for the work that waits.

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"cloakroom/vault"
)

// errLink says that a symbolic link is in the way.
var errLink = errors.New("it is a symbolic link")

// targetErrors concern everything in the folder.
var targetErrors = map[error]string{
	unix.ENOSPC:    "make room on the file system",
	unix.EDQUOT:    "raise the disk quota of our account, or make room",
	unix.EROFS:     "it is mounted read-only, perhaps after an error of the disk",
	unix.EIO:       "look at the disk, or the connection to the file server",
	unix.ESTALE:    "mount it anew",
	unix.ENOTCONN:  "mount it anew",
	unix.EHOSTDOWN: "is the file server up?",
	unix.ETIMEDOUT: "is the file server up?",
	unix.ENODEV:    "is the disk there?",
	unix.ENXIO:     "is the disk there?",
}

// pathErrors concern a path, whoever asks.
var pathErrors = map[error]string{
	unix.EACCES:       "let our account write into this folder",
	unix.EPERM:        "let our account write into this folder",
	unix.ENOTDIR:      "a file stands where a folder should be: move it away",
	unix.EISDIR:       "a folder stands where a file should be: move it away",
	unix.ELOOP:        "a symbolic link stands where a folder should be: replace it by a folder",
	errLink:           "replace it by a folder",
	unix.ENAMETOOLONG: "the file system takes no names of this length",
	unix.EINVAL:       "the file system does not take the name",
	unix.EILSEQ:       "the file system does not take the name",
	unix.EXDEV:        "another file system is mounted there: make it a target of its own",
	unix.EFBIG:        "the file system takes no files of this size",
	unix.EMLINK:       "the folder is full",
}

func match(err error, hints map[error]string) (string, bool) {
	for target, hint := range hints {
		if errors.Is(err, target) {
			return hint, true
		}
	}
	return "", false
}

// onPath judges an error that came up at a path below the base.
func onPath(path string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", path, err)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if hint, ok := match(err, pathErrors); ok {
		return &vault.Fault{Scope: vault.ThisPath, Hint: hint, Err: err}
	}
	return onFile(err)
}

// onFile judges an error of reading or writing.
func onFile(err error) error {
	if err == nil {
		return nil
	}
	if hint, ok := match(err, targetErrors); ok {
		return &vault.Fault{Scope: vault.Target, Hint: hint, Err: err}
	}
	if errors.Is(err, unix.EFBIG) {
		return &vault.Fault{Scope: vault.ThisPath, Hint: pathErrors[unix.EFBIG], Err: err}
	}
	return &vault.Fault{Scope: vault.OneFile, Err: err} // too many open files, and whatever we do not know
}

// onTarget judges an error at the base or the staging folder.
func onTarget(err error) error {
	if err == nil {
		return nil
	}
	if hint, ok := match(err, targetErrors); ok {
		return &vault.Fault{Scope: vault.Target, Hint: hint, Err: err}
	}
	if errors.Is(err, fs.ErrPermission) {
		return &vault.Fault{Scope: vault.Access, Hint: "let our account write into the folder", Err: err}
	}
	return &vault.Fault{Scope: vault.Target, Err: err}
}
