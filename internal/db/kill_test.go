package db

// A process killed in the midst of its commits: what it acknowledged is
// there, and nothing is in the database that is not in the journal.

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const killDir = "CLOAKROOM_TEST_KILL_DIR"

// TestKilledProcess is its own child: with killDir set it commits until it is
// killed.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		commitForever(dir)
	}
	for round := range 3 {
		dir := t.TempDir()
		acknowledged := killAfter(t, dir, 40+60*round)
		journaled := make(map[string]bool)
		err := ReadJournal(filepath.Join(dir, "journal"), func(r Record) error {
			journaled[strings.Trim(string(r.Data), `"`)] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), Options{Path: filepath.Join(dir, "a.db")}, testSchema...)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for _, id := range acknowledged {
			if n := countID(t, d, id); n != 1 {
				t.Errorf("%s was acknowledged and is not in the database", id)
			}
		}
		for _, id := range allIDs(t, d) {
			if !journaled[id] {
				t.Errorf("%s is in the database and not in the journal", id)
			}
		}
	}
}

func commitForever(dir string) {
	d, err := Open(context.Background(), Options{Path: filepath.Join(dir, "a.db"), Journal: filepath.Join(dir, "journal")}, testSchema...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	for c := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", c, i)
				if err := d.Commit(context.Background(), Entry{{"file", id}}, insertFile(id)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(3)
				}
				fmt.Println(id)
			}
		}()
	}
	select {}
}

// killAfter runs the child, kills it once it acknowledged n commits, and
// returns all that it acknowledged.
func killAfter(t *testing.T, dir string, n int) (ids []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(out); in.Scan(); {
		ids = append(ids, in.Text())
		if len(ids) == n {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if len(ids) < n {
		t.Fatalf("the child ended by itself after %d commits", len(ids))
	}
	return ids
}

func countID(t *testing.T, d *DB, id string) (n int) {
	t.Helper()
	if err := d.Read().QueryRow(`SELECT COUNT(*) FROM files WHERE id = $1`, id).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func allIDs(t *testing.T, d *DB) (ids []string) {
	t.Helper()
	rows, err := d.Read().Query(`SELECT id FROM files`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}
