package web

import (
	"bytes"
	"image"
	"image/png"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sheetColors reads the custom properties that a style sheet ends up with, in
// light and in dark mode.
func sheetColors(t *testing.T, sheet string) (light, dark map[string]rgb) {
	t.Helper()
	light, dark = map[string]rgb{}, map[string]rgb{}
	property := regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)
	blocks := regexp.MustCompile(`(?s)(@media screen and \(prefers-color-scheme: dark\) \{\s*)?:root \{(.*?)\}`).FindAllStringSubmatch(sheet, -1)
	for _, block := range blocks {
		for _, m := range property.FindAllStringSubmatch(block[2], -1) {
			c, err := parseColor(m[2])
			if err != nil {
				t.Fatal(err)
			}
			if block[1] == "" {
				light[m[1]] = c
				if len(blocks) < 2 {
					continue
				}
			}
			if _, set := dark[m[1]]; block[1] != "" || !set {
				dark[m[1]] = c
			}
		}
	}
	return light, dark
}

// pairs are what stands on what on the pages, and the contrast that WCAG 2.2 AA
// asks for: 4.5 for text (1.4.3), 3 for the outlines of controls (1.4.11).
var pairs = []struct {
	front, back string
	least       float64
}{
	{"text", "ground", 4.5}, {"text", "card", 4.5},
	{"quiet", "ground", 4.5}, {"quiet", "card", 4.5},
	{"wrong", "card", 4.5},
	{"on-accent", "accent", 4.5}, {"on-accent", "accent-strong", 4.5},
	{"accent", "ground", 4.5}, {"accent", "card", 4.5},
	{"accent-strong", "tint", 4.5},
	{"quiet", "ground", 3},
}

func TestColorsCanBeReadInLightAndDarkWhateverTheAccent(t *testing.T) {
	for _, brand := range []Brand{{}, {Accent: "#b00020"}, {Accent: "#000000"}, {Accent: "#5b2a86", AccentDark: "#ffffff"}, {AccentDark: "#7fe0a0"}, {Accent: "#00695c"}} {
		sheet, err := styleOf(brand)
		if err != nil {
			t.Errorf("%+v: %v", brand, err)
			continue
		}
		light, dark := sheetColors(t, sheet)
		for mode, colors := range map[string]map[string]rgb{"light": light, "dark": dark} {
			for _, p := range pairs {
				front, ok1 := colors[p.front]
				back, ok2 := colors[p.back]
				if !ok1 || !ok2 {
					t.Fatalf("%s: the style sheet lacks --%s or --%s", mode, p.front, p.back)
				}
				if got := contrast(front, back); got < p.least {
					t.Errorf("%+v, %s: %s on %s has contrast %.2f, want %.1f", brand, mode, p.front, p.back, got, p.least)
				}
			}
		}
		if brand.Accent != "" && light["accent"] != mustColor(brand.Accent) {
			t.Errorf("the accent is %s, not %s", light["accent"], brand.Accent)
		}
	}
}

func TestGroundsAreThoseOfTheStyleSheet(t *testing.T) {
	light, dark := sheetColors(t, style)
	for name, pair := range map[string][2]rgb{
		"light ground": {light["ground"], lightGrounds[0]}, "light card": {light["card"], lightGrounds[1]}, "light tint": {light["tint"], lightTint},
		"dark ground": {dark["ground"], darkGrounds[0]}, "dark card": {dark["card"], darkGrounds[1]}, "dark tint": {dark["tint"], darkTint},
		"dark text": {dark["on-accent"], darkText},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %s in the style sheet, %s in brand.go", name, pair[0], pair[1])
		}
	}
}

func TestContrastIsThatOfWCAG(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want float64
	}{{"#000000", "#ffffff", 21}, {"#ffffff", "#ffffff", 1}, {"#767676", "#ffffff", 4.54}, {"#0000ff", "#ffffff", 8.59}} {
		if got := contrast(mustColor(c.a), mustColor(c.b)); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%s on %s: %.3f, want %.2f", c.a, c.b, got, c.want)
		}
	}
}

