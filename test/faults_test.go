package test

// What becomes of mail while something below the daemon does not work, and what
// the daemon says at its start about data that it cannot use.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/internal/testserver"
)

// smallDisk is the size of the file system for the data, in bytes: enough for a
// few dozen mails.
const smallDisk = 24 << 20

// untilFull has the disk filled to its last byte.
const untilFull = "store: {low_space: 0}\n"

// mountData puts the daemon's data on a file system of its own, and ends the
// test where that is not allowed.
func mountData(t *testing.T, d *daemon) (data string) {
	t.Helper()
	data = filepath.Join(d.Folder, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", smallDisk)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("a small disk cannot be mounted: ", err)
		}
		t.Skip("a small disk cannot be mounted: ", err)
	}
	t.Cleanup(func() {
		if d.running != nil {
			d.running.Stop()
		}
		syscall.Unmount(data, syscall.MNT_DETACH)
	})
	return data
}

// fault breaks something, and gives back how to mend it.
type fault struct {
	name  string
	cause func(t *testing.T, data string) (mend func())
	log   string // what the log must say
	size  int    // of the attachment
}

// faults are told to the client as temporary, whatever they are.
var faults = []fault{
	{"full disk", fillDisk, "no space left on device", 100 << 10},
	{"full disk and a mail that does not fit into memory", fillDisk, "is full", 1 << 20},
	{"folder of the blobs read-only", readOnly("blobs"), "read-only file system", 100 << 10},
	{"database locked by another process", lockDatabase, "another program holds", 100 << 10},
	{"folder of the blobs gone", moveAway("blobs"), "blob", 100 << 10},
}

func fillDisk(t *testing.T, data string) (mend func()) {
	t.Helper()
	ballast := filepath.Join(data, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
}

func readOnly(name string) func(*testing.T, string) func() {
	return func(t *testing.T, data string) func() {
		t.Helper()
		dir := filepath.Join(data, name)
		if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func moveAway(name string) func(*testing.T, string) func() {
	return func(t *testing.T, data string) func() {
		t.Helper()
		dir := filepath.Join(data, name)
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(dir+".away", dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func lockDatabase(t *testing.T, data string) (mend func()) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(data, "cloakroom.db"))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := db.Exec("ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
}

func TestFaultsAreTemporaryAndHealWithoutARestart(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll+untilFull)
	data := mountData(t, d)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	delivered := 0
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			content := random(f.size, int64(900+i))
			msg := toCRLF(compose(alice, []string{bob}, fmt.Sprintf("fault-%d", i), file{"a.pdf", "application/pdf", content}))
			before := len(d.running.Log())
			mend := f.cause(t, data)
			begin := time.Now()
			reply := sendRefused(t, p, alice, []string{bob}, msg)
			took := time.Since(begin)
			mend()
			if reply.Code != 451 || !strings.Contains(reply.Text, "4.3.0") || !strings.Contains(reply.Text, "ref ") {
				t.Errorf("reply %d %s", reply.Code, reply.Text)
			}
			log := d.running.Log()[before:]
			if !strings.Contains(log, f.log) {
				t.Errorf("the log does not say %q:\n%s", f.log, log)
			}
			t.Logf("451 after %v; %s", took.Round(time.Millisecond), grep(log, "message deferred"))
			send(t, p, alice, []string{bob}, msg)
			delivered++
			l := links(mailbox(t, p, bob, delivered)[delivered-1])
			if len(l) != 1 || !slices.Equal(download(t, l[0]), [][32]byte{sha256.Sum256(content)}) {
				t.Errorf("links %v when it came again", l)
			}
		})
	}
	checkLeftovers(t, d, data)
}

// A lock that does not last delays a mail and nothing else.
func TestALockThatEndsInTimeOnlyDelaysTheMail(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	msg := toCRLF(compose(alice, []string{bob}, "locked", file{"a.pdf", "application/pdf", random(20_000, 77)}))
	mend := lockDatabase(t, filepath.Join(d.Folder, "data"))
	unlocked := make(chan time.Time, 1)
	time.AfterFunc(2*time.Second, func() { mend(); unlocked <- time.Now() })
	begin := time.Now()
	send(t, p, alice, []string{bob}, msg)
	took, at := time.Since(begin), <-unlocked
	if at.Before(begin.Add(took)) == false {
		t.Error("the mail was taken while the database was locked")
	}
	t.Logf("taken after %v, %v after the lock ended", took.Round(time.Millisecond), time.Since(at).Round(time.Millisecond))
	if l := links(mailbox(t, p, bob, 1)[0]); len(l) != 1 {
		t.Errorf("links %v", l)
	}
}

func TestFaultsWithOnErrorAcceptLetTheMailPassUnchanged(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll+untilFull)
	d.MilterConfig = []string{"on_error: accept"}
	data := mountData(t, d)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	for i, f := range faults {
		msg := compose(alice, []string{bob}, fmt.Sprintf("accept-%d", i), file{"a.pdf", "application/pdf", random(f.size, int64(950+i))})
		mend := f.cause(t, data)
		send(t, p, alice, []string{bob}, toCRLF(msg))
		mend()
		got := mailbox(t, p, bob, i+1)[i]
		_, want, _ := bytes.Cut(msg, []byte("\n\n"))
		if _, body, _ := bytes.Cut(got, []byte("\n\n")); !bytes.Equal(body, want) {
			t.Errorf("%s: the mail did not pass as it came", f.name)
		}
	}
	if n := strings.Count(d.running.Log(), "mail passes unchanged after an error"); n != len(faults) {
		t.Errorf("the log tells of %d mails that passed, want %d", n, len(faults))
	}
	send(t, p, alice, []string{bob}, toCRLF(compose(alice, []string{bob}, "healed", file{"a.pdf", "application/pdf", random(1000, 1)})))
	if l := links(mailbox(t, p, bob, len(faults)+1)[len(faults)]); len(l) != 1 {
		t.Errorf("links %v after all was mended", l)
	}
	checkLeftovers(t, d, data)
}

