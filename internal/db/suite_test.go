package db

// What must hold on both databases.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var testSchema = []Migration{
	{Name: "test-1", SQL: `CREATE TABLE files (id TEXT PRIMARY KEY, body BYTEA, made BIGINT NOT NULL);
		CREATE INDEX files_made ON files (made)`},
	{Name: "test-2", SQL: `CREATE TABLE links (id TEXT PRIMARY KEY, file TEXT NOT NULL REFERENCES files (id))`},
}

// opener opens the same empty database each time it is called in one test.
type opener func(o Options, m ...Migration) (*DB, error)

func runSuite(t *testing.T, fresh func(t *testing.T) opener) {
	cases := []struct {
		name string
		run  func(t *testing.T, open opener)
	}{
		{"a commit is visible to readers when it returns", testVisible},
		{"an error undoes its own commit only", testRollback},
		{"a panic undoes its own commit only", testPanic},
		{"a hidden statement error still fails the commit", testHiddenError},
		{"many callers at once all become durable", testConcurrent},
		{"row locks are accepted", testRowLock},
		{"rows left open do no harm", testOpenRows},
		{"a commit inside a commit is refused", testNested},
		{"a context that ended before runs nothing", testContextBefore},
		{"a closed database refuses commits", testClosed},
		{"migrations are applied once", testMigrateTwice},
		{"a failing migration leaves nothing", testMigrateFails},
		{"a database of a newer program is refused", testNewer},
		{"journal lines exist for what was committed only", testJournalLines},
		{"a journal that cannot be written fails the commit", testJournalBroken},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, fresh(t)) })
	}
}

func mustOpen(t *testing.T, open opener, o Options, m ...Migration) *DB {
	t.Helper()
	if m == nil {
		m = testSchema
	}
	d, err := open(o, m...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func insertFile(id string) func(context.Context, Tx) error {
	return func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO files (id, body, made) VALUES ($1, $2, $3)`, id, []byte{0, 0xff, 'x'}, int64(1)<<40)
		return err
	}
}

func count(t *testing.T, d *DB, table string) int {
	t.Helper()
	var n int
	if err := d.Read().QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func testVisible(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{})
	if err := d.Commit(t.Context(), nil, insertFile("a")); err != nil {
		t.Fatal(err)
	}
	var body []byte
	var made int64
	if err := d.Read().QueryRow(`SELECT body, made FROM files WHERE id = $1`, "a").Scan(&body, &made); err != nil {
		t.Fatal(err)
	}
	if string(body) != "\x00\xffx" || made != 1<<40 {
		t.Errorf("read back %q, %d", body, made)
	}
	d.Close()
	again := mustOpen(t, open, Options{})
	if n := count(t, again, "files"); n != 1 {
		t.Errorf("%d rows after reopening, want 1", n)
	}
}

func testRollback(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{})
	refused := errors.New("no")
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
		if err := insertFile("a")(ctx, tx); err != nil {
			return err
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatalf("got %v", err)
	}
	if err := d.Commit(t.Context(), nil, insertFile("b")); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "files"); n != 1 {
		t.Errorf("%d rows, want the one of the commit that succeeded", n)
	}
	err = d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO links (id, file) VALUES ($1, $2)`, "l", "missing")
		return err
	})
	if err == nil {
		t.Error("a link to a file that does not exist was committed: foreign keys are off")
	}
}

func testPanic(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{})
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
		insertFile("a")(ctx, tx)
		panic("bad mail")
	})
	if err == nil {
		t.Fatal("no error")
	}
	if err := d.Commit(t.Context(), nil, insertFile("b")); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "files"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func testHiddenError(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{})
	for name, hide := range map[string]func(context.Context, Tx){
		"exec":  func(ctx context.Context, tx Tx) { insertFile("a")(ctx, tx) },
		"query": func(ctx context.Context, tx Tx) { tx.QueryContext(ctx, `SELECT nothing FROM files`) },
		"row":   func(ctx context.Context, tx Tx) { tx.QueryRowContext(ctx, `SELECT nothing FROM files`).Err() },
	} {
		err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
			if err := insertFile("a")(ctx, tx); err != nil {
				return err
			}
			hide(ctx, tx)
			return nil
		})
		if err == nil || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n := count(t, d, "files"); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

func testConcurrent(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{Journal: t.TempDir()})
	const callers, each = 24, 8
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d-%d", c, i)
				err := d.Commit(t.Context(), Entry{{"file", id}}, func(ctx context.Context, tx Tx) error {
					if err := insertFile(id)(ctx, tx); err != nil || i%4 != 3 {
						return err
					}
					return errors.New("every fourth changes its mind")
				})
				if (err != nil) != (i%4 == 3) {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
	if n, want := count(t, d, "files"), callers*each*3/4; n != want {
		t.Errorf("%d rows, want %d", n, want)
	}
}

