package ftps

// The conformance suite against a real ProFTPD, in the ways to connect to it.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/testserver"
	"cloakroom/vault"
	"cloakroom/vault/vaulttest"
)

// server is what the other tests share, each in a folder of its own. It takes
// nobody on for 0.4 s when a session has ended, which would be a time-out where
// many came and went beside each other: none does.
var server *testserver.ProFTPD

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("CLOAKROOM_TEST_SMALL_DISK") != "" { // it starts its own there
		return m.Run()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var err error
	if server, err = testserver.StartProFTPD(ctx, ""); err != nil {
		log.Print(err)
		return 1
	}
	defer server.Stop()
	return m.Run()
}

var bases atomic.Int64

// open gives a destination in a new folder of the server; change, if not nil,
// its settings.
func open(t *testing.T, s *testserver.ProFTPD, change func(*Config)) vaulttest.Fixture {
	t.Helper()
	name := fmt.Sprintf("base %d", bases.Add(1))
	root := filepath.Join(s.Root(), name)
	if err := errors.Join(os.Mkdir(root, 0o755), s.Give(root)); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Address, cfg.User, cfg.PasswordFile, cfg.CAFile = s.Address(), s.User(), s.PasswordFile(), s.CAFile()
	cfg.Base, cfg.Timeout, cfg.Connections = name, 2*time.Second, 4
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return vaulttest.Fixture{
		Destination: d, Root: root, Timeout: cfg.Timeout,
		Kill: func(t *testing.T) {
			if _, err := s.KillSessions(); err != nil {
				t.Error(err)
			}
		},
		Pause:  func(t *testing.T) { must(t, s.Pause()) },
		Resume: func(t *testing.T) { must(t, s.Resume()) },
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestConformance(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) func(*testing.T) vaulttest.Fixture {
		s, err := testserver.StartProFTPD(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				text := s.Log()
				t.Log(text[max(0, len(text)-4000):])
			}
			must(t, s.Stop())
		})
		return func(t *testing.T) vaulttest.Fixture { return open(t, s, nil) }
	})
}

func TestOtherWaysToConnect(t *testing.T) {
	large := vaulttest.Bytes(3<<20+1, 1)
	for name, change := range map[string]func(*Config){
		"TLS 1.2, PASV": func(c *Config) { c.MaxTLS, c.Passive = "1.2", passivePASV },
		"implicit TLS":  func(c *Config) { c.Address, c.TLS = server.ImplicitAddress(), tlsImplicit },
		"implicit TLS 1.2, verify size": func(c *Config) {
			c.Address, c.TLS, c.MaxTLS, c.Verify = server.ImplicitAddress(), tlsImplicit, "1.2", verifySize
		},
		"no TLS":        func(c *Config) { c.Address, c.CAFile, c.InsecurePlainFTP = server.PlainAddress(), "", true },
		"name":          func(c *Config) { c.ServerName = "localhost" },
		"absolute base": func(c *Config) { c.Base = filepath.Join(server.Root(), c.Base) },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, server, change)
			for path, b := range map[string][]byte{"bob/large": large, "bob/empty": nil, "bob/ü/small": []byte("small\r\n\n")} {
				if err := put(t, f.Destination, path, b); err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				if got, err := os.ReadFile(f.Root + "/" + path); err != nil || !bytes.Equal(got, b) {
					t.Errorf("%s holds %d bytes, %v", path, len(got), err)
				}
				if same, err := f.Destination.Same(t.Context(), path, vaulttest.Content(b)); err != nil || !same {
					t.Errorf("same %s: %v, %v", path, same, err)
				}
			}
			if n, err := f.Destination.Sweep(t.Context(), time.Hour); err != nil || n != 0 {
				t.Errorf("sweep: %d, %v", n, err)
			}
			if err := f.Destination.Remove(t.Context(), "bob/empty"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A server that does not replace files closes the gap before the rename.
func TestServerThatDoesNotReplace(t *testing.T) {
	f := open(t, server, func(c *Config) { c.Address, c.TLS = server.ImplicitAddress(), tlsImplicit })
	if err := put(t, f.Destination, "bob/before", []byte("x")); err != nil {
		t.Fatal(err)
	}
	err := f.Destination.(*FTPS).do(t.Context(), func(ctx context.Context, s *session) (bool, error) {
		u := &upload{session: s, path: "bob/a", full: s.base + "/bob/a", staging: s.base + "/.cloakroom-upload",
			temp: s.base + "/.cloakroom-upload/put-x", content: vaulttest.Content([]byte("ours"))}
		if err := errors.Join(u.free(), u.send(ctx), u.check(true), u.free()); err != nil {
			return false, err
		}
		if err := os.WriteFile(f.Root+"/bob/a", []byte("theirs"), 0o644); err != nil {
			return false, err
		}
		return true, u.rename()
	})
	if !errors.Is(err, vault.ErrTaken) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(f.Root + "/bob/a"); err != nil || string(b) != "theirs" {
		t.Errorf("it holds %q, %v", b, err)
	}
}

func put(t *testing.T, d vault.Destination, path string, b []byte) error {
	t.Helper()
	return d.Put(t.Context(), path, vaulttest.Content(b), vaulttest.Attempt())
}

func wantScope(t *testing.T, err error, scope vault.Scope, words string) {
	t.Helper()
	var fault *vault.Fault
	if !errors.As(err, &fault) || fault.Scope != scope {
		t.Errorf("got %v (%+v), want a fault of scope %d", err, fault, scope)
		return
	}
	if text := fault.Error() + "; " + fault.Hint; !strings.Contains(text, words) {
		t.Errorf("%q does not say %q", text, words)
	}
}
