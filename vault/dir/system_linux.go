package dir

// What only Linux has: renames that replace nothing, reflinks, copies in the kernel.

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// copyPiece is how many bytes are copied at a time, so that a call ends with its
// context.
const copyPiece = 16 << 20

func renameNoReplace(fromDir int, from string, toDir int, to string) error {
	return unix.Renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE)
}

// dropCache makes the next read come from the disk or the file server. The file
// must be synced: dirty pages stay.
func dropCache(fd int) { _ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) }

// cloneFile makes to, which is empty, a copy of size bytes of from:
// errors.ErrUnsupported where the file system cannot.
func cloneFile(ctx context.Context, to, from *os.File, size int64, beat func()) error {
	toFD, fromFD := int(to.Fd()), int(from.Fd())
	if again(func() error { return unix.IoctlFileClone(toFD, fromFD) }) == nil {
		return nil
	}
	for left := size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var n int
		err := again(func() (err error) {
			n, err = unix.CopyFileRange(fromFD, nil, toFD, nil, int(min(left, copyPiece)), 0)
			return err
		})
		beat()
		if err != nil {
			if _, concernsTarget := match(err, targetErrors); concernsTarget {
				return onFile(err)
			}
			return fmt.Errorf("copy: %w: %w", errors.ErrUnsupported, err)
		}
		if n == 0 {
			return fmt.Errorf("copy: %w: the source ended early", errors.ErrUnsupported)
		}
		left -= int64(n)
	}
	return nil
}
