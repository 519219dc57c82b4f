package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// startWriting asks the kernel to begin writing a range of a file to the disk.
// It is advice: an error changes nothing, as the sync at the end tells all.
func startWriting(f *os.File, offset, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, n, unix.SYNC_FILE_RANGE_WRITE)
}
