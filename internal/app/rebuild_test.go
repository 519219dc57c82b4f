package app

// The database of an eventful day made anew from the journal: it must be the same.

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cloakroom/internal/db"
)

func TestADatabaseRebuiltFromTheJournalIsTheSame(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	o.eventful()
	live := dump(t, o.s.DB.Read())
	for table, least := range map[string]int{"mails": 15, "parts": 20, "links": 16, "downloads": 2, "holds": 1, "jobs": 5, "uploaded": 10, "audit": 5, "hours": 5, "blobs": 10} {
		if len(live[table]) < least {
			t.Errorf("%d rows in %s: the day was not eventful", len(live[table]), table)
		}
	}
	states := strings.Join(live["jobs"], "\n")
	for _, state := range []string{"waiting", "done", "failed"} {
		if !strings.Contains(states, "state="+state) {
			t.Errorf("no job is %s", state)
		}
	}
	o.do("close", o.s.Close())
	data := o.cfg.Data
	o.do("lose the database", os.Rename(filepath.Join(data, databaseName), filepath.Join(t.TempDir(), "live.db")))
	if _, err := OpenBeside(t.Context(), o.cfg, true, quiet); err == nil || !strings.Contains(err.Error(), "store rebuild") {
		t.Errorf("without its database: %v", err)
	}
	var shown int64
	r, err := Rebuild(t.Context(), o.cfg, RebuildOptions{Actor: "test", Progress: func(done, all int64) { shown = 100 * done / all }}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if r.Damaged != 0 || len(r.Lost) != 0 || len(r.Unknown) != 0 || shown < 90 {
		t.Errorf("%+v, shown %d %%", r, shown)
	}
	// One file was lost on purpose: it is missed, and nothing else is.
	if len(r.Store.Missing) != 1 || len(r.Store.Damaged) != 0 {
		t.Errorf("missing %+v, damaged %+v", r.Store.Missing, r.Store.Damaged)
	}
	o.open(false)
	rebuilt := dump(t, o.s.DB.Read())
	rebuilt["audit"] = slices.DeleteFunc(rebuilt["audit"], func(row string) bool { return strings.Contains(row, "action=rebuild the database") })
	compareDumps(t, live, rebuilt)

	// The original of a mail comes back byte for byte, and what goes on goes on.
	for _, one := range restoreAll(t, o.s, nil, nil) {
		if one.Error != "" && !strings.Contains(one.Error, "does not exist") {
			t.Errorf("restore: %+v", one)
		}
	}
	o.mail("after the rebuild", 4000, "bob@acmecorp.test")
	if _, err := Rebuild(t.Context(), o.cfg, RebuildOptions{}, quiet); !errors.Is(err, ErrHasDatabase) {
		t.Errorf("a second time: %v", err)
	}
	live = dump(t, o.s.DB.Read())
	o.do("close", o.s.Close())
	if r, err = Rebuild(t.Context(), o.cfg, RebuildOptions{Anew: true}, quiet); err != nil || r.Aside == "" {
		t.Fatalf("anew: %+v, %v", r, err)
	}
	o.open(false)
	rebuilt = dump(t, o.s.DB.Read())
	compareDumps(t, withoutRebuilds(live), withoutRebuilds(rebuilt))
}

func withoutRebuilds(d map[string][]string) map[string][]string {
	d["audit"] = slices.DeleteFunc(d["audit"], func(row string) bool { return strings.Contains(row, "action=rebuild the database") })
	return d
}

func TestAnOldDatabaseCatchesUpAtTheStart(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	o.mail("before", 3000, "bob@acmecorp.test")
	old := filepath.Join(t.TempDir(), "old.db")
	o.do("copy", o.s.DB.Snapshot(t.Context(), old))
	o.eventful()
	live := dump(t, o.s.DB.Read())
	o.do("close", o.s.Close())
	path := filepath.Join(o.cfg.Data, databaseName)
	for _, ending := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + ending); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	o.do("put back", os.Rename(old, path))
	o.open(false)
	compareDumps(t, live, dump(t, o.s.DB.Read()))
}

