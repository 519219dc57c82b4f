package db

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(s string) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	c.t = t
	c.mu.Unlock()
}

func testJournal(t *testing.T, dir string, c *clock) *journal {
	t.Helper()
	j, err := openJournal(dir, c.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.close() })
	return j
}

func write(t *testing.T, j *journal, kinds ...string) {
	t.Helper()
	var lines []byte
	for _, k := range kinds {
		var err error
		if lines, err = appendLines(lines, Entry{{k, nil}}, j.now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.append(lines); err != nil {
		t.Fatal(err)
	}
}

func kinds(t *testing.T, dir string) (string, error) {
	t.Helper()
	var out []string
	err := ReadJournal(dir, func(r Record) error {
		out = append(out, r.Kind)
		return nil
	})
	return strings.Join(out, " "), err
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestJournalBeginsASegmentEachDayInUTC(t *testing.T) {
	dir, c := filepath.Join(t.TempDir(), "journal"), &clock{}
	c.set("2026-03-01T00:30:00+02:00")
	j := testJournal(t, dir, c)
	if n := names(t, dir); n != "" {
		t.Errorf("a segment was made before there was a line: %s", n)
	}
	write(t, j, "a", "b")
	c.set("2026-03-01T00:00:00Z")
	write(t, j, "c")
	if n := names(t, dir); n != "2026-02-28-0001.jsonl 2026-03-01-0001.jsonl" {
		t.Errorf("segments: %s", n)
	}
	if k, err := kinds(t, dir); err != nil || k != "a b c" {
		t.Errorf("read %q, %v", k, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "2026-03-01-0001.jsonl")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestJournalBeginsASegmentWhenOneIsFull(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	c.set("2026-03-01T10:00:00Z")
	j := testJournal(t, dir, c)
	write(t, j, "a")
	j.size = maxSegment - 1
	write(t, j, "b")
	if n := names(t, dir); n != "2026-03-01-0001.jsonl 2026-03-01-0002.jsonl" {
		t.Errorf("segments: %s", n)
	}
}

func TestJournalNeverAppendsToATornLine(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	c.set("2026-03-01T10:00:00Z")
	j := testJournal(t, dir, c)
	write(t, j, "a", "b")
	j.close()
	first := filepath.Join(dir, "2026-03-01-0001.jsonl")
	whole, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(whole) - 1; cut > bytes.LastIndexByte(whole[:len(whole)-1], '\n'); cut-- {
		if err := os.WriteFile(first, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := kinds(t, dir); err != nil || k != "a" {
			t.Fatalf("cut at %d: read %q, %v", cut, k, err)
		}
	}
	write(t, testJournal(t, dir, c), "c")
	if k, err := kinds(t, dir); err != nil || k != "a c" {
		t.Errorf("read %q, %v", k, err)
	}
}

func TestJournalReportsDamageAndReadsOn(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	c.set("2026-03-01T10:00:00Z")
	write(t, testJournal(t, dir, c), "a")
	path := filepath.Join(dir, "2026-03-01-0001.jsonl")
	whole, _ := os.ReadFile(path)
	damaged := slices.Concat(whole, []byte("\x00\x00\x00\n"), []byte("{\"t\":1}\n"), []byte(strings.Repeat("x", maxLine+10)+"\n"), whole)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := kinds(t, dir)
	if k != "a a" {
		t.Errorf("read %q", k)
	}
	for _, line := range []string{":3:", ":4:", ":5:"} {
		if err == nil || !strings.Contains(err.Error(), path+line) {
			t.Errorf("error does not name line %s %v", line, err)
		}
	}
	os.WriteFile(path, []byte(strings.Repeat("?\n", 1000)), 0o600)
	if _, err := kinds(t, dir); err == nil || !strings.Contains(err.Error(), fmt.Sprint("and ", 1000-maxDamage, " more")) {
		t.Errorf("got %v", err)
	}
}

func TestJournalMergesProcessesByTime(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	daemon, cli := testJournal(t, dir, c), testJournal(t, dir, c)
	c.set("2026-03-01T10:00:00Z")
	write(t, daemon, "link")
	c.set("2026-03-01T11:00:00Z")
	write(t, cli, "revoke")
	c.set("2026-03-01T12:00:00Z")
	write(t, daemon, "again")
	c.set("2026-03-01T11:30:00Z") // the clock is set back
	write(t, daemon, "later")
	c.set("2026-03-01T12:30:00Z")
	write(t, cli, "end")
	if k, err := kinds(t, dir); err != nil || k != "link revoke again later end" {
		t.Errorf("read %q, %v", k, err)
	}
}

func TestJournalSortsSegmentsByNumber(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	c.set("2026-03-01T10:00:00Z")
	write(t, testJournal(t, dir, c), "a")
	if err := os.Rename(filepath.Join(dir, "2026-03-01-0001.jsonl"), filepath.Join(dir, "2026-03-01-9999.jsonl")); err != nil {
		t.Fatal(err)
	}
	write(t, testJournal(t, dir, c), "b")
	for _, foreign := range []string{"README", "2026-03-01-.jsonl", "2026-13-01-0001.jsonl", "x.jsonl"} {
		if err := os.WriteFile(filepath.Join(dir, foreign), []byte("?\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if k, err := kinds(t, dir); err != nil || k != "a b" {
		t.Errorf("read %q, %v", k, err)
	}
}

func TestJournalGivesUpASegmentAfterAFailedWrite(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	c.set("2026-03-01T10:00:00Z")
	j := testJournal(t, dir, c)
	write(t, j, "a")
	j.file.Close()
	if err := j.append([]byte("{\"t\":1,\"kind\":\"lost\",\"data\":1}\n")); err == nil {
		t.Fatal("no error")
	}
	write(t, j, "b")
	if n := names(t, dir); n != "2026-03-01-0001.jsonl 2026-03-01-0002.jsonl" {
		t.Errorf("segments: %s", n)
	}
	if k, err := kinds(t, dir); err != nil || k != "a b" {
		t.Errorf("read %q, %v", k, err)
	}
}

func TestJournalLeavesNoEmptySegmentsOnAFullDisk(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	c.set("2026-03-01T10:00:00Z")
	j := testJournal(t, dir, c)
	write(t, j, "a")
	j.file.Close()
	j.size = 0 // as if nothing had been acknowledged
	if err := j.append([]byte("x\n")); err == nil {
		t.Fatal("no error")
	}
	if n := names(t, dir); n != "" {
		t.Errorf("left: %s", n)
	}
}

func TestJournalStopsAtTheReadersError(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	c.set("2026-03-01T10:00:00Z")
	write(t, testJournal(t, dir, c), "a", "b")
	enough, n := errors.New("enough"), 0
	err := ReadJournal(dir, func(Record) error { n++; return enough })
	if err != enough || n != 1 {
		t.Errorf("got %v after %d records", err, n)
	}
	if err := ReadJournal(filepath.Join(dir, "missing"), func(Record) error { return nil }); err == nil {
		t.Error("a missing journal was read")
	}
}

func TestEntryThatIsTooLargeIsRefused(t *testing.T) {
	before := []byte("x\n")
	after, err := appendLines(before, Entry{{"small", 1}, {"big", strings.Repeat("x", maxLine)}}, time.Now())
	if err == nil || string(after) != "x\n" {
		t.Errorf("%v, %d bytes", err, len(after))
	}
}
