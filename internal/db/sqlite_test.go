package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func freshSQLite(t *testing.T) opener {
	path := filepath.Join(t.TempDir(), "odd name #1?%41.db")
	return func(o Options, m ...Migration) (*DB, error) {
		o.Path, o.Log = path, slog.New(slog.DiscardHandler)
		return Open(context.WithoutCancel(t.Context()), o, m...)
	}
}

func TestSQLite(t *testing.T) { runSuite(t, freshSQLite) }

// testJournalBroken takes the journal's directory away; root ignores modes.
func testJournalBroken(t *testing.T, open opener) {
	dir := filepath.Join(t.TempDir(), "journal")
	d := mustOpen(t, open, Options{Journal: dir})
	if err := os.Rename(dir, dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), Entry{{"file", "a"}}, insertFile("a")); err == nil {
		t.Fatal("committed without its journal line")
	}
	if n := count(t, d, "files"); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
	if err := os.Rename(dir+"-gone", dir); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(t.Context(), Entry{{"file", "b"}}, insertFile("b")); err != nil {
		t.Errorf("after the journal came back: %v", err)
	}
}

func TestSQLiteOptions(t *testing.T) {
	d := mustOpen(t, freshSQLite(t), Options{})
	var mode string
	if err := d.Read().QueryRow(`PRAGMA journal_mode`).Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal mode %q, %v", mode, err)
	}
	var level int
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
		return tx.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&level)
	})
	if err != nil || level != 2 {
		t.Errorf("synchronous = %d (%v), want 2 (FULL)", level, err)
	}
	if _, err := d.Read().Exec(`DELETE FROM files`); err == nil {
		t.Error("the reading pool may write")
	}
	if _, err := Open(t.Context(), Options{}); err == nil {
		t.Error("neither path nor URL was accepted")
	}
	if _, err := Open(t.Context(), Options{Path: "x", URL: "y"}); err == nil {
		t.Error("both path and URL were accepted")
	}
}

func TestSQLiteFilesAreOnlyForTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	d, err := Open(t.Context(), Options{Path: path}, testSchema...)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Commit(t.Context(), nil, insertFile("a")); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		st, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", suffix, st.Mode())
		}
	}
}

// hold occupies the writer until release is called.
func hold(t *testing.T, d *DB) (release func(), result chan error) {
	t.Helper()
	running, gate := make(chan struct{}), make(chan struct{})
	result = make(chan error, 1)
	go func() {
		result <- d.Commit(context.Background(), nil, func(ctx context.Context, tx Tx) error {
			close(running)
			<-gate
			return insertFile("held")(ctx, tx)
		})
	}()
	<-running
	return sync.OnceFunc(func() { close(gate) }), result
}

func TestCallerThatLeavesBeforeItsTurnIsNeverRun(t *testing.T) {
	d := mustOpen(t, freshSQLite(t), Options{})
	release, held := hold(t, d)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- d.Commit(ctx, nil, insertFile("left")) }()
	waitQueued(t, d, 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	release()
	if err := <-held; err != nil {
		t.Error(err)
	}
	if err := d.Commit(t.Context(), nil, insertFile("later")); err != nil {
		t.Error(err)
	}
	if n := count(t, d, "files"); n != 2 {
		t.Errorf("%d rows, want the held and the later one", n)
	}
}

