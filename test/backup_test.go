package test

// Backups of a daemon under load, and the ways back: a restored data folder, and
// a database made anew from the journal. Every link that was promised works.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// backedUp is what --json tells of a backup.
type backedUp struct {
	Generation             string
	Blobs, Copied, Removed int64
	Missing, Damaged       []string
}

// saved runs a backup, and expects that it succeeds.
func (d *daemon) saved(args ...string) backedUp {
	d.t.Helper()
	out, errs, code := d.run(nil, append([]string{"backup", "--json"}, args...)...)
	var b backedUp
	if err := json.Unmarshal([]byte(out), &b); err != nil || code != 0 || len(b.Missing)+len(b.Damaged) > 0 {
		d.t.Fatalf("backup: exit code %d, %v\n%s%s", code, err, out, errs)
	}
	return b
}

// generations lists the backups that are whole.
func (d *daemon) generations(dir string) (names []string) {
	d.t.Helper()
	out, errs, code := d.run(nil, "restore", dir, "--list", "--json")
	var all []struct{ Generation string }
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		d.t.Fatalf("list: exit code %d, %v\n%s%s", code, err, out, errs)
	}
	for _, one := range all {
		names = append(names, one.Generation)
	}
	return names
}

// killedBackup starts a backup and kills it while it copies files.
func (d *daemon) killedBackup(dir string) {
	d.t.Helper()
	cmd := exec.Command(binary, "--config", d.running.ConfigFile(), "backup", dir)
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		// Files by their SHA-256: those that are being written have other names.
		if copied, _ := filepath.Glob(filepath.Join(dir, "blobs", "??", strings.Repeat("[0-9a-f]", 64))); len(copied) > 2 || time.Now().After(end) {
			break
		}
	}
	cmd.Process.Signal(syscall.SIGKILL)
	if err := cmd.Wait(); err == nil {
		d.t.Fatal("the backup ended before it could be killed")
	}
}

// promises are mails that were taken, with what their links lead to.
type promises struct {
	mu   sync.Mutex
	sums map[string][32]byte // by subject
	raw  map[string][]byte
}

func (p *promises) add(subject string, raw []byte, sum [32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sums[subject], p.raw[subject] = sum, raw
}

// taken copies what was promised up to now.
func (p *promises) taken() map[string][32]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string][32]byte)
	for subject, sum := range p.sums {
		out[subject] = sum
	}
	return out
}

// keep looks that the links of mails lead to the right bytes.
func keepPromises(t *testing.T, what string, links map[string]string, want map[string][32]byte) {
	t.Helper()
	for subject, sum := range want {
		if got := download(t, links[subject]); !slices.Equal(got, [][32]byte{sum}) {
			t.Errorf("%s: %s leads to %x, want %x", what, subject, got, sum)
		}
	}
}

func TestBackupUnderLoadAndTheWaysBack(t *testing.T) {
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	taken := &promises{sums: map[string][32]byte{}, raw: map[string][]byte{}}
	var number atomic.Int64
	deliver := func() {
		n := number.Add(1)
		subject, content := fmt.Sprintf("load-%d", n), random(200<<10, 9000+n)
		msg := toCRLF(compose(alice, []string{bob}, subject, file{"a.pdf", "application/pdf", content}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := testserver.SendSMTP(ctx, p.SMTPAddr(), alice, []string{bob}, bytes.NewReader(msg)); err != nil {
			t.Errorf("%s was not taken: %v", subject, err)
			return
		}
		taken.add(subject, msg, sha256.Sum256(content))
	}
	for range 12 {
		deliver()
	}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					deliver()
				}
			}
		})
	}

	dir := filepath.Join(t.TempDir(), "backup")
	d.killedBackup(dir)
	if names := d.generations(dir); len(names) != 0 {
		t.Errorf("a backup that was killed counts: %v", names)
	}
	want := taken.taken()
	first := d.saved(dir)
	if first.Copied == 0 || first.Copied >= first.Blobs {
		t.Errorf("what the killed backup had copied was copied again, or it had nothing: %+v", first)
	}
	wantLater := taken.taken()
	second := d.saved(dir, "--verify")
	close(stop)
	clients.Wait()
	if first.Blobs < int64(len(want)) || second.Blobs < int64(len(wantLater)) || second.Copied >= second.Blobs {
		t.Errorf("%d mails were taken before %+v, %d before %+v", len(want), first, len(wantLater), second)
	}
	check := exec.Command("sha256sum", "--quiet", "-c", filepath.Join("generations", second.Generation, "SHA256SUMS"))
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	if out, errs, code := d.run(nil, "restore", dir, "--check"); code != 0 || !strings.Contains(out, second.Generation) {
		t.Errorf("check: exit code %d\n%s%s", code, out, errs)
	}

	addresses := make(map[string]string) // of links, by subject
	for _, msg := range mailbox(t, p, bob, len(taken.taken())) {
		_, after, _ := strings.Cut(string(msg), "\nSubject: ")
		subject, _, _ := strings.Cut(after, "\n")
		if l := links(msg); len(l) == 1 {
			addresses[strings.TrimSpace(subject)] = l[0]
		}
	}

	// The older of the two, in a data folder that is empty.
	d.stop()
	data := filepath.Join(d.Folder, "data")
	if _, errs, code := d.run(nil, "restore", dir); code == 0 || !strings.Contains(errs, "not empty") {
		t.Errorf("over a full data folder: exit code %d\n%s", code, errs)
	}
	if err := os.Rename(data, data+".lost"); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := d.run(nil, "restore", dir, "--generation", first.Generation); code != 0 {
		t.Fatalf("restore: exit code %d\n%s%s", code, out, errs)
	}
	d.start()
	keepPromises(t, "restored", addresses, want)

	// The newer one with the journal of the lost disk, whose files are put back too.
	d.stop()
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	out, errs, code := d.run(nil, "restore", dir, "--journal", filepath.Join(data+".lost", "journal"))
	if lost := len(taken.taken()) - int(second.Blobs); code != 0 && lost == 0 || code != 1 && lost > 0 {
		t.Fatalf("restore with a journal, %d files lost: exit code %d\n%s%s", lost, code, out, errs)
	}
	if err := os.CopyFS(filepath.Join(data, "blobs"), onlyNew{os.DirFS(filepath.Join(data+".lost", "blobs")), filepath.Join(data, "blobs")}); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := d.run(nil, "store", "verify"); code != 0 {
		t.Errorf("verify: exit code %d\n%s%s", code, out, errs)
	}
	d.start()
	keepPromises(t, "restored with the journal", addresses, taken.taken())
	d.loseAndRebuild(data)
	keepPromises(t, "rebuilt", addresses, taken.taken())
	d.originalsComeBack(taken.raw)
}

