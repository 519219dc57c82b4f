package dir

// Removing what calls that died left in the staging folder.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// sweepBatch is how many names are read from the folder at a time.
const sweepBatch = 1000

// sweep removes temporary files that are older than age.
func (d *Dir) sweep(ctx context.Context, b *base, age time.Duration, beat func()) (int, error) {
	fail := func(err error) (int, error) {
		return 0, onTarget(fmt.Errorf("sweep the staging folder %s in %s: %w", d.cfg.Staging, d.cfg.Base, err))
	}
	fd, err := openAt(b.fd, d.cfg.Staging, openFolder, 0)
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return fail(err)
	}
	folder := os.NewFile(uintptr(fd), d.cfg.Staging)
	defer folder.Close()
	now, err := clock(fd)
	if err != nil {
		return fail(err)
	}
	removed := 0
	for {
		names, err := folder.Readdirnames(sweepBatch)
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				return removed, err
			}
			beat()
			if !strings.HasPrefix(name, tempPrefix) || !olderThan(fd, name, now.Add(-age)) {
				continue
			}
			switch err := again(func() error { return unix.Unlinkat(fd, name, 0) }); {
			case err == nil:
				removed++
			case !errors.Is(err, unix.ENOENT):
				return fail(err)
			}
		}
		if err == io.EOF {
			return removed, nil
		}
		if err != nil {
			return fail(err)
		}
	}
}

// clock is the time by which the file system dates files: the file server's, if
// there is one.
func clock(folder int) (time.Time, error) {
	name := tempPrefix + "clock-" + rand.Text()
	fd, err := openAt(folder, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return time.Time{}, err
	}
	defer unix.Close(fd)
	defer unix.Unlinkat(folder, name, 0)
	st, err := fstat(fd)
	return modified(st), err
}

func olderThan(folder int, name string, limit time.Time) bool {
	st, err := statAt(folder, name)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && modified(st).Before(limit)
}

func modified(st unix.Stat_t) time.Time {
	sec, nsec := st.Mtim.Unix()
	return time.Unix(sec, nsec)
}
