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

	"golang.org/x/sys/unix"

	"cloakroom/internal/diskspace"
	"cloakroom/message"
)

const (
	// syncs are the small files that are written to measure.
	syncs = 20
	// slowSync is the median beyond which every mail with a link is late; a disk
	// that turns needs 10 to 20 ms, a busy one 50.
	slowSync = 50 * time.Millisecond
	// deadSync is the worst that is still a disk.
	deadSync = 2 * time.Second
	// Free should be lowSpaceFactor times the watermark, or lowSpaceRoom bytes
	// without one; and of the inodes one in inodeShare, or inodesEnough: each
	// attachment is a file.
	lowSpaceFactor = 2
	lowSpaceRoom   = 1 << 30
	inodeShare     = 50
	inodesEnough   = 20_000
)

// Account is who the daemon runs as, as far as that is known.
type Account struct {
	UID  int
	Name string
}

func (a *Account) String() string {
	if a.Name != "" {
		return a.Name
	}
	return fmt.Sprintf("uid %d", a.UID)
}

// Folder looks at the data directory itself: it must be there, the daemon's, and
// nobody else's to read. runs is who the daemon runs as, nil where none runs;
// packaged is the account that the package made for it, nil for none.
func Folder(dir string, runs, packaged *Account) []Line {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Line{wrong("start the daemon once, which makes it, or correct data in the configuration", "%s is not there", dir)}
	case err != nil:
		return []Line{wrong("run this as root, or as the owner of the folder", "%v", err)}
	case !info.IsDir():
		return []Line{wrong("correct data in the configuration", "%s is not a folder", dir)}
	}
	st := info.Sys().(*syscall.Stat_t)
	if l := ownership(dir, int(st.Uid), runs, packaged); l != nil {
		return []Line{*l}
	}
	if info.Mode().Perm()&0o007 != 0 {
		return []Line{wrong("chmod o-rwx "+dir, "%s has mode %04o: everybody on this host gets at mail and keys", dir, info.Mode().Perm())}
	}
	if stray, owner := strayFile(dir, st.Uid); stray != "" {
		return []Line{wrong(fmt.Sprintf("chown -R --reference=%s %s", dir, dir), "%s belongs to uid %d, the folder to uid %d: the daemon may not be able to write it", stray, owner, st.Uid)}
	}
	return []Line{ok("%s, mode %04o, of uid %d", dir, info.Mode().Perm(), st.Uid)}
}

// ownership compares the owner of the folder with who has to write there.
func ownership(dir string, owner int, runs, packaged *Account) *Line {
	must := runs
	if must == nil {
		must = packaged
	}
	switch {
	case must == nil || must.UID == 0 || must.UID == owner:
		return nil
	case runs == nil && owner != 0:
		return nil // somebody runs it under an account of his own
	}
	l := wrong(fmt.Sprintf("chown -R %s: %s", accountWord(must), dir), "%s belongs to uid %d, and the daemon's account is %s: it cannot write there", dir, owner, must)
	return &l
}

func accountWord(a *Account) string {
	if a.Name != "" {
		return a.Name
	}
	return fmt.Sprint(a.UID)
}

// strayFile finds something on the two top levels that is somebody else's, as
// root's commands leave it.
func strayFile(dir string, uid uint32) (name string, owner uint32) {
	for _, folder := range append([]string{dir}, ownFolders(dir)...) {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				continue
			}
			if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != uid && e.Name() != "lost+found" {
				return filepath.Join(folder, e.Name()), st.Uid
			}
		}
	}
	return "", 0
}

// ownFolders are those in the data directory that may be on disks of their own.
func ownFolders(dir string) []string {
	return []string{filepath.Join(dir, "blobs"), filepath.Join(dir, "journal"), filepath.Join(dir, "spool")}
}

