//go:build linux

package test

// The UNIX socket for a Postfix in its chroot: reached with the group of its
// folder from inside the chroot, and by nobody else.

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// spoolFolder makes a folder as ExecStartPre of the unit does below
// /var/spool/postfix, and gives the one above it. Who is not root can only give
// away what is of a group of their own.
func spoolFolder(t *testing.T) (spool string, group int) {
	t.Helper()
	group = os.Getgid()
	if os.Geteuid() == 0 {
		group = 12345
	} else if groups, err := os.Getgroups(); err == nil {
		for _, g := range groups {
			if g != group {
				group = g
			}
		}
	}
	spool, err := os.MkdirTemp("", "spool-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(spool) })
	folder := filepath.Join(spool, "cloakroom")
	for _, err := range []error{os.Chmod(spool, 0o755), os.Mkdir(folder, 0o700), os.Chown(folder, -1, group), os.Chmod(folder, 0o750|os.ModeSetgid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return spool, group
}

func TestSocketIsForTheGroupOfItsFolder(t *testing.T) {
	spool, group := spoolFolder(t)
	d := newDaemon(t, linkAll)
	socket := filepath.Join(spool, "cloakroom", "milter.sock")
	d.MilterAddr = "unix:" + socket
	d.start()
	info, err := os.Lstat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Gid) != group || info.Mode().Perm() != 0o660 {
		t.Errorf("group %d, want %d; mode %v", st.Gid, group, info.Mode())
	}
	unit := mustRead(t, filepath.Join(root, unitFile))
	for _, line := range []string{"-g postfix -m 2750 /var/spool/postfix/cloakroom'\n", "\nReadWritePaths=-/var/spool/postfix/cloakroom\n"} {
		if !strings.Contains(unit, line) {
			t.Errorf("the unit has no %q: it makes another folder than this test, or does not let the daemon write there", line)
		}
	}
	if os.Geteuid() != 0 {
		t.Log("only root can look from inside a chroot")
		return
	}
	const account = 54321
	if err := connectInside(spool, "/cloakroom/milter.sock", account, group); err != nil {
		t.Errorf("an account of the group, in the chroot: %v", err)
	}
	if err := connectInside(spool, "/cloakroom/milter.sock", account, group+1); err != unix.EACCES {
		t.Errorf("an account of another group: %v, want %v", err, unix.EACCES)
	}
}

// connectInside connects to a socket as another account, with spool as its
// root, on a thread of its own that ends with it.
func connectInside(spool, socket string, uid, gid int) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			if err := unix.Chroot(spool); err != nil {
				return fmt.Errorf("chroot: %w", err)
			}
			// The raw calls: those of package syscall change every thread.
			for _, call := range [][4]uintptr{
				{unix.SYS_SETGROUPS, 0, 0, 0},
				{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
				{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
			} {
				if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
					return fmt.Errorf("become %d:%d: %w", uid, gid, errno)
				}
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		}()
	}()
	return <-result
}
