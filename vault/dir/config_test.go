package dir

// Settings that cannot work are named by their key.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestValidateNamesTheKey(t *testing.T) {
	good := DefaultConfig()
	good.Base = "/srv/vault"
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for key, change := range map[string]func(*Config){
		"base":        func(c *Config) { c.Base = "" },
		"staging":     func(c *Config) { c.Staging = "visible" },
		"marker":      func(c *Config) { c.Marker = "a/b" },
		"file_mode":   func(c *Config) { c.FileMode = "0440" },
		"dir_mode":    func(c *Config) { c.DirMode = "0690" },
		"verify":      func(c *Config) { c.Verify = "md5" },
		"move":        func(c *Config) { c.Move = "" },
		"connections": func(c *Config) { c.Connections = 0 },
		"timeout":     func(c *Config) { c.Timeout = 1 },
	} {
		cfg := good
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: %v", key, err)
		}
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: New takes it", key)
		}
	}
	for _, staging := range []string{"", ".", "..", ".a/b", "/abs", "../x"} {
		cfg := good
		cfg.Staging = staging
		if cfg.Validate() == nil {
			t.Errorf("staging %q is taken", staging)
		}
	}
}

func TestModesWithoutQuotesAreRefused(t *testing.T) {
	for mode := uint32(0o600); mode <= maxDirMode; mode++ {
		most, least := uint32(maxFileMode), uint32(ownerAccess)
		if mode > maxFileMode {
			most, least = maxDirMode, ownerAccess|0o100
		}
		if mode&least != least {
			continue
		}
		cfg := DefaultConfig()
		if err := yaml.Unmarshal(fmt.Appendf(nil, "base: /x\nfile_mode: \"%#o\"\n", mode), &cfg); err != nil {
			t.Fatal(err)
		}
		if got, err := parseMode(cfg.FileMode, most, least); err != nil || got != mode {
			t.Errorf("%o in quotes: %o, %v", mode, got, err)
		}
		if err := yaml.Unmarshal(fmt.Appendf(nil, "base: /x\nfile_mode: %#o\n", mode), &cfg); err != nil {
			t.Fatal(err)
		}
		if got, err := parseMode(cfg.FileMode, most, least); err == nil && got != mode {
			t.Errorf("%o without quotes is taken for %o", mode, got)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	folder := t.TempDir()
	cfg := Config{Base: "vault"}.Resolve(folder)
	if cfg.Base != filepath.Join(folder, "vault") {
		t.Fatal(cfg.Base)
	}
	if err := cfg.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), "base: ") || !strings.Contains(err.Error(), "mount") {
		t.Errorf("missing: %v", err)
	}
	if err := os.Mkdir(cfg.Base, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := cfg.CheckFiles(); err != nil {
		t.Error(err)
	}
	cfg.Marker = "mounted"
	if err := cfg.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), "marker: ") {
		t.Errorf("without marker: %v", err)
	}
}
