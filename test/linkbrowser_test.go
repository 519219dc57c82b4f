//go:build !race

package test

// Links that ask who comes, as a recipient meets them on a phone: a real browser,
// the built program and a real MTA.

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	devtools "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"cloakroom/internal/testserver"
)

const (
	phoneWidth  = 320 // CSS pixels of the narrowest phones (WCAG 2.2, 1.4.10)
	phoneHeight = 640
	browserTime = 90 * time.Second
)

// phone is a tab of a small screen.
type phone struct {
	t         *testing.T
	ctx       context.Context
	downloads string
}

func openPhone(t *testing.T) *phone {
	t.Helper()
	program, env, err := testserver.FindChromium()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU)
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
	p := &phone{t, ctx, t.TempDir()}
	p.do(chromedp.EmulateViewport(phoneWidth, phoneHeight))
	_, err = chromedp.CallBrowser(ctx, devtools.SetDownloadBehavior, devtools.SetDownloadBehaviorParams{
		Behavior: devtools.SetDownloadBehaviorBehaviorAllow, DownloadPath: p.downloads, EventsEnabled: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *phone) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// text is all that the page says.
func (p *phone) text() string {
	p.t.Helper()
	text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

// answer types into the one field of the page, and waits for what comes then.
func (p *phone) answer(text, then string) {
	p.t.Helper()
	p.do(chromedp.SendKeys(chromedp.CSS("#field"), text+kb.Enter), chromedp.WaitVisible(chromedp.CSS(then)))
}

// look takes a picture, in both colour schemes, and sees that nothing is cut off
// at the side. CLOAKROOM_SCREENSHOTS names a folder that keeps them.
func (p *phone) look(name string) {
	p.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		if err != nil {
			p.t.Fatal(err)
		}
		if dir := os.Getenv("CLOAKROOM_SCREENSHOTS"); dir != "" {
			content, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name+"-"+scheme+".png"), content, 0o600)
			}
			if err != nil {
				p.t.Fatal(err)
			}
		}
	}
	width, err := chromedp.Run(p.ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
	if err != nil || width > phoneWidth {
		p.t.Errorf("%s: %d pixels wide, %v", name, width, err)
	}
}

// fetched waits for a download, and gives its content.
func (p *phone) fetched(name string) []byte {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if content, err := os.ReadFile(filepath.Join(p.downloads, name)); err == nil {
			os.Remove(filepath.Join(p.downloads, name))
			return content
		}
	}
	p.t.Fatalf("no download %q", name)
	return nil
}

func (p *phone) want(texts ...string) {
	p.t.Helper()
	said := p.text()
	for _, text := range texts {
		if !bytes.Contains([]byte(said), []byte(text)) {
			p.t.Errorf("%q is not on the page:\n%s", text, said)
		}
	}
}

func TestAPhoneOpensLinksThatAskWhoComes(t *testing.T) {
	w := newAccessWorld(t)
	content := random(100_000, 5)
	codes, secret, once := w.link("codes", content, 1), w.link("secret", content, 2), w.link("once", content, 3)
	p := openPhone(t)
	take := func() {
		t.Helper()
		p.do(chromedp.Click(chromedp.CSS(".files button")))
		if got := p.fetched("plans.pdf"); !bytes.Equal(got, content) {
			t.Errorf("%d bytes, want the %d of the file", len(got), len(content))
		}
	}

	p.do(chromedp.Navigate(codes))
	p.want("Who are you?")
	p.look("address")
	p.answer("evil@ext.test", "input[name=code]")
	p.want("If evil@ext.test is one of the mail's recipients")
	p.answer("12345678", ".wrong")
	p.want("The code is wrong.")
	p.look("wrong-code")
	p.do(chromedp.Click(chromedp.CSS("a[href='?again']")), chromedp.WaitVisible(chromedp.CSS("input[name=address]")))
	p.answer(dave, "input[name=code]")
	p.do(chromedp.Navigate(codes)) // he went to his mail, and the tab was loaded again
	p.want("Enter the code")
	p.answer(w.code(dave, 4), ".files")
	p.want("plans.pdf")
	take()

	p.do(chromedp.Navigate(secret))
	p.answer("guess", ".wrong")
	p.want("The password is wrong.")
	p.look("wrong-password")
	p.answer(accessPassword, ".files")
	take()

	p.do(chromedp.Navigate(once))
	p.want("can be downloaded 1 more time")
	p.look("limited")
	take()
	p.do(chromedp.Navigate(once)) // the same visitor can fetch it again for a while
	p.want("you can still fetch it again")
	take()
	other := openPhone(t)
	other.do(chromedp.Navigate(once))
	other.want("downloaded as often as the link allows")
	other.look("used-up")
	if n, err := chromedp.Run(other.ctx, chromedp.Evaluate[int](`document.querySelectorAll('button').length`)); err != nil || n != 0 {
		t.Errorf("%d buttons for nothing, %v", n, err)
	}
}
