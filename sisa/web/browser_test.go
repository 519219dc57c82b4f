//go:build !race

package web

// The pages in a real browser (Chromium): what people see, press and get.

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	devtools "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"cloakroom/internal/testserver"
	"cloakroom/sisa"
)

const (
	browserTime  = 60 * time.Second // for everything one test does with it
	phoneWidth   = 320              // CSS pixels of the narrowest phones (WCAG 2.2, 1.4.10)
	desktopWidth = 800
	pageHeight   = 700
)

// findBrowser gives Chromium, and the environment it needs.
func findBrowser(t *testing.T) (program string, env []string) {
	t.Helper()
	program, env, err := testserver.FindChromium()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return program, env
}

// browser is one tab, and what it complained of.
type browser struct {
	t         *testing.T
	ctx       context.Context
	downloads string
	entries   func() []string // of the console: errors and violations of the policy
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	program, env := findBrowser(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU,
		chromedp.WindowSize(desktopWidth, pageHeight))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses root otherwise; it meets no page but ours
	}
	if len(env) > 0 {
		options = append(options, chromedp.Env(env...))
	}
	ctx, cancel := context.WithTimeout(context.Background(), browserTime)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, downloads: t.TempDir()}
	b.do(chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, log.Enable, cdp.Empty{})
		return err
	}))
	messages := &syncBuffer{}
	err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*log.EventEntryAdded); ok {
			messages.Write([]byte(string(e.Entry.Level) + ": " + e.Entry.Text + "\n"))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.entries = func() []string { return strings.FieldsFunc(messages.String(), func(r rune) bool { return r == '\n' }) }
	_, err = chromedp.CallBrowser(ctx, devtools.SetDownloadBehavior, devtools.SetDownloadBehaviorParams{
		Behavior: devtools.SetDownloadBehaviorBehaviorAllow, DownloadPath: b.downloads, EventsEnabled: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// call sends a command of the protocol to the tab.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// eval asks the page, as the developer tools do: its policy does not count.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (b *browser) open(address string, width int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, pageHeight), chromedp.Navigate(address))
}

func (b *browser) scheme(scheme string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
}

func (b *browser) language(accept string) {
	b.t.Helper()
	call(b, network.Enable, network.EnableParams{})
	call(b, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": accept}})
}

// picture takes a screenshot. CLOAKROOM_SCREENSHOTS names a folder that keeps it.
func (b *browser) picture(name string) image.Image {
	b.t.Helper()
	content, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if dir := os.Getenv("CLOAKROOM_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), content, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	img, err := png.Decode(bytes.NewReader(content))
	if err != nil {
		b.t.Fatal(err)
	}
	return img
}

// file waits for a download.
func (b *browser) file(name string) []byte {
	b.t.Helper()
	for range 200 {
		if content, err := os.ReadFile(filepath.Join(b.downloads, name)); err == nil {
			return content
		}
		time.Sleep(50 * time.Millisecond)
	}
	entries, _ := os.ReadDir(b.downloads)
	b.t.Fatalf("no download %q arrived, only %v", name, entries)
	return nil
}

// wantFits fails where the page is wider than the window.
func (b *browser) wantFits(what string) {
	b.t.Helper()
	if wide := eval[int](b, `document.scrollingElement.scrollWidth - innerWidth`); wide > 0 {
		b.t.Errorf("%s: the page is %d pixels wider than the window", what, wide)
	}
}

// lowContrast lists texts on the page whose colour is too near to what is behind
// them, as the browser computes it (WCAG 2.2, 1.4.3).
const lowContrast = `(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m };
  const lum = c => { const f = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    return .2126 * f(c[0]) + .7152 * f(c[1]) + .0722 * f(c[2]) };
  const bad = [];
  for (const e of document.body.querySelectorAll('*')) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue;
    let back = null;
    for (let p = e; p && !back; p = p.parentElement) {
      const c = parse(getComputedStyle(p).backgroundColor);
      if (c[3] == 1) back = c;
    }
    const a = lum(parse(getComputedStyle(e).color)), b = lum(back || [255, 255, 255]);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push(e.tagName + ' ' + e.textContent.trim().slice(0, 30) + ' ' + ratio.toFixed(2));
  }
  return bad;
})()`

func TestBrowserShowsThePage(t *testing.T) {
	t.Parallel()
	s := newStage(t, showcase)
	b := openBrowser(t)
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		for _, width := range []int64{desktopWidth, phoneWidth} {
			b.open(s.page(), width)
			if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](`[...document.images].every(i => i.complete)`)); err != nil {
				t.Fatal(err)
			}
			b.wantFits(scheme)
			if bad := eval[[]string](b, lowContrast); len(bad) > 0 {
				t.Errorf("%s: cannot be read well: %q", scheme, bad)
			}
			picture := b.picture("page-" + scheme + map[int64]string{desktopWidth: "", phoneWidth: "-phone"}[width])
			r, g, bl, _ := picture.At(2, 2).RGBA()
			if isDark := r+g+bl < 3*0x8000; isDark != (scheme == "dark") {
				t.Errorf("%s: the ground is %x %x %x", scheme, r>>8, g>>8, bl>>8)
			}
		}
	}
	if loaded := eval[bool](b, `document.images.length == 1 && document.images[0].naturalWidth == 216`); !loaded {
		t.Error("the preview is not shown")
	}
	if n := eval[int](b, `[...document.querySelectorAll('.icon svg')].filter(e => e.getBBox().width > 5).length`); n != 4 {
		t.Errorf("%d icons are drawn, want 4", n)
	}
	if small := eval[[]string](b, `[...document.querySelectorAll('button, summary, a')].filter(e => e.getBoundingClientRect().height < 24).map(e => e.textContent)`); len(small) > 0 {
		t.Errorf("too small to be touched (WCAG 2.2, 2.5.8): %q", small)
	}
	timing := eval[struct{ Duration, TransferSize, DecodedBodySize, Entries float64 }](b, `(() => { const n = performance.getEntriesByType('navigation')[0];
		return {Duration: n.duration, TransferSize: n.transferSize, DecodedBodySize: n.decodedBodySize, Entries: performance.getEntriesByType('resource').filter(e => !e.name.endsWith('/favicon.ico')).length} })()`)
	t.Logf("page of 4 files: %.0f ms until loaded, %.0f bytes, %.0f with its headers, %.0f more requests (the preview)",
		timing.Duration, timing.DecodedBodySize, timing.TransferSize, timing.Entries)
	if timing.Entries > 1 || timing.DecodedBodySize > 20_000 {
		t.Errorf("the page takes %.0f more requests and %.0f bytes", timing.Entries, timing.DecodedBodySize)
	}
	if got := b.entries(); len(got) > 0 {
		t.Errorf("the browser complains: %q", got)
	}
	if n := len(s.links.recorded()); n != 0 {
		t.Errorf("looking at the page counted %d downloads", n)
	}
}

func TestBrowserDownloadsByKeyboardWithoutScripts(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := openBrowser(t)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open(s.page(), desktopWidth)
	b.do(chromedp.KeyEvent(kb.Tab))
	outline := eval[string](b, `(() => { const s = getComputedStyle(document.activeElement); return document.activeElement.getAttribute('aria-label') + ' ' + s.outlineStyle + ' ' + s.outlineWidth })()`)
	if outline != "Download report.pdf solid 3px" {
		t.Errorf("the first Tab leads to %q", outline)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	if got := b.file("report.pdf"); !bytes.Equal(got, s.files[2]) {
		t.Errorf("%d bytes, want %d", len(got), len(s.files[2]))
	}
	b.do(chromedp.Click(chromedp.CSS(".all button")))
	content := b.file("Plans for the new building.zip")
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil || len(archive.File) != 2 {
		t.Errorf("the archive: %v", err)
	}
	b.do(chromedp.Click(chromedp.CSS("li:nth-child(2) button")))
	if got := b.file("Übersicht 2026.txt"); string(got) != "0123456789" {
		t.Errorf("got %q", got)
	}
	var parts []int
	for _, d := range s.links.recorded() {
		parts = append(parts, d.Part)
	}
	if len(parts) != 3 || parts[0] != 2 || parts[1] != AllParts || parts[2] != 5 {
		t.Errorf("recorded %v", parts)
	}
	if at := eval[string](b, `location.pathname`); at != "/d/"+s.token {
		t.Errorf("the page was left for %s", at)
	}
}

func TestScreenReadersHearWhatThePageShows(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	b := openBrowser(t)
	b.open(s.page(), desktopWidth)
	tree := call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	heard := map[string][]string{}
	text := func(v *accessibility.Value) string {
		var s string
		if v != nil {
			json.Unmarshal(v.Value, &s) // other types are not names
		}
		return s
	}
	for _, n := range tree.Nodes {
		if !n.Ignored {
			role := text(n.Role)
			heard[role] = append(heard[role], text(n.Name))
		}
	}
	for role, want := range map[string]string{
		"button":             "Download all as ZIP (2.5 MB)|Download report.pdf|Download Übersicht 2026.txt",
		"heading":            "2 files from bob@acmecorp.test|report.pdf|Übersicht 2026.txt",
		"DisclosureTriangle": "Checksum of report.pdf|Checksum of Übersicht 2026.txt",
		"main":               "",
		"list":               "",
	} {
		slices.Sort(heard[role]) // the tree's nodes come in no order
		if got, ok := heard[role]; !ok || strings.Join(got, "|") != want {
			t.Errorf("%s: %q, want %q", role, got, want)
		}
	}
	if len(heard["image"])+len(heard["SvgRoot"]) > 0 {
		t.Errorf("decoration is announced: %q %q", heard["image"], heard["SvgRoot"])
	}
}

func TestBrowserShowsOtherLanguagesBrandAndNotes(t *testing.T) {
	t.Parallel()
	logo := filepath.Join(t.TempDir(), "logo.svg")
	const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48"><style>circle{fill:#7b1fa2}</style><circle cx="24" cy="24" r="22"/></svg>`
	if err := os.WriteFile(logo, []byte(drawing), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := folderOf(t, map[string]string{"he.yaml": "direction: rtl\nfiles: {other: '{n} קבצים'}\nfiles_from: '{files} מאת {sender}'\ndownload: הורדה\ndownload_file: הורדה {name}\n"})
	expired := sisa.Token(testKey, [32]byte{9}, 0)
	s := newStage(t, showcase, trouble, func(s *stage, cfg *Config) {
		s.links.errs[expired] = sisa.ErrExpired
		cfg.Texts = folder
		cfg.Brand = Brand{Name: "ACME Corp", Logo: logo, Accent: "#7b1fa2", Imprint: "ACME Corp., Street 1, Berlin", Links: []BrandLink{{"Privacy", "https://acmecorp.test/privacy"}}}
	})
	b := openBrowser(t)
	b.scheme("light")
	for _, c := range []struct{ name, language, address string }{
		{"german", "de", s.page()}, {"hebrew", "he", s.page()},
		{"expired", "en", s.server.URL + "/d/" + expired}, {"revoked", "en", s.forged(1)}, {"revoked-german", "de", s.forged(1)},
	} {
		b.language(c.language)
		b.open(c.address, phoneWidth)
		b.wantFits(c.name)
		if bad := eval[[]string](b, lowContrast); len(bad) > 0 {
			t.Errorf("%s: cannot be read well: %q", c.name, bad)
		}
		b.picture(c.name)
		if got := eval[string](b, `document.documentElement.lang`); got != c.language {
			t.Errorf("%s: language %q", c.name, got)
		}
		if seen := eval[bool](b, `document.querySelector('.brand img').naturalWidth > 0 && document.querySelector('footer').textContent.includes('Street 1')`); !seen {
			t.Errorf("%s: logo or imprint is missing", c.name)
		}
	}
	b.language("he")
	b.open(s.page(), desktopWidth)
	if mirrored := eval[bool](b, `document.querySelector('.icon').getBoundingClientRect().left > document.querySelector('.files button').getBoundingClientRect().left`); !mirrored {
		t.Error("the page is not mirrored for a language from right to left")
	}
	for _, entry := range b.entries() { // 404 and 410 are what they should be
		if !strings.Contains(entry, "404") && !strings.Contains(entry, "410") {
			t.Errorf("the browser complains: %q", entry)
		}
	}
}

// signInBrowser goes through the questions as a recipient does, by keyboard.
func (s *stage) signInBrowser(b *browser, g *mailbox) {
	b.t.Helper()
	b.open(s.page(), phoneWidth)
	b.wantFits("address")
	b.picture("ask-address-phone")
	b.do(chromedp.SendKeys(chromedp.CSS("#field"), "dave@ext.test"+kb.Enter), chromedp.WaitVisible(chromedp.CSS("input[name=code]")))
	b.wantFits("code")
	if bad := eval[[]string](b, lowContrast); len(bad) > 0 {
		b.t.Errorf("cannot be read well: %q", bad)
	}
	b.picture("ask-code-phone")
	code := eightDigits.FindString(g.mails(b.t, 1)[0].text)
	b.do(chromedp.SendKeys(chromedp.CSS("#field"), code+kb.Enter), chromedp.WaitVisible(chromedp.CSS(".files")))
	b.open(s.page(), phoneWidth) // the cookie holds
	b.do(chromedp.Click(chromedp.CSS("li:nth-child(2) button")))
	if got := b.file("Übersicht 2026.txt"); string(got) != "0123456789" {
		b.t.Errorf("got %q", got)
	}
}

func TestBrowserIsAskedForACodeAndLetIn(t *testing.T) {
	t.Parallel()
	s, g := forRecipients(t)
	b := openBrowser(t)
	s.signInBrowser(b, g)
	if got := b.entries(); len(got) > 0 {
		t.Errorf("the browser complains: %q", got)
	}
}
