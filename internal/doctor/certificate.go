package doctor

// Certificates: for the right name, by an authority that recipients' browsers
// know, and for long enough.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	// soon is how long a certificate should still be valid: who renews by a
	// machine does it a month before the end. Of those that live shorter, one in
	// soonShare of their life.
	soon      = 14 * 24 * time.Hour
	soonShare = 4
	day       = 24 * time.Hour
)

// Certificate looks at the one that visitors of the public URL get. roots are the
// authorities; nil for those that the system trusts.
func Certificate(ctx context.Context, publicURL string, roots *x509.CertPool) []Line {
	u, err := url.Parse(publicURL)
	if err != nil {
		return []Line{wrong("correct web.url", "%v", err)}
	}
	if u.Scheme != "https" {
		if loopback(u.Hostname()) {
			return []Line{ok("none: web.url is on this host alone")}
		}
		return []Line{warn("put a proxy with TLS in front or set web.tls, and write https in web.url", "web.url is http: anyone on the way can read links and files")}
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	// Verified below, so that one that is wrong can be told of.
	d := tls.Dialer{Config: &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true}} //nolint:gosec // nothing is sent
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return []Line{wrong("see the line web; where something answers there without TLS, correct the proxy", "no TLS connection to %s: %v", u.Host, err)}
	}
	defer conn.Close()
	return []Line{judge(conn.(*tls.Conn).ConnectionState().PeerCertificates, u.Hostname(), time.Now(), roots)}
}

// judge looks at a chain as browsers do.
func judge(chain []*x509.Certificate, host string, now time.Time, roots *x509.CertPool) Line {
	if len(chain) == 0 {
		return wrong("give the server a certificate", "%s shows no certificate", host)
	}
	leaf := chain[0]
	const renew = "renew it; Cloakroom reads a new web.tls.cert_file by itself, a proxy may need a reload"
	left := leaf.NotAfter.Sub(now)
	switch {
	case left <= 0:
		return wrong(renew, "the certificate of %s expired on %s, %s ago", host, leaf.NotAfter.Format(time.DateOnly), days(-left))
	case now.Before(leaf.NotBefore):
		return wrong("see the line clock; or the certificate was made for later", "the certificate of %s is not valid before %s", host, leaf.NotBefore.Format(time.RFC3339))
	case leaf.VerifyHostname(host) != nil:
		return wrong("get a certificate for "+host+", or correct web.url", "the certificate that %s shows is for %s", host, subjects(leaf))
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Intermediates: between, Roots: roots, CurrentTime: now}); err != nil {
		return wrong("use a certificate of an authority that browsers know, and give the server its whole chain (fullchain.pem); where only this host does not know it: apt install ca-certificates",
			"browsers warn of the certificate of %s, by %s: %v", host, issuer(leaf), err)
	}
	if l := ending("the certificate of "+host+", by "+issuer(leaf)+",", leaf, now, renew); l != nil {
		return *l
	}
	return ok("%s, by %s, %s left", host, issuer(leaf), days(left))
}

// ending tells of a certificate that ends soon; nil for not.
func ending(what string, leaf *x509.Certificate, now time.Time, fix string) *Line {
	left := leaf.NotAfter.Sub(now)
	var l Line
	switch {
	case left <= 0:
		l = wrong(fix, "%s expired on %s", what, leaf.NotAfter.Format(time.DateOnly))
	case left < min(soon, leaf.NotAfter.Sub(leaf.NotBefore)/soonShare):
		l = warn(fix, "%s expires in %s, on %s", what, days(left), leaf.NotAfter.Format(time.DateOnly))
	default:
		return nil
	}
	return &l
}

// CertificateFile looks at a file that one of our listeners serves; no line where
// all is well. key names it in the configuration; "" is no file.
func CertificateFile(key, file string, now time.Time) []Line {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err == nil {
		var leaf *x509.Certificate
		if leaf, err = firstCertificate(text); err == nil {
			if l := ending(key+" "+file, leaf, now, "renew it: it is read again by itself"); l != nil {
				return []Line{*l}
			}
			return nil
		}
	}
	return []Line{wrong("put a certificate in PEM there that the daemon's account can read", "%s: %v", key, err)}
}

func firstCertificate(text []byte) (*x509.Certificate, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no certificate in PEM")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
		text = rest
	}
}

func subjects(c *x509.Certificate) string {
	names := c.DNSNames
	for _, a := range c.IPAddresses {
		names = append(names, a.String())
	}
	if len(names) == 0 {
		return "no name at all"
	}
	return strings.Join(names[:min(len(names), maxNamed)], ", ")
}

func issuer(c *x509.Certificate) string {
	if len(c.Issuer.Organization) > 0 {
		return c.Issuer.Organization[0]
	}
	return c.Issuer.CommonName
}

func days(d time.Duration) string {
	switch n := int(d / day); {
	case d < day:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	case n == 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}
