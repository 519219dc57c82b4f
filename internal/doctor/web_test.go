package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/sisa/web"
)

// ours are the real pages with a key, without links.
func ours(t *testing.T, key []byte) *httptest.Server {
	t.Helper()
	cfg := web.DefaultConfig()
	cfg.URL = "https://files.acmecorp.test"
	s := httptest.NewServer(web.New(cfg, nil, nil, key, time.Now, slog.New(slog.DiscardHandler)))
	t.Cleanup(s.Close)
	return s
}

func keyOf(c byte) []byte { return []byte(strings.Repeat(string(c), web.KeyBytes)) }

func TestPages(t *testing.T) {
	mine, other := ours(t, keyOf('a')), ours(t, keyOf('b'))
	var told []string
	answer := func(f http.HandlerFunc) string {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		return s.URL
	}
	elsewhere := answer(func(_ http.ResponseWriter, r *http.Request) { told = append(told, r.URL.Path) })
	nobody := httptest.NewServer(nil)
	nobody.Close()
	prefixed := answer(http.StripPrefix("/files", mine.Config.Handler).ServeHTTP)
	local := strings.TrimPrefix(mine.URL, "http://")
	for name, one := range map[string]struct {
		pages Pages
		want  want
	}{
		"well":          {Pages{Listen: local, URL: mine.URL}, want{OK, "is this Cloakroom", ""}},
		"below a path":  {Pages{Listen: local, URL: prefixed + "/files"}, want{OK, "/files is this Cloakroom", ""}},
		"another one":   {Pages{Listen: local, URL: other.URL}, want{Wrong, "answers 404 Not Found, and not as this Cloakroom", "proxy"}},
		"a redirect":    {Pages{Listen: local, URL: answer(http.RedirectHandler(elsewhere+"/login", http.StatusFound).ServeHTTP)}, want{Wrong, "sends visitors on to " + elsewhere + "/login", "web.url"}},
		"bad gateway":   {Pages{Listen: local, URL: answer(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", "nginx"); w.WriteHeader(502) })}, want{Wrong, "answers 502 Bad Gateway (nginx)", "web.listen"}},
		"nobody":        {Pages{Listen: local, URL: nobody.URL}, want{Wrong, "connection refused", "start the proxy"}},
		"no name":       {Pages{Listen: local, URL: "http://nothing.invalid"}, want{Wrong, "nothing.invalid", "line dns"}},
		"port taken":    {Pages{Listen: strings.TrimPrefix(other.URL, "http://"), URL: mine.URL}, want{Wrong, "not as this Cloakroom", "who listens there"}},
		"not listening": {Pages{Listen: strings.TrimPrefix(nobody.URL, "http://"), URL: mine.URL}, want{Wrong, "web.listen: ", "web.listen was changed"}},
	} {
		t.Run(name, func(t *testing.T) {
			one.pages.Key, one.pages.Runs = keyOf('a'), true
			one.want.check(t, only(t, one.pages.Run(t.Context())))
		})
	}
	if len(told) > 0 {
		t.Errorf("a redirect was followed: %v", told)
	}
	want{Warning, "without the secret", "lines secret"}.check(t, only(t, Pages{URL: mine.URL}.Run(t.Context())))
	down := Pages{Listen: strings.TrimPrefix(nobody.URL, "http://"), URL: nobody.URL, Key: keyOf('a')}.Run(t.Context())
	if len(down) != 2 {
		t.Fatalf("with the daemon down: %+v", down)
	}
	want{Wrong, "web.listen", "start the daemon"}.check(t, down[0])
	want{Wrong, nobody.URL, "start the daemon"}.check(t, down[1])
	silent := listen(t, func(net.Conn) { time.Sleep(10 * time.Second) })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	want{Wrong, silent, "firewall"}.check(t, only(t, Pages{Listen: local, URL: "http://" + silent, Key: keyOf('a'), Runs: true}.Run(ctx)))
}

// made is a certificate with its key, by itself or by another.
func made(t *testing.T, template x509.Certificate, by *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent, signer := &template, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestCertificates(t *testing.T) {
	now := time.Now()
	authority := made(t, x509.Certificate{Subject: pkix.Name{Organization: []string{"Test Trust"}}, NotBefore: now.Add(-2000 * day), NotAfter: now.Add(2000 * day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	roots := x509.NewCertPool()
	roots.AddCert(authority.Leaf)
	of := func(from, to time.Duration, name string) x509.Certificate {
		return x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: now.Add(from), NotAfter: now.Add(to)}
	}
	const host = "files.acmecorp.test"
	for name, one := range map[string]struct {
		template x509.Certificate
		self     bool // signed by itself
		want     want
	}{
		"well":          {of(-30*day, 60*day, host), false, want{OK, host + ", by Test Trust, 59 days left", ""}},
		"wildcard":      {of(-30*day, 60*day, "*.acmecorp.test"), false, want{OK, "59 days left", ""}},
		"nine days":     {of(-81*day, 9*day+time.Hour, host), false, want{Warning, "by Test Trust, expires in 9 days, on ", "renew"}},
		"short life":    {of(-2*day, 4*day, host), false, want{OK, "3 days left", ""}},
		"its last day":  {of(-5*day, 20*time.Hour, host), false, want{Warning, "expires in 19 hours", "renew"}},
		"expired":       {of(-90*day, -3*day, host), false, want{Wrong, "expired on ", "renew"}},
		"of the future": {of(time.Hour, 90*day, host), false, want{Wrong, "is not valid before", "clock"}},
		"another name":  {of(-30*day, 60*day, "www.acmecorp.test"), false, want{Wrong, "shows is for www.acmecorp.test", "get a certificate for " + host}},
		"self-signed":   {of(-30*day, 60*day, host), true, want{Wrong, "browsers warn", "fullchain.pem"}},
	} {
		t.Run(name, func(t *testing.T) {
			by := &authority
			if one.self {
				by = nil
			}
			c := made(t, one.template, by)
			one.want.check(t, judge([]*x509.Certificate{c.Leaf}, host, now, roots))
		})
	}
	t.Run("as a server shows it", func(t *testing.T) {
		c := made(t, x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: now.Add(-day), NotAfter: now.Add(60 * day)}, &authority)
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go http.Serve(l, http.NotFoundHandler()) //nolint:errcheck // ends with the listener
		want{OK, "127.0.0.1, by Test Trust, 59 days left", ""}.check(t, only(t, Certificate(t.Context(), "https://"+l.Addr().String(), roots)))
		want{Wrong, "browsers warn", "ca-certificates"}.check(t, only(t, Certificate(t.Context(), "https://"+l.Addr().String(), x509.NewCertPool())))
		plain := httptest.NewServer(http.NotFoundHandler())
		defer plain.Close()
		want{Wrong, "no TLS connection", "line web"}.check(t, only(t, Certificate(t.Context(), "https://"+plain.Listener.Addr().String(), roots)))
		want{OK, "on this host alone", ""}.check(t, only(t, Certificate(t.Context(), plain.URL, nil)))
		want{Warning, "web.url is http", "TLS"}.check(t, only(t, Certificate(t.Context(), "http://files.acmecorp.test", nil)))
	})
	t.Run("as a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cert.pem")
		write := func(c tls.Certificate) {
			if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want{Wrong, "web.tls.cert_file", "in PEM"}.check(t, only(t, CertificateFile("web.tls.cert_file", file, now)))
		write(made(t, of(-80*day, 9*day+time.Hour, host), nil))
		want{Warning, "web.tls.cert_file " + file + " expires in 9 days", "renew"}.check(t, only(t, CertificateFile("web.tls.cert_file", file, now)))
		write(made(t, of(-80*day, 90*day, host), nil))
		if lines := CertificateFile("web.tls.cert_file", file, now); len(lines) > 0 {
			t.Errorf("of a good one: %+v", lines)
		}
		if lines := CertificateFile("web.tls.cert_file", "", now); len(lines) > 0 {
			t.Errorf("of none: %+v", lines)
		}
	})
}

func TestNames(t *testing.T) {
	lookup := func(_ context.Context, host string) ([]string, error) {
		switch host {
		case "mx.acmecorp.test", "files.acmecorp.test":
			return []string{"192.0.2.1"}, nil
		case "timeout.acmecorp.test":
			return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	for name, one := range map[string]struct {
		host, url string
		want      want
	}{
		"well":            {"mx.acmecorp.test", "https://files.acmecorp.test", want{OK, "mx.acmecorp.test is 192.0.2.1; files.acmecorp.test is 192.0.2.1", ""}},
		"one name":        {"mx.acmecorp.test", "https://mx.acmecorp.test", want{OK, "mx.acmecorp.test is 192.0.2.1", ""}},
		"a trial":         {"mx.acmecorp.test", "http://127.0.0.1:8080", want{OK, "127.0.0.1 is an address", ""}},
		"pages nowhere":   {"mx.acmecorp.test", "https://gone.acmecorp.test", want{Wrong, "gone.acmecorp.test (web.url) is not in DNS: no link can be opened", "A or AAAA"}},
		"host nowhere":    {"gone.acmecorp.test", "https://files.acmecorp.test", want{Warning, "gone.acmecorp.test (hostname) is not in DNS", "hostname"}},
		"DNS is silent":   {"mx.acmecorp.test", "https://timeout.acmecorp.test", want{Warning, "no answer", "resolv.conf"}},
		"only an address": {"mx.acmecorp.test", "https://192.0.2.7", want{Warning, "no certificate fits", "name"}},
	} {
		t.Run(name, func(t *testing.T) { one.want.check(t, Names(t.Context(), lookup, one.host, one.url)[0]) })
	}
}

func TestReadiness(t *testing.T) {
	serve := func(kind, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Write([]byte(body)) //nolint:errcheck // a test
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	const asJSON, text = "application/json", "text/plain; charset=utf-8"
	for name, one := range map[string]struct {
		url  string
		want want
	}{
		"ready":      {serve(asJSON, `{"ready":true,"checks":[{"check":"database","ok":true}]}`), want{OK, "ready", ""}},
		"stops mail": {serve(asJSON, `{"ready":false,"checks":[{"check":"database","stops_mail":true,"words":"disk I/O error"}]}`), want{Wrong, "database: disk I/O error", "lines database"}},
		"attention":  {serve(asJSON, `{"ready":true,"checks":[{"check":"targets","attention":true,"words":"assets is down"}]}`), want{Warning, "targets: assets is down", "vault targets"}},
		"told twice": {serve(asJSON, `{"ready":true,"checks":[{"check":"pause","attention":true,"words":"paused"}]}`), want{OK, "ready", ""}},
		"new check":  {serve(asJSON, `{"ready":true,"checks":[{"check":"moon","attention":true,"words":"full"}]}`), want{Warning, "moon: full", "journalctl"}},
		"no words":   {serve(text, "ready\n"), want{OK, "ready", ""}},
		"no words 2": {serve(text, "ready, but somebody should look\n"), want{Warning, "somebody should look", "dashboard"}},
		"no words 3": {serve(text, "not ready\n"), want{Wrong, "not ready", "dashboard"}},
		"a stranger": {serve("text/html", "<html>"), want{Warning, "not as Cloakroom does", "another program"}},
		"nonsense":   {serve(asJSON, "<html>"), want{Warning, "does not answer as Cloakroom does", "another program"}},
		"nobody":     {"http://" + netip.MustParseAddrPort("127.0.0.1:1").String(), want{Warning, "does not answer", "address may be taken"}},
	} {
		t.Run(name, func(t *testing.T) {
			one.want.check(t, only(t, Readiness(t.Context(), http.DefaultClient, one.url, map[string]bool{"pause": true})))
		})
	}
}

func TestNothingSecretIsInAnError(t *testing.T) {
	_, err := Pages{Key: keyOf('a')}.ask(t.Context(), "http://127.0.0.1:1")
	if err == nil || strings.Contains(reason(err).Error(), "/w/") {
		t.Errorf("the error has the question: %v", err)
	}
	if plain := errors.New("x"); reason(plain) != plain {
		t.Error("another error is changed")
	}
}
