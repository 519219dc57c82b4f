package sftp_test

// Host keys and credentials: who is let in, and whom we talk to.

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"cloakroom/internal/testserver"
	"cloakroom/vault"
	"cloakroom/vault/sftp"
	"cloakroom/vault/vaulttest"
)

// tryPut puts one small file.
func tryPut(t *testing.T, cfg sftp.Config) error {
	t.Helper()
	return open(t, cfg).Put(t.Context(), "bob/"+vaulttest.Attempt(), vaulttest.Content([]byte("x")), vaulttest.Attempt())
}

// newKey writes a private key, with a passphrase if there is one.
func newKey(t *testing.T, passphrase string) (path string, key ed25519.PrivateKey, public ssh.PublicKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	public, err = ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return write(t, string(pem.EncodeToMemory(block))), key, public
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOnlyAKnownHostKeyIsTalkedTo(t *testing.T) {
	t.Parallel()
	s := startSSHD(t)
	pin, err := s.HostKeyFingerprint()
	if err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(s.KnownHostsFile())
	if err != nil {
		t.Fatal(err)
	}
	_, _, stranger := newKey(t, "")
	strangeECDSA := newECDSA(t)
	host := "[127.0.0.1]" + s.Address()[strings.LastIndexByte(s.Address(), ':'):]
	line := func(key ssh.PublicKey) string { return host + " " + string(ssh.MarshalAuthorizedKey(key)) }
	ecdsaPin := ssh.FingerprintSHA256(shownECDSA(t, s))
	for name, c := range map[string]struct {
		known string   // text of known_hosts
		pins  []string // or fingerprints
		want  string   // part of the error, "" for none
	}{
		"known":                          {known: string(known)},
		"known among others":             {known: "elsewhere.test " + string(ssh.MarshalAuthorizedKey(stranger)) + string(known)},
		"known by its other key":         {known: line(shownECDSA(t, s))},
		"pinned":                         {pins: []string{pin}},
		"pinned by its other key":        {pins: []string{ecdsaPin}},
		"pinned among others":            {pins: []string{ssh.FingerprintSHA256(stranger), pin}},
		"another key":                    {known: line(stranger), want: "not the one in"},
		"another key, of the other kind": {known: line(strangeECDSA), want: "not the one in"},
		"revoked":                        {known: string(known) + "@revoked * " + strings.SplitN(string(known), " ", 2)[1], want: "revoked"},
		"unknown host":                   {known: "elsewhere.test " + string(ssh.MarshalAuthorizedKey(stranger)), want: "has no key of [127.0.0.1]"},
		"empty file":                     {known: "# nothing\n", want: "has no key of"},
		"another pin":                    {pins: []string{ssh.FingerprintSHA256(stranger)}, want: "host_key does not list"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configFor(s)
			cfg.KnownHosts, cfg.HostKey = "", c.pins
			if c.known != "" {
				cfg.KnownHosts = write(t, c.known)
			}
			err := tryPut(t, cfg)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			fault := wantFault(t, err, vault.Access)
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want something with %q", err, c.want)
			}
			if strings.Contains(c.want, "not the one") && !strings.Contains(fault.Hint, "pretending") {
				t.Errorf("the hint %q does not speak of an attack", fault.Hint)
			}
		})
	}
}

func newECDSA(t *testing.T) ssh.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// shownECDSA is the server's other host key.
func shownECDSA(t *testing.T, s *testserver.SSHD) (key ssh.PublicKey) {
	t.Helper()
	_, _ = ssh.Dial("tcp", s.Address(), &ssh.ClientConfig{
		HostKeyAlgorithms: []string{ssh.KeyAlgoECDSA256},
		HostKeyCallback: func(_ string, _ net.Addr, shown ssh.PublicKey) error {
			key = shown
			return net.ErrClosed
		},
	})
	if key == nil {
		t.Fatal("the server shows no ECDSA key")
	}
	return key
}

