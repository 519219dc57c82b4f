package doctor

// The data directory: whose it is, how much room it has, and how long it takes
// until something is durable there.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"cloakroom/internal/diskspace"
	"cloakroom/message"
)

const (
	// fewInodes is what is worth a word: each attachment is a file.
	fewInodes = 10_000
	// syncs are the small files that are written to measure.
	syncs = 20
	// slowSync is the median beyond which every mail with a link is late; a disk
	// that turns needs 10 to 20 ms, a busy one 50.
	slowSync = 50 * time.Millisecond
	// deadSync is the worst that is still a disk.
	deadSync = 2 * time.Second
	// lowSpaceRoom times the watermark, or this many bytes without one, is what
	// should be free.
	lowSpaceFactor = 2
	lowSpaceRoom   = 1 << 30
)

// Folder looks at the data directory itself: it must be there, the daemon's, and
// nobody else's to read.
func Folder(dir string, daemon *Process) []Line {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Line{wrong("start the daemon once, or correct data in the configuration", "%s is not there", dir)}
	case err != nil:
		return []Line{wrong("run this as root, or as the owner of the folder", "%v", err)}
	case !info.IsDir():
		return []Line{wrong("correct data in the configuration", "%s is not a folder", dir)}
	}
	st := info.Sys().(*syscall.Stat_t)
	if open := info.Mode().Perm() & 0o007; open != 0 {
		return []Line{wrong("chmod o-rwx "+dir, "%s has mode %04o: everybody on this host gets at mail and keys", dir, info.Mode().Perm())}
	}
	if daemon != nil && daemon.UID >= 0 && daemon.UID != 0 && int(st.Uid) != daemon.UID {
		return []Line{wrong(fmt.Sprintf("chown -R %d %s", daemon.UID, dir), "%s belongs to uid %d, and the daemon runs as uid %d", dir, st.Uid, daemon.UID)}
	}
	if stray, owner := strayFile(dir, st.Uid); stray != "" {
		return []Line{wrong(fmt.Sprintf("chown -R %d %s", st.Uid, dir), "%s belongs to uid %d, the folder to uid %d: the daemon may not be able to write it", stray, owner, st.Uid)}
	}
	return []Line{ok("%s, mode %04o, of uid %d", dir, info.Mode().Perm(), st.Uid)}
}

// strayFile finds something on the top level that is somebody else's, as root's
// commands leave it.
func strayFile(dir string, uid uint32) (name string, owner uint32) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", 0
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != uid && e.Name() != "lost+found" {
			return filepath.Join(dir, e.Name()), st.Uid
		}
	}
	return "", 0
}

// Space looks at the room on the folder's disk. watermark is what should stay
// free, in bytes; 0 for none.
func Space(dir string, watermark int64) []Line {
	u, err := diskspace.Of(dir)
	if err != nil {
		return []Line{wrong("", "%v", err)}
	}
	const fix = "make room, or give the data folder a larger disk; cloakroom store stats tells what is kept"
	words := fmt.Sprintf("%s of %s free", message.FormatSize(u.Free), message.FormatSize(u.Size))
	inodes := u.Inodes > 0
	if inodes {
		words += fmt.Sprintf(", %d of %d inodes", u.FreeInodes, u.Inodes)
	}
	room := int64(lowSpaceRoom)
	if watermark > 0 {
		room = lowSpaceFactor * watermark
	}
	switch {
	case u.Free <= watermark:
		return []Line{wrong(fix, "%s: below store.low_space, no attachment is stored", words)}
	case u.Free == 0 || inodes && u.FreeInodes == 0:
		return []Line{wrong(fix, "%s: nothing can be stored", words)}
	case u.Free < room || inodes && u.FreeInodes < fewInodes:
		return []Line{warn(fix, "%s", words)}
	}
	return []Line{ok("%s", words)}
}

// Sync measures how long a small file takes to be durable, as each link needs
// some. The files are temporary.
func Sync(ctx context.Context, dir string) []Line {
	var took []time.Duration
	for range syncs {
		if ctx.Err() != nil {
			break
		}
		one, err := syncOne(dir)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return []Line{warn("run this as root, or as the owner of the folder", "this account may not write there, so it was not measured")}
		case err != nil:
			return []Line{wrong("mend the disk, or make room on it", "%v", err)}
		}
		took = append(took, one)
	}
	if len(took) == 0 {
		return []Line{wrong("mend the disk, or take load off it", "not one file became durable in time")}
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	words := fmt.Sprintf("fsync takes %s, at worst %s (%d files)", short(median), short(worst), len(took))
	switch {
	case worst > deadSync || len(took) < syncs:
		return []Line{wrong("mend the disk, or take load off it: mail waits for it", "%s", words)}
	case median > slowSync:
		return []Line{warn("take load off the disk, or use one with a write cache that survives a power cut: mail with links waits for it", "%s", words)}
	}
	return []Line{ok("%s", words)}
}

func syncOne(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = f.Sync()
	return time.Since(begin), err
}
