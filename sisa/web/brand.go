package web

// The face of the pages: name, logo, colours and imprint of whoever runs them.

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	_ "embed"
)

//go:embed templates/style.css
var style string

const (
	maxLogoBytes  = 256 << 10 // bytes; a logo of more would be slower than the page
	maxBrandBytes = 2000      // bytes of each text; more is no imprint but a page
	maxLinks      = 10

	// logoAge is how long browsers keep the logo; its address changes with it.
	logoAge = 30 * 24 * time.Hour
	// strongShare is how far the accent moves towards black or white under the pointer.
	strongShare = 0.3

	// logoPolicy lets an SVG have its styles and nothing else, also where it is
	// opened by itself.
	logoPolicy = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
)

// The grounds that the accent stands on, as in style.css (a test compares).
var (
	lightGrounds = []rgb{mustColor("#f3f4f6"), mustColor("#ffffff")}
	darkGrounds  = []rgb{mustColor("#101418"), mustColor("#1a2027")}
	darkText     = mustColor("#0d1a28")
	lightTint    = mustColor("#e4edf7")
	darkTint     = mustColor("#24344a")
)

func mustColor(text string) rgb {
	c, err := parseColor(text)
	if err != nil {
		panic(err)
	}
	return c
}

// Brand is what makes the pages yours.
type Brand struct {
	// Name stands at the top of each page, such as ACME Corp.
	Name string `yaml:"name"`

	// Logo is a file with a picture that stands before the name: SVG, PNG, JPEG,
	// GIF or WebP, shown 40 pixels high, at most 256KB. A relative path starts at
	// the folder of this file.
	Logo string `yaml:"logo"`

	// Accent is the colour of buttons, as #rrggbb. It must be dark enough for
	// white text (WCAG AA).
	Accent string `yaml:"accent"`

	// AccentDark is the same in dark mode, where it must be light. Default: made
	// from `accent`.
	AccentDark string `yaml:"accent_dark"`

	// Imprint stands at the bottom of each page, such as the company's name and
	// address; lines are kept.
	Imprint string `yaml:"imprint"`

	// Links stand below it, such as to a legal notice and a privacy policy.
	Links []BrandLink `yaml:"links"`
}

// BrandLink is one link in the foot of the pages.
type BrandLink struct {
	// Text is what the link says.
	Text string `yaml:"text"`

	// URL is where it leads: https:// or mailto:.
	URL string `yaml:"url"`
}

func (b Brand) validate() error {
	for _, t := range []struct{ key, text string }{{"name", b.Name}, {"imprint", b.Imprint}} {
		if len(t.text) > maxBrandBytes || !utf8.ValidString(t.text) {
			return fmt.Errorf("%s: must be UTF-8 and at most %d bytes", t.key, maxBrandBytes)
		}
	}
	if b.Logo != "" && logoTypes[strings.ToLower(filepath.Ext(b.Logo))] == "" {
		return errors.New("logo: must be a file named .svg, .png, .jpg, .jpeg, .gif or .webp")
	}
	if _, _, err := b.accents(); err != nil {
		return err
	}
	if len(b.Links) > maxLinks {
		return fmt.Errorf("links: at most %d", maxLinks)
	}
	for i, l := range b.Links {
		if strings.TrimSpace(l.Text) == "" || len(l.Text) > maxBrandBytes {
			return fmt.Errorf("links[%d].text: required, at most %d bytes", i, maxBrandBytes)
		}
		u, err := url.Parse(l.URL)
		if err != nil || u.Scheme != "mailto" && (u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			return fmt.Errorf("links[%d].url: must begin with mailto: or https://", i)
		}
	}
	return nil
}

