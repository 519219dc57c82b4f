package db

import (
	"os"
	"path/filepath"
	"testing"
)

// A server whose clock was ahead, or is set back: what was written later is read
// later, also by processes that were begun later.
func TestJournalKeepsItsOrderWhenTheClockIsSetBack(t *testing.T) {
	dir, c := filepath.Join(t.TempDir(), "journal"), &clock{}
	c.set("2026-03-02T10:00:00Z")
	first := testJournal(t, dir, c)
	write(t, first, "a")
	c.set("2026-03-02T09:00:00Z")
	write(t, first, "b")
	c.set("2026-03-02T09:10:00Z")
	write(t, testJournal(t, dir, c), "c") // a process of its own
	c.set("2026-03-02T09:30:00Z")
	write(t, first, "d")
	c.set("2026-03-01T12:00:00Z") // over midnight
	write(t, testJournal(t, dir, c), "e")
	write(t, testJournal(t, dir, c), "f")
	write(t, first, "g")
	c.set("2026-03-02T10:30:00Z") // right again
	write(t, testJournal(t, dir, c), "h")
	write(t, first, "i")
	c.set("2026-03-03T08:00:00Z")
	write(t, first, "j")
	if k, err := kinds(t, dir); err != nil || k != "a b c d e f g h i j" {
		t.Errorf("read %q, %v (%s)", k, err, names(t, dir))
	}
	// As the database of before the clock was set back reads it.
	r := journalReader{dir: dir, from: map[string]int64{"2026-03-02-0001": sizeOf(t, filepath.Join(dir, "2026-03-02-0001.jsonl"))}}
	var got string
	if err := r.read(func(_ place, rec Record) error { got += rec.Kind; return nil }); err != nil || got != "bcdefghij" {
		t.Errorf("the rest is %q, %v", got, err)
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}