func TestAReplacedHostKeyStopsEverythingUntilItIsKnown(t *testing.T) {
	s := startSSHD(t)
	old, err := os.ReadFile(s.KnownHostsFile())
	if err != nil {
		t.Fatal(err)
	}
	cfg := configFor(s)
	cfg.KnownHosts = write(t, string(old))
	d := open(t, cfg)
	put := func() error {
		return d.Put(t.Context(), "bob/"+vaulttest.Attempt(), vaulttest.Content([]byte("x")), vaulttest.Attempt())
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if err := s.ReplaceHostKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KillSessions(); err != nil {
		t.Fatal(err)
	}
	for {
		err = put()
		var fault *vault.Fault
		if errors.As(err, &fault) && fault.Scope == vault.OneFile {
			continue // the old connection was just about to end
		}
		break
	}
	wantFault(t, err, vault.Access)
	now, err := os.ReadFile(s.KnownHostsFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.KnownHosts, now, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Errorf("with the new key in the file: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	s := startSSHD(t)
	const passphrase = "correct horse"
	encrypted, _, public := newKey(t, passphrase)
	if err := s.Authorize(public); err != nil {
		t.Fatal(err)
	}
	_, inAgent, agentPublic := newKey(t, "")
	if err := s.Authorize(agentPublic); err != nil {
		t.Fatal(err)
	}
	socket := startAgent(t, inAgent)
	stranger, _, _ := newKey(t, "")
	for name, c := range map[string]struct {
		change func(*sftp.Config)
		want   string
	}{
		"key":           {func(*sftp.Config) {}, ""},
		"encrypted key": {func(c *sftp.Config) { c.KeyFile, c.KeyPassphraseFile = encrypted, write(t, passphrase+"\n") }, ""},
		"agent":         {func(c *sftp.Config) { c.KeyFile, c.Agent = "", socket }, ""},
		"agent of the environment": {func(c *sftp.Config) {
			t.Setenv("SSH_AUTH_SOCK", socket)
			c.KeyFile, c.Agent = "", "true"
		}, ""},
		"a key that does not help, and an agent": {func(c *sftp.Config) { c.KeyFile, c.Agent = stranger, socket }, ""},
		"key of a stranger":                      {func(c *sftp.Config) { c.KeyFile = stranger }, "unable to authenticate"},
		"another account":                        {func(c *sftp.Config) { c.User = "postmaster-of-nowhere" }, "unable to authenticate"},
		"password where none helps":              {func(c *sftp.Config) { c.KeyFile, c.PasswordFile = "", write(t, "guess") }, "unable to authenticate"},
		"no passphrase":                          {func(c *sftp.Config) { c.KeyFile = encrypted }, "key_passphrase_file: is required"},
		"wrong passphrase":                       {func(c *sftp.Config) { c.KeyFile, c.KeyPassphraseFile = encrypted, write(t, "wrong") }, "is not the passphrase"},
		"no such key":                            {func(c *sftp.Config) { c.KeyFile = "/nowhere/key" }, "key_file: "},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configFor(s)
			c.change(&cfg)
			err := tryPut(t, cfg)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantFault(t, err, vault.Access)
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want something with %q", err, c.want)
			}
		})
	}
}

// startAgent serves an SSH agent with one key.
func startAgent(t *testing.T, key ed25519.PrivateKey) (socket string) {
	t.Helper()
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keys, conn)
		}
	}()
	return socket
}

func TestPasswords(t *testing.T) {
	const password = "swordfish"
	for _, interactive := range []bool{false, true} {
		s := startOther(t, otherOptions{password: password, interactive: interactive})
		cfg := s.config(t)
		if err := tryPut(t, cfg); err != nil {
			t.Errorf("interactive: %v: %v", interactive, err)
		}
		cfg.PasswordFile = write(t, "wrong\n")
		wantFault(t, tryPut(t, cfg), vault.Access)
	}
}
