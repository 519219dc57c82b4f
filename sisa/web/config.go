package web

// What an admin sets about the web side.

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"

	"cloakroom/internal/certificate"
)

// Bounds of download_url_ttl: long enough for a redirect to be followed by a slow
// phone, short enough that an address found in a proxy's log is worth nothing.
const (
	minDownloadURLTTL     = 30 * time.Second
	defaultDownloadURLTTL = 10 * time.Minute
	maxDownloadURLTTL     = 24 * time.Hour
)

// Config is the section about the pages and downloads behind links.
type Config struct {
	// Listen is the host:port where HTTP is served, or HTTPS where `tls` names a
	// certificate; else TLS is the business of the proxy in front (nginx, Caddy,
	// HAProxy …).
	Listen string `yaml:"listen"`

	// URL is where recipients reach the pages, such as https://files.acmecorp.com;
	// links in mails begin with it. It may have a path (https://www.acmecorp.com/files);
	// the proxy may pass that path on or take it away.
	URL string `yaml:"url"`

	// TLS is the certificate for HTTPS without a proxy.
	TLS TLS `yaml:"tls"`

	// TrustedProxies lists the networks of the proxies in front: their
	// X-Forwarded-For header is believed when the address of a download is recorded
	// and when requests are counted, their X-Forwarded-Proto when browsers are told
	// to stay with HTTPS (HSTS).
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`

	// DownloadURLTTL is how long the address that a press of the Download button
	// leads to can be used, also to resume. A download under way is not cut off
	// by it; later the link in the mail gives a new address.
	DownloadURLTTL time.Duration `yaml:"download_url_ttl"`

	// Brand is what makes the pages yours.
	Brand Brand `yaml:"brand"`

	// Language is that of the pages for browsers that ask for none that there is.
	Language string `yaml:"language"`

	// Texts is a folder of YAML files named by language, such as fr.yaml: further
	// languages, or other words for some of the built-in texts (en.yaml and
	// de.yaml; the keys are those of sisa/web/texts/en.yaml in the source). A
	// relative path starts at the folder of this file.
	Texts string `yaml:"texts"`

	// TimeZone is the zone of the times on the pages, such as Europe/Berlin.
	TimeZone string `yaml:"time_zone"`

	// Previews shows small versions of JPEG, PNG and GIF images on the page. They
	// are decoded on this host, which is work that strangers can cause, and what
	// an image shows can be seen before anyone decides to download it.
	Previews bool `yaml:"previews"`

	// Limits bounds the requests of a client. A client is an IPv4 address or an
	// IPv6 /64 network; one that asks for too much gets 429 and is told when to
	// come back.
	Limits Limits `yaml:"limits"`
}

// TLS is a certificate and its key.
type TLS = certificate.Files

// Limits is how many requests a minute are answered.
type Limits struct {
	// Requests is how many requests of one client are answered in a minute, all
	// kinds together; 0 sets no limit.
	Requests int `yaml:"requests"`

	// Misses is how many requests of one client in a minute may be for links that
	// do not exist. Then everything it asks for waits.
	Misses int `yaml:"misses"`

	// TotalMisses is the same for all clients together: when it is reached, whoever
	// has missed at all lately has to wait, and nobody else.
	TotalMisses int `yaml:"total_misses"`
}

// DefaultConfig gives everything but the URL, which nobody can guess.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8080",
		TrustedProxies: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.0/8"),
			netip.MustParsePrefix("::1/128"),
		},
		DownloadURLTTL: defaultDownloadURLTTL,
		Brand:          Brand{Links: []BrandLink{}},
		Language:       baseLanguage,
		TimeZone:       "UTC",
		Limits:         Limits{Requests: defaultRequests, Misses: defaultMisses, TotalMisses: defaultTotalMisses},
	}
}

// Resolve makes relative paths start at folder.
func (c Config) Resolve(folder string) Config {
	for _, p := range []*string{&c.TLS.CertFile, &c.TLS.KeyFile, &c.Texts, &c.Brand.Logo} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	return c
}

// Validate checks the section. Its error begins with the key that is wrong.
// The files it names are read by Open.
func (c Config) Validate() error {
	if err := validateListen(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if _, err := parseURL(c.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return errors.New("tls: cert_file and key_file belong together: give both, or none behind a proxy")
	}
	for _, p := range c.TrustedProxies {
		if !p.IsValid() {
			return errors.New("trusted_proxies: an entry is not a network such as 192.0.2.0/24")
		}
	}
	if c.DownloadURLTTL < minDownloadURLTTL || c.DownloadURLTTL > maxDownloadURLTTL {
		return errors.New("download_url_ttl: must be between 30s and 24h")
	}
	if err := c.Brand.validate(); err != nil {
		return fmt.Errorf("brand.%w", err)
	}
	if _, err := language.Parse(c.Language); err != nil {
		return fmt.Errorf("language: %q is not a language such as en or pt-BR", c.Language)
	}
	if _, err := time.LoadLocation(c.TimeZone); err != nil || c.TimeZone == "" {
		return fmt.Errorf("time_zone: %q is not known here; write a name such as UTC or Europe/Berlin", c.TimeZone)
	}
	if err := c.Limits.validate(); err != nil {
		return fmt.Errorf("limits.%w", err)
	}
	return nil
}

// CheckFiles reads the files that the section names, as Open does. Its error
// begins with the key of the file. It is for a Config that Validate accepts.
func (c Config) CheckFiles() error {
	if _, err := newFace(c); err != nil {
		return err
	}
	if _, err := loadCatalog(c.Texts, c.Language); err != nil {
		return err
	}
	if c.TLS.CertFile == "" {
		return nil
	}
	_, err := certificate.Open(c.TLS, "web", time.Now, slog.New(slog.DiscardHandler))
	return err
}

// Warnings says what works but is not safe, each beginning with its key.
// It is for a Config that Validate accepts.
func (c Config) Warnings() []string {
	u, err := parseURL(c.URL)
	if err != nil {
		return nil // Validate's business
	}
	var warnings []string
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		warnings = append(warnings, "url: with http anyone on the way can read links and files; set tls or put a proxy with TLS in front, and write https")
	}
	if u.Scheme == "http" && c.TLS.CertFile != "" {
		warnings = append(warnings, "url: begins with http, but tls is set: links in mails will not reach the HTTPS server")
	}
	if host, _, _ := net.SplitHostPort(c.Listen); c.TLS.CertFile == "" && !isLoopback(host) && onlyLoopback(c.TrustedProxies) {
		warnings = append(warnings, "trusted_proxies: listen is open to other hosts: name the proxy's network here, or all its visitors count as one client")
	}
	for _, p := range c.TrustedProxies {
		if p.Bits() == 0 {
			warnings = append(warnings, fmt.Sprintf("trusted_proxies: %s lets every client choose the address that is recorded for it", p))
		}
	}
	return warnings
}

func validateListen(listen string) error {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("write host:port, such as 127.0.0.1:8080: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port number", port)
	}
	return nil
}

// parseURL reads the public base URL; its path comes back without a final slash.
func parseURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("required: where recipients reach the web side, such as https://files.acmecorp.com")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("not a URL: %w", err)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("must begin with https:// (or http:// for trials)")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("has no host name")
	case u.User != nil:
		return nil, errors.New("must not hold a user name or password: it is written into every mail")
	case strings.ContainsAny(text, "?#"):
		return nil, errors.New("must not have a query or a fragment")
	}
	// The URL goes into mails as it is: only what no mail program breaks or escapes.
	if i := strings.IndexFunc(u.Host+u.EscapedPath(), func(r rune) bool { return !isURLPlain(r) }); i >= 0 {
		return nil, errors.New("host and path must be plain ASCII (write an international name in its xn-- form)")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if u.Path != "" && path.Clean(u.Path) != u.Path {
		return nil, errors.New("the path must not have empty, . or .. segments")
	}
	return u, nil
}

func isURLPlain(r rune) bool {
	return isAlphanumeric(r) || strings.ContainsRune("-._~/:[]", r)
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") // RFC 6761 section 6.3
}

func onlyLoopback(networks []netip.Prefix) bool {
	return !slices.ContainsFunc(networks, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() })
}

// PageURL is a link's address as it stands in a mail.
func PageURL(base, token string) string {
	return strings.TrimRight(base, "/") + "/d/" + token
}