// Disks gives the folders of a data directory, one for each file system.
func Disks(dir string) []string {
	var out []string
	var seen []uint64
	for _, folder := range append([]string{dir}, ownFolders(dir)...) {
		var st unix.Stat_t
		if unix.Stat(folder, &st) == nil && !slices.Contains(seen, st.Dev) {
			seen = append(seen, st.Dev)
			out = append(out, folder)
		}
	}
	return out
}

// Space looks at the room on each disk. watermark is what should stay free, in
// bytes; 0 for none.
func Space(dir string, watermark int64) []Line {
	var out []Line
	for _, folder := range Disks(dir) {
		u, err := diskspace.Of(folder)
		if err != nil {
			out = append(out, wrong("look at the mount, and at dmesg", "%v", err))
			continue
		}
		out = append(out, room(folder, u, watermark))
	}
	if out == nil {
		out = append(out, wrong("see the line data", "%s cannot be looked at", dir))
	}
	return out
}

func room(folder string, u diskspace.Usage, watermark int64) Line {
	const fix = "make room, or give the data folder a larger disk; cloakroom store stats tells what is kept, and docs/operations.md what may go"
	words := fmt.Sprintf("%s: %s of %s free", folder, message.FormatSize(u.Free), message.FormatSize(u.Size))
	inodes := u.Inodes > 0
	if inodes {
		words += fmt.Sprintf(", %d of %d inodes", u.FreeInodes, u.Inodes)
	}
	enough := int64(lowSpaceRoom)
	if watermark > 0 {
		enough = lowSpaceFactor * watermark
	}
	switch {
	case u.Free < watermark:
		return wrong(fix, "%s: below store.low_space (%s), no links are made", words, message.FormatSize(watermark))
	case u.Free == 0 || inodes && u.FreeInodes == 0:
		return wrong(fix, "%s: nothing can be stored", words)
	case u.Free < enough || inodes && u.FreeInodes < min(u.Inodes/inodeShare, inodesEnough):
		return warn(fix, "%s", words)
	}
	return ok("%s", words)
}

// Sync measures how long a small file takes to be durable, as each link needs
// some. The files have no name any more when they are written.
func Sync(ctx context.Context, dir string) []Line {
	var out []Line
	for _, folder := range Disks(dir) {
		out = append(out, syncLine(ctx, folder))
	}
	return out
}

func syncLine(ctx context.Context, folder string) Line {
	var took []time.Duration
	for range syncs {
		if ctx.Err() != nil {
			break
		}
		one, err := syncOne(folder)
		switch {
		case errors.Is(err, unix.EROFS):
			return wrong("dmesg tells why the kernel gave up writing; mend the disk, then mount -o remount,rw", "%s: the file system is read-only", folder)
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
			return wrong("see the line space", "%s: the disk is full, so it was not measured", folder)
		case errors.Is(err, fs.ErrPermission):
			return wrong("run this as root, or as the owner of the folder; for the daemon's own account see the line data", "%s: this account may not write there", folder)
		case err != nil:
			return wrong("dmesg may tell more; mend the disk", "%s: %v", folder, err)
		}
		took = append(took, one)
	}
	return syncVerdict(folder, took)
}

// syncVerdict judges the measurements; too few of them are a verdict too.
func syncVerdict(folder string, took []time.Duration) Line {
	if len(took) == 0 {
		return wrong("mend the disk, or take load off it", "%s: not one file became durable in time", folder)
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	words := fmt.Sprintf("%s: fsync takes %s, at worst %s", folder, short(median), short(worst))
	switch {
	case worst > deadSync || len(took) < syncs:
		return wrong("mend the disk, or take load off it: mail waits for it", "%s", words)
	case median > slowSync:
		return warn("take load off the disk, or use one with a write cache that survives a power cut: mail with links waits for it", "%s", words)
	}
	return ok("%s", words)
}

func syncOne(dir string) (took time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := os.Remove(f.Name()); err != nil {
		return 0, err
	}
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = f.Sync()
	return time.Since(begin), err
}
