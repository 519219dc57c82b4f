package admin

// The certificate for HTTPS, read again when its files change.

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often at most handshakes look at the files.
const certificateCheck = 2 * time.Second

// certificate is the pair of files and what was read from them last.
type certificate struct {
	files TLS
	now   func() time.Time
	log   *slog.Logger

	mu       sync.Mutex
	current  *tls.Certificate
	cert     os.FileInfo // of what was read
	key      os.FileInfo
	checked  time.Time
	reported string // the last failure that was logged
}

// openCertificate reads the files. Its error names the key of the section.
func openCertificate(files TLS, now func() time.Time, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, now: now, log: log}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	c.checked = now()
	return c, nil
}

// config is for the server: TLS 1.2 and later, with Go's choice of ciphers.
func (c *certificate) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get serves a handshake. Files that cannot be read, or do not belong together
// because a renewal is only half written, leave the certificate read before.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.checked) >= certificateCheck || now.Before(c.checked) {
		c.checked = now
		c.renew()
	}
	return c.current, nil
}

func (c *certificate) renew() {
	cert, certErr := os.Stat(c.files.CertFile)
	key, keyErr := os.Stat(c.files.KeyFile)
	if certErr == nil && keyErr == nil && sameFile(cert, c.cert) && sameFile(key, c.key) {
		c.reported = ""
		return
	}
	if err := c.read(); err != nil {
		if c.reported != err.Error() {
			c.reported = err.Error()
			c.log.Error("admin: new certificate not taken: the one read before stays in use", "error", err)
		}
		return
	}
	c.reported = ""
	c.log.Info("admin: certificate read again", "file", c.files.CertFile, "until", c.current.Leaf.NotAfter)
}

// read looks at the files first: what changes meanwhile is seen at the next check.
func (c *certificate) read() error {
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
