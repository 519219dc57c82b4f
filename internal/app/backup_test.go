package app

// Backups of a store in use, and what comes back of them.

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/backup"
	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

// backup saves the office.
func (o *office) backup(dir string, opt backup.Options) *backup.Result {
	o.t.Helper()
	opt.Keep = max(opt.Keep, 1)
	o.do("prepare", PrepareBackup(o.cfg, dir))
	r, err := o.s.Backup(o.t.Context(), o.cfg, []byte("domains: []\n"), "test", dir, opt)
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

// elsewhere is the office with another, empty data folder.
func (o *office) elsewhere() *office {
	cfg := *o.cfg
	cfg.Data = filepath.Join(o.t.TempDir(), "data")
	return &office{t: o.t, cfg: &cfg, act: o.act}
}

// restored is an office that a backup was restored to.
func (o *office) restored(dir string, ro RestoreOptions) (*office, *DataRestored) {
	o.t.Helper()
	n := o.elsewhere()
	ro.Actor = "test"
	r, err := RestoreData(o.t.Context(), n.cfg, dir, ro, quiet)
	if err != nil {
		o.t.Fatal(err)
	}
	n.open(false)
	return n, r
}

// blobsIn lists the files of a pool.
func blobsIn(t *testing.T, dir string) []string {
	return mustGlob(t, filepath.Join(dir, "blobs", "??", "*"))
}

// without leaves out what a restore itself writes down.
func without(d map[string][]string, action string) map[string][]string {
	d["audit"] = slices.DeleteFunc(d["audit"], func(row string) bool { return strings.Contains(row, "action="+action) })
	return d
}

func TestABackupIsTheStoreAsItWas(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	o.eventful()
	dir := filepath.Join(t.TempDir(), "backup")
	live := dump(t, o.s.DB.Read())
	var shown []string
	r := o.backup(dir, backup.Options{Progress: func(p backup.Progress) {
		shown = append(shown, p.What)
		if p.Done > p.All {
			t.Errorf("progress %+v", p)
		}
	}})
	// The file that was lost on purpose is missed, and everything else is there.
	if len(r.Missing) != 1 || len(r.Damaged) != 0 || r.Blobs != r.Copied || r.Blobs < 10 || len(shown) < 3 || !r.SameDisk {
		t.Errorf("%+v, shown %v", r, shown)
	}
	check := exec.Command("sha256sum", "--quiet", "-c", filepath.Join("generations", r.Generation, "SHA256SUMS"))
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			err = fmt.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	o.mail("after the backup", 20_000, "bob@acmecorp.test")
	n, back := o.restored(dir, RestoreOptions{})
	if back.Blobs != r.Blobs || back.Forgotten != 0 || back.Copies != 0 || len(back.Store.Missing) != 1 || back.Config == "" {
		t.Errorf("%+v, %+v", back, back.Store)
	}
	compareDumps(t, live, without(dump(t, n.s.DB.Read()), "restore a backup"))
	if _, err := os.Stat(filepath.Join(n.cfg.Data, backup.UnfinishedName)); err == nil {
		t.Error("it is still marked as unfinished")
	}
	// The journal of the restored folder is that of the database: it makes the same.
	live = dump(t, n.s.DB.Read())
	n.do("close", n.s.Close())
	if _, err := Rebuild(t.Context(), n.cfg, RebuildOptions{Anew: true}, quiet); err != nil {
		t.Fatal(err)
	}
	n.open(false)
	compareDumps(t, live, without(dump(t, n.s.DB.Read()), "rebuild the database"))

	// With the journal that survived, what came after the backup is there as well.
	late, back := o.restored(dir, RestoreOptions{Journal: filepath.Join(o.cfg.Data, journalName)})
	if back.Journal != 1 || len(back.Store.Missing) < 2 { // its file only the lost disk has
		t.Errorf("%+v, missing %d", back.Restored, len(back.Store.Missing))
	}
	compareDumps(t, dump(t, o.s.DB.Read()), without(dump(t, late.s.DB.Read()), "restore a backup"))
}

func TestBackupsShareFilesAndOldOnesGo(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	first := o.backup(dir, backup.Options{Keep: 2})
	o.mail("two", 4000, "bob@acmecorp.test")
	gone := o.mail("three", 5000, "bob@acmecorp.test")
	second := o.backup(dir, backup.Options{Keep: 2})
	if first.Copied != 1 || second.Copied != 2 || second.Blobs != 3 || first.Generation >= second.Generation {
		t.Errorf("first %+v\nsecond %+v", first, second)
	}
	// What is forgotten goes from the pool at the next backup, from older ones too.
	if _, err := o.s.Forget(t.Context(), Forgetting{Keys: []ledger.Key{gone}, Act: o.act}, quiet); err != nil {
		t.Fatal(err)
	}
	third := o.backup(dir, backup.Options{Keep: 2})
	if third.Copied != 0 || third.Blobs != 2 || third.Removed != 1 || !slices.Equal(third.Dropped, []string{first.Generation}) || len(blobsIn(t, dir)) != 2 {
		t.Errorf("third %+v, %d files", third, len(blobsIn(t, dir)))
	}
	n, back := o.restored(dir, RestoreOptions{Generation: second.Generation})
	if back.Forgotten != 1 || len(back.Absent) != 1 || !back.OK() {
		t.Errorf("restored the second: %+v, %+v", back, back.Store)
	}
	m, err := ledger.Get(t.Context(), n.s.DB.Read(), gone)
	if err != nil || m.Sender != "" || m.Forgotten.IsZero() {
		t.Errorf("a forgotten mail came back: %+v, %v", m, err)
	}
	// Links that ended keep their files as long as some backup has them.
	_, err = o.s.Links.Revoke(t.Context(), o.links(o.key("<two@ext.test>")), o.act)
	o.do("revoke", err)
	k := o.s.Keeper(quiet)
	now := k.Now()
	k.Now, k.Recent = func() time.Time { return now.AddDate(0, 0, 20) }, 0
	if r, err := k.Collect(t.Context(), sisa.GCOptions{Grace: 1}); err != nil || r.Blobs != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r := o.backup(dir, backup.Options{Keep: 2}); r.Blobs != 1 || len(blobsIn(t, dir)) != 2 {
		t.Errorf("%+v, %d files", r, len(blobsIn(t, dir)))
	}
	if r := o.backup(dir, backup.Options{Keep: 1}); r.Removed != 1 || len(r.Dropped) != 2 || len(blobsIn(t, dir)) != 1 {
		t.Errorf("%+v, %d files", r, len(blobsIn(t, dir)))
	}
}

func TestABackupThatIsDamagedIsFoundAndMended(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	o.mail("two", 4000, "bob@acmecorp.test")
	m := o.backup(dir, backup.Options{})
	f, err := backup.Open(dir)
	o.do("open", err)
	if c, err := f.Check(t.Context(), "", nil); err != nil || !c.OK() || c.Bytes < m.Bytes {
		t.Fatalf("%+v, %v", c, err)
	}
	pool := blobsIn(t, dir)
	flip := func(path string) {
		t.Helper()
		content, err := os.ReadFile(path)
		o.do("read", err)
		content[len(content)/2] ^= 1
		o.do("damage", os.WriteFile(path, content, 0o600))
	}
	flip(pool[0])
	o.do("lose", os.Remove(pool[1]))
	c, err := f.Check(t.Context(), "", nil)
	if err != nil || len(c.Damaged) != 1 || len(c.Absent) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, back := o.restored(dir, RestoreOptions{}); len(back.Damaged) != 1 || len(back.Absent) != 1 || len(back.Store.Missing) != 2 || back.OK() {
		t.Errorf("restored %+v, %+v", back, back.Store)
	}
	if r := o.backup(dir, backup.Options{}); r.Copied != 1 || r.Mended != 0 {
		t.Errorf("without reading: %+v", r)
	}
	if r := o.backup(dir, backup.Options{Verify: true}); r.Copied != 1 || r.Mended != 1 {
		t.Errorf("with reading: %+v", r)
	}
	if c, err = f.Check(t.Context(), "", nil); err != nil || !c.OK() {
		t.Errorf("mended: %+v, %v", c, err)
	}
	// A damaged database is never given back.
	flip(f.Path(c.Manifest.Generation, backup.DatabaseName))
	n := o.elsewhere()
	if _, err := RestoreData(t.Context(), n.cfg, dir, RestoreOptions{}, quiet); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("a damaged database: %v", err)
	}
	if _, err := OpenBeside(t.Context(), n.cfg, true, quiet); err == nil || !strings.Contains(err.Error(), "being restored") {
		t.Errorf("half restored: %v", err)
	}
	// Damage in the store itself is told, and never copied.
	o.backup(dir, backup.Options{Verify: true})
	source := blobsIn(t, o.cfg.Data)
	flip(source[0])
	o.do("forget the good copy", os.Remove(filepath.Join(dir, "blobs", filepath.Base(source[0])[:2], filepath.Base(source[0]))))
	r := o.backup(dir, backup.Options{})
	if len(r.Damaged) != 1 || !strings.HasSuffix(r.Damaged[0], filepath.Base(source[0])) || r.Whole() || r.Blobs != 1 {
		t.Errorf("%+v", r)
	}
}

