package submit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes a self-signed certificate in files that every account can
// reach.
func certificate(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestSTARTTLSIsVerified(t *testing.T) {
	cert, key := certificate(t, "mx.acmecorp.test")
	other, _ := certificate(t, "mx.acmecorp.test")
	p := startPostfix(t, map[string]string{"smtpd_tls_security_level": "encrypt", "smtpd_tls_cert_file": cert, "smtpd_tls_key_file": key})
	plain := startPostfix(t, nil)
	for name, c := range map[string]struct {
		addr, ca, server string
		want             string // in the error; "": none
	}{
		"verified":          {p.SMTPAddr(), cert, "mx.acmecorp.test", ""},
		"another's name":    {p.SMTPAddr(), cert, "mail.acmecorp.test", "certificate is valid for mx.acmecorp.test"},
		"no name":           {p.SMTPAddr(), cert, "", "127.0.0.1"},
		"unknown authority": {p.SMTPAddr(), other, "mx.acmecorp.test", "x509"},
		"the system's":      {p.SMTPAddr(), "", "mx.acmecorp.test", "x509"},
		"not offered":       {plain.SMTPAddr(), cert, "mx.acmecorp.test", "does not offer"},
		"no such file":      {p.SMTPAddr(), "/nowhere", "mx.acmecorp.test", "ca_file"},
	} {
		s := sender(t, c.addr, func(cfg *Config) { cfg.TLS, cfg.CAFile, cfg.ServerName = tlsRequired, c.ca, c.server })
		r, err := send(t, s, Envelope{To: to}, strings.NewReader(begin+"\r\n"))
		switch {
		case c.want == "" && (err != nil || !r.All(Accepted)):
			t.Errorf("%s: %+v, %v", name, r, err)
		case c.want != "" && (!errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), c.want) || !r.All(Temporary)):
			t.Errorf("%s: %+v, %v; want %q", name, r, err, c.want)
		}
	}
	delivered(t, p, bob, 1)
}
