package app

// Ways back after accidents on the way: cut off, damaged, of another backup.

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/internal/backup"
	"cloakroom/ledger"
	"cloakroom/sisa"
)

// restoreInto is a restore into this office's folder.
func (o *office) restoreInto(dir string, ro RestoreOptions) (*DataRestored, error) {
	ro.Actor = "test"
	return RestoreData(o.t.Context(), o.cfg, dir, ro, quiet)
}

func (o *office) forget(key ledger.Key) {
	o.t.Helper()
	r, err := o.s.Forget(o.t.Context(), Forgetting{Keys: []ledger.Key{key}, Act: o.act}, quiet)
	if err != nil || len(r.Forgotten) != 1 {
		o.t.Fatalf("%+v, %v", r, err)
	}
}

// forgotten tells what the database has of a mail.
func (o *office) forgotten(key ledger.Key) bool {
	o.t.Helper()
	m, err := ledger.Get(o.t.Context(), o.s.DB.Read(), key)
	o.do("read", err)
	return !m.Forgotten.IsZero()
}

func TestARestoreDoesNotMixTwoBackups(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	first := o.backup(dir, backup.Options{Keep: 2})
	then := dump(t, o.s.DB.Read())
	o.do("close", o.s.Close())
	o.open(false) // a segment of its own
	o.mail("two", 4000, "bob@acmecorp.test")
	o.backup(dir, backup.Options{Keep: 2})
	n := o.elsewhere()
	func() {
		defer func() { recover() }()
		n.restoreInto(dir, RestoreOptions{Progress: func(backup.Progress) { panic("cut off") }})
	}()
	if !exists(filepath.Join(n.cfg.Data, backup.UnfinishedName)) || len(mustGlob(t, filepath.Join(n.cfg.Data, "journal", "*"))) != 2 {
		t.Fatal("it was not cut off behind the journal")
	}
	// One that was cut off behind its first look at the database leaves a log there.
	o.do("leave", os.WriteFile(filepath.Join(n.cfg.Data, databaseName+"-wal"), []byte("of another database"), 0o600))
	if r, err := n.restoreInto(dir, RestoreOptions{Generation: first.Generation}); err != nil || !r.OK() {
		t.Fatalf("%+v, %v", r, err)
	}
	n.open(false)
	compareDumps(t, then, without(dump(t, n.s.DB.Read()), "restore a backup"))
}

// A journal that was saved before the mail was forgotten does not tell it.
func TestForgottenMailsStayForgottenWithAJournalFromBefore(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	key := o.mail("gone", 3000, "bob@acmecorp.test")
	first := o.backup(dir, backup.Options{Keep: 2})
	later := o.mail("later", 3000, "bob@acmecorp.test")
	hourly := filepath.Join(t.TempDir(), "journal")
	o.do("copy", os.CopyFS(hourly, os.DirFS(filepath.Join(o.cfg.Data, journalName))))
	o.forget(key)
	o.backup(dir, backup.Options{Keep: 2})
	n, r := o.restored(dir, RestoreOptions{Generation: first.Generation, Journal: hourly})
	if r.Forgotten != 1 || !n.forgotten(key) || n.forgotten(later) {
		t.Errorf("%d forgotten again, %v, %v", r.Forgotten, n.forgotten(key), n.forgotten(later))
	}
	inside := filepath.Join(n.cfg.Data, journalName)
	if _, err := n.restoreInto(dir, RestoreOptions{Journal: inside}); err == nil || !strings.Contains(err.Error(), "moved out of the data folder") {
		t.Errorf("a journal in the data folder: %v", err)
	}
}

// A restore that ends before it has forgotten again leaves nothing that starts.
func TestNothingStartsBeforeMailsAreForgottenAgain(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	key := o.mail("gone", 3000, "bob@acmecorp.test")
	first := o.backup(dir, backup.Options{Keep: 2})
	o.forget(key)
	o.backup(dir, backup.Options{Keep: 2})
	n := o.elsewhere()
	n.cfg.Hostname = "" // its queue cannot be opened
	if _, err := n.restoreInto(dir, RestoreOptions{Generation: first.Generation}); err == nil {
		t.Fatal("it was to fail")
	}
	n.cfg.Hostname = o.cfg.Hostname
	if _, err := OpenBeside(t.Context(), n.cfg, false, quiet); err == nil || !strings.Contains(err.Error(), "being restored") {
		t.Fatalf("half restored: %v", err)
	}
	if r, err := n.restoreInto(dir, RestoreOptions{Generation: first.Generation}); err != nil || r.Forgotten != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	n.open(false)
	if !n.forgotten(key) {
		t.Error("the mail came back")
	}
}

