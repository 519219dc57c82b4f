// Package certificate serves HTTPS with a certificate that is read again when
// its files change: a renewal needs no restart.
package certificate

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// CheckEvery is how often at most handshakes look at the files.
const CheckEvery = 2 * time.Second

// Files are a certificate and its key.
type Files struct {
	// CertFile is the certificate with its chain, in PEM. It is read again when it
	// or the key changes: a renewal needs no restart. A relative path starts at
	// the folder of this file.
	CertFile string `yaml:"cert_file"`

	// KeyFile is the certificate's private key, in PEM.
	KeyFile string `yaml:"key_file"`
}

// Certificate is the pair of files and what was read from them last.
type Certificate struct {
	files Files
	who   string
	now   func() time.Time
	log   *slog.Logger

	mu       sync.Mutex
	current  *tls.Certificate
	cert     os.FileInfo // of what was read
	key      os.FileInfo
	checked  time.Time
	reported string // the last failure that was logged
}

// Open reads the files. Its error names the key of the section; who is whose
// certificate it is, for the log.
func Open(files Files, who string, now func() time.Time, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{files: files, who: who, now: now, log: log}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	c.checked = now()
	return c, nil
}

// Config is for the server: TLS 1.2 and later, with Go's choice of ciphers.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get serves a handshake. Files that cannot be read, or do not belong together
// because a renewal is only half written, leave the certificate read before.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= CheckEvery || now.Before(c.checked) {
		c.checked = now
		c.renew()
	}
	return c.current, nil
}

func (c *Certificate) renew() {
	cert, certErr := os.Stat(c.files.CertFile)
	key, keyErr := os.Stat(c.files.KeyFile)
	if certErr == nil && keyErr == nil && sameFile(cert, c.cert) && sameFile(key, c.key) {
		c.reported = ""
		return
	}
	if err := c.read(); err != nil {
		if c.reported != err.Error() {
			c.reported = err.Error()
			c.log.Error(c.who+": new certificate not taken: the one read before stays in use", "error", err)
		}
		return
	}
	c.reported = ""
	c.log.Info(c.who+": certificate read again", "file", c.files.CertFile, "until", c.current.Leaf.NotAfter)
}

// read looks at the files first: what changes meanwhile is seen at the next check.
func (c *Certificate) read() error {
	cert, err := os.Stat(c.files.CertFile)
	if err != nil {
		return fmt.Errorf("cert_file: %w", err)
	}
	key, err := os.Stat(c.files.KeyFile)
	if err != nil {
		return fmt.Errorf("key_file: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return fmt.Errorf("cert_file %s and key_file %s: %w", c.files.CertFile, c.files.KeyFile, err)
	}
	c.current, c.cert, c.key = &pair, cert, key
	return nil
}

// sameFile tells whether a file is as it was: also one that was put in the
// place of another, with its size and time.
func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
