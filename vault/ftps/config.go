package ftps

// The settings of an FTP server.

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Config says how an FTP server with TLS is reached. Prefer SFTP where there is
// a choice: FTP cannot promise that a file which somebody else makes at the same
// moment is not replaced.
type Config struct {
	// Address is the server: HOST or HOST:PORT. The usual port is 21, and 990 for
	// tls: implicit.
	Address string `yaml:"address"`

	// TLS is explicit (the connection is encrypted by AUTH TLS before we log in)
	// or implicit (it is from its first byte). Data connections are encrypted too,
	// and resume the session of their control connection.
	TLS string `yaml:"tls"`

	// InsecurePlainFTP switches encryption off: password and files cross the
	// network for everybody to read and to change.
	InsecurePlainFTP bool `yaml:"insecure_plain_ftp"`

	// CAFile holds the certificates (PEM) of the authorities that may have
	// signed the server's. Default: those the system trusts. Files named here are
	// read for each connection.
	CAFile string `yaml:"ca_file"`

	// ServerName is the name in the server's certificate. Default: the host of
	// address.
	ServerName string `yaml:"server_name"`

	// Fingerprint lists certificates by their SHA-256, as "openssl x509 -noout
	// -fingerprint -sha256" prints it: the server's, and during a change its next
	// one. It takes the place of authorities and names, for a server that signed
	// its own certificate.
	Fingerprint []string `yaml:"fingerprint"`

	// User is the account on the server.
	User string `yaml:"user"`

	// PasswordFile holds the password of user in its first line. Other users of
	// this host must not be able to read it.
	PasswordFile string `yaml:"password_file"`

	// Base is the folder on the server that holds the spaces: absolute, or from
	// where sessions start. It must exist.
	Base string `yaml:"base"`

	// Staging is the name of the folder in base in which files are prepared. It is
	// made when missing. It begins with a dot so that most programs hide it; who
	// may look into it is for the server to say.
	Staging string `yaml:"staging"`

	// Connections is how many connections there are at most. Each carries one
	// file at a time.
	Connections int `yaml:"connections"`

	// Timeout is how long the server may take to connect, to answer, or to take
	// the next piece of a file. After that the connection is closed.
	Timeout time.Duration `yaml:"timeout"`

	// Passive is auto (EPSV, and PASV where the server does not know it) or pasv,
	// for firewalls that do not understand EPSV. Data connections go to the
	// server's address in any case, whatever address it tells.
	Passive string `yaml:"passive"`

	// MaxTLS is the highest version of TLS, 1.3 or 1.2, for servers that do not
	// get along with 1.3.
	MaxTLS string `yaml:"max_tls"`

	// Verify says how a file is checked before it gets its name: content (it is
	// read back and its SHA-256 compared, which takes the network as much again,
	// the other way) or size.
	Verify string `yaml:"verify"`
}

// How the connection is protected.
const (
	tlsExplicit = "explicit"
	tlsImplicit = "implicit"
)

// What is verified.
const (
	verifyContent = "content"
	verifySize    = "size"
)

// How data connections are asked for.
const (
	passiveAuto = "auto"
	passivePASV = "pasv"
)

// Limits of the settings.
const (
	portExplicit   = "21"                   // RFC 959
	portImplicit   = "990"                  // IANA's ftps
	minTimeout     = 100 * time.Millisecond // shorter ones fail on any network
	maxTimeout     = time.Hour              // a server that is silent for longer is broken
	maxConnections = 100                    // servers admit fewer from one host
	maxName        = 255                    // bytes of a name on most file systems
)

// DefaultConfig fits common servers once address, user and password_file are set.
func DefaultConfig() Config {
	return Config{
		TLS:         tlsExplicit,
		Fingerprint: []string{},
		Base:        ".",
		Staging:     ".cloakroom-upload",
		Connections: 2,
		Timeout:     time.Minute,
		Passive:     passiveAuto,
		MaxTLS:      "1.3",
		Verify:      verifyContent,
	}
}