// onlyNew is a file system without the files that are in another folder.
type onlyNew struct {
	fs.FS
	there string
}

func (o onlyNew) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		_, err := os.Stat(filepath.Join(o.there, name, e.Name()))
		return err == nil && !e.IsDir()
	}), err
}

// loseAndRebuild deletes the database of a running daemon, and makes it anew.
func (d *daemon) loseAndRebuild(data string) {
	d.t.Helper()
	if _, errs, code := d.run(nil, "store", "rebuild"); code != 75 || !strings.Contains(errs, "stop") {
		d.t.Errorf("beside a daemon: exit code %d\n%s", code, errs)
	}
	d.kill()
	files, err := filepath.Glob(filepath.Join(data, "cloakroom.db*"))
	if err != nil || len(files) == 0 {
		d.t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			d.t.Fatal(err)
		}
	}
	if _, errs, code := d.run(nil, "serve"); code == 0 || !strings.Contains(errs, "cloakroom store rebuild") {
		d.t.Errorf("without a database: exit code %d\n%s", code, errs)
	}
	out, errs, code := d.run(nil, "store", "rebuild")
	if code != 0 || len(grepLines(out, `^files missing +0`)) != 1 {
		d.t.Fatalf("rebuild: exit code %d\n%s%s", code, out, errs)
	}
	d.start()
}

// originalsComeBack restores every mail, and compares its body with what was sent.
func (d *daemon) originalsComeBack(sent map[string][]byte) {
	d.t.Helper()
	folder := filepath.Join(d.Folder, "originals")
	out, errs, code := d.run(nil, "links", "restore", "--all", "--no-dkim", "--eml", folder)
	if code != 0 {
		d.t.Fatalf("links restore: exit code %d\n%s%s", code, out, errs)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.eml"))
	if err != nil || len(files) != len(sent) {
		d.t.Errorf("%d originals came back of %d (%v)", len(files), len(sent), err)
	}
	for _, f := range files {
		raw := []byte(mustRead(d.t, f))
		_, after, _ := strings.Cut(string(raw), "\nSubject: ")
		subject, _, _ := strings.Cut(after, "\r\n")
		_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
		if _, want, _ := bytes.Cut(sent[subject], []byte("\r\n\r\n")); !bytes.Equal(body, want) {
			d.t.Errorf("the original of %q is not what was sent", subject)
		}
	}
}

// A cron job of root's leaves nothing that the daemon's account cannot read.
func TestBackupAndRestoreByRootBelongToTheOwner(t *testing.T) {
	owner := os.Geteuid()
	if owner == 0 {
		owner = 65534 // nobody
	}
	d := newDaemon(t, linkAll)
	d.start()
	if _, errs, code := d.run(bytes.NewReader(attached("kept", bob)), "filter", "--from", alice, "--to", bob, "--auth", "alice"); code != 0 {
		t.Fatalf("filter: exit code %d\n%s", code, errs)
	}
	d.stop()
	data, dir := filepath.Join(d.Folder, "data"), filepath.Join(d.Folder, "backup")
	if err := os.Chmod(d.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	give := func(path string) error { return os.Lchown(path, owner, owner) }
	belongs := func(path string) error {
		info, err := os.Lstat(path)
		if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != owner {
			err = fmt.Errorf("%s belongs to user %d", path, info.Sys().(*syscall.Stat_t).Uid)
		}
		return err
	}
	each := func(root string, do func(string) error) {
		t.Helper()
		n := 0
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			n++
			if err == nil && os.Geteuid() == 0 {
				err = do(path)
			}
			return err
		})
		if err != nil || n < 5 {
			t.Errorf("%d files in %s, %v", n, root, err)
		}
	}
	each(data, give)
	d.saved(dir)
	each(dir, belongs)
	each(data, belongs)
	if err := os.Rename(data, data+".lost"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := give(data); err != nil {
			t.Fatal(err)
		}
	}
	if out, errs, code := d.run(nil, "restore", dir); code != 0 {
		t.Fatalf("restore: exit code %d\n%s%s", code, out, errs)
	}
	each(data, belongs)
	if out, errs, code := d.run(nil, "links", "list", "--json"); code != 0 || strings.Count(out, `"mail"`) != 1 {
		t.Errorf("links: exit code %d\n%s%s", code, out, errs)
	}
	if _, errs, code := d.run(nil, "backup", filepath.Join(data, "backup")); code != 1 || !strings.Contains(errs, "in each other") {
		t.Errorf("into the data folder: exit code %d\n%s", code, errs)
	}
	if _, errs, code := d.run(nil, "backup", dir, "--keep", "0"); code != 64 || !strings.Contains(errs, "--keep") {
		t.Errorf("--keep 0: exit code %d\n%s", code, errs)
	}
}
