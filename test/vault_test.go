package test

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// filesIn lists the files below a folder with their content's hash, those on
// their way left out.
func filesIn(t *testing.T, root string) map[string][32]byte {
	t.Helper()
	out := make(map[string][32]byte)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".cloakroom") {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) { // moved to its place meanwhile
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		out[rel] = sha256.Sum256(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// waitFiles waits until a folder has as many files.
func waitFiles(t *testing.T, root string, n int) map[string][32]byte {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		files := filesIn(t, root)
		if len(files) >= n || time.Now().After(deadline) {
			if len(files) != n {
				t.Errorf("%d files in the vault, want %d: %v", len(files), n, files)
			}
			return files
		}
		time.Sleep(20 * time.Millisecond)
	}
}

const vaultRules = `
rules:
  - name: labs
    if: owner.department == 'labs'
    vault: {target: assets, space: department}
  - name: everybody
    vault: {target: assets}
  - name: large files become links
    if: attachment.size > 5 * KB
    link: {}
`

// TestAttachmentsFillSpacesOfUsersAndDepartments: the mail is delivered at once,
// and each owner's space gets each file once.
func TestAttachmentsFillSpacesOfUsersAndDepartments(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	d := newDaemon(t, "directory: {file: users.yaml}\nvault:\n  targets:\n    assets:\n      dir: {base: "+base+"}\n      delay: 0s\n      path: \"{space}/{direction}/{name}\"\n"+vaultRules)
	users := "users:\n  - {address: bob@acmecorp.test, aliases: [robert@acmecorp.test], department: labs}\n  - {address: carol@acmecorp.test}\n  - {address: alice@acmecorp.test, department: labs}\n"
	if err := os.WriteFile(filepath.Join(d.Folder, "users.yaml"), []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	p := startPostfix(t, d.MilterAddr)
	small, large := random(3000, 71), random(9000, 72)
	msg := toCRLF(compose(alice, []string{bob, carol, dave}, "vault", file{"small.pdf", "application/pdf", small}, file{"large.pdf", "application/pdf", large}))
	send(t, p, alice, []string{bob, carol, dave}, msg)
	if n := len(links(mailbox(t, p, bob, 1)[0])); n != 1 {
		t.Errorf("%d links in the mail, want 1", n)
	}
	// alice and bob are of one department, towards different sides; carol has a space of her own.
	files := waitFiles(t, base, 6)
	for path, want := range map[string][32]byte{
		"labs/local/small.pdf": sha256.Sum256(small), "labs/local/large.pdf": sha256.Sum256(large),
		"labs/outbound/small.pdf": sha256.Sum256(small), "labs/outbound/large.pdf": sha256.Sum256(large),
		"carol@acmecorp.test/local/small.pdf": sha256.Sum256(small), "carol@acmecorp.test/local/large.pdf": sha256.Sum256(large),
	} {
		if files[path] != want {
			t.Errorf("%s is not what was sent", path)
		}
	}
	// Another file of the same name, and the same once more.
	other := random(3000, 73)
	for range 2 {
		again := toCRLF(compose(dave, []string{carol}, "again", file{"small.pdf", "application/pdf", other}))
		send(t, p, dave, []string{carol}, again)
		third := toCRLF(compose(dave, []string{carol}, "again", file{"small.pdf", "application/pdf", small}))
		send(t, p, dave, []string{carol}, third)
	}
	files = waitFiles(t, base, 8)
	names := []string{}
	for path := range files {
		if strings.Contains(path, "inbound") {
			names = append(names, path)
		}
	}
	if len(names) != 2 {
		t.Errorf("inbound files %v", names)
	}
}