func TestCallerThatLeavesDuringItsTurnIsToldUnknown(t *testing.T) {
	d := mustOpen(t, freshSQLite(t), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	gate, finished := make(chan struct{}), make(chan struct{})
	var seen error
	err := d.Commit(ctx, nil, func(ctx context.Context, tx Tx) error {
		defer close(finished)
		cancel()
		<-gate
		seen = insertFile("a")(ctx, tx)
		return seen
	})
	if !errors.Is(err, ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(gate)
	<-finished
	if seen != nil {
		t.Errorf("the caller's end reached the statement: %v", seen)
	}
	// A commit that comes later proves that the earlier one was finished.
	if err := d.Commit(t.Context(), nil, insertFile("b")); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, "files"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

func TestQueuedCommitsShareOneTransaction(t *testing.T) {
	dir := t.TempDir()
	d := mustOpen(t, freshSQLite(t), Options{Journal: dir})
	release, held := hold(t, d)
	const waiting = 40
	errs := make(chan error, waiting)
	sawOther := make(chan bool, waiting)
	for i := range waiting {
		go func() {
			errs <- d.Commit(context.Background(), Entry{{"n", i}}, func(ctx context.Context, tx Tx) error {
				// The rows of the batch so far are seen before they are durable.
				var n int
				if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM files`).Scan(&n); err != nil {
					return err
				}
				sawOther <- n > 1 && count(t, d, "files") == 1
				return insertFile(fmt.Sprint(i))(ctx, tx)
			})
		}()
	}
	waitQueued(t, d, waiting)
	release()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	shared := 0
	for range waiting {
		if err := <-errs; err != nil {
			t.Error(err)
		}
		if <-sawOther {
			shared++
		}
	}
	if shared != waiting-1 {
		t.Errorf("%d of %d commits shared the transaction of the first", shared, waiting-1)
	}
	if n := count(t, d, "files"); n != waiting+1 {
		t.Errorf("%d rows, want %d", n, waiting+1)
	}
}

func TestBatchFailsWholeWhenTheTransactionIsLost(t *testing.T) {
	d := mustOpen(t, freshSQLite(t), Options{})
	release, held := hold(t, d)
	results := make(chan error, 2)
	go func() { results <- d.Commit(context.Background(), nil, insertFile("a")) }()
	waitQueued(t, d, 1)
	go func() {
		results <- d.Commit(context.Background(), nil, func(ctx context.Context, tx Tx) error {
			_, err := tx.ExecContext(ctx, `ROLLBACK`)
			return err
		})
	}()
	waitQueued(t, d, 2)
	release()
	<-held
	for range 2 {
		if err := <-results; err == nil {
			t.Error("told that it is durable, though the transaction was lost")
		}
	}
	if n := count(t, d, "files"); n != 1 {
		t.Errorf("%d rows, want only the held one", n)
	}
	if err := d.Commit(t.Context(), nil, insertFile("after")); err != nil {
		t.Errorf("the writer did not recover: %v", err)
	}
}

func TestCloseFinishesWhatIsQueued(t *testing.T) {
	d := mustOpen(t, freshSQLite(t), Options{})
	release, held := hold(t, d)
	queued := make(chan error, 1)
	go func() { queued <- d.Commit(context.Background(), nil, insertFile("a")) }()
	waitQueued(t, d, 1)
	closed := make(chan error, 1)
	go func() { closed <- d.Close() }()
	release()
	for name, c := range map[string]chan error{"held": held, "queued": queued, "close": closed} {
		if err := <-c; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTransactionIsUselessAfterItsFunction(t *testing.T) {
	d := mustOpen(t, freshSQLite(t), Options{})
	var kept Tx
	if err := d.Commit(t.Context(), nil, func(_ context.Context, tx Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := kept.ExecContext(t.Context(), `DELETE FROM files`); err == nil {
		t.Error("exec worked")
	}
	if _, err := kept.QueryContext(t.Context(), `SELECT 1`); err == nil {
		t.Error("query worked")
	}
	if err := kept.QueryRowContext(t.Context(), `SELECT 1`).Err(); err == nil {
		t.Error("query row worked")
	}
}

func TestSameTextInsideItsOwnLoop(t *testing.T) {
	d := mustOpen(t, freshSQLite(t), Options{})
	var pairs []string
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
		for _, id := range []string{"a", "b", "c"} {
			if err := insertFile(id)(ctx, tx); err != nil {
				return err
			}
		}
		const text = `SELECT id FROM files ORDER BY id`
		rows, err := tx.QueryContext(ctx, text)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var outer, inner string
			if err := rows.Scan(&outer); err != nil {
				return err
			}
			if err := tx.QueryRowContext(ctx, text).Scan(&inner); err != nil {
				return err
			}
			pairs = append(pairs, outer+inner)
		}
		return rows.Err()
	})
	if got := strings.Join(pairs, " "); err != nil || got != "aa ba ca" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTwoProcessesShareAFile(t *testing.T) {
	open := freshSQLite(t)
	a, b := mustOpen(t, open, Options{}), mustOpen(t, open, Options{})
	var wg sync.WaitGroup
	for name, d := range map[string]*DB{"a": a, "b": b} {
		for i := range 20 {
			wg.Go(func() {
				if err := d.Commit(t.Context(), nil, insertFile(fmt.Sprint(name, i))); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := count(t, a, "files"); n != 40 {
		t.Errorf("%d rows, want 40", n)
	}
}

func TestManyTextsDoNotGrowTheStatementCache(t *testing.T) {
	d := mustOpen(t, freshSQLite(t), Options{})
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
		for i := range maxStatements * 2 {
			if _, err := tx.ExecContext(ctx, fmt.Sprintf(`DELETE FROM files WHERE made = %d`, i)); err != nil {
				return err
			}
			if n := len(d.committer.(*writer).conn.stmts); n > maxStatements {
				return fmt.Errorf("%d statements kept", n)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func waitQueued(t *testing.T, d *DB, n int) {
	t.Helper()
	w := d.committer.(*writer)
	for end := time.Now().Add(10 * time.Second); len(w.queue) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d queued, want %d", len(w.queue), n)
		}
	}
}

func TestLockKeepsASecondDaemonOut(t *testing.T) {
	dir := t.TempDir()
	l, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Lock(dir)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(dir)
	if err != nil {
		t.Fatalf("after unlocking: %v", err)
	}
	again.Unlock()
}

func TestSQLiteQueryTranslation(t *testing.T) {
	for in, want := range map[string]string{
		`SELECT 1 FROM a FOR UPDATE`:                            `SELECT 1 FROM a`,
		"select 1 from a\n\tfor update skip locked":             `select 1 from a`,
		`SELECT 1 FROM a FOR UPDATE OF a NOWAIT`:                `SELECT 1 FROM a`,
		`SELECT 1 FROM a FOR SHARE`:                             `SELECT 1 FROM a`,
		`INSERT INTO waiting_for (a) VALUES ($1)`:               `INSERT INTO waiting_for (a) VALUES ($1)`,
		`DELETE FROM a WHERE b IN (SELECT b FROM a FOR UPDATE)`: `DELETE FROM a WHERE b IN (SELECT b FROM a)`,
	} {
		if got := sqliteQuery(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
	if got := sqliteSchema(`CREATE TABLE a (b bytea, bytea_size BIGINT)`); got != `CREATE TABLE a (b BLOB, bytea_size BIGINT)` {
		t.Errorf("schema became %q", got)
	}
	if got := postgresSchema(`CREATE TABLE a (b BLOB, blobs BIGINT)`); got != `CREATE TABLE a (b BYTEA, blobs BIGINT)` {
		t.Errorf("schema became %q", got)
	}
}

func TestPanicIsLoggedWithItsStack(t *testing.T) {
	var out bytes.Buffer
	d, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "a.db"), Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	d.Commit(t.Context(), nil, func(context.Context, Tx) error { panic("boom") })
	d.Close()
	if !strings.Contains(out.String(), "boom") || !strings.Contains(out.String(), "TestPanicIsLoggedWithItsStack") {
		t.Errorf("log: %s", out.String())
	}
}

func TestAFrozenSchemaIsNotChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	one := Migration{Name: "one", SQL: "CREATE TABLE one (a INTEGER)"}
	d, err := Open(t.Context(), Options{Path: path}, one)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if same, err := Open(t.Context(), Options{Path: path, Frozen: true}, one); err != nil {
		t.Errorf("nothing to change: %v", err)
	} else {
		same.Close()
	}
	_, err = Open(t.Context(), Options{Path: path, Frozen: true}, one, Migration{Name: "two", SQL: "CREATE TABLE two (a INTEGER)"})
	if !errors.Is(err, ErrOlder) {
		t.Errorf("a step is missing: %v", err)
	}
	var n int
	if err := d.Read().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM sqlite_master WHERE name = 'two'").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d tables made (%v)", n, err)
	}
}
