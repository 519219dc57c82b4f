package db

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/internal/spool/smalldisk"
)

// On a full disk commits fail, what was acknowledged stays, and commits
// succeed again as soon as there is room.
func TestFullDisk(t *testing.T) {
	dir := smalldisk.Dir(t)
	if dir == "" {
		return
	}
	ballast := filepath.Join(dir, "ballast")
	for _, journal := range []string{"", filepath.Join(dir, "journal")} {
		if err := os.WriteFile(ballast, make([]byte, smalldisk.Size/4), 0o600); err != nil {
			t.Fatal(err)
		}
		o := Options{Path: filepath.Join(dir, "a.db"+filepath.Base(journal)), Journal: journal, Log: slog.New(slog.DiscardHandler)}
		d, err := Open(t.Context(), o, testSchema...)
		if err != nil {
			t.Fatal(err)
		}
		acknowledged, failures := fill(d)
		if acknowledged == 0 || failures == 0 {
			t.Fatalf("%d commits, %d failures", acknowledged, failures)
		}
		if n := count(t, d, "files"); n < acknowledged || n > acknowledged+failures {
			t.Errorf("%d rows, %d acknowledged", n, acknowledged)
		}
		if err := os.Truncate(ballast, 0); err != nil {
			t.Fatal(err)
		}
		if err := d.Commit(t.Context(), Entry{{"file", "after"}}, insertFile("after")); err != nil {
			t.Errorf("there is room again: %v", err)
		}
		if journal != "" {
			lines := 0
			if err := ReadJournal(journal, func(Record) error { lines++; return nil }); err != nil || lines < acknowledged*factsOfFill+1 {
				t.Errorf("%d lines for %d commits, %v", lines, acknowledged+1, err)
			}
			// Lines of a commit that failed half-way are not for the next start: much
			// may have happened by then.
			if behind, err := d.Behind(t.Context()); behind != 0 || err != nil {
				t.Errorf("the next start would add %d bytes of commits that failed, %v", behind, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		for _, path := range []string{o.Path, o.Path + "-wal", o.Path + "-shm"} {
			os.Remove(path)
		}
	}
}

// factsOfFill is how many lines each commit of fill writes: so many that some fit
// onto the disk where all do not.
const factsOfFill = 80

// fill commits until three commits in a row have failed.
func fill(d *DB) (acknowledged, failures int) {
	row := 0
	for failures < 3 {
		row++
		id := fmt.Sprint(row)
		entry := make(Entry, factsOfFill)
		for i := range entry {
			entry[i] = Fact{"file", strings.Repeat("x", 20)}
		}
		err := d.Commit(context.Background(), entry, func(ctx context.Context, tx Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO files (id, body, made) VALUES ($1, $2, 1)`, id, make([]byte, 1000))
			return err
		})
		if err == nil {
			acknowledged++
			failures = 0
		} else {
			failures++
		}
	}
	return acknowledged, failures
}
