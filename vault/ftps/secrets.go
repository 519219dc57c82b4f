package ftps

// Files that the configuration names: the password, the authorities.

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
)

// maxSecretFile bounds the size in bytes of a password file; nobody types more.
const maxSecretFile = 4096

// CheckFiles tells which of the files cannot be used; each error begins with its
// key. It does not connect to the server.
func (c Config) CheckFiles() error {
	var errs []error
	if c.PasswordFile != "" {
		_, err := c.password()
		errs = append(errs, err)
	}
	if c.CAFile != "" {
		_, err := c.authorities()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// password reads password_file.
func (c Config) password() (string, error) {
	f, err := os.Open(c.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("password_file: others can use %s (mode %v): chmod o= it", c.PasswordFile, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	switch {
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("password_file: %s has more than %d bytes", c.PasswordFile, maxSecretFile)
	case line == "":
		return "", fmt.Errorf("password_file: the first line of %s is empty", c.PasswordFile)
	case strings.ContainsAny(line, "\r\x00"):
		return "", fmt.Errorf("password_file: %s has control characters", c.PasswordFile)
	}
	return line, nil
}

// authorities reads ca_file; nil, the system's, where there is none.
func (c Config) authorities() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", c.CAFile)
	}
	return pool, nil
}

// errPin says that the server showed another certificate than those pinned.
var errPin = errors.New("the server's certificate is none of those in fingerprint")

// tlsConfig is how connections to host:port are verified. Sessions are kept in
// cache.
func (c Config) tlsConfig(address string, cache tls.ClientSessionCache) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, ClientSessionCache: cache}
	if c.ServerName != "" {
		config.ServerName = c.ServerName
	}
	if c.MaxTLS == "1.2" {
		config.MaxVersion = tls.VersionTLS12
	}
	if config.RootCAs, err = c.authorities(); err != nil {
		return nil, err
	}
	if len(c.Fingerprint) == 0 {
		return config, nil
	}
	var pins [][32]byte
	for _, text := range c.Fingerprint {
		pin, err := parseFingerprint(text)
		if err != nil {
			return nil, fmt.Errorf("fingerprint: %w", err)
		}
		pins = append(pins, pin)
	}
	config.InsecureSkipVerify = true // VerifyConnection does it, by the pin
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errPin
		}
		shown := sha256.Sum256(state.PeerCertificates[0].Raw)
		if !slices.Contains(pins, shown) {
			return fmt.Errorf("%w: it is %x", errPin, shown)
		}
		return nil
	}
	return config, nil
}

// resumption keeps the TLS session of one control connection for its data
// connections: many servers accept no others. Sessions of data connections are
// not kept, as they would not count.
type resumption struct{ lru tls.ClientSessionCache }

func newResumption() *resumption { return &resumption{tls.NewLRUClientSessionCache(1)} }

// data is the cache for data connections.
func (r *resumption) data() tls.ClientSessionCache { return readOnly{r.lru} }

type readOnly struct{ from tls.ClientSessionCache }

func (r readOnly) Get(key string) (*tls.ClientSessionState, bool) { return r.from.Get(key) }
func (readOnly) Put(string, *tls.ClientSessionState)              {}