// Backups share the segments of the journal: a damaged one must not take all
// databases with it.
func TestADamagedSegmentIsToldAndTheRestComesBack(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	r := o.backup(dir, backup.Options{})
	live := dump(t, o.s.DB.Read())
	saved := mustGlob(t, filepath.Join(dir, "generations", r.Generation, "journal", "*"))[0]
	text := must(os.ReadFile(saved))
	text[len(text)/2] ^= 1
	o.do("damage", os.WriteFile(saved, text, 0o600))
	n, back := o.restored(dir, RestoreOptions{})
	if name := "journal/" + filepath.Base(saved); !slices.Equal(back.Damaged, []string{name}) || back.OK() {
		t.Errorf("%+v", back.Restored)
	}
	compareDumps(t, live, without(dump(t, n.s.DB.Read()), "restore a backup"))
	// One that survived is taken instead.
	_, back = o.restored(dir, RestoreOptions{Journal: filepath.Join(o.cfg.Data, journalName)})
	if !back.OK() || back.Journal != 1 {
		t.Errorf("with the journal that survived: %+v", back.Restored)
	}
	o.do("lose", os.Remove(saved))
	n, back = o.restored(dir, RestoreOptions{})
	if len(back.Absent) != 1 || back.OK() {
		t.Errorf("%+v", back.Restored)
	}
	compareDumps(t, live, without(dump(t, n.s.DB.Read()), "restore a backup"))
	// A damaged manifest of the last one is no reason to have no next one, and none to
	// get no other back.
	damage := func(generation string) {
		t.Helper()
		o.do("damage", os.WriteFile(filepath.Join(dir, "generations", generation, "manifest.json"), []byte("{"), 0o600))
	}
	damage(r.Generation)
	next := o.backup(dir, backup.Options{Keep: 3})
	last := o.backup(dir, backup.Options{Keep: 3})
	damage(last.Generation)
	if _, back = o.restored(dir, RestoreOptions{Generation: next.Generation}); !next.Whole() || !back.OK() {
		t.Errorf("%+v, %+v", next, back.Restored)
	}
}

