// Package pgtest gives each test an empty database on one private PostgreSQL
// for the whole test binary.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"cloakroom/internal/testserver"
)

// shared is started by the first test that needs it and stopped by Main.
var shared struct {
	once   sync.Once
	server *testserver.Postgres
	err    error
	next   atomic.Int64
}

// Main is the TestMain of a package whose tests use Database.
func Main(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Database returns the URL of an empty database. Where there is no PostgreSQL
// the test is skipped, or fails if CI is true.
func Database(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = testserver.StartPostgres(context.Background(), "") })
	if shared.err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(shared.err)
		}
		t.Skip("no PostgreSQL: ", shared.err)
	}
	url, err := shared.server.NewDatabase(t.Context(), fmt.Sprint("test", shared.next.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return url
}
