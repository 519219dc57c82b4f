package sftp

// The sftp section of a target in the configuration.

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Config says how an SFTP server is reached and what it is asked to do.
type Config struct {
	// Address is the server: HOST or HOST:PORT.
	Address string `yaml:"address"`

	// User is the account on the server.
	User string `yaml:"user"`

	// KeyFile is the private key that we log in with, in OpenSSH's or PEM format.
	// Other users of this host must not be able to read it. It is read again for
	// each connection, as all files named here.
	KeyFile string `yaml:"key_file"`

	// KeyPassphraseFile holds the passphrase of key_file and nothing else, if it
	// has one.
	KeyPassphraseFile string `yaml:"key_passphrase_file"`

	// PasswordFile holds the password of the account and nothing else, for
	// servers that take no keys.
	PasswordFile string `yaml:"password_file"`

	// Agent is the socket of an SSH agent whose keys are tried, or true for the
	// one in the environment (SSH_AUTH_SOCK).
	Agent string `yaml:"agent"`

	// KnownHosts is a file in OpenSSH's format with the server's host key. A
	// server that shows another key is not talked to: what is stored there could
	// be read by whoever stands between.
	KnownHosts string `yaml:"known_hosts"`

	// HostKey lists host keys in place of known_hosts, by their fingerprints
	// (SHA256:…, as ssh-keygen -l prints them): the server's, and during a change
	// its next one.
	HostKey []string `yaml:"host_key"`

	// Base is the folder on the server that holds the spaces: absolute, or from
	// where sessions start. It must exist.
	Base string `yaml:"base"`

	// Staging is a folder for files on their way, below base; it is made if it
	// does not exist, for our account alone. It should lie on the same file system
	// as the spaces: files are written there and then moved.
	Staging string `yaml:"staging"`

	// Connections is how many connections there are at most. Uploads share them.
	Connections int `yaml:"connections"`

	// Timeout is how long the server may take to connect, and to answer when
	// something is to be answered. After that the connection is closed.
	Timeout time.Duration `yaml:"timeout"`

	// Keepalive is how often a silent connection is asked whether it is alive.
	// One that says nothing for three times as long is closed.
	Keepalive time.Duration `yaml:"keepalive"`

	// Verify says how a file is checked before it gets its name: content (it is
	// read back and its SHA-256 compared, which takes the network as much again,
	// the other way) or size.
	Verify string `yaml:"verify"`

	// ServerSideCopy lets the server copy a file that goes to several spaces
	// (OpenSSH 9.0 or later), instead of sending it again.
	ServerSideCopy bool `yaml:"server_side_copy"`

	// HardLinksUsersCannotWrite puts a file that goes to several spaces there
	// once, under several names. Only where users cannot change the files of
	// their spaces: who overwrites one name changes the file in every space.
	HardLinksUsersCannotWrite bool `yaml:"hard_links_users_cannot_write"`

	// FileMode is the mode of files, in octal such as "0640". Default: what the
	// server gives (its umask).
	FileMode string `yaml:"file_mode"`

	// DirMode is the mode of folders that we make, such as "2750". Default: what
	// the server gives.
	DirMode string `yaml:"dir_mode"`
}

// How a file is checked before it gets its name.
const (
	VerifyContent = "content"
	VerifySize    = "size"
)

// Limits of the settings.
const (
	defaultPort    = "22"                   // RFC 4250 section 4.2
	agentFromEnv   = "true"                 // the value of agent for SSH_AUTH_SOCK
	minTimeout     = 100 * time.Millisecond // shorter ones fail on any network
	maxTimeout     = time.Hour              // a disk that syncs for that long is broken
	minKeepalive   = 100 * time.Millisecond
	maxKeepalive   = time.Hour // connections forgotten by a firewall are found no later than thrice that
	maxConnections = 100       // OpenSSH's default MaxStartups refuses more at once
	maxMode        = 0o7777    // permission bits with set-id and sticky
)

// DefaultConfig fits OpenSSH once address, user, a key and known_hosts are set.
func DefaultConfig() Config {
	return Config{
		HostKey:        []string{},
		Base:           ".",
		Staging:        ".cloakroom-upload",
		Connections:    2,
		Timeout:        time.Minute,
		Keepalive:      15 * time.Second,
		Verify:         VerifyContent,
		ServerSideCopy: true,
	}
}

