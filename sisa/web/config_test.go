package web

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestConfigIsCheckedAndTheErrorNamesTheKey(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		key    string // "" for a good one
	}{
		{"defaults with a URL", func(*Config) {}, ""},
		{"path", func(c *Config) { c.URL = "https://www.acmecorp.test/files/in" }, ""},
		{"final slash", func(c *Config) { c.URL = "https://files.acmecorp.test/" }, ""},
		{"port and address", func(c *Config) { c.URL = "http://[::1]:8080" }, ""},
		{"listen everywhere", func(c *Config) { c.Listen = ":8080" }, ""},
		{"no URL", func(c *Config) { c.URL = "" }, "url"},
		{"no scheme", func(c *Config) { c.URL = "files.acmecorp.test" }, "url"},
		{"other scheme", func(c *Config) { c.URL = "ftp://files.acmecorp.test" }, "url"},
		{"no host", func(c *Config) { c.URL = "https:///files" }, "url"},
		{"port alone", func(c *Config) { c.URL = "https://:443" }, "url"},
		{"query", func(c *Config) { c.URL = "https://files.acmecorp.test/?a=b" }, "url"},
		{"empty query", func(c *Config) { c.URL = "https://files.acmecorp.test/?" }, "url"},
		{"fragment", func(c *Config) { c.URL = "https://files.acmecorp.test/#top" }, "url"},
		{"password", func(c *Config) { c.URL = "https://a:b@files.acmecorp.test/" }, "url"},
		{"dots", func(c *Config) { c.URL = "https://files.acmecorp.test/a/../b" }, "url"},
		{"double slash", func(c *Config) { c.URL = "https://files.acmecorp.test//b" }, "url"},
		{"not ASCII", func(c *Config) { c.URL = "https://dateien.käse.test" }, "url"},
		{"space", func(c *Config) { c.URL = "https://files.acmecorp.test/a%20b" }, "url"},
		{"no port", func(c *Config) { c.Listen = "127.0.0.1" }, "listen"},
		{"port too large", func(c *Config) { c.Listen = "127.0.0.1:70000" }, "listen"},
		{"zero network", func(c *Config) { c.TrustedProxies = []netip.Prefix{{}} }, "trusted_proxies"},
		{"TTL too short", func(c *Config) { c.DownloadURLTTL = time.Second }, "download_url_ttl"},
		{"TTL too long", func(c *Config) { c.DownloadURLTTL = 25 * time.Hour }, "download_url_ttl"},
	} {
		cfg := DefaultConfig()
		cfg.URL = "https://files.acmecorp.test"
		c.change(&cfg)
		err := cfg.Validate()
		if c.key == "" && err != nil || c.key != "" && (err == nil || !strings.HasPrefix(err.Error(), c.key+": ")) {
			t.Errorf("%s: %v, want key %q", c.name, err, c.key)
		}
	}
}

