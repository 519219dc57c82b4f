package sftp

// The configuration, and the files it names.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

const (
	somePin  = "SHA256:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs"
	someHost = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPXWq4ThWQLFbIQ2RTeYp8jqS2rXpXjSgjvbQ7fj2fT"
)

// valid is a configuration without a mistake.
func valid() Config {
	c := DefaultConfig()
	c.Address, c.User, c.KeyFile, c.KnownHosts = "vault.acmecorp.test", "cloakroom", "key", "known_hosts"
	return c
}

func TestValidateNamesTheKey(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // what the error begins with; "" for none
	}{
		"valid":              {func(*Config) {}, ""},
		"port":               {func(c *Config) { c.Address = "vault:2222" }, ""},
		"IPv6":               {func(c *Config) { c.Address = "2001:db8::1" }, ""},
		"IPv6 and port":      {func(c *Config) { c.Address = "[2001:db8::1]:22" }, ""},
		"pinned":             {func(c *Config) { c.KnownHosts, c.HostKey = "", []string{somePin} }, ""},
		"agent":              {func(c *Config) { c.KeyFile, c.Agent = "", "true" }, ""},
		"modes":              {func(c *Config) { c.FileMode, c.DirMode = "0640", "2750" }, ""},
		"no address":         {func(c *Config) { c.Address = "" }, "address: "},
		"a URL":              {func(c *Config) { c.Address = "sftp://vault" }, "address: "},
		"user in address":    {func(c *Config) { c.Address = "bob@vault" }, "address: "},
		"bad port":           {func(c *Config) { c.Address = "vault:ssh" }, "address: "},
		"port 0":             {func(c *Config) { c.Address = "vault:0" }, "address: "},
		"no user":            {func(c *Config) { c.User = "" }, "user: "},
		"no credentials":     {func(c *Config) { c.KeyFile = "" }, "key_file: "},
		"passphrase of none": {func(c *Config) { c.KeyFile, c.PasswordFile, c.KeyPassphraseFile = "", "p", "p" }, "key_file: "},
		"any host key":       {func(c *Config) { c.KnownHosts = "" }, "known_hosts: "},
		"both":               {func(c *Config) { c.HostKey = []string{somePin} }, "host_key: "},
		"MD5":                {func(c *Config) { c.KnownHosts, c.HostKey = "", []string{"MD5:00:11"} }, "host_key: "},
		"cut pin":            {func(c *Config) { c.KnownHosts, c.HostKey = "", []string{somePin[:40]} }, "host_key: "},
		"base with slash":    {func(c *Config) { c.Base = "spaces/" }, "base: "},
		"base with dots":     {func(c *Config) { c.Base = "a/../b" }, "base: "},
		"no base":            {func(c *Config) { c.Base = "" }, "base: "},
		"staging outside":    {func(c *Config) { c.Staging = "../tmp" }, "staging: "},
		"staging absolute":   {func(c *Config) { c.Staging = "/tmp" }, "staging: "},
		"staging is base":    {func(c *Config) { c.Staging = "." }, "staging: "},
		"no connections":     {func(c *Config) { c.Connections = 0 }, "connections: "},
		"short timeout":      {func(c *Config) { c.Timeout = time.Millisecond }, "timeout: "},
		"no keepalive":       {func(c *Config) { c.Keepalive = 0 }, "keepalive: "},
		"verify":             {func(c *Config) { c.Verify = "none" }, "verify: "},
		"decimal mode":       {func(c *Config) { c.FileMode = "888" }, "file_mode: "},
		"text mode":          {func(c *Config) { c.DirMode = "rwx" }, "dir_mode: "},
	} {
		cfg := valid()
		c.change(&cfg)
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestConfigurationIsReadFromYAML(t *testing.T) {
	c := DefaultConfig()
	const text = `
address: vault:22
user: cloakroom
agent: true
host_key: [` + somePin + `]
base: /srv/spaces
keepalive: 30s
file_mode: "0640"
server_side_copy: false
`
	if err := yaml.UnmarshalWithOptions([]byte(text), &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.Agent != agentFromEnv || c.Keepalive != 30*time.Second || c.FileMode != "0640" || c.ServerSideCopy || c.Timeout != time.Minute {
		t.Errorf("got %+v", c)
	}
}

func TestResolveMakesLocalPathsAbsolute(t *testing.T) {
	c := valid()
	c.KeyPassphraseFile, c.Agent, c.PasswordFile = "/abs/pass", "agent.sock", ""
	got := c.Resolve("/etc/cloakroom")
	if got.KeyFile != "/etc/cloakroom/key" || got.KnownHosts != "/etc/cloakroom/known_hosts" ||
		got.KeyPassphraseFile != "/abs/pass" || got.Agent != "/etc/cloakroom/agent.sock" || got.PasswordFile != "" || got.Base != "." {
		t.Errorf("got %+v", got)
	}
	c.Agent = agentFromEnv
	if got := c.Resolve("/etc/cloakroom").Agent; got != agentFromEnv {
		t.Errorf("agent became %q", got)
	}
}

func TestCheckFilesNamesTheKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password := write("password", "swordfish\n", 0o600)
	known := write("known", "vault.acmecorp.test "+someHost+"\n", 0o644)
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"good":                  {func(*Config) {}, ""},
		"no known_hosts":        {func(c *Config) { c.KnownHosts = dir + "/nothing" }, "known_hosts: "},
		"broken known_hosts":    {func(c *Config) { c.KnownHosts = write("broken", "vault.acmecorp.test ssh-ed25519 nonsense\n", 0o644) }, "known_hosts: "},
		"host not in it":        {func(c *Config) { c.Address = "elsewhere.test" }, "known_hosts: "},
		"port not in it":        {func(c *Config) { c.Address = "vault.acmecorp.test:2222" }, "known_hosts: "},
		"no password":           {func(c *Config) { c.PasswordFile = dir + "/nothing" }, "password_file: "},
		"empty password":        {func(c *Config) { c.PasswordFile = write("empty", "\n", 0o600) }, "password_file: "},
		"password for everyone": {func(c *Config) { c.PasswordFile = write("open", "x", 0o644) }, "password_file: "},
		"a folder":              {func(c *Config) { c.PasswordFile = dir }, "password_file: "},
		"no key":                {func(c *Config) { c.KeyFile = dir + "/nothing" }, "key_file: "},
		"key is a password":     {func(c *Config) { c.KeyFile = password }, "key_file: "},
		"no agent":              {func(c *Config) { c.Agent = dir + "/nothing" }, "agent: "},
	} {
		cfg := valid()
		cfg.KeyFile, cfg.PasswordFile, cfg.KnownHosts = "", password, known
		c.change(&cfg)
		err := cfg.CheckFiles()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