// Beside the journal of another data folder a database stays as it is, and mail
// does not wait.
func TestNothingIsTakenFromTheJournalOfAnotherDataFolder(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	o.mail("of the other folder", 3000, "bob@acmecorp.test")
	foreign := filepath.Join(t.TempDir(), "journal")
	o.do("close", o.s.Close())
	o.do("keep the journal", os.Rename(filepath.Join(o.cfg.Data, journalName), foreign))
	o.do("another folder", os.RemoveAll(o.cfg.Data))
	o.open(true)
	live := dump(t, o.s.DB.Read())
	o.do("close", o.s.Close())
	o.do("no journal", os.RemoveAll(filepath.Join(o.cfg.Data, journalName)))
	o.do("the other's journal", os.Rename(foreign, filepath.Join(o.cfg.Data, journalName)))
	o.open(false)
	compareDumps(t, live, dump(t, o.s.DB.Read()))
	o.mail("goes on", 3000, "bob@acmecorp.test")
}

func TestWhatARebuildCannotDoItSays(t *testing.T) {
	o := newOffice(t, choosyMTA(t))
	o.mail("one", 3000, "bob@acmecorp.test")
	o.mail("two", 4000, "bob@acmecorp.test")
	o.do("close", o.s.Close())
	path := filepath.Join(o.cfg.Data, databaseName)
	rebuild := func(ro RebuildOptions) (*Rebuilt, error) {
		t.Helper()
		o.do("lose the database", removeDatabase(path))
		return Rebuild(t.Context(), o.cfg, ro, quiet)
	}
	lock, err := db.Lock(o.cfg.Data)
	o.do("lock", err)
	if _, err := rebuild(RebuildOptions{}); !errors.Is(err, db.ErrLocked) {
		t.Errorf("beside a daemon: %v", err)
	}
	o.do("unlock", lock.Unlock())

	segments, _ := filepath.Glob(filepath.Join(o.cfg.Data, journalName, "*.jsonl"))
	whole, err := os.ReadFile(segments[0])
	o.do("read", err)
	damaged := bytes.Replace(whole, []byte(`"kind":"mail"`), []byte(`"kind":"ma!!`), 1)
	o.do("damage", os.WriteFile(segments[0], append(damaged, `{"t":1,"ki`...), 0o600))
	// The line of the mail is damaged, and that of its link then is about no mail.
	_, err = rebuild(RebuildOptions{})
	if !errors.Is(err, db.ErrReplay) || !strings.Contains(err.Error(), segments[0]+":2:") || !strings.Contains(err.Error(), segments[0]+":3: link") {
		t.Errorf("with a damaged line: %v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	r, err := rebuild(RebuildOptions{SkipDamaged: true})
	if err != nil || r.Damaged != 2 || !strings.Contains(r.Details, ":2:") || r.Store.Unreferenced != 1 {
		t.Errorf("passed over: %+v, %v", r, err)
	}
	o.do("mend", os.WriteFile(segments[0], whole, 0o600))

	secret := filepath.Join(o.cfg.Data, "secret")
	key, err := os.ReadFile(secret)
	o.do("read", err)
	o.do("another secret", os.WriteFile(secret, []byte(strings.Repeat("ab", 32)+"\n"), 0o600))
	if _, err := rebuild(RebuildOptions{SkipDamaged: true}); !errors.Is(err, ErrOtherSecret) {
		t.Errorf("with another secret: %v", err)
	}
	if _, err := rebuild(RebuildOptions{OtherSecret: true}); err != nil {
		t.Errorf("with another secret, as asked: %v", err)
	}
	o.do("the right secret", os.WriteFile(secret, key, 0o600))
	o.do("lose a segment", os.Remove(segments[0]))
	if _, err := rebuild(RebuildOptions{}); err == nil || !strings.Contains(err.Error(), "missing from") {
		t.Errorf("without a segment: %v", err)
	}
	for _, s := range mustGlob(t, filepath.Join(o.cfg.Data, journalName, "*.jsonl")) {
		o.do("lose", os.Remove(s))
	}
	if _, err := rebuild(RebuildOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a journal: %v", err)
	}
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
