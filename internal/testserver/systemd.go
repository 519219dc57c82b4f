package testserver

// Systemd's tools, which work without a running systemd, and commands with
// root's rights.

import (
	"context"
	"os/exec"
	"path/filepath"
)

// Systemd prepares a call of one of systemd's tools: the installed one, or the
// copy that deploy/setup/systemd.sh unpacked.
func Systemd(ctx context.Context, tool string, args ...string) (*exec.Cmd, error) {
	if path := lookPath(tool); path != "" {
		return exec.CommandContext(ctx, path, args...), nil
	}
	in, err := unpacked("systemd")
	if err != nil {
		return nil, err
	}
	for _, folder := range []string{"/usr/bin", "/bin"} {
		if path := in.path(filepath.Join(folder, tool)); executable(path) {
			return in.command(ctx, path, args...), nil
		}
	}
	return nil, &exec.Error{Name: tool, Err: exec.ErrNotFound}
}

// SystemdPath is what PATH and LD_LIBRARY_PATH need in front for scripts that
// call systemd's tools by their names: nothing where they are installed.
func SystemdPath() (programs []string, libraries []string) {
	if lookPath("systemd-sysusers") != "" && lookPath("systemd-tmpfiles") != "" {
		return nil, nil
	}
	in, err := unpacked("systemd")
	if err != nil {
		return nil, nil
	}
	return []string{in.path("/usr/bin"), in.path("/bin")}, in.libraries
}

// AsRoot prepares a command with root's rights: directly as root, by "sudo -n"
// as anybody else. env is added to the environment.
func AsRoot(env []string, argv ...string) (*exec.Cmd, error) {
	if err := checkPrivilege(context.Background()); err != nil {
		return nil, err
	}
	return asRoot(argv, env), nil
}
