package db

// A database that is older than its journal gets what it lacks, each line once.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var addsSchema = Migration{Name: "adds-1", SQL: `CREATE TABLE adds (n BIGINT NOT NULL)`}

// addsIn opens a database with its journal beside it.
func addsIn(t *testing.T, dir, name string) *DB {
	t.Helper()
	d, err := Open(t.Context(), Options{Path: filepath.Join(dir, name), Journal: filepath.Join(dir, "journal"), Log: slog.New(slog.DiscardHandler)}, addsSchema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func add(t *testing.T, d *DB, n int) {
	t.Helper()
	err := d.Commit(t.Context(), Entry{{"add", n}}, func(ctx context.Context, tx Tx) error { return addTo(ctx, tx, n) })
	if err != nil {
		t.Fatal(err)
	}
}

func addTo(ctx context.Context, tx Tx, n int) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO adds (n) VALUES ($1)`, n)
	return err
}

// replayAdds does lines "add" again; that of 13 fails half-way.
func replayAdds(ctx context.Context, tx Tx, r Record) (bool, error) {
	if r.Kind != "add" {
		return false, nil
	}
	var n int
	if err := json.Unmarshal(r.Data, &n); err != nil {
		return true, err
	}
	if err := addTo(ctx, tx, n); err != nil || n != 13 {
		return true, err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO adds (n) VALUES (NULL)`)
	return true, err
}

func sumOf(t *testing.T, d *DB) string {
	t.Helper()
	var n, sum int
	if err := d.Read().QueryRow(`SELECT COUNT(*), COALESCE(SUM(n), 0) FROM adds`).Scan(&n, &sum); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(n, " rows, ", sum)
}