// accents gives the colours of buttons in light and dark mode; "" for ours.
func (b Brand) accents() (light, dark string, err error) {
	if b.Accent != "" {
		c, err := parseColor(b.Accent)
		if err != nil {
			return "", "", fmt.Errorf("accent: %w", err)
		}
		if near := readable(c, black, lightGrounds...); near != c {
			return "", "", fmt.Errorf("accent: %s is too light to be read on the page; the nearest that can be is %s", c, near)
		}
		light, dark = c.String(), readable(c, white, darkGrounds...).String()
	}
	if b.AccentDark != "" {
		c, err := parseColor(b.AccentDark)
		if err != nil {
			return "", "", fmt.Errorf("accent_dark: %w", err)
		}
		if near := readable(c, white, darkGrounds...); near != c {
			return "", "", fmt.Errorf("accent_dark: %s is too dark to be read on the page in dark mode; the nearest that can be is %s", c, near)
		}
		dark = c.String()
	}
	return light, dark, nil
}

// face is a Brand made ready: what all pages of a Site have in common.
type face struct {
	Name    string
	Imprint []string // lines
	Links   []BrandLink
	Host    string
	Prefix  string // path of the public URL
	Style   template.CSS
	Logo    string // its path below Prefix; "" for none
	logo    []byte
	logoAs  string // media type
	policy  string // Content-Security-Policy
}

// newFace reads the logo and makes style sheet and policy.
func newFace(cfg Config) (*face, error) {
	base, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	f := &face{Name: cfg.Brand.Name, Links: cfg.Brand.Links, Host: base.Host, Prefix: base.Path}
	for line := range strings.Lines(strings.TrimSpace(cfg.Brand.Imprint)) {
		f.Imprint = append(f.Imprint, strings.TrimSpace(line))
	}
	if cfg.Brand.Logo != "" {
		if err := f.readLogo(cfg.Brand.Logo); err != nil {
			return nil, fmt.Errorf("brand.logo: %w", err)
		}
	}
	sheet, err := styleOf(cfg.Brand)
	if err != nil {
		return nil, fmt.Errorf("brand.%w", err)
	}
	f.Style = template.CSS(sheet)
	f.policy = policyOf(sheet, f.Logo != "" || cfg.Previews)
	return f, nil
}

var logoTypes = map[string]string{
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
	".gif": "image/gif", ".webp": "image/webp",
}

func (f *face) readLogo(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.Size() > maxLogoBytes {
		return fmt.Errorf("%s has %d bytes, more than %d", file, info.Size(), maxLogoBytes)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	ext := strings.ToLower(filepath.Ext(file))
	f.logoAs = logoTypes[ext]
	if sniffed := http.DetectContentType(content); ext != ".svg" && sniffed != f.logoAs {
		return fmt.Errorf("%s holds %s, not %s", file, sniffed, f.logoAs)
	}
	sum := sha256.Sum256(content)
	f.logo, f.Logo = content, "s/"+hex.EncodeToString(sum[:8])+ext
	return nil
}

// styleOf gives the style sheet with the brand's colours.
func styleOf(b Brand) (string, error) {
	light, dark, err := b.accents()
	if err != nil {
		return "", err
	}
	sheet := style
	if light != "" {
		c := mustColor(light)
		sheet += fmt.Sprintf(":root { --accent: %s; --accent-strong: %s; }\n", c, readable(c.mix(black, strongShare), black, lightTint))
	}
	if dark != "" {
		c := mustColor(dark)
		sheet += fmt.Sprintf("@media screen and (prefers-color-scheme: dark) { :root { --accent: %s; --accent-strong: %s; --on-accent: %s; } }\n",
			c, readable(c.mix(white, strongShare), white, darkTint), darkText)
	}
	return sheet, nil
}

// policyOf is the Content-Security-Policy that allows a page its style sheet, its
// forms and where needed images of ours, and any other answer nothing it could
// use. form-action also governs where a form's redirect leads to: it is relative,
// so 'self' holds.
func policyOf(sheet string, images bool) string {
	sum := sha256.Sum256([]byte(sheet))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	if images {
		policy += "; img-src 'self'"
	}
	return policy
}

// serveLogo answers with the logo. It is nobody's secret: caches may keep it.
func (s *Site) serveLogo(x *exchange) {
	x.Header().Set("Content-Security-Policy", logoPolicy)
	x.Header().Set("Cache-Control", "public, immutable, max-age="+strconv.Itoa(int(logoAge.Seconds())))
	x.body(http.StatusOK, s.face.logoAs, s.face.logo)
}
