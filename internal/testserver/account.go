package testserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is who a server runs as.
type account struct {
	name     string
	uid, gid uint32
}

func (a *account) credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: []uint32{}}
}

// findAccount is the first of names that exists.
func findAccount(names ...string) (*account, error) {
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("account %s: uid %q: %w", name, u.Uid, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("account %s: gid %q: %w", name, u.Gid, err)
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("none of the accounts %v exists", names)
}

// isRoot tells whether this process has root's rights.
func isRoot() bool { return os.Geteuid() == 0 }

// asRoot prepares a command that runs with root's rights: directly as root,
// through "sudo -n" as anybody else. env is added to the environment.
func asRoot(argv, env []string) *exec.Cmd {
	if !isRoot() {
		// sudo drops variables such as LD_LIBRARY_PATH: env(1) sets them again.
		argv = append(append([]string{"sudo", "-n", "--", "env"}, env...), argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// checkPrivilege says what to do when asRoot would fail.
func checkPrivilege(ctx context.Context) error {
	if isRoot() {
		return nil
	}
	if out, err := exec.CommandContext(ctx, "sudo", "-n", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("Postfix needs to be started by root: run this as root, or allow sudo first with \"sudo -v\" (%w %s)", err, out)
	}
	return nil
}

// newFolder makes an empty folder that every account may search, in parent or,
// if that is "", in the system's temporary folder.
func newFolder(parent, pattern string) (string, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	parent, err := filepath.Abs(parent)
	if err != nil {
		return "", fmt.Errorf("folder for the server: %w", err)
	}
	if isRoot() { // otherwise the servers' accounts need not reach it by name
		if err := searchable(parent); err != nil {
			return "", err
		}
	}
	dir, err := os.MkdirTemp(parent, pattern)
	if err != nil {
		return "", fmt.Errorf("folder for the server: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", errors.Join(fmt.Errorf("folder for the server: %w", err), os.RemoveAll(dir))
	}
	return dir, nil
}

// searchable fails if another account cannot pass through dir and its parents.
func searchable(dir string) error {
	for p := dir; ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("folder for the server: %w", err)
		}
		if info.Mode()&fs.ModePerm&0o001 == 0 {
			return fmt.Errorf("folder for the server: other accounts cannot search %s (mode %v): choose another, or leave it empty for a new one in %s",
				p, info.Mode(), os.TempDir())
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}