func TestADatabaseKnowsHowFarItHasTheJournal(t *testing.T) {
	dir := t.TempDir()
	d, second := addsIn(t, dir, "a.db"), addsIn(t, dir, "a.db") // the daemon, and a command
	for n := range 10 {
		add(t, d, n)
	}
	add(t, second, 100)
	second.Close()
	if behind, err := d.Behind(t.Context()); err != nil || behind != 0 {
		t.Fatalf("behind by %d, %v", behind, err)
	}
	old := filepath.Join(dir, "old.db")
	if err := d.Snapshot(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	want := sumOf(t, d)
	for n := range 5 {
		add(t, d, 1000+n)
	}
	later := sumOf(t, d)
	o := addsIn(t, dir, "old.db")
	if got := sumOf(t, o); got != want {
		t.Errorf("the snapshot has %s, want %s", got, want)
	}
	for range 2 { // nothing is done twice
		got, err := o.CatchUp(t.Context(), Replay{Apply: replayAdds, Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		if sum := sumOf(t, o); sum != later {
			t.Errorf("%s, want %s (%+v)", sum, later, got)
		}
	}
	whole := addsIn(t, dir, "new.db")
	var last int64
	got, err := whole.CatchUp(t.Context(), Replay{Apply: replayAdds, Strict: true, New: true, Progress: func(done, all int64) {
		if done < last || done > all {
			t.Errorf("progress %d after %d of %d", done, last, all)
		}
		last = done
	}})
	if sum := sumOf(t, whole); err != nil || sum != later || got.Lines["add"] != 16 || last == 0 {
		t.Errorf("%s, want %s (%+v, %v, %d bytes)", sum, later, got, err, last)
	}
}

func TestALineWhoseCommitWasLostIsDoneAtTheNextStart(t *testing.T) {
	dir := t.TempDir()
	d := addsIn(t, dir, "a.db")
	add(t, d, 1)
	d.Close()
	// As a crash between the journal's sync and COMMIT leaves it, with half a line.
	segments, _ := filepath.Glob(filepath.Join(dir, "journal", "*.jsonl"))
	f, err := os.OpenFile(segments[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, `{"t":1,"kind":"add","data":2}`+"\n"+`{"t":1,"kind":"add","da`)
	f.Close()
	d = addsIn(t, dir, "a.db")
	if behind, err := d.Behind(t.Context()); err != nil || behind != 30 {
		t.Errorf("behind by %d, %v", behind, err)
	}
	if _, err := d.CatchUp(t.Context(), Replay{Apply: replayAdds}); err != nil || sumOf(t, d) != "2 rows, 3" {
		t.Errorf("%s, %v", sumOf(t, d), err)
	}
	if behind, err := d.Behind(t.Context()); err != nil || behind != 0 {
		t.Errorf("still behind by %d, %v", behind, err)
	}
}

func TestWhatCannotBeReadBackIsToldAndPassedOverOnlyWhereAsked(t *testing.T) {
	dir := t.TempDir()
	d := addsIn(t, dir, "a.db")
	for _, n := range []int{1, 13, 2, 3} {
		add(t, d, n)
	}
	d.Close()
	segments, _ := filepath.Glob(filepath.Join(dir, "journal", "*.jsonl"))
	text, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"data":2}`), []byte(`"data":!}`), 1)
	text = append(text, []byte(`{"t":1,"kind":"from tomorrow","data":1}`+"\n")...)
	if err := os.WriteFile(segments[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, isNew := range []bool{true, false} {
		for _, strict := range []bool{true, false} {
			d := addsIn(t, dir, fmt.Sprintf("%v-%v.db", isNew, strict))
			got, err := d.CatchUp(t.Context(), Replay{Apply: replayAdds, Strict: strict, New: isNew})
			want := "2 rows, 4"
			if strict {
				want = "0 rows, 0"
			}
			if errors.Is(err, ErrReplay) != strict || !strict && err != nil || sumOf(t, d) != want || got.Bad != 2 || got.Unknown["from tomorrow"] != 1 {
				t.Errorf("new %v, strict %v: %s, %v, %+v", isNew, strict, sumOf(t, d), err, got)
			}
			for _, place := range []string{segments[0] + ":3: add:", segments[0] + ":4: "} {
				if !strings.Contains(got.Passed.Error(), place) {
					t.Errorf("%v does not name %s", got.Passed, place)
				}
			}
		}
	}
}

func TestALostSegmentIsMissed(t *testing.T) {
	dir, c := t.TempDir(), &clock{}
	for _, day := range []string{"2026-03-01", "2026-03-02", "2026-03-03"} {
		c.set(day + "T10:00:00Z")
		j := testJournal(t, dir, c)
		write(t, j, day)
		j.close()
	}
	if err := os.Remove(filepath.Join(dir, "2026-03-02-0001.jsonl")); err != nil {
		t.Fatal(err)
	}
	k, err := kinds(t, dir)
	if k != "2026-03-01 2026-03-03" || err == nil || !strings.Contains(err.Error(), "missing from "+dir+": 2026-03-02-0001") {
		t.Errorf("read %q, %v", k, err)
	}
}

func TestADatabaseFromBeforeHasTheJournalThatIsThere(t *testing.T) {
	dir := t.TempDir()
	d := addsIn(t, dir, "a.db")
	add(t, d, 1)
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error { // as an older program left it
		_, err := tx.ExecContext(ctx, `DROP TABLE journal_segments`)
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM schema_migrations WHERE name = $1`, positionsStep)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	// A segment with a first line of its own is from later than such a database.
	o := Options{Path: filepath.Join(dir, "a.db"), Journal: filepath.Join(dir, "journal"), Log: slog.New(slog.DiscardHandler)}
	if _, err := Open(t.Context(), o, addsSchema); !errors.Is(err, ErrLeftBehind) || !strings.Contains(err.Error(), "store rebuild --anew") {
		t.Errorf("an old copy beside a newer journal: %v", err)
	}
	segments, _ := filepath.Glob(filepath.Join(dir, "journal", "*.jsonl"))
	text, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("\n")) // as an older program wrote it
	if err := os.WriteFile(segments[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	d = addsIn(t, dir, "a.db")
	if behind, err := d.Behind(t.Context()); err != nil || behind != 0 {
		t.Errorf("behind by %d, %v", behind, err)
	}
	time.Sleep(time.Millisecond)
	add(t, d, 2)
	if behind, err := d.Behind(t.Context()); err != nil || behind != 0 {
		t.Errorf("behind by %d, %v", behind, err)
	}
}

// A full disk is no reason to pass over lines: they are there the next time.
func TestAFullDiskLosesNoLine(t *testing.T) {
	dir := t.TempDir()
	d := addsIn(t, dir, "a.db")
	for n := range 3 {
		add(t, d, n)
	}
	want := sumOf(t, d)
	d.Close()
	full := func(ctx context.Context, tx Tx, r Record) (bool, error) {
		if _, err := tx.ExecContext(ctx, `PRAGMA max_page_count = 1`); err != nil { // no more than there are
			return true, err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO adds (n) SELECT zeroblob(100000)`)
		return true, err
	}
	for _, isNew := range []bool{true, false} {
		d := addsIn(t, dir, fmt.Sprintf("%v.db", isNew))
		got, err := d.CatchUp(t.Context(), Replay{Apply: full, New: isNew})
		if err == nil || errors.Is(err, ErrReplay) || !strings.Contains(err.Error(), "full") || got.Bad != 0 {
			t.Errorf("new %v: %v, %+v", isNew, err, got)
		}
		d.Close()
		d = addsIn(t, dir, fmt.Sprintf("%v.db", isNew))
		if _, err := d.CatchUp(t.Context(), Replay{Apply: replayAdds}); err != nil || sumOf(t, d) != want {
			t.Errorf("new %v: with room again %s, want %s, %v", isNew, sumOf(t, d), want, err)
		}
	}
}
