package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cloakroom/internal/testserver/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func freshPostgres(t *testing.T) opener {
	url := pgtest.Database(t)
	return func(o Options, m ...Migration) (*DB, error) {
		o.URL, o.Log = url, slog.New(slog.DiscardHandler)
		return Open(context.WithoutCancel(t.Context()), o, m...)
	}
}

func TestPostgres(t *testing.T) { runSuite(t, freshPostgres) }

func TestPostgresRepeatsADeadlock(t *testing.T) {
	d := mustOpen(t, freshPostgres(t), Options{})
	for _, id := range []string{"a", "b"} {
		if err := d.Commit(t.Context(), nil, insertFile(id)); err != nil {
			t.Fatal(err)
		}
	}
	var runs atomic.Int64
	var both sync.WaitGroup // each has its first lock before either asks for its second
	both.Add(2)
	lock := func(first, second string) func(context.Context, Tx) error {
		ready := sync.OnceFunc(both.Done)
		return func(ctx context.Context, tx Tx) error {
			runs.Add(1)
			if _, err := tx.ExecContext(ctx, `UPDATE files SET made = made + 1 WHERE id = $1`, first); err != nil {
				return err
			}
			ready()
			both.Wait()
			if _, err := tx.ExecContext(ctx, `UPDATE files SET made = made + 1 WHERE id = $1`, second); err != nil {
				return fmt.Errorf("wrapped: %w", err)
			}
			return nil
		}
	}
	var wg sync.WaitGroup
	for _, f := range []func(context.Context, Tx) error{lock("a", "b"), lock("b", "a")} {
		wg.Go(func() {
			if err := d.Commit(t.Context(), nil, f); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var made int64
	if err := d.Read().QueryRow(`SELECT SUM(made) FROM files`).Scan(&made); err != nil {
		t.Fatal(err)
	}
	if want := int64(2<<40 + 4); made != want || runs.Load() < 3 {
		t.Errorf("sum %d, want %d; %d runs", made, want, runs.Load())
	}
}

func TestPostgresCallerThatLeavesDuringItsFunctionIsRolledBack(t *testing.T) {
	d := mustOpen(t, freshPostgres(t), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Commit(ctx, nil, func(ctx context.Context, tx Tx) error {
		if err := insertFile("a")(ctx, tx); err != nil {
			return err
		}
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := count(t, d, "files"); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

func TestPostgresLostDuringCommitIsUnknown(t *testing.T) {
	d := mustOpen(t, freshPostgres(t), Options{})
	var pid int
	err := d.Commit(t.Context(), nil, func(ctx context.Context, tx Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
			return err
		}
		if err := insertFile("a")(ctx, tx); err != nil {
			return err
		}
		_, err := d.Read().ExecContext(ctx, `SELECT pg_terminate_backend($1, 5000)`, pid)
		return err
	})
	if !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if err := d.Commit(t.Context(), nil, insertFile("b")); err != nil {
		t.Errorf("the pool did not recover: %v", err)
	}
}

func TestPostgresCommitsAreDurableEvenIfTheRoleSaysOtherwise(t *testing.T) {
	url := pgtest.Database(t)
	sep := "?"
	if strings.Contains(url, "?") {
		sep = "&"
	}
	for setting, want := range map[string]string{"off": "on", "remote_apply": "remote_apply"} {
		d, err := Open(t.Context(), Options{URL: url + sep + "synchronous_commit=" + setting, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := d.Read().QueryRow(`SHOW synchronous_commit`).Scan(&got); err != nil || got != want {
			t.Errorf("%s became %q, want %q (%v)", setting, got, want, err)
		}
		d.Close()
	}
}

func TestPostgresNodesMigrateOnce(t *testing.T) {
	open := freshPostgres(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			d, err := open(Options{}, testSchema...)
			if err != nil {
				t.Error(err)
				return
			}
			d.Close()
		})
	}
	wg.Wait()
	if n := count(t, mustOpen(t, open, Options{}), "schema_migrations"); n != len(testSchema) {
		t.Errorf("%d migrations recorded, want %d", n, len(testSchema))
	}
}

func TestPostgresPasswordIsNotInErrors(t *testing.T) {
	for _, url := range []string{"postgres://u:geheim@127.0.0.1:1/db?connect_timeout=2", "postgres://u:geheim@127.0.0.1:port/db"} {
		_, err := Open(t.Context(), Options{URL: url})
		if err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("got %v", err)
		}
	}
}

func TestPostgresErrorsOfCommit(t *testing.T) {
	for code, want := range map[string]bool{"40001": true, "23505": true, "08006": false, "57P01": false, "40003": false} {
		if definite(code) != want {
			t.Errorf("%s: definite is %v", code, !want)
		}
	}
}