func TestARestoreThatWasCutOffGoesOn(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	for n := range 5 {
		o.mail(fmt.Sprint("mail ", n), 3000+n, "bob@acmecorp.test")
	}
	o.backup(dir, backup.Options{})
	live := dump(t, o.s.DB.Read())
	n := o.elsewhere()
	stopped := errors.New("cut off")
	func() {
		defer func() { recover() }()
		RestoreData(t.Context(), n.cfg, dir, RestoreOptions{Progress: func(p backup.Progress) {
			if p.Done > 0 {
				panic(stopped)
			}
		}}, quiet)
	}()
	if len(blobsIn(t, n.cfg.Data)) == 0 || exists(filepath.Join(n.cfg.Data, databaseName)) {
		t.Fatal("it was not cut off in the middle")
	}
	r, err := RestoreData(t.Context(), n.cfg, dir, RestoreOptions{}, quiet)
	if err != nil || !r.OK() || r.Blobs != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	n.open(false)
	compareDumps(t, live, without(dump(t, n.s.DB.Read()), "restore a backup"))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestABackupGoesOnlyWhereItBelongs(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	o.mail("one", 3000, "bob@acmecorp.test")
	base := t.TempDir()
	link := filepath.Join(base, "link")
	o.do("link", os.Symlink(o.cfg.Data, link))
	for _, dir := range []string{o.cfg.Data, filepath.Join(o.cfg.Data, "backup"), filepath.Dir(o.cfg.Data), filepath.Join(link, "b")} {
		if err := PrepareBackup(o.cfg, dir); err == nil || !strings.Contains(err.Error(), "in each other") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	foreign := filepath.Join(base, "foreign")
	o.do("make", os.Mkdir(foreign, 0o700))
	o.do("write", os.WriteFile(filepath.Join(foreign, "thesis.txt"), []byte("x"), 0o600))
	run := func(dir string) error {
		_, err := o.s.Backup(t.Context(), o.cfg, nil, "test", dir, backup.Options{Keep: 1})
		return err
	}
	if err := run(foreign); !errors.Is(err, backup.ErrNotOurs) {
		t.Errorf("a foreign folder: %v", err)
	}
	dir := filepath.Join(base, "backup")
	f, err := backup.Create(dir)
	o.do("create", err)
	if err := run(dir); !errors.Is(err, backup.ErrBusy) {
		t.Errorf("a busy folder: %v", err)
	}
	o.do("close", f.Close())
	if _, err := f.Manifest(""); !errors.Is(err, backup.ErrNone) {
		t.Errorf("an empty one: %v", err)
	}
	o.do("back up", run(dir))
	// What was left half done is tidied away, and never taken for whole.
	part := filepath.Join(dir, "generations", "20260101T000000Z.part")
	o.do("leave", os.MkdirAll(filepath.Join(part, "journal"), 0o700))
	if names, err := f.Generations(); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
	o.do("back up", run(dir))
	if exists(part) {
		t.Error("what was left is still there")
	}
	// A full data folder is not restored over, and one of a later version not read.
	if _, err := RestoreData(t.Context(), o.cfg, dir, RestoreOptions{}, quiet); !errors.Is(err, db.ErrLocked) && !errors.Is(err, backup.ErrNotEmpty) {
		t.Errorf("a full data folder: %v", err)
	}
	if !bytes.Contains(must(os.ReadFile(filepath.Join(dir, "CLOAKROOM-BACKUP"))), []byte("format 1")) {
		t.Error("the folder does not say what it is")
	}
	o.do("from tomorrow", os.WriteFile(filepath.Join(dir, "CLOAKROOM-BACKUP"), []byte("A backup of Cloakroom, format 2, …\n"), 0o600))
	if err := run(dir); !errors.Is(err, backup.ErrNewer) {
		t.Errorf("of a newer version: %v", err)
	}
}

func must(content []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return content
}

func TestAnotherJournalIsNotTakenForTheOneThatGoesOn(t *testing.T) {
	o, other := newOffice(t, choosyMTA(t)), newOffice(t, choosyMTA(t))
	o.mail("one", 3000, "bob@acmecorp.test")
	other.mail("another", 3000, "bob@acmecorp.test")
	dir := filepath.Join(t.TempDir(), "backup")
	o.backup(dir, backup.Options{})
	n := o.elsewhere()
	_, err := RestoreData(t.Context(), n.cfg, dir, RestoreOptions{Journal: filepath.Join(other.cfg.Data, journalName)}, quiet)
	if !errors.Is(err, backup.ErrOtherJournal) {
		t.Errorf("another journal: %v", err)
	}
	elsewhere := *o.cfg
	elsewhere.SecretFile = filepath.Join(other.cfg.Data, "secret")
	elsewhere.Data = filepath.Join(t.TempDir(), "data")
	if _, err := RestoreData(t.Context(), &elsewhere, dir, RestoreOptions{}, quiet); err == nil || !strings.Contains(err.Error(), "another secret") {
		t.Errorf("another secret: %v", err)
	}
}