// Resolve gives the settings with paths on this host that start at folder where
// they are relative.
func (c Config) Resolve(folder string) Config {
	for _, p := range []*string{&c.CAFile, &c.PasswordFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	return c
}

// Validate tells the settings that cannot work; each error begins with its key.
// CheckFiles looks at the files.
func (c Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := c.hostPort(); err != nil {
		fail("address: %w", err)
	}
	if c.User == "" || strings.ContainsAny(c.User, "\r\n\x00") {
		fail("user: is required: the account on the server")
	}
	if c.PasswordFile == "" {
		fail("password_file: is required: a file with the password of user")
	}
	if c.Base == "" || path.Clean(c.Base) != c.Base || strings.ContainsAny(c.Base, "\r\n\x00") || strings.HasPrefix(c.Base, "..") {
		fail("base: %q is not a folder, such as vault or /srv/vault", c.Base)
	}
	if !hiddenName(c.Staging) {
		fail("staging: %q is not the name of a hidden folder, such as .cloakroom-upload", c.Staging)
	}
	if c.Connections < 1 || c.Connections > maxConnections {
		fail("connections: %d is not between 1 and %d", c.Connections, maxConnections)
	}
	if c.Timeout < minTimeout || c.Timeout > maxTimeout {
		fail("timeout: %v is not between %v and %v", c.Timeout, minTimeout, maxTimeout)
	}
	if c.Passive != passiveAuto && c.Passive != passivePASV {
		fail("passive: %q is not known; write %s or %s", c.Passive, passiveAuto, passivePASV)
	}
	if c.Verify != verifyContent && c.Verify != verifySize {
		fail("verify: %q is not known; write %s or %s", c.Verify, verifyContent, verifySize)
	}
	return errors.Join(append(errs, c.tlsProblems()...)...)
}

func (c Config) tlsProblems() (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.TLS != tlsExplicit && c.TLS != tlsImplicit {
		fail("tls: %q is not known; write %s or %s", c.TLS, tlsExplicit, tlsImplicit)
	}
	if c.MaxTLS != "1.2" && c.MaxTLS != "1.3" {
		fail("max_tls: %q is not known; write \"1.3\" or \"1.2\"", c.MaxTLS)
	}
	for _, text := range c.Fingerprint {
		if _, err := parseFingerprint(text); err != nil {
			fail("fingerprint: %w", err)
		}
	}
	if len(c.Fingerprint) > 0 && (c.CAFile != "" || c.ServerName != "") {
		fail("fingerprint: takes the place of ca_file and server_name; keep one or the other")
	}
	if c.InsecurePlainFTP && (len(c.Fingerprint) > 0 || c.CAFile != "" || c.ServerName != "" || c.TLS == tlsImplicit) {
		fail("insecure_plain_ftp: without encryption tls, ca_file, server_name and fingerprint have no use")
	}
	return errs
}

// Warnings tells what works but should be looked at; each begins with its key.
func (c Config) Warnings() []string {
	if c.InsecurePlainFTP {
		return []string{"insecure_plain_ftp: the password and all files cross the network for everybody to read and to change"}
	}
	return nil
}

// hostPort is the server, with its port.
func (c Config) hostPort() (string, error) {
	if strings.ContainsAny(c.Address, " \r\n/@") || c.Address == "" {
		return "", fmt.Errorf("%q is not HOST or HOST:PORT", c.Address)
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		host, port = strings.Trim(c.Address, "[]"), portExplicit
		if c.TLS == tlsImplicit {
			port = portImplicit
		}
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", fmt.Errorf("%q is not HOST or HOST:PORT", c.Address)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return "", fmt.Errorf("%q is not HOST or HOST:PORT", c.Address)
	}
	return net.JoinHostPort(host, port), nil
}

func hiddenName(name string) bool {
	return fs.ValidPath(name) && strings.HasPrefix(name, ".") && name != "." &&
		!strings.ContainsAny(name, "/\r\n\x00") && len(name) <= maxName
}

// parseFingerprint reads a SHA-256 in hexadecimal, with colons or without.
func parseFingerprint(text string) ([32]byte, error) {
	_, digits, found := strings.Cut(text, "=") // openssl prints "sha256 Fingerprint=" before it
	if !found {
		digits = text
	}
	b, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if err != nil || len(b) != 32 {
		return [32]byte{}, fmt.Errorf("%q is not a SHA-256 in hexadecimal", text)
	}
	return [32]byte(b), nil
}