func testRowLock(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{})
	if err := d.Commit(t.Context(), nil, insertFile("a")); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`SELECT id FROM files WHERE id = $1 FOR UPDATE`,
		`SELECT id FROM files WHERE id = $1 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED`,
	} {
		err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
			var id string
			return tx.QueryRowContext(ctx, text, "a").Scan(&id)
		})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM files WHERE id IN (SELECT id FROM files WHERE id = $1 FOR UPDATE SKIP LOCKED)`, "a")
		return err
	})
	if n := count(t, d, "files"); err != nil || n != 0 {
		t.Errorf("locked subquery: %v, %d rows", err, n)
	}
}

func testOpenRows(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{})
	for i := range 3 {
		if err := d.Commit(t.Context(), nil, insertFile(fmt.Sprint("a", i))); err != nil {
			t.Fatal(err)
		}
	}
	const text = `SELECT id FROM files ORDER BY id`
	for range 3 {
		var seen []string
		err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
			rows, err := tx.QueryContext(ctx, text)
			if err != nil {
				return err
			}
			var id string
			for len(seen) < 2 && rows.Next() {
				if err := rows.Scan(&id); err != nil {
					return err
				}
				seen = append(seen, id)
			}
			return errors.New("rows not closed")
		})
		if err == nil || len(seen) != 2 || seen[1] != "a1" {
			t.Fatalf("%v, saw %v", err, seen)
		}
	}
	if err := d.Commit(t.Context(), nil, insertFile("b")); err != nil {
		t.Fatal(err)
	}
}

func testNested(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{})
	var inner error
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
		inner = d.Commit(ctx, nil, insertFile("a"))
		return nil
	})
	if err != nil || inner == nil {
		t.Errorf("outer %v, inner %v", err, inner)
	}
}

func testContextBefore(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var ran atomic.Bool
	err := d.Commit(ctx, nil, func(context.Context, Tx) error { ran.Store(true); return nil })
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknown) || ran.Load() {
		t.Errorf("got %v, ran: %v", err, ran.Load())
	}
}

func testClosed(t *testing.T, open opener) {
	d := mustOpen(t, open, Options{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), nil, insertFile("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func testMigrateTwice(t *testing.T, open opener) {
	mustOpen(t, open, Options{}, testSchema[0]).Close()
	d := mustOpen(t, open, Options{}, testSchema...)
	if n := count(t, d, "schema_migrations WHERE name <> '"+positionsStep+"'"); n != 2 {
		t.Errorf("%d migrations recorded, want 2", n)
	}
	if _, err := open(Options{}, testSchema[0], testSchema[0]); err == nil {
		t.Error("two migrations of one name were accepted")
	}
}

func testMigrateFails(t *testing.T, open opener) {
	_, err := open(Options{}, testSchema[0], Migration{Name: "broken", SQL: `CREATE TABLE x (id TEXT); CREATE TABLE files (id TEXT)`})
	if err == nil {
		t.Fatal("no error")
	}
	d := mustOpen(t, open, Options{}, testSchema...)
	if n := count(t, d, "files"); n != 0 {
		t.Errorf("%d rows", n)
	}
	if err := d.Read().QueryRow(`SELECT 1 FROM x`).Err(); err == nil {
		t.Error("half of the failed migration is there")
	}
}

func testNewer(t *testing.T, open opener) {
	mustOpen(t, open, Options{}, testSchema...).Close()
	if _, err := open(Options{}, testSchema[0]); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v", err)
	}
}

func testJournalLines(t *testing.T, open opener) {
	dir := t.TempDir()
	now := time.UnixMilli(1_700_000_000_123).UTC()
	d := mustOpen(t, open, Options{Journal: dir, Now: func() time.Time { return now }})
	type data struct{ ID, Note string }
	completed := &data{ID: "a"}
	err := d.Commit(t.Context(), Entry{{"file", completed}, {"second", 2}}, func(ctx context.Context, tx Tx) error {
		completed.Note = "made inside"
		return insertFile("a")(ctx, tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), Entry{{"file", "refused"}}, func(context.Context, Tx) error { return errors.New("no") }); err == nil {
		t.Fatal("no error")
	}
	if err := d.Commit(t.Context(), Entry{{"file", func() {}}}, insertFile("b")); err == nil {
		t.Fatal("an entry that cannot be written was accepted")
	}
	if n := count(t, d, "files"); n != 1 {
		t.Errorf("%d rows, want 1: no row without its line", n)
	}
	var got []Record
	err = ReadJournal(dir, func(r Record) error {
		r.Data = append(json.RawMessage(nil), r.Data...)
		got = append(got, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Kind != "file" || string(got[0].Data) != `{"ID":"a","Note":"made inside"}` ||
		got[1].Kind != "second" || !got[0].Time.Equal(now) {
		t.Errorf("journal: %+v", got)
	}
}
