package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/certificate"
	"cloakroom/sisa"
)

// writeCertificate makes a certificate of its own for 127.0.0.1.
func writeCertificate(t *testing.T, files TLS, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "files.acmecorp.test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{files.CertFile: {Type: "CERTIFICATE", Bytes: cert}, files.KeyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
}

func tlsFiles(t *testing.T) TLS {
	dir := t.TempDir()
	return TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
}

func TestCertificateIsReadAgainWhenItsFilesChange(t *testing.T) {
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	now := time.Now()
	log := &syncBuffer{}
	c, err := certificate.Open(files, "web", func() time.Time { return now }, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		t.Helper()
		cert, err := c.Config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf.SerialNumber.Int64()
	}
	writeCertificate(t, files, 2)
	if got := serial(); got != 1 {
		t.Errorf("certificate %d before the next check", got)
	}
	now = now.Add(certificate.CheckEvery)
	if got := serial(); got != 2 {
		t.Errorf("certificate %d after a renewal", got)
	}
	// Half a renewal: the key of another certificate, then none at all.
	other := tlsFiles(t)
	writeCertificate(t, other, 3)
	if err := os.Rename(other.KeyFile, files.KeyFile); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		now = now.Add(certificate.CheckEvery)
		if got := serial(); got != 2 {
			t.Errorf("certificate %d from files that do not belong together", got)
		}
	}
	if n := strings.Count(log.String(), "new certificate not taken"); n != 1 {
		t.Errorf("the failure is logged %d times:\n%s", n, log)
	}
	if err := os.Rename(other.CertFile, files.CertFile); err != nil {
		t.Fatal(err)
	}
	now = now.Add(certificate.CheckEvery)
	if got := serial(); got != 3 {
		t.Errorf("certificate %d after the other half", got)
	}
	if err := os.Remove(files.CertFile); err != nil {
		t.Fatal(err)
	}
	now = now.Add(certificate.CheckEvery)
	if got := serial(); got != 3 {
		t.Errorf("certificate %d without a file", got)
	}
}

func TestCertificateThatCannotBeReadIsAnErrorAtStart(t *testing.T) {
	files := tlsFiles(t)
	if _, err := certificate.Open(files, "web", time.Now, slog.Default()); err == nil || !strings.HasPrefix(err.Error(), "tls: cert_file: ") {
		t.Errorf("%v", err)
	}
	cfg := DefaultConfig()
	cfg.URL, cfg.TLS.CertFile = "https://files.acmecorp.test", "cert.pem"
	if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "tls: ") {
		t.Errorf("a certificate without a key: %v", err)
	}
	cfg.TLS.KeyFile = "/key.pem"
	if got := cfg.Resolve("/etc/x").TLS; got.CertFile != "/etc/x/cert.pem" || got.KeyFile != "/key.pem" {
		t.Errorf("%+v", got)
	}
}

// serveTLS serves a stage's site on a port of its own, with a certificate.
func serveTLS(t *testing.T) (*stage, string, *http.Transport) {
	t.Helper()
	files := tlsFiles(t)
	writeCertificate(t, files, 1)
	s := newStage(t, func(s *stage, cfg *Config) {
		cfg.TLS = files
		s.addFile(6, "big", "", make([]byte, bigFile))
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(s.site, slog.New(slog.NewTextHandler(s.log, nil)))
	done := make(chan error, 1)
	go func() { done <- Serve(server, listener) }()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	pemCert, err := os.ReadFile(files.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pemCert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return s, listener.Addr().String(), transport
}

func TestHTTPSServesPagesFilesAndArchivesOverHTTP2(t *testing.T) {
	t.Parallel()
	s, address, transport := serveTLS(t)
	client := &http.Client{Transport: transport}
	resp, err := client.Get("https://" + address + "/d/" + s.token)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("status %d, %s, headers %v", resp.StatusCode, resp.Proto, resp.Header)
	}
	for part, want := range map[string]int64{"6": bigFile, "all": 0} {
		resp, err := client.Post("https://"+address+"/d/"+s.token, "application/x-www-form-urlencoded", strings.NewReader("file="+part))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if want == 0 {
			want = resp.ContentLength
		}
		if err != nil || n != want || n < bigFile {
			t.Errorf("%s: %d bytes of %d, %v", part, n, want, err)
		}
	}
}

func TestOldTLSIsRefusedAndIsNoWarning(t *testing.T) {
	t.Parallel()
	s, address, _ := serveTLS(t)
	_, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	time.Sleep(50 * time.Millisecond) // for a log line that must not come
	if strings.Contains(s.log.String(), "handshake") {
		t.Errorf("log:\n%s", s.log)
	}
}

func TestSlowClientOverHTTPSIsServedAndAStalledOneIsNot(t *testing.T) {
	t.Parallel()
	s, address, transport := serveTLS(t)
	s.site.stall = 400 * time.Millisecond
	transport.ForceAttemptHTTP2 = false
	transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	transport.ReadBufferSize = 4 << 10
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(32 << 10)
		}
		return conn, err
	}
	ticket := s.site.signer.ticket(ticketFile, sisa.TokenID(s.token), "6", testStart.Add(time.Minute))
	resp, err := (&http.Client{Transport: transport}).Get("https://" + address + strings.TrimPrefix(ticket.location("big"), ".."))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for range 12 { // three times the stall
		if _, err := io.CopyN(io.Discard, resp.Body, 128<<10); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(2 * time.Second)
	if n, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Errorf("a client that stood still got all, the last %d bytes after it", n)
	}
}
