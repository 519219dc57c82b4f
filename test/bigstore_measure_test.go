package test

// What is measured over a store of many years.

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"cloakroom/internal/testserver"
)

// What "make bench-store" holds the program to.
const (
	startLimit    = 300 * time.Millisecond
	listLimit     = time.Second
	pageLimit     = 200 * time.Millisecond
	scrapeLimit   = 20 * time.Millisecond
	slowdownLimit = 0.15 // of mails a second, against an empty store
)

// meter notes what things took.
type meter struct {
	t     *testing.T
	long  bool // limits count, and things are done often enough
	lines []string
}

// often is how many times something is done.
func (m *meter) often(n int) int {
	if m.long {
		return n
	}
	return 1
}

// note writes down what something took: the first time, and half of the times.
// 0 is no limit.
func (m *meter) note(what string, limit time.Duration, took []time.Duration) {
	first := took[0]
	slices.Sort(took)
	middle := took[len(took)/2]
	m.lines = append(m.lines, fmt.Sprintf("%-60s first %7.1f ms, half under %7.1f ms", what, ms(first), ms(middle)))
	if m.long && limit > 0 && middle > limit {
		m.t.Errorf("%s takes %v, more than %v", what, middle.Round(time.Millisecond), limit)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

var readyAt = regexp.MustCompile(`time=(\S+) level=INFO msg=ready`)

// starts measures from the start of the process to "ready", by the log's times.
func (m *meter) starts(d *daemon) {
	var took []time.Duration
	for range m.often(5) {
		begin := time.Now()
		d.start()
		found := readyAt.FindStringSubmatch(d.running.Log())
		if found == nil {
			m.t.Fatalf("no ready in\n%s", d.running.Log())
		}
		at, err := time.Parse(time.RFC3339Nano, found[1])
		if err != nil {
			m.t.Fatal(err)
		}
		took = append(took, at.Sub(begin))
		d.stop()
	}
	m.note("start to ready", startLimit, took)
	d.start()
}

// commands measures what administrators type, from the start of the process to
// its end.
func (m *meter) commands(d *daemon, n storeSize) {
	rare, fileLimit := fmt.Sprint(n.links-777), 10*time.Second
	stdout, _, _ := d.run(nil, "links", "list", "--limit", "1")
	id := regexp.MustCompile(`(?m)^[0-9a-f]{8,}`).FindString(stdout)
	job := queued(m.t, d, "--limit", "1")[0].ID
	for _, c := range []struct {
		limit time.Duration
		line  string
	}{
		{listLimit, "version"},
		{listLimit, "links list"}, {listLimit, "links list --limit 1"}, {listLimit, "links list --sender user7@acmecorp.test"}, {listLimit, "links list --sender nobody@ext.test"},
		{listLimit, "links list --sender @ext7.test"}, {listLimit, "links list --sender @none.test"},
		{listLimit, "links list --recipient user22@acmecorp.test"}, {listLimit, "links list --recipient nobody@ext.test"},
		{listLimit, "links list --recipient @none.test"}, {listLimit, "links list --recipient @acmecorp.test"},
		{listLimit, "links list --file *.pdf"}, {listLimit, "links list --file report.pdf"}, {fileLimit, "links list --file *" + rare + ".*"},
		{listLimit, "links list --mail <" + rare + ".8a7f@mail.ext7.test>"}, {listLimit, "links list --mail 4XYZabc"},
		{listLimit, "links list --older 600d"}, {listLimit, "links list --newer 1h"},
		{listLimit, "links list --state active"}, {listLimit, "links list --state expired"}, {listLimit, "links list --state revoked"},
		{listLimit, "links show " + id}, {listLimit, "links downloads"}, {listLimit, "links downloads --sender user7@acmecorp.test"}, {listLimit, "links downloads " + id},
		{0, "store stats"},
		{listLimit, "queue list"}, {listLimit, "queue list --state failed"}, {listLimit, "queue list --target assets"}, {listLimit, "queue list --owner user7@acmecorp.test"},
		{listLimit, "queue list --error denied"}, {listLimit, "queue list --error nothing-like-it"}, {listLimit, "queue list --older 1d"},
		{listLimit, "queue list --file report --state waiting,failed,held"}, {listLimit, "queue list --file report"}, {listLimit, "queue list --file rare-name.xls"},
		{listLimit, "queue stats"}, {listLimit, "queue show " + job}, {listLimit, "audit"},
	} {
		var took []time.Duration
		for range m.often(3) {
			begin := time.Now()
			ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Minute)
			_, stderr, code := d.running.Run(ctx, nil, strings.Fields(c.line)...)
			cancel()
			took = append(took, time.Since(begin))
			if code != 0 {
				m.t.Fatalf("%s: exit code %d\n%s", c.line, code, stderr)
			}
		}
		m.note(c.line, c.limit, took)
	}
}

// pages measures the dashboard, from the request to the end of the answer.
func (m *meter) pages(web *adminClient, n storeSize) {
	web.do("GET", "/", nil) // checks the password, which is slow on purpose
	for _, path := range []string{"/", "/?span=30d", "/queue", "/queue?state=failed", "/queue?error=denied", "/queue?owner=user7@acmecorp.test", "/links",
		"/links?sender=user7@acmecorp.test", "/links?recipient=nobody@ext.test", "/links?state=expired", "/targets", "/store",
		"/trace?q=" + url.QueryEscape(fmt.Sprintf("<%d.8a7f@mail.ext7.test>", n.links-43)), "/audit", "/metrics", "/readyz"} {
		var took []time.Duration
		for range m.often(15) {
			begin := time.Now()
			status, body := web.do("GET", path, nil)
			took = append(took, time.Since(begin))
			if status != 200 {
				m.t.Fatalf("%s: %d\n%s", path, status, lastLines(body))
			}
		}
		limit := pageLimit
		switch {
		case path == "/metrics":
			limit = scrapeLimit
		case strings.Contains(path, "owner="): // reads an index of all jobs: one of its own would cost each copy
			limit = listLimit
		}
		m.note("GET "+path, limit, took)
	}
}

// paint measures when a browser has drawn something of the first page.
func (m *meter) paint(web *adminClient) {
	if !m.long {
		return
	}
	program, env, err := testserver.FindChromium()
	if err != nil {
		m.t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(m.t.TempDir()), chromedp.DisableGPU, chromedp.NoSandbox)
	if len(env) > 0 {
		options = append(options, chromedp.Env(env...))
	}
	ctx, cancel := chromedp.NewExecAllocator(m.t.Context(), options...)
	defer cancel()
	ctx, end := chromedp.NewContext(ctx)
	defer end()
	address := strings.Replace(web.base, "http://", "http://alice:"+url.PathEscape(alicePassword)+"@", 1)
	var took []time.Duration
	for range 5 {
		if err := chromedp.Do(ctx, chromedp.Navigate(address+"/")); err != nil {
			m.t.Fatal(err)
		}
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool](`performance.getEntriesByType('paint').some(e => e.name == 'first-contentful-paint')`)); err != nil {
			m.t.Fatal(err)
		}
		at, err := chromedp.Run(ctx, chromedp.Evaluate[float64](`performance.getEntriesByType('paint').find(e => e.name == 'first-contentful-paint').startTime`))
		if err != nil {
			m.t.Fatal(err)
		}
		took = append(took, time.Duration(at*float64(time.Millisecond)))
	}
	m.note("first paint of the dashboard", pageLimit, took)
}