func TestBrandIsCheckedAndTheErrorNamesTheKey(t *testing.T) {
	for name, c := range map[string]struct {
		brand Brand
		want  string
	}{
		"all":            {Brand{Name: "ACME", Logo: "a.svg", Accent: "#0b5cad", Imprint: "x\ny", Links: []BrandLink{{"Imprint", "https://acmecorp.test/"}, {"Mail", "mailto:a@acmecorp.test"}}}, ""},
		"logo type":      {Brand{Logo: "a.bmp"}, "brand.logo: "},
		"colour":         {Brand{Accent: "red"}, "brand.accent: "},
		"too light":      {Brand{Accent: "#ffdd00"}, "brand.accent: #ffdd00 is too light to be read on the page; the nearest that can be is #"},
		"too dark":       {Brand{AccentDark: "#000080"}, "brand.accent_dark: #000080 is too dark"},
		"script":         {Brand{Links: []BrandLink{{"x", "javascript:alert(1)"}}}, "brand.links[0].url: "},
		"no scheme":      {Brand{Links: []BrandLink{{"x", "acmecorp.test"}}}, "brand.links[0].url: "},
		"link says none": {Brand{Links: []BrandLink{{" ", "https://acmecorp.test"}}}, "brand.links[0].text: "},
		"long":           {Brand{Imprint: strings.Repeat("x", maxBrandBytes+1)}, "brand.imprint: "},
		"many":           {Brand{Links: make([]BrandLink, maxLinks+1)}, "brand.links: "},
	} {
		cfg := DefaultConfig()
		cfg.URL, cfg.Brand = "https://files.acmecorp.test", c.brand
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestBrandIsOnEveryPage(t *testing.T) {
	var logo bytes.Buffer
	if err := png.Encode(&logo, image.NewGray(image.Rect(0, 0, 4, 4))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "logo.PNG")
	if err := os.WriteFile(file, logo.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(_ *stage, cfg *Config) {
		cfg.Brand = Brand{Name: "ACME <Corp>", Logo: file, Accent: "#b00020", Imprint: "ACME Corp.\nStreet 1", Links: []BrandLink{{"Privacy", "https://acmecorp.test/privacy"}}}
	})
	for _, address := range []string{s.page(), s.server.URL + "/", s.server.URL + "/d/none"} {
		r := s.get(address)
		s.wantText(r, "ACME &lt;Corp&gt;", "<p>ACME Corp.<br>Street 1</p>", `<a href="https://acmecorp.test/privacy">Privacy</a>`, "--accent: #b00020;")
	}
	r := s.get(s.page())
	if csp := r.Header.Get("Content-Security-Policy"); !strings.HasSuffix(csp, "; img-src 'self'") {
		t.Errorf("policy %q", csp)
	}
	m := regexp.MustCompile(`<img src="(/s/[0-9a-f]{16}\.png)" alt="">`).FindSubmatch(r.body)
	if m == nil {
		t.Fatalf("no logo:\n%s", r.body)
	}
	got := s.get(s.server.URL + string(m[1]))
	s.wantStatus(got, http.StatusOK)
	if !bytes.Equal(got.body, logo.Bytes()) || got.Header.Get("Content-Type") != "image/png" || !strings.Contains(got.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%d bytes, headers %v", len(got.body), got.Header)
	}
	s.wantStatus(s.get(s.server.URL+"/s/0000000000000000.png"), http.StatusNotFound)
	s.wantStatus(s.do("POST", s.server.URL+string(m[1])), http.StatusMethodNotAllowed)
}

func TestLogoThatIsNoneOrMissingIsAnErrorAtStart(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{"text.png": []byte("hello"), "large.png": make([]byte, maxLogoBytes+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"text.png", "large.png", "missing.png"} {
		cfg := DefaultConfig()
		cfg.URL, cfg.Brand.Logo = "https://files.acmecorp.test", name
		if _, err := newFace(cfg.Resolve(dir)); err == nil || !strings.HasPrefix(err.Error(), "brand.logo: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
