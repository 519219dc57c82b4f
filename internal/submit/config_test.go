package submit

import (
	"strings"
	"testing"
	"time"
)

func TestConfigIsChecked(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // how the error begins; "": none
	}{
		"loopback":           {func(c *Config) { c.SMTP = "127.0.0.1:10026" }, ""},
		"IPv6":               {func(c *Config) { c.SMTP = "[::1]:25" }, ""},
		"elsewhere":          {func(c *Config) { c.SMTP, c.User, c.PasswordFile = "mx.acmecorp.test:587", "u", "/f" }, ""},
		"no port":            {func(c *Config) { c.SMTP = "127.0.0.1" }, "smtp: "},
		"no host":            {func(c *Config) { c.SMTP = ":25" }, "smtp: "},
		"port zero":          {func(c *Config) { c.SMTP = "127.0.0.1:0" }, "smtp: "},
		"a name for a port":  {func(c *Config) { c.SMTP = "127.0.0.1:smtp" }, "smtp: "},
		"unknown mode":       {func(c *Config) { c.TLS = "ssl" }, "tls: "},
		"empty mode":         {func(c *Config) { c.TLS = "" }, "tls: "},
		"CA without TLS":     {func(c *Config) { c.SMTP, c.CAFile = "127.0.0.1:25", "/ca" }, "tls: "},
		"CA on loopback":     {func(c *Config) { c.SMTP, c.CAFile, c.TLS = "127.0.0.1:25", "/ca", "starttls" }, ""},
		"user alone":         {func(c *Config) { c.User = "u" }, "user: "},
		"password alone":     {func(c *Config) { c.PasswordFile = "/f" }, "user: "},
		"password in clear":  {func(c *Config) { c.SMTP, c.User, c.PasswordFile, c.TLS = "192.0.2.1:25", "u", "/f", "none" }, "user: "},
		"password on host":   {func(c *Config) { c.SMTP, c.User, c.PasswordFile = "localhost:25", "u", "/f" }, ""},
		"no time to connect": {func(c *Config) { c.ConnectTimeout = 0 }, "connect_timeout: "},
		"short commands":     {func(c *Config) { c.CommandTimeout = time.Millisecond }, "command_timeout: "},
		"short messages":     {func(c *Config) { c.MessageTimeout = 30 * time.Second }, "message_timeout: "},
		"for ever":           {func(c *Config) { c.MessageTimeout = 24 * time.Hour }, "message_timeout: "},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := New(DefaultConfig(), "mx.acmecorp.test", nil); err == nil {
		t.Error("a sender without an MTA")
	}
	cfg := DefaultConfig()
	cfg.SMTP = "127.0.0.1:25"
	if _, err := New(cfg, "mx acmecorp", nil); err == nil {
		t.Error("a sender with a blank in its name")
	}
}
