//go:build linux

// Package smalldisk gives tests a real file system that is soon full.
package smalldisk

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Size is the size of the file system in bytes.
const Size = 1 << 20

const env = "CLOAKROOM_TEST_SMALL_DISK"

// Dir runs the calling top-level test again, in a child process with a mount
// namespace of its own, where Dir returns a directory that holds Size bytes.
// In the parent it returns "" once the child has passed: the test then
// returns too. Root is not needed where user namespaces are allowed.
func Dir(t *testing.T) string {
	t.Helper()
	return With(t, "size=1m")
}

// With is Dir with other options of tmpfs, such as nr_inodes.
func With(t *testing.T, options string) string {
	t.Helper()
	if dir := os.Getenv(env); dir != "" {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) && os.Getenv("CI") != "true" {
		t.Skip("no mount namespaces here: ", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return ""
}
