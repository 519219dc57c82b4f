package testserver

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// installation is where a server's programs are: in the system, or in a folder
// where deploy/setup unpacked them.
type installation struct {
	root      string   // in front of the usual paths; "" for the system
	libraries []string // folders of shared libraries, for an unpacked one
}

// path is where a file that belongs at p is.
func (in *installation) path(p string) string { return filepath.Join(in.root, p) }

// env is what the programs need in their environment.
func (in *installation) env() []string {
	if len(in.libraries) == 0 {
		return nil
	}
	return []string{"LD_LIBRARY_PATH=" + strings.Join(in.libraries, ":")}
}

// command prepares one of the programs.
func (in *installation) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), in.env()...)
	return cmd
}

// cacheDir is the folder that deploy/setup/unpack.sh unpacks into.
func cacheDir() (string, error) {
	if dir := os.Getenv("CLOAKROOM_CACHE"); dir != "" {
		return dir, nil
	}
	if isRoot() {
		return "/var/cache/cloakroom-test", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache of unpacked servers: %w", err)
	}
	return filepath.Join(dir, "cloakroom-test"), nil
}

// inCache tells an unpacked program, which a test may have put on its PATH, from
// an installed one.
func inCache(path string) bool {
	cache, err := cacheDir()
	return err == nil && strings.HasPrefix(path, cache+"/")
}

// unpacked is the copy made by deploy/setup/<name>.sh.
func unpacked(name string) (*installation, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(cache, name)
	// unpack.sh writes this list last; paths in it are relative to root.
	list, err := os.ReadFile(filepath.Join(root, "libraries"))
	if err != nil {
		return nil, fmt.Errorf("%s is neither installed nor unpacked: run deploy/setup/%s.sh (%w)", name, name, err)
	}
	in := &installation{root: root}
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		in.libraries = append(in.libraries, filepath.Join(root, lines.Text()))
	}
	return in, nil
}

// postfixPrograms is a Postfix installation.
type postfixPrograms struct {
	installation
	commands string // postfix(1), sendmail(1), …
	daemons  string // master(8), smtpd(8), …
}

// findPostfix prefers the installed Postfix, which it asks for its built-in
// folders (postconf -d reads no configuration).
func findPostfix(ctx context.Context) (*postfixPrograms, error) {
	for _, postconf := range []string{"/usr/sbin/postconf", lookPath("postconf")} {
		if !executable(postconf) || inCache(postconf) {
			continue
		}
		p := &postfixPrograms{}
		for name, folder := range map[string]*string{"command_directory": &p.commands, "daemon_directory": &p.daemons} {
			out, err := exec.CommandContext(ctx, postconf, "-dh", name).Output()
			if err != nil {
				return nil, fmt.Errorf("%s -dh %s: %w", postconf, name, err)
			}
			*folder = strings.TrimSpace(string(out))
		}
		return p, nil
	}
	in, err := unpacked("postfix")
	if err != nil {
		return nil, err
	}
	return &postfixPrograms{installation: *in, commands: in.path("/usr/sbin"), daemons: in.path("/usr/lib/postfix/sbin")}, nil
}

// findPostgres is the installation of PostgreSQL and its folder of programs.
func findPostgres() (*installation, string, error) {
	const debian = "/usr/lib/postgresql/*/bin/postgres"
	if bin := newestMatch(debian); bin != "" {
		return &installation{}, filepath.Dir(bin), nil
	}
	if bin := lookPath("postgres"); bin != "" {
		return &installation{}, filepath.Dir(bin), nil
	}
	in, err := unpacked("postgresql")
	if err != nil {
		return nil, "", err
	}
	bin := newestMatch(in.path(debian))
	if bin == "" {
		return nil, "", fmt.Errorf("no PostgreSQL below %s: remove that folder and run deploy/setup/postgresql.sh", in.root)
	}
	return in, filepath.Dir(bin), nil
}

// Python prepares a call of Python 3: the copy that deploy/setup/python.sh
// unpacked where the installed one is missing or lacks its library, else the
// installed one.
func Python(ctx context.Context, args ...string) (*exec.Cmd, error) {
	in, err := unpacked("python")
	if err == nil {
		return in.command(ctx, in.path("/usr/bin/python3"), args...), nil
	}
	if python := lookPath("python3"); python != "" {
		return exec.CommandContext(ctx, python, args...), nil
	}
	return nil, err
}

// newestMatch is the last file that matches pattern; for Debian's folders named
// by major version that is the newest, as long as they have equally many digits.
func newestMatch(pattern string) string {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

func lookPath(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}

func executable(path string) bool {
	if path == "" {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
