package milter

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestValidateNamesTheKey(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		want   string
		change func(*Config)
	}{
		{"listen: ", func(c *Config) { c.Listen = "" }},
		{"listen: ", func(c *Config) { c.Listen = "127.0.0.1" }},
		{"listen: ", func(c *Config) { c.Listen = "http://x" }},
		{"listen: ", func(c *Config) { c.Listen = "inet:8891" }},
		{"listen: ", func(c *Config) { c.Listen = "inet::8891" }},
		{"listen: ", func(c *Config) { c.Listen = "inet:8891@" }},
		{"listen: ", func(c *Config) { c.Listen = "inet:127.0.0.1:70000" }},
		{"listen: ", func(c *Config) { c.Listen = "inet:127.0.0.1:smtp" }},
		{"listen: ", func(c *Config) { c.Listen = "unix:run/x" }},
		{"listen: ", func(c *Config) { c.Listen = "unix:/" + strings.Repeat("x", maxSocketPath) }},
		{"socket_mode: ", func(c *Config) { c.SocketMode = "rw" }},
		{"socket_mode: ", func(c *Config) { c.SocketMode = "0999" }},
		{"socket_mode: ", func(c *Config) { c.SocketMode = "01777" }},
		{"socket_mode: ", func(c *Config) { c.SocketMode = "0444" }},
		{"max_connections: ", func(c *Config) { c.MaxConnections = 0 }},
		{"idle_timeout: ", func(c *Config) { c.IdleTimeout = time.Millisecond }},
		{"message_timeout: ", func(c *Config) { c.MessageTimeout = 0 }},
	} {
		c := DefaultConfig()
		tc.change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", c, err, tc.want)
		}
	}
}

func TestListenAddressesOfMTAs(t *testing.T) {
	for in, want := range map[string]endpoint{
		"inet:127.0.0.1:8891": {"tcp", "127.0.0.1:8891"},
		"inet:8891@127.0.0.1": {"tcp", "127.0.0.1:8891"},
		"inet:8891@localhost": {"tcp", "localhost:8891"},
		"inet:[::1]:8891":     {"tcp", "[::1]:8891"},
		"inet6:8891@::1":      {"tcp6", "[::1]:8891"},
		"inet6:8891@[::1]":    {"tcp6", "[::1]:8891"},
		"unix:/run/c/m.sock":  {"unix", "/run/c/m.sock"},
		"local:/run/c/m.sock": {"unix", "/run/c/m.sock"},
		"inet:0.0.0.0:8891":   {"tcp", "0.0.0.0:8891"},
	} {
		if got, err := parseListen(in); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestSocketPathInUse(t *testing.T) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	listenAt := func(path string) (*Server, error) {
		cfg := DefaultConfig()
		cfg.Listen, cfg.SocketMode = "unix:"+path, "0666"
		s := New(cfg, &recorder{}, quiet)
		return s, s.Listen()
	}
	dir := t.TempDir()

	file := filepath.Join(dir, "file")
	os.WriteFile(file, []byte("precious"), 0o600)
	if _, err := listenAt(file); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file at the path: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file is gone: %q, %v", b, err)
	}

	link := filepath.Join(dir, "link")
	os.Symlink(file, link)
	if _, err := listenAt(link); err == nil {
		t.Error("listened through a symbolic link")
	}

	path := filepath.Join(dir, "m")
	first, err := listenAt(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := listenAt(path); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a live socket at the path: %v", err)
	}
	// The process dies and leaves its socket behind.
	first.ln.(*net.UnixListener).SetUnlinkOnClose(false)
	first.ln.Close()
	second, err := listenAt(path)
	if err != nil {
		t.Fatalf("a stale socket at the path: %v", err)
	}
	second.ln.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket stays after the end")
	}
}

func TestServesTCP(t *testing.T) {
	s, _ := start(t, &recorder{}, func(s *Server) { s.cfg.Listen = "inet:0@127.0.0.1" })
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	if got := m.finish(); got[0].code != 'a' {
		t.Errorf("answer %q", got[0].code)
	}
}
