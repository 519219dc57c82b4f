package admin

// What an administrator sets about the listener for administrators.

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cloakroom/internal/certificate"
)

const (
	// defaultListen is next to the pages, on loopback.
	defaultListen = "127.0.0.1:9091"
	// defaultQueueAge is the age of the oldest job from which somebody should
	// look: targets that were away over night are back by then.
	defaultQueueAge = 24 * time.Hour
	// maxSocketPath is what fits into sun_path with its NUL (unix(7)).
	maxSocketPath = 107
	// unixPrefix begins the address of a UNIX socket.
	unixPrefix = "unix:"
)

// Config is the section about health, metrics and the dashboard.
type Config struct {
	// Listen is the host:port, or unix:/path, where health (/healthz, /readyz),
	// metrics for Prometheus (/metrics) and the dashboard are served; empty for
	// none. An address that other hosts reach needs token_file or password_file.
	Listen string `yaml:"listen"`

	// SocketMode is the permissions of the UNIX socket, in octal. Whoever may
	// connect may do everything.
	SocketMode string `yaml:"socket_mode"`

	// TokenFile is a file with a bearer token, for Prometheus and scripts: 16
	// characters or more. Whoever has it may read everything and do what the
	// dashboard does. A relative path starts at the folder of this file.
	TokenFile string `yaml:"token_file"`

	// PasswordFile is a file with a line name:hash for each administrator, the
	// hash made by bcrypt: cloakroom admin password NAME writes such a line, and
	// so does htpasswd -B. What they do is remembered under that name. Without
	// it, the dashboard on a TCP address only shows. A relative path starts at the
	// folder of this file.
	PasswordFile string `yaml:"password_file"`

	// TLS is the certificate for HTTPS.
	TLS TLS `yaml:"tls"`

	// QueueAge is the age of the oldest job that waits or has failed from which
	// /readyz and the dashboard ask for attention.
	QueueAge time.Duration `yaml:"queue_age"`

	// PProf serves Go's profiles of the running program below /debug/pprof/.
	PProf bool `yaml:"pprof"`
}

// TLS is a certificate and its key.
type TLS = certificate.Files

// DefaultConfig listens on loopback.
func DefaultConfig() Config {
	return Config{Listen: defaultListen, SocketMode: "0600", QueueAge: defaultQueueAge}
}

// Resolve makes relative paths start at folder.
func (c Config) Resolve(folder string) Config {
	for _, p := range []*string{&c.TokenFile, &c.PasswordFile, &c.TLS.CertFile, &c.TLS.KeyFile} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	return c
}

// socket is the path of the UNIX socket; "" for TCP.
func (c Config) socket() string {
	path, found := strings.CutPrefix(c.Listen, unixPrefix)
	if !found {
		return ""
	}
	return path
}

// asks tells whether visitors have to prove who they are.
func (c Config) asks() bool { return c.TokenFile != "" || c.PasswordFile != "" }

// Validate checks the section. Its error begins with the key that is wrong. The
// files it names are read by Open.
func (c Config) Validate() error {
	if c.Listen == "" {
		return nil
	}
	if _, err := c.socketMode(); err != nil {
		return fmt.Errorf("socket_mode: %w", err)
	}
	if err := c.validateListen(); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return errors.New("tls: cert_file and key_file belong together: give both, or none")
	}
	if c.QueueAge <= 0 {
		return errors.New("queue_age: must be longer than nothing")
	}
	return nil
}

func (c Config) validateListen() error {
	if strings.HasPrefix(c.Listen, unixPrefix) {
		switch path := c.socket(); {
		case !filepath.IsAbs(path):
			return errors.New("the path of a UNIX socket must begin with /: unix:/run/cloakroom/admin.sock")
		case len(path) > maxSocketPath:
			return fmt.Errorf("the path is longer than the %d bytes a socket can have", maxSocketPath)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("write host:port, such as %s, or unix:/path: %w", defaultListen, err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port number", port)
	}
	if !isLoopback(host) && !c.asks() {
		return fmt.Errorf("%s can be reached from other hosts: set token_file or password_file, or listen on 127.0.0.1 or a UNIX socket", c.Listen)
	}
	return nil
}

// Warnings says what works but is not safe, each beginning with its key.
func (c Config) Warnings() []string {
	if c.Listen == "" || c.socket() != "" {
		return nil
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && !isLoopback(host) && c.TLS.CertFile == "" {
		return []string{"tls: without a certificate, passwords and tokens cross the network in clear text"}
	}
	return nil
}

// socketMode reads the permissions of the UNIX socket.
func (c Config) socketMode() (fs.FileMode, error) {
	mode, err := strconv.ParseUint(c.SocketMode, 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("%q is not octal permissions such as 0660", c.SocketMode)
	}
	return fs.FileMode(mode), nil
}

// isLoopback tells whether a host name or address is this host and no other.
func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") // RFC 6761 section 6.3
}
