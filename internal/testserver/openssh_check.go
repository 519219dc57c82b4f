package testserver

// What sshd makes of a piece of configuration.

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Effective gives the settings, one a line, that sshd would have for an account if
// its configuration ended in more lines.
func (s *SSHD) Effective(ctx context.Context, lines, account string) (string, error) {
	in, program, err := findSSHD()
	if err != nil {
		return "", err
	}
	config, err := os.ReadFile(s.configFile())
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.folder, "sshd_config.more")
	if err := os.WriteFile(file, append(config, lines...), 0o644); err != nil {
		return "", err
	}
	cmd := in.command(ctx, program, "-T", "-C", "user="+account+",host=client,addr=127.0.0.1", "-f", file)
	if s.account != nil { // who it runs as; root would need the account "sshd"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.account.credential()}
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("sshd -T: %w: %s", err, complaint.String())
	}
	return string(out), nil
}