func TestPlainHTTPBeyondThisHostIsWarnedOf(t *testing.T) {
	for url, want := range map[string]int{
		"https://files.acmecorp.test": 0,
		"http://127.0.0.1:8080":       0,
		"http://[::1]:8080":           0,
		"http://localhost:8080":       0,
		"http://files.acmecorp.test":  1,
		"http://192.0.2.1":            1,
	} {
		cfg := DefaultConfig()
		cfg.URL = url
		if got := cfg.Warnings(); len(got) != want {
			t.Errorf("%s: %q", url, got)
		}
	}
	cfg := DefaultConfig()
	cfg.URL = "https://files.acmecorp.test"
	cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	if got := cfg.Warnings(); len(got) != 1 || !strings.HasPrefix(got[0], "trusted_proxies: ") {
		t.Errorf("trust in everyone: %q", got)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"open without a proxy's name": {func(c *Config) { c.Listen = ":8080" }, "trusted_proxies: "},
		"open with a proxy's name": {func(c *Config) {
			c.Listen, c.TrustedProxies = "0.0.0.0:8080", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}, ""},
		"open with TLS":           {func(c *Config) { c.Listen, c.TLS = ":443", TLS{CertFile: "cert.pem", KeyFile: "key.pem"} }, ""},
		"TLS, but links say http": {func(c *Config) { c.URL, c.TLS = "http://localhost", TLS{CertFile: "cert.pem", KeyFile: "key.pem"} }, "url: "},
	} {
		cfg := DefaultConfig()
		cfg.URL = "https://files.acmecorp.test"
		c.change(&cfg)
		got := cfg.Warnings()
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestPageURL(t *testing.T) {
	for base, want := range map[string]string{
		"https://files.acmecorp.test":    "https://files.acmecorp.test/d/TOKEN",
		"https://files.acmecorp.test/":   "https://files.acmecorp.test/d/TOKEN",
		"https://acmecorp.test/files":    "https://acmecorp.test/files/d/TOKEN",
		"https://acmecorp.test/files/x/": "https://acmecorp.test/files/x/d/TOKEN",
	} {
		if got := PageURL(base, "TOKEN"); got != want {
			t.Errorf("PageURL(%q) = %q, want %q", base, got, want)
		}
	}
}

func TestClientAddressComesFromTheLastHopWeDoNotTrust(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"direct", "198.51.100.7:4000", nil, "198.51.100.7"},
		{"direct with a claim", "198.51.100.7:4000", []string{"203.0.113.1"}, "198.51.100.7"},
		{"one proxy", "127.0.0.1:4000", []string{"198.51.100.7"}, "198.51.100.7"},
		{"one proxy and a forged start", "127.0.0.1:4000", []string{"203.0.113.1, 198.51.100.7"}, "198.51.100.7"},
		{"two proxies", "127.0.0.1:4000", []string{"198.51.100.7, 10.1.2.3"}, "198.51.100.7"},
		{"two header fields", "127.0.0.1:4000", []string{"203.0.113.1", "198.51.100.7,10.1.2.3"}, "198.51.100.7"},
		{"with port", "127.0.0.1:4000", []string{"198.51.100.7:1234"}, "198.51.100.7"},
		{"IPv6 with port", "[fd00::1]:4000", []string{"[2001:db8::1]:1234"}, "2001:db8::1"},
		{"IPv6 in brackets", "[fd00::1%eth0]:4000", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"mapped", "[::ffff:127.0.0.1]:4000", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"all trusted", "127.0.0.1:4000", []string{"10.0.0.9, 10.1.2.3"}, "10.0.0.9"},
		{"no header", "127.0.0.1:4000", nil, "127.0.0.1"},
		{"garbage", "127.0.0.1:4000", []string{"198.51.100.7, unknown"}, "127.0.0.1"},
		{"garbage before a proxy", "127.0.0.1:4000", []string{"<script>, 10.1.2.3"}, "10.1.2.3"},
		{"no address", "@", []string{"198.51.100.7"}, ""},
	} {
		if got := clientAddr(c.peer, c.forwarded, trusted); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestServerHasEveryTimeout(t *testing.T) {
	s := newStage(t)
	srv := s.server.Config
	if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= 0 || srv.WriteTimeout <= 0 || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes <= 0 || srv.ErrorLog == nil {
		t.Errorf("%+v", srv)
	}
	r := s.get(s.page(), "X-Large", strings.Repeat("x", 2*maxHeaderBytes))
	s.wantStatus(r, http.StatusRequestHeaderFieldsTooLarge)
}

func TestFilesThatTheSectionNamesAreChecked(t *testing.T) {
	good := DefaultConfig()
	good.URL = "https://files.acmecorp.test"
	if err := good.CheckFiles(); err != nil {
		t.Errorf("without files: %v", err)
	}
	for key, change := range map[string]func(*Config){
		"brand.logo: ":     func(c *Config) { c.Brand.Logo = "away.svg" },
		"texts: ":          func(c *Config) { c.Texts = "away" },
		"language: ":       func(c *Config) { c.Language = "ja" },
		"tls: cert_file: ": func(c *Config) { c.TLS = TLS{CertFile: "away.pem", KeyFile: "away.pem"} },
	} {
		cfg := good
		change(&cfg)
		cfg = cfg.Resolve(t.TempDir())
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: Validate reads files: %v", key, err)
		}
		if err := cfg.CheckFiles(); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%v, want %q", err, key)
		}
		if _, err := Open(cfg, Parts{Key: testKey}, time.Now, slog.Default()); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("Open: %v, want %q", err, key)
		}
	}
	for key, change := range map[string]func(*Config){
		"time_zone: ": func(c *Config) { c.TimeZone = "Europe/Atlantis" },
		"language: ":  func(c *Config) { c.Language = "no language" },
	} {
		cfg := good
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%v, want %q", err, key)
		}
	}
}
