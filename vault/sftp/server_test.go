package sftp_test

// The conformance suite against a real OpenSSH, and what else it is used for.

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cloakroom/internal/testserver"
	"cloakroom/vault"
	"cloakroom/vault/sftp"
	"cloakroom/vault/vaulttest"
)

// testTimeout is the watchdog's in tests, for servers that hang: more than a
// handshake takes on a busy machine.
const testTimeout = 4 * time.Second

// startSSHD starts a server that ends with the test.
func startSSHD(t *testing.T) *testserver.SSHD {
	t.Helper()
	s, err := testserver.StartSSHD(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// configFor logs in to s.
func configFor(s *testserver.SSHD) sftp.Config {
	cfg := sftp.DefaultConfig()
	cfg.Address, cfg.User = s.Address(), s.User()
	cfg.KeyFile, cfg.KnownHosts = s.KeyFile(), s.KnownHostsFile()
	return cfg
}

// open makes a Server that is closed with the test.
func open(t *testing.T, cfg sftp.Config) *sftp.Server {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	d, err := sftp.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// space makes an empty folder that is the base of one test.
func space(t *testing.T, s *testserver.SSHD) (base, root string) {
	t.Helper()
	root, err := os.MkdirTemp(s.Root(), "base-*")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o777); err != nil {
		t.Fatal(err)
	}
	return filepath.Base(root), root
}

func TestConformance(t *testing.T) {
	must := func(t *testing.T, err error) {
		if err != nil {
			t.Error(err)
		}
	}
	vaulttest.Run(t, func(t *testing.T) func(*testing.T) vaulttest.Fixture {
		s := startSSHD(t)
		return func(t *testing.T) vaulttest.Fixture {
			base, root := space(t, s)
			cfg := configFor(s)
			cfg.Base, cfg.Timeout = base, testTimeout
			return vaulttest.Fixture{
				Destination: open(t, cfg),
				Root:        root,
				Timeout:     testTimeout,
				Kill: func(t *testing.T) {
					_, err := s.KillSessions()
					must(t, err)
				},
				Pause:  func(t *testing.T) { must(t, s.Pause()) },
				Resume: func(t *testing.T) { must(t, s.Resume()) },
			}
		}
	})
}

// wantFault checks the scope of an error, and gives the fault.
func wantFault(t *testing.T, err error, scope vault.Scope) *vault.Fault {
	t.Helper()
	var fault *vault.Fault
	if !errors.As(err, &fault) || fault.Scope != scope {
		t.Fatalf("got %v (%#v), want a fault of scope %d", err, fault, scope)
	}
	return fault
}
