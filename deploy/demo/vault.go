package main

// The vault: copies of the attachments in spaces of users and departments on a
// server of their own, looked at with the client that everybody has.

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/testserver"
)

// spacesFolder is the folder on the server that holds the spaces.
const spacesFolder = "spaces"

// users is the directory of the demo: who is of which department.
const users = `users:
  - {address: ann@acmecorp.test, department: building}
  - {address: bob@acmecorp.test, department: building}
  - {address: carol@acmecorp.test}
`

// vaultSection is the configuration of the vault, for a server.
func vaultSection(s *testserver.SSHD) string {
	return fmt.Sprintf(`directory: {file: users.yaml}
vault:
  targets:
    archive:
      sftp:
        address: %s
        user: %s
        key_file: %s
        known_hosts: %s
        base: %s
      path: "{space}/{name}"
      delay: 0s
`, s.Address(), s.User(), s.KeyFile(), s.KnownHostsFile(), spacesFolder)
}

// startVault starts the server of the vault, with an empty folder for the spaces.
func startVault(ctx context.Context) (*testserver.SSHD, error) {
	s, err := testserver.StartSSHD(ctx, "")
	if err != nil {
		return nil, err
	}
	// The server's account is not ours.
	folder := filepath.Join(s.Root(), spacesFolder)
	if err = os.Mkdir(folder, 0o777); err == nil {
		err = os.Chmod(folder, 0o777)
	}
	return s, err
}

// kept is what must be in the spaces in the end: the content of each file.
func (t *tour) kept() map[string][]byte {
	plan := t.files["north-hall.pdf"]
	return map[string][]byte{
		ann + "/readings.csv":       t.files["readings.csv"],
		bob + "/readings.csv":       t.files["readings.csv"],
		"building/north-hall.pdf":   plan,
		"building/plan-to-file.pdf": plan,
		carol + "/plan-to-file.pdf": plan,
		carol + "/offer.pdf":        plan,
	}
}

func (t *tour) vault(ctx context.Context) error {
	t.say("Meanwhile a copy of each file went to the vault, an SFTP server, where people find what they sent and got: " +
		"in a space of their own, or of their department. Mail does not wait for that. These are its settings:")
	_, section, _ := strings.Cut(vaultSection(t.openssh), "\n")
	t.quote(section)
	want := t.kept()
	if err := t.awaitFiles(ctx, len(want)); err != nil {
		return err
	}
	t.say("The spaces, as the stock client lists them:")
	t.command("echo 'ls -l "+spacesFolder+"/*/*'", "| sftp -b - -F "+t.openssh.ClientConfig(), testserver.ClientHost)
	t.line("")
	listed, err := t.sftp(ctx, "ls -l "+spacesFolder+"/*/*")
	if err != nil {
		return err
	}
	t.verbatim(listed)
	t.line("")
	t.check(t.holds(listed, want), "%d files in 4 spaces, each of them once: Ann and Bob share their department's", len(want))
	t.check(!strings.Contains(listed, "site-rules") && !strings.Contains(listed, "logo"), "small files and images in the text are not among them, as the rules say")
	t.check(strings.Contains(listed, "offer.pdf"), "the file of the signed mail is, though the mail itself was not touched")
	const example = "north-hall.pdf"
	path := spacesFolder + "/building/" + example
	fetched := filepath.Join(t.cloakroom.Folder(), "fetched.pdf")
	if _, err := t.sftp(ctx, "get "+path+" "+fetched); err != nil {
		return err
	}
	content, err := os.ReadFile(fetched)
	if err != nil {
		return err
	}
	t.pair(path, "sent", sum(t.files[example]), "in vault", sum(content))
	return nil
}

// sftp runs one command of sftp(1), and gives what it prints.
func (t *tour) sftp(ctx context.Context, command string) (string, error) {
	cmd, err := t.openssh.SFTP(ctx, command+"\n")
	if err != nil {
		return "", err
	}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("sftp, %q: %w: %s", command, err, complaint.Bytes())
	}
	_, answer, _ := strings.Cut(string(out), "\n") // behind the echo of the command
	return answer, nil
}

// awaitFiles waits for as many files in the spaces; those on their way are in a
// folder that begins with a dot.
func (t *tour) awaitFiles(ctx context.Context, n int) error {
	for {
		found, err := filepath.Glob(filepath.Join(t.openssh.Root(), spacesFolder, "[^.]*", "*"))
		if err != nil || len(found) >= n {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%d files in the vault, want %d: %w", len(found), n, ctx.Err())
		}
	}
}

// holds tells whether a list of files names exactly what there should be.
func (t *tour) holds(listed string, want map[string][]byte) bool {
	var names []string
	for line := range strings.Lines(listed) {
		if _, name, ok := strings.Cut(line, spacesFolder+"/"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	if len(names) != len(want) {
		return false
	}
	for name := range want {
		if !slices.Contains(names, name) {
			return false
		}
	}
	return true
}
