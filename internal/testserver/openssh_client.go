package testserver

// The stock client, sftp(1), as people use it with a server.

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// SFTP prepares a call of sftp(1) that logs in to s and takes commands, one a
// line, from batch: the installed client, or the one that deploy/setup/openssh.sh
// unpacked. The first of its arguments is the program.
func (s *SSHD) SFTP(ctx context.Context, batch string) (*exec.Cmd, error) {
	in, program := &installation{}, lookPath("sftp")
	var args []string
	if program == "" {
		var err error
		if in, err = unpacked("openssh-client"); err != nil {
			return nil, err
		}
		program = in.path("/usr/bin/sftp")
		args = append(args, "-S", in.path("/usr/bin/ssh"))
	}
	args = append(args, "-b", "-", "-F", s.ClientConfig(), ClientHost)
	cmd := in.command(ctx, program, args...)
	cmd.Stdin = strings.NewReader(batch)
	return cmd, nil
}

// ClientHost is what ClientConfig calls the server.
const ClientHost = "vault"

// ClientConfig is a file for option -F of sftp(1) and ssh(1).
func (s *SSHD) ClientConfig() string { return filepath.Join(s.folder, "ssh_config") }

// clientConfig takes the name of the server, its port, the account, and the files
// with key and known hosts.
const clientConfig = `Host %s
HostName 127.0.0.1
Port %d
User %s
IdentityFile %s
IdentitiesOnly yes
UserKnownHostsFile %s
`

func (s *SSHD) writeClientConfig() error {
	text := fmt.Sprintf(clientConfig, ClientHost, s.port, s.User(), s.KeyFile(), s.KnownHostsFile())
	if err := os.WriteFile(s.ClientConfig(), []byte(text), 0o644); err != nil {
		return fmt.Errorf("configure the client: %w", err)
	}
	return nil
}

// Log is what the server has logged so far.
func (s *SSHD) Log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return fmt.Sprintf("the log cannot be read: %v", err)
	}
	return string(text)
}
