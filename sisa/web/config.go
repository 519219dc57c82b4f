package web

// What an admin sets about the web side.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
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
	// Listen is the host:port where HTTP is served. TLS is the business of the
	// proxy in front (nginx, Caddy, HAProxy …).
	Listen string `yaml:"listen"`

	// URL is where recipients reach that proxy, such as https://files.acmecorp.com;
	// links in mails begin with it. It may have a path (https://www.acmecorp.com/files);
	// the proxy may pass that path on or take it away.
	URL string `yaml:"url"`

	// TrustedProxies lists the networks of the proxies in front: their
	// X-Forwarded-For header is believed when the address of a download is recorded.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`

	// DownloadURLTTL is how long the address that a press of the Download button
	// leads to can be used, also to resume. A download under way is not cut off
	// by it; later the link in the mail gives a new address.
	DownloadURLTTL time.Duration `yaml:"download_url_ttl"`
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
	}
}

// Validate checks the section. Its error begins with the key that is wrong.
func (c Config) Validate() error {
	if err := validateListen(c.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if _, err := parseURL(c.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	for _, p := range c.TrustedProxies {
		if !p.IsValid() {
			return errors.New("trusted_proxies: an entry is not a network such as 192.0.2.0/24")
		}
	}
	if c.DownloadURLTTL < minDownloadURLTTL || c.DownloadURLTTL > maxDownloadURLTTL {
		return errors.New("download_url_ttl: must be between 30s and 24h")
	}
	return nil
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
		warnings = append(warnings, "url: with http anyone on the way can read links and files; put a proxy with TLS in front and write https")
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

// PageURL is a link's address as it stands in a mail.
func PageURL(base, token string) string {
	return strings.TrimRight(base, "/") + "/d/" + token
}
