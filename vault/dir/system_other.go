//go:build !linux

package dir

// Without what only Linux has: links in place of renames, and no copies.

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func renameNoReplace(int, string, int, string) error { return unix.ENOSYS }

func dropCache(int) {}

func cloneFile(context.Context, *os.File, *os.File, int64, func()) error {
	return fmt.Errorf("copy: %w on this system", errors.ErrUnsupported)
}