// checkLeftovers fails if failed mails left half a file, or the store is not
// whole.
func checkLeftovers(t *testing.T, d *daemon, data string) {
	t.Helper()
	if out, complaint, code := d.run(nil, "store", "verify"); code != 0 {
		t.Errorf("store verify: %d\n%s%s", code, out, complaint)
	}
	for _, pattern := range []string{"blobs/*/.put-*", "blobs/.put-*", "spool/*"} {
		if left, err := filepath.Glob(filepath.Join(data, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	}
	if strings.Contains(d.running.Log(), "panic") {
		t.Errorf("panic in the log:\n%s", grep(d.running.Log(), "panic"))
	}
}

func TestDataThatCannotBeUsedIsAnErrorAtStartAndIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	for i := range 40 { // a database of some pages
		var files []file
		for j := range 4 {
			files = append(files, file{fmt.Sprintf("file-%d-%d.pdf", i, j), "application/pdf", random(3000, int64(i*10+j))})
		}
		send(t, p, alice, []string{bob}, toCRLF(compose(alice, []string{bob}, fmt.Sprintf("data-%d", i), files...)))
	}
	link := links(mailbox(t, p, bob, 1)[0])[0]
	d.stop()
	data := filepath.Join(d.Folder, "data")
	path := filepath.Join(data, "cloakroom.db")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := func(change func(b []byte) []byte) func(t *testing.T) func() {
		return func(t *testing.T) func() {
			if err := os.WriteFile(path, change(bytes.Clone(sound)), 0o600); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.WriteFile(path, sound, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	overwrite := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[from:to], random(to-from, 5)); return b }
	}
	away := func(name string) func(t *testing.T) func() {
		return func(t *testing.T) func() {
			file := filepath.Join(data, name)
			if err := os.Rename(file, file+".away"); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.Rename(file+".away", file); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	pages := len(sound) / 4096
	for _, c := range []struct {
		name  string
		cause func(t *testing.T) (mend func())
		says  []string
	}{
		{"first page overwritten", damaged(overwrite(0, 4096)), []string{"cloakroom.db", "damaged", "restore"}},
		{"pages in the middle overwritten", damaged(overwrite(pages/2*4096, pages/2*4096+8192)), []string{"cloakroom.db", "damaged", "restore"}},
		{"second page overwritten", damaged(overwrite(4096, 8192)), []string{"cloakroom.db", "damaged", "restore"}},
		{"cut to half", damaged(func(b []byte) []byte { return b[:len(b)/2] }), []string{"cloakroom.db", "damaged", "restore"}},
		{"database gone", away("cloakroom.db"), []string{"cloakroom.db is missing or empty", "restore"}},
		{"database empty", damaged(func([]byte) []byte { return nil }), []string{"cloakroom.db is missing or empty", "restore"}},
		{"folder of the spool read-only", func(t *testing.T) func() { return readOnly("spool")(t, data) }, []string{"spool", "read-only"}},
		{"folder of the blobs is a file", func(t *testing.T) func() { return moveAway("blobs")(t, data) }, []string{"blob"}},
		{"secret gone", away("secret"), []string{"secret"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mend := c.cause(t)
			before := fileSums(t, data)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			running, err := testserver.StartCloakroom(ctx, d.CloakroomOptions)
			if err == nil {
				running.Stop()
				mend()
				t.Fatal("it started")
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			t.Log(grep(err.Error(), "cloakroom: "))
			after := fileSums(t, data)
			for file, sum := range before {
				if after[file] != sum {
					t.Errorf("%s was changed or removed", file)
				}
			}
			mend()
		})
	}
	d.start()
	if sums := download(t, link); len(sums) != 4 {
		t.Errorf("%d files behind a link of before", len(sums))
	}
}

// fileSums are the files of the data, but for those that every start writes.
func fileSums(t *testing.T, data string) map[string][32]byte {
	t.Helper()
	files := filesIn(t, data)
	for name := range files {
		if name == "lock" || strings.HasSuffix(name, "-shm") || strings.HasSuffix(name, "-wal") {
			delete(files, name)
		}
	}
	return files
}
