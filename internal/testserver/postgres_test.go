package testserver

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestPostgresServesDatabasesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	began := time.Now()
	p, err := StartPostgres(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	t.Logf("ready after %v", time.Since(began))

	dsn, err := p.NewDatabase(ctx, "with space")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	var one int
	var database string
	if err := conn.QueryRow(ctx, "SELECT 1, current_database()").Scan(&one, &database); err != nil {
		t.Fatal(err)
	}
	if one != 1 || database != "with space" {
		t.Errorf("SELECT 1, current_database() gave %d, %q", one, database)
	}
	if _, err := pgx.Connect(ctx, strings.Replace(dsn, p.password, "wrong", 1)); err == nil {
		t.Error("a wrong password is good enough")
	}

	first, _, _ := strings.Cut(mustRead(t, p.dataFolder()+"/postmaster.pid"), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil { // with conn still open
		t.Fatal(err)
	}
	assertGone(t, p.folder, []int{pid})
}

func TestPostgresClustersAreApart(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	a, err := StartPostgres(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	b, err := StartPostgres(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	for _, p := range []*Postgres{a, b} {
		if _, err := p.NewDatabase(ctx, "same"); err != nil {
			t.Error(err)
		}
	}
}

func TestServerFolderMustBeSearchable(t *testing.T) {
	if !isRoot() {
		return // servers run as the caller, who can search it
	}
	parent := t.TempDir()
	if err := os.Chmod(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := StartPostgres(testContext(t), parent)
	if err == nil {
		p.Stop()
		t.Fatal("started where its account cannot go")
	}
	if !strings.Contains(err.Error(), "search") {
		t.Errorf("the error does not tell the reason: %v", err)
	}
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		t.Error("a failed start removed the caller's folder")
	}
}