// side is one of the two stores that mail is sent to in turns.
type side struct {
	d    *daemon
	p    *testserver.Postfix
	rate []float64 // mails a second
	cpu  []float64 // ms of the daemon for each mail
}

// throughput sends mail with a new file of 100 KB each to this store and to an
// empty one, in turns.
func (m *meter) throughput(d *daemon) {
	empty := newDaemon(m.t, "")
	empty.Config = fmt.Sprintf(storeConfig, empty.Folder)
	if err := os.MkdirAll(filepath.Join(empty.Folder, "vault"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	empty.start()
	large := &side{d: d, p: startPostfix(m.t, d.MilterAddr)}
	none := &side{d: empty, p: startPostfix(m.t, empty.MilterAddr)}
	for round := range m.often(7) {
		for _, s := range []*side{none, large} {
			s.send(m.t, m.often(300), round)
		}
	}
	for _, list := range [][]float64{large.rate, large.cpu, none.rate, none.cpu} {
		slices.Sort(list)
	}
	half := len(large.rate) / 2
	m.lines = append(m.lines, fmt.Sprintf("mails a second: empty %.0f, large %.0f; CPU of the daemon for each: empty %.1f ms, large %.1f ms",
		none.rate[half], large.rate[half], none.cpu[half], large.cpu[half]))
	if m.long && large.rate[half] < (1-slowdownLimit)*none.rate[half] {
		m.t.Errorf("the large store takes %.0f mails a second, an empty one %.0f", large.rate[half], none.rate[half])
	}
}

// send sends mails from four clients.
func (s *side) send(t *testing.T, n, round int) {
	t.Helper()
	before, begin := usageOf(t, s.d.process()), time.Now()
	var wait sync.WaitGroup
	const clients = 4
	for client := range clients {
		wait.Go(func() {
			for i := client; i < n; i += clients {
				content := random(100<<10, int64(round*1_000_000+i+1))
				msg := toCRLF(compose(dave, []string{bob}, fmt.Sprint("load", round), file{fmt.Sprintf("load %d.bin", i), "application/octet-stream", content}))
				if _, err := testserver.SendSMTP(t.Context(), s.p.SMTPAddr(), dave, []string{bob}, bytes.NewReader(msg)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	took, after := time.Since(begin), usageOf(t, s.d.process())
	s.rate = append(s.rate, float64(n)/took.Seconds())
	s.cpu = append(s.cpu, ms(after.cpu-before.cpu)/float64(n))
}

// stops measures from SIGTERM to the end, also while the store is counted in the
// background.
func (m *meter) stops(d *daemon) {
	var took []time.Duration
	for range m.often(2) {
		if m.long {
			time.Sleep(16 * time.Second)
		}
		begin := time.Now()
		d.stop()
		took = append(took, time.Since(begin))
		d.start()
	}
	m.note("SIGTERM to the end, without mail in flight", stopLimit, took)
	memory := usageOf(m.t, d.process()).memory
	m.lines = append(m.lines, fmt.Sprintf("memory of the daemon: %.0f MB", float64(memory)/(1<<20)))
	d.stop()
}