// Resolve gives the configuration with relative paths on this host made to
// start at folder.
func (c Config) Resolve(folder string) Config {
	local := []*string{&c.KeyFile, &c.KeyPassphraseFile, &c.PasswordFile, &c.KnownHosts}
	if c.Agent != agentFromEnv {
		local = append(local, &c.Agent)
	}
	for _, p := range local {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	return c
}

// Validate tells the settings that cannot work; each error begins with its key.
// CheckFiles looks at the files.
func (c Config) Validate() error {
	return errors.Join(append(c.loginProblems(), c.workProblems()...)...)
}

// loginProblems are those of reaching and entering the server.
func (c Config) loginProblems() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := splitAddress(c.Address); err != nil {
		fail("address: %w", err)
	}
	if c.User == "" {
		fail("user: is required: the account on the server")
	}
	if c.KeyFile == "" && c.PasswordFile == "" && c.Agent == "" {
		fail("key_file: is required: a private key to log in with (or password_file, or agent)")
	}
	if c.KeyPassphraseFile != "" && c.KeyFile == "" {
		fail("key_file: is required for key_passphrase_file")
	}
	switch {
	case c.KnownHosts == "" && len(c.HostKey) == 0:
		fail("known_hosts: is required: a file with the server's host key (or host_key with its fingerprint); "+
			"ssh-keyscan %s shows it, its administrator can confirm it", c.Address)
	case c.KnownHosts != "" && len(c.HostKey) > 0:
		fail("host_key: there is known_hosts too; keep one of them")
	}
	for _, f := range c.HostKey {
		if err := checkFingerprint(f); err != nil {
			fail("host_key: %w", err)
		}
	}
	if c.Timeout < minTimeout || c.Timeout > maxTimeout {
		fail("timeout: %v is not between %v and %v", c.Timeout, minTimeout, maxTimeout)
	}
	if c.Keepalive < minKeepalive || c.Keepalive > maxKeepalive {
		fail("keepalive: %v is not between %v and %v", c.Keepalive, minKeepalive, maxKeepalive)
	}
	if c.Connections < 1 || c.Connections > maxConnections {
		fail("connections: %d is not between 1 and %d", c.Connections, maxConnections)
	}
	return errs
}

// workProblems are those of what is to be done there.
func (c Config) workProblems() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Base == "" || path.Clean(c.Base) != c.Base {
		fail("base: %q is not a folder; write its path without / at its end, or . for where sessions start", c.Base)
	}
	if !fs.ValidPath(c.Staging) || c.Staging == "." {
		fail("staging: %q is not a folder below base, such as .cloakroom-upload", c.Staging)
	}
	if c.Verify != VerifyContent && c.Verify != VerifySize {
		fail("verify: %q is not known; write content or size", c.Verify)
	}
	for key, mode := range map[string]string{"file_mode": c.FileMode, "dir_mode": c.DirMode} {
		if _, err := parseMode(mode); err != nil {
			fail("%s: %w", key, err)
		}
	}
	return errs
}

// splitAddress gives host:port with the usual port if there is none.
func splitAddress(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil { // HOST, or an IPv6 address with or without brackets
		host, port = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"), defaultPort
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q is not the port of a server", port)
	}
	if host == "" || strings.ContainsAny(host, "/@ []") || strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return "", fmt.Errorf("%q is not a server; write HOST or HOST:PORT", address)
	}
	return net.JoinHostPort(host, port), nil
}

// checkFingerprint tells what is wrong with a pinned host key.
func checkFingerprint(text string) error {
	const prefix = "SHA256:"
	sum, err := base64.RawStdEncoding.DecodeString(strings.TrimPrefix(text, prefix))
	if err != nil || !strings.HasPrefix(text, prefix) || len(sum) != 32 {
		return fmt.Errorf("%q is not a fingerprint; write SHA256: and 43 characters, as ssh-keygen -l prints it", text)
	}
	return nil
}

// parseMode reads an octal mode; "" is 0, which means none.
func parseMode(text string) (fs.FileMode, error) {
	if text == "" {
		return 0, nil
	}
	bits, err := strconv.ParseUint(text, 8, 32)
	if err != nil || bits == 0 || bits > maxMode {
		return 0, fmt.Errorf("%q is not a mode in octal, such as 0750", text)
	}
	mode := fs.FileMode(bits & 0o777)
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= flag
		}
	}
	return mode, nil
}

// methods builds what proves to the server who we are; done closes what it uses.
func (c Config) methods() (auth []ssh.AuthMethod, done func(), err error) {
	done = func() {}
	var signers []ssh.Signer
	if c.KeyFile != "" {
		signer, err := c.key()
		if err != nil {
			return nil, nil, err
		}
		signers = append(signers, signer)
	}
	if c.Agent != "" {
		more, hangUp, err := c.agentKeys()
		if err != nil {
			return nil, nil, err
		}
		signers, done = append(signers, more...), hangUp
	}
	if len(signers) > 0 {
		auth = append(auth, ssh.PublicKeys(signers...))
	}
	if c.PasswordFile != "" {
		password, err := secretFile("password_file", c.PasswordFile)
		if err != nil {
			done()
			return nil, nil, err
		}
		auth = append(auth, ssh.Password(password), ssh.KeyboardInteractive(answerWith(password)))
	}
	return auth, done, nil
}
