package diskspace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"cloakroom/internal/spool/smalldisk"
)

// A file system whose blocks are of 1 MB counts its room in fragments of 4 KB, as
// many do that are served over a network.
func TestRoomIsCountedInFragments(t *testing.T) {
	disk := smalldisk.Dir(t)
	if disk == "" {
		return
	}
	folder := filepath.Join(disk, "served")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	serve(t, folder, counts{Blocks: 1000, Free: 300, Available: 250, Files: 90, FreeFiles: 80, Block: 1 << 20, Fragment: 4096})
	u, err := Of(folder)
	if want := (Usage{Free: 250 * 4096, Size: 1000 * 4096, FreeInodes: 80, Inodes: 90}); err != nil || u != want {
		t.Errorf("%+v, want %+v (%v)", u, want, err)
	}
}

// counts is the answer to FUSE_STATFS, as linux/fuse.h has it.
type counts struct {
	Blocks, Free, Available, Files, FreeFiles uint64
	Block, NameLength, Fragment, _            uint32
	_                                         [6]uint32
}

// Requests of FUSE, and the sizes of the answers to them.
const (
	fuseGetAttr, getAttrSize = 3, 104
	fuseStatFS               = 17
	fuseInit, initSize       = 26, 64
	fuseHeader               = 40 // of a request; of an answer 16
)

// serve mounts a file system that has nothing but its root, and tells what it is told.
func serve(t *testing.T, folder string, c counts) {
	t.Helper()
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Mount("fuse", folder, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40700,user_id=%d,group_id=%d", device, os.Getuid(), os.Getgid()))
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		if os.Getenv("CI") == "true" {
			t.Fatal("no FUSE here: ", err)
		}
		t.Skip("no FUSE here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(folder, unix.MNT_DETACH); unix.Close(device) })
	go func() {
		request := make([]byte, 256<<10)
		for {
			n, err := unix.Read(device, request)
			if err != nil || n < fuseHeader {
				return // unmounted
			}
			order := binary.NativeEndian
			answer := make([]byte, 16)
			copy(answer[8:], request[8:16]) // which request
			switch order.Uint32(request[4:]) {
			case fuseInit:
				body := make([]byte, initSize)
				order.PutUint32(body, 7)
				order.PutUint32(body[4:], 31)
				order.PutUint32(body[20:], 4096) // max_write
				answer = append(answer, body...)
			case fuseGetAttr:
				body := make([]byte, getAttrSize)
				order.PutUint64(body[16:], 1) // the inode
				order.PutUint32(body[16+60:], unix.S_IFDIR|0o700)
				order.PutUint32(body[16+64:], 2) // links
				answer = append(answer, body...)
			case fuseStatFS:
				answer, _ = binary.Append(answer, order, &c)
			default:
				refused := -int32(unix.ENOSYS)
				order.PutUint32(answer[4:], uint32(refused))
			}
			order.PutUint32(answer, uint32(len(answer)))
			_, _ = unix.Write(device, answer) // some requests want none
		}
	}()
}
