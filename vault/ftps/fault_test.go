package ftps

// What servers and networks do, and what we make of it.

import (
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/vault"
	"cloakroom/vault/vaulttest"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// fingerprint is that of the certificate in a PEM file, as openssl prints it.
func fingerprint(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return "sha256 Fingerprint=" + strings.TrimSuffix(strings.ToUpper(fmt.Sprintf("% X", sha256.Sum256(block.Bytes))), " ")
}

func TestWhatKeepsUsOut(t *testing.T) {
	refused, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	pinned := strings.ReplaceAll(fingerprint(t, server.CAFile()), " ", ":")
	pinned = strings.Replace(pinned, "sha256:Fingerprint", "sha256 Fingerprint", 1)
	for name, c := range map[string]struct {
		change func(*Config)
		scope  vault.Scope
		words  string
	}{
		"wrong password":      {func(c *Config) { c.PasswordFile = write(t, "wrong\n") }, vault.Access, "password_file"},
		"no password":         {func(c *Config) { c.PasswordFile = "/nonexistent" }, vault.Access, "password_file"},
		"unknown user":        {func(c *Config) { c.User = "nobody at all" }, vault.Access, "user"},
		"unknown authority":   {func(c *Config) { c.CAFile = "" }, vault.Access, "ca_file"},
		"another name":        {func(c *Config) { c.ServerName = "ftp.acmecorp.test" }, vault.Access, "server_name"},
		"another fingerprint": {func(c *Config) { c.CAFile, c.Fingerprint = "", []string{strings.Repeat("ab", 32)} }, vault.Access, "fingerprint"},
		"TLS is demanded":     {func(c *Config) { c.CAFile, c.InsecurePlainFTP = "", true }, vault.Access, ""},
		"there is no TLS":     {func(c *Config) { c.Address = server.PlainAddress() }, vault.Access, "tls"},
		"implicit for explicit": {func(c *Config) {
			c.TLS = tlsImplicit
		}, vault.Access, "tls"},
		"explicit for implicit": {func(c *Config) { c.Address = server.ImplicitAddress() }, vault.Target, "answer"},
		"nobody listens":        {func(c *Config) { c.Address = refused.Addr().String() }, vault.Target, "up"},
		"no such host":          {func(c *Config) { c.Address = "ftp.nonexistent.invalid" }, vault.Target, "up"},
		"no such base":          {func(c *Config) { c.Base = "missing" }, vault.Access, "make the folder"},
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t, server, c.change)
			began := time.Now()
			wantScope(t, put(t, f.Destination, "bob/a", []byte("x")), c.scope, c.words)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if found, _ := os.ReadDir(f.Root); len(found) != 0 {
				t.Errorf("something was made: %v", found)
			}
		})
	}
	f := open(t, server, func(c *Config) { c.CAFile, c.Fingerprint = "", []string{strings.Repeat("ab", 32), pinned} })
	if err := put(t, f.Destination, "bob/a", []byte("x")); err != nil {
		t.Errorf("the right fingerprint: %v", err)
	}
}

func TestWhatTheAccountMayNot(t *testing.T) {
	if os.Geteuid() != 0 {
		// The server runs as us then, and what we take from it we cannot give back.
		t.Log("folders of another account can only be made as root: not tried")
		return
	}
	f := open(t, server, nil)
	if err := put(t, f.Destination, "open/a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.Root+"/closed", 0o755); err != nil { // root's
		t.Fatal(err)
	}
	if err := os.Mkdir(f.Root+"/hidden", 0o700); err != nil {
		t.Fatal(err)
	}
	wantScope(t, put(t, f.Destination, "closed/a", []byte("x")), vault.ThisPath, "let the account")
	wantScope(t, put(t, f.Destination, "closed/new/a", []byte("x")), vault.ThisPath, "let the account")
	wantScope(t, put(t, f.Destination, "hidden/a", []byte("x")), vault.ThisPath, "let the account")
	if left, _ := os.ReadDir(f.Root + "/.cloakroom-upload"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := put(t, f.Destination, "open/b", []byte("x")); err != nil {
		t.Errorf("elsewhere: %v", err)
	}

	f = open(t, server, nil)
	if err := os.Chown(f.Root, 0, 0); err != nil {
		t.Fatal(err)
	}
	wantScope(t, put(t, f.Destination, "bob/a", []byte("x")), vault.Access, "base")
}

func TestNoMoreConnectionsThanConfigured(t *testing.T) {
	f := open(t, server, func(c *Config) { c.Connections = 2 })
	f.Kill(t)
	errs := make(chan error)
	for i := range 8 {
		go func() { errs <- put(t, f.Destination, fmt.Sprintf("bob/%d", i), vaulttest.Bytes(100_000, 1)) }()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n, err := server.KillSessions(); err != nil || n > 2 || n == 0 {
		t.Errorf("there were %d sessions, %v", n, err)
	}
	if err := put(t, f.Destination, "bob/next", []byte("x")); err != nil { // idle sessions that died do no harm
		t.Error(err)
	}
}

func TestRepliesAreJudged(t *testing.T) {
	for _, c := range []struct {
		code  int
		text  string
		scope vault.Scope
	}{
		{421, "Service not available", vault.Target},
		{425, "Unable to build data connection", vault.Target},
		{426, "Connection closed; transfer aborted", vault.OneFile},
		{450, "File busy", vault.OneFile},
		{451, "Local error", vault.OneFile},
		{451, "Transfer aborted. Input/output error", vault.Target},
		{451, "Failure writing to local file.", vault.Target},
		{451, "write: No space left on device", vault.Target},
		{452, "Insufficient storage", vault.Target},
		{500, "What?", vault.Access},
		{530, "Not logged in", vault.Access},
		{550, "Permission denied", vault.ThisPath},
		{550, "Disk quota exceeded", vault.Target},
		{552, "Exceeded storage allocation", vault.Target},
		{553, "File name not allowed", vault.ThisPath},
	} {
		reply := &textproto.Error{Code: c.code, Msg: c.text}
		// The data connection may fail first.
		for _, err := range []error{reply, errors.Join(&net.OpError{Op: "write", Err: errors.New("broken pipe")}, reply)} {
			wantScope(t, onPath(fmt.Errorf("send: %w", err)), c.scope, "")
			if usable(err) != (c.code != 421) {
				t.Errorf("%d: the session can be used: %v", c.code, usable(err))
			}
		}
	}
}