// What is forgotten goes from the pool also where the run in between was cut off.
func TestForgottenFilesGoAfterARunThatWasCutOff(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	key := o.mail("gone", 3000, "bob@acmecorp.test")
	o.backup(dir, backup.Options{Keep: 3})
	o.forget(key)
	// Cut off between its list and the end.
	o.do("cut off", os.WriteFile(filepath.Join(dir, "forgotten"), []byte(key.String()+"\n"), 0o600))
	o.backup(dir, backup.Options{Keep: 3})
	if left := blobsIn(t, dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// An empty data folder in the place of a lost one does not push its backups out.
func TestBackupsOfAnotherFolderAreNotPushedOut(t *testing.T) {
	o, other := newOffice(t, choosyMTA(t)), newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	o.backup(dir, backup.Options{})
	if _, err := other.s.Backup(t.Context(), other.cfg, nil, "test", dir, backup.Options{Keep: 1}); !errors.Is(err, backup.ErrOtherFolder) {
		t.Errorf("another data folder: %v", err)
	}
	if r := o.backup(dir, backup.Options{Keep: 2}); !r.Whole() || len(r.Dropped) != 0 {
		t.Errorf("%+v", r)
	}
}

// Nor where the secret is the same, as it lies elsewhere: a folder is known by its
// journal too, also after a way back, or without most of it.
func TestAFolderIsKnownByItsJournalWhereTheSecretIsShared(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	o.cfg.SecretFile = filepath.Join(t.TempDir(), "fleet")
	o.do("share the secret", os.Rename(filepath.Join(o.cfg.Data, "secret"), o.cfg.SecretFile))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	first := o.backup(dir, backup.Options{Keep: 9})
	o.do("close", o.s.Close())
	o.open(false)
	o.mail("two", 3000, "bob@acmecorp.test") // in another segment
	o.backup(dir, backup.Options{Keep: 9})
	push := func(n *office) error {
		_, err := n.s.Backup(t.Context(), n.cfg, nil, "test", dir, backup.Options{Keep: 9})
		return err
	}
	empty := o.elsewhere()
	empty.open(true)
	if err := push(empty); !errors.Is(err, backup.ErrOtherFolder) || !strings.Contains(err.Error(), "journal") {
		t.Errorf("an empty data folder: %v", err)
	}
	empty.mail("three", 3000, "bob@acmecorp.test") // in a segment of the same name
	if err := push(empty); !errors.Is(err, backup.ErrOtherFolder) {
		t.Errorf("a new data folder: %v", err)
	}
	older, _ := o.restored(dir, RestoreOptions{Generation: first.Generation})
	older.mail("four", 3000, "bob@acmecorp.test")
	o.do("back up after a way back", push(older))
	o.do("lose the journal", os.RemoveAll(filepath.Join(older.cfg.Data, journalName)))
	o.do("and go on", os.Mkdir(filepath.Join(older.cfg.Data, journalName), 0o700))
	o.do("back up without the journal", push(older))
}

// A segment that another process has just begun, and a later one names.
func TestASegmentThatTheDatabaseDoesNotHaveIsNotMissed(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	begun := filepath.Join(o.cfg.Data, journalName, "2099-01-01-0001.jsonl")
	o.do("begin", os.WriteFile(begun, []byte(`{"t":1,"kind":"seg`), 0o600))
	o.do("close", o.s.Close())
	o.open(false)
	o.mail("two", 3000, "bob@acmecorp.test") // its segment names that one
	o.backup(dir, backup.Options{})
	n, _ := o.restored(dir, RestoreOptions{})
	n.do("close", n.s.Close())
	if r, err := Rebuild(t.Context(), n.cfg, RebuildOptions{Anew: true}, quiet); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
}

// After a restore of an older backup a segment may have the name and the size of
// another one in a newer backup.
func TestASegmentIsNotTakenForAnotherOfItsName(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	o.backup(dir, backup.Options{Keep: 3})
	live := mustGlob(t, filepath.Join(o.cfg.Data, journalName, "*.jsonl"))[0]
	text := must(os.ReadFile(live))
	i := len(text) - 10
	text[i] = 'x'
	o.do("change", os.WriteFile(live, text, 0o600))
	r := o.backup(dir, backup.Options{Keep: 3})
	saved := must(os.ReadFile(filepath.Join(dir, "generations", r.Generation, "journal", filepath.Base(live))))
	if saved[i] != 'x' {
		t.Error("the segment is that of the backup before")
	}
}

// A damaged file of the backup is only replaced by a whole one.
func TestVerifyKeepsWhatItCannotReplace(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	o.backup(dir, backup.Options{})
	pool, source := blobsIn(t, dir)[0], blobsIn(t, o.cfg.Data)[0]
	for _, path := range []string{pool, source} {
		content := must(os.ReadFile(path))
		content[7] ^= 1
		o.do("damage", os.WriteFile(path, content, 0o600))
	}
	if r := o.backup(dir, backup.Options{Keep: 2, Verify: true}); len(r.Damaged) != 1 || r.Mended != 0 || !exists(pool) {
		t.Errorf("%+v, %v", r, exists(pool))
	}
}

func ownedBy(info os.FileInfo, uid uint32) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == uid
}

// The data folder may be a symbolic link.
func TestARestoreThroughALink(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	o.mail("one", 3000, "bob@acmecorp.test")
	o.backup(dir, backup.Options{})
	real, n := t.TempDir(), o.elsewhere()
	o.do("link", os.Symlink(real, n.cfg.Data))
	if os.Geteuid() == 0 {
		o.do("chown", os.Chown(real, 54321, 54321))
	}
	o.do("mount", os.MkdirAll(filepath.Join(real, journalName, "lost+found"), 0o700)) // a file system of its own
	o.do("give", giveAll(n.cfg.Data))
	if info, err := os.Stat(filepath.Join(real, journalName)); err != nil || os.Geteuid() == 0 && !ownedBy(info, 54321) {
		t.Errorf("%v, %v", info, err)
	}
	if os.Geteuid() == 0 {
		o.do("chown", os.Chown(real, 0, 0)) // this process stays who it is
	}
	if r, err := n.restoreInto(dir, RestoreOptions{}); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
}

// A file of a forgotten mail stays in the pool for another mail that had it, even if
// that one's was collected since: an older backup gives that mail back whole.
func TestAForgottenMailTakesNoFileFromOthers(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	dir := filepath.Join(t.TempDir(), "backup")
	gone := o.mail("gone", 7000, "bob@acmecorp.test")
	other := o.mail("other", 7000, "bob@acmecorp.test")
	first := o.backup(dir, backup.Options{Keep: 3})
	o.forget(gone)
	_, err := o.s.Links.Revoke(t.Context(), o.links(other), o.act)
	o.do("revoke", err)
	k := o.s.Keeper(quiet)
	now := k.Now()
	k.Now, k.Recent = func() time.Time { return now.AddDate(0, 0, 20) }, 0
	if r, err := k.Collect(t.Context(), sisa.GCOptions{Grace: 1}); err != nil || r.Blobs == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for range 2 {
		if r := o.backup(dir, backup.Options{Keep: 5}); r.Blobs != 0 || len(blobsIn(t, dir)) == 0 {
			t.Errorf("%+v, %d files", r, len(blobsIn(t, dir)))
		}
	}
	if _, back := o.restored(dir, RestoreOptions{Generation: first.Generation}); !back.OK() || back.Forgotten != 1 {
		t.Errorf("%+v, %+v", back, back.Store)
	}
}
