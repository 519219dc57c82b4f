package ftps

// Settings that cannot work are named by their key.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func goodConfig() Config {
	c := DefaultConfig()
	c.Address, c.User, c.PasswordFile = "ftp.acmecorp.test", "vault", "/etc/cloakroom/ftp-password"
	return c
}

func TestValidateNamesTheKey(t *testing.T) {
	if err := goodConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key    string
		change func(*Config)
	}{
		{"address", func(c *Config) { c.Address = "" }},
		{"address", func(c *Config) { c.Address = "ftp://ftp.acmecorp.test" }},
		{"address", func(c *Config) { c.Address = "host:0" }},
		{"address", func(c *Config) { c.Address = "host:port" }},
		{"address", func(c *Config) { c.Address = ":21" }},
		{"user", func(c *Config) { c.User = "" }},
		{"user", func(c *Config) { c.User = "a\r\nDELE b" }},
		{"password_file", func(c *Config) { c.PasswordFile = "" }},
		{"base", func(c *Config) { c.Base = "" }},
		{"base", func(c *Config) { c.Base = "../x" }},
		{"base", func(c *Config) { c.Base = "a\nb" }},
		{"staging", func(c *Config) { c.Staging = "visible" }},
		{"staging", func(c *Config) { c.Staging = ".a/b" }},
		{"connections", func(c *Config) { c.Connections = 0 }},
		{"timeout", func(c *Config) { c.Timeout = time.Millisecond }},
		{"passive", func(c *Config) { c.Passive = "active" }},
		{"verify", func(c *Config) { c.Verify = "" }},
		{"tls", func(c *Config) { c.TLS = "none" }},
		{"max_tls", func(c *Config) { c.MaxTLS = "1.1" }},
		{"fingerprint", func(c *Config) { c.Fingerprint = []string{"ab:cd"} }},
		{"fingerprint", func(c *Config) { c.Fingerprint, c.CAFile = []string{strings.Repeat("ab", 32)}, "/ca" }},
		{"insecure_plain_ftp", func(c *Config) { c.InsecurePlainFTP, c.CAFile = true, "/ca" }},
	} {
		cfg := goodConfig()
		c.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.key+": ") {
			t.Errorf("%s: %v", c.key, err)
		}
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: New takes it", c.key)
		}
	}
}

func TestAddressHasTheUsualPort(t *testing.T) {
	for address, want := range map[string][2]string{ // explicit, implicit
		"host":            {"host:21", "host:990"},
		"host:2121":       {"host:2121", "host:2121"},
		"192.0.2.1":       {"192.0.2.1:21", "192.0.2.1:990"},
		"2001:db8::1":     {"[2001:db8::1]:21", "[2001:db8::1]:990"},
		"[2001:db8::1]":   {"[2001:db8::1]:21", "[2001:db8::1]:990"},
		"[2001:db8::1]:2": {"[2001:db8::1]:2", "[2001:db8::1]:2"},
	} {
		for i, mode := range []string{tlsExplicit, tlsImplicit} {
			cfg := Config{Address: address, TLS: mode}
			if got, err := cfg.hostPort(); err != nil || got != want[i] {
				t.Errorf("%s, %s: %q, %v", address, mode, got, err)
			}
		}
	}
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{PasswordFile: "password", CAFile: "ca.pem"}.Resolve(dir)
	if cfg.PasswordFile != filepath.Join(dir, "password") || cfg.CAFile != filepath.Join(dir, "ca.pem") {
		t.Fatalf("resolved to %q and %q", cfg.PasswordFile, cfg.CAFile)
	}
	cfg.CAFile = ""
	check := func(want string) {
		t.Helper()
		err := cfg.CheckFiles()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	check("password_file: ")
	for text, want := range map[string]string{
		"secret\n": "", "secret": "", "secret\r\nsecond": "", "": "is empty", "\nsecret": "is empty",
		"a\x00b": "control", strings.Repeat("x", 5000): "more than",
	} {
		if err := os.WriteFile(cfg.PasswordFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		check(want)
	}
	if err := os.WriteFile(cfg.PasswordFile, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cfg.PasswordFile, 0o604); err != nil {
		t.Fatal(err)
	}
	check("chmod o=")
	cfg.PasswordFile, cfg.CAFile = "", filepath.Join(dir, "password")
	check("ca_file: ")
}
