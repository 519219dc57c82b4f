package spool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tempFile makes a file without a name: the kernel frees it with its last
// descriptor, so that not even a killed process leaves a mail behind.
func tempFile(dir string) (*os.File, error) {
	// O_EXCL: the file can never be given a name.
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR|os.O_EXCL, 0o600)
	if err == nil {
		return f, nil
	}
	// File systems and kernels that do not know O_TMPFILE say so like this.
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) {
		return unlinkedFile(dir)
	}
	return nil, err
}
