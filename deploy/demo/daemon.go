package main

// Running the built program: the daemon, and commands beside it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cloakroom/internal/testserver"
)

// rules is the policy of the demo, as it stands in the configuration.
const rules = `rules:
  - name: small files stay
    if: attachment.size < 10 * KB
    link: false
    vault: false
  - name: all others become links
    link: {}
  - name: plans are kept for the whole department
    if: attachment.extension == 'pdf' && owner.department != ''
    vault: {target: archive, space: department}
  - name: other files for whoever sent or got them
    vault: {target: archive, space: user}
`

// servers are what the demo starts.
type servers struct {
	openssh   *testserver.SSHD
	cloakroom *testserver.Cloakroom
	postfix   *testserver.Postfix
}

// start runs the server of the vault, Cloakroom and then, with it as its milter,
// Postfix.
func start(ctx context.Context, binary string) (s servers, err error) {
	if _, err := os.Stat(binary); err != nil {
		return s, fmt.Errorf("the program is not built yet (%w): \"make demo\" builds it", err)
	}
	if s.openssh, err = startVault(ctx); err != nil {
		return s, err
	}
	s.cloakroom, err = testserver.StartCloakroom(ctx, testserver.CloakroomOptions{
		Binary: binary,
		Config: vaultSection(s.openssh) + rules,
		Files:  map[string]string{"users.yaml": users},
	})
	if err != nil {
		return s, err
	}
	s.postfix, err = testserver.StartPostfix(ctx, testserver.PostfixOptions{
		MilterAddr: s.cloakroom.MilterAddr(),
		Mailboxes:  []string{bob, carol, dave},
	})
	return s, err
}

// stop ends all and removes their folders.
func (s servers) stop() error {
	var err error
	if s.postfix != nil {
		err = s.postfix.Stop()
	}
	if s.cloakroom != nil {
		err = errors.Join(err, s.cloakroom.Stop())
	}
	if s.openssh != nil {
		err = errors.Join(err, s.openssh.Stop())
	}
	return err
}

// saveLogs keeps what they have logged, in a file for whoever looks into a failure.
func (s servers) saveLogs() (string, error) {
	f, err := os.CreateTemp("", "cloakroom-demo-*.log")
	if err != nil {
		return "", err
	}
	defer f.Close()
	if s.cloakroom != nil {
		fmt.Fprintf(f, "cloakroom:\n%s\n", s.cloakroom.Log())
	}
	if s.postfix != nil {
		fmt.Fprintf(f, "postfix:\n%s\n", s.postfix.Log())
	}
	if s.openssh != nil {
		fmt.Fprintf(f, "openssh:\n%s", s.openssh.Log())
	}
	return f.Name(), f.Sync()
}

// keep writes a file beside the configuration, for commands to read.
func (s servers) keep(name string, content []byte) (string, error) {
	path := filepath.Join(s.cloakroom.Folder(), name)
	return path, os.WriteFile(path, content, 0o644)
}

// run runs a command of the program and gives what it prints.
func (s servers) run(ctx context.Context, args ...string) (string, error) {
	out, complaint, code := s.cloakroom.Run(ctx, nil, args...)
	if code != 0 {
		return "", fmt.Errorf("cloakroom %s: exit code %d: %s", strings.Join(args, " "), code, strings.TrimSpace(complaint))
	}
	return out, nil
}

// ask runs a command with --json and reads its answer.
func (s servers) ask(ctx context.Context, answer any, args ...string) error {
	out, err := s.run(ctx, append(args, "--json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), answer); err != nil {
		return fmt.Errorf("cloakroom %s --json: %w", strings.Join(args, " "), err)
	}
	return nil
}
