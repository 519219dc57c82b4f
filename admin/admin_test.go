package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/jobs"
	"cloakroom/ledger/audit"
	"cloakroom/sisa"
)

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadinessTellsWhatIsNotReady(t *testing.T) {
	var broken error
	attention := ""
	hang := false
	s := newStage(t, func(c *Config, p *Parts) {
		c.QueueAge = time.Hour
		p.Checks = append(p.Checks, Check{"store", func(ctx context.Context) (string, error) {
			if hang {
				<-ctx.Done()
				time.Sleep(50 * time.Millisecond)
			}
			return attention, broken
		}})
	})
	fresh := func() { s.server.watch.mu.Lock(); s.server.watch.checks.at = time.Time{}; s.server.watch.mu.Unlock() }
	ask := func(path string, status int, texts ...string) {
		t.Helper()
		fresh()
		got, body := s.get(path)
		if got != status {
			t.Errorf("%s: %d, want %d\n%s", path, got, status, body)
		}
		for _, text := range texts {
			if !strings.Contains(body, text) {
				t.Errorf("%s: %q is missing in\n%s", path, text, body)
			}
		}
	}
	ask("/healthz", 200, "ok")
	ask("/readyz", 200, "ready\n", "ok         database", "ok         store", "ok         targets")
	attention = "only 3 MB free"
	ask("/readyz", 200, "somebody should look", "attention  store: only 3 MB free")
	ask("/readyz?strict", 503, "attention  store")
	broken = errors.New("no space left on device")
	ask("/readyz", 503, "not ready\n", "not ready  store: no space left on device")
	broken, attention = nil, ""

	key, _ := s.mail(1, "x")
	s.fail(s.upload(key, 1, "assets"), "permission denied", 3*time.Hour)
	if err := s.jobs.HoldTarget(t.Context(), "vault", "backup"); err != nil {
		t.Fatal(err)
	}
	s.server.watch.lookAtQueue(t.Context())
	ask("/readyz", 200, "attention  queue: the oldest job is 3 h old, and 1 job has failed for good", "attention  targets: target backup is held")
	fresh()
	_, body, _ := s.request("GET", "/readyz", func(r *http.Request) { r.Header.Set("Accept", "application/json") })
	if !strings.Contains(body, `"ready":true`) || !strings.Contains(body, `"check":"targets"`) {
		t.Errorf("as JSON: %s", body)
	}
	hang = true
	begin := time.Now()
	ask("/readyz", 503, "not ready  store: did not answer within 3s")
	if took := time.Since(begin); took > checkTimeout+2*time.Second {
		t.Errorf("a check that hangs held the answer for %v", took)
	}
}

// What the meters have reaches the hours once, whatever fails in between.
func TestWhatIsCountedIsWrittenDownOnce(t *testing.T) {
	s := newStage(t)
	event := flow.Event{Verdict: flow.Linked, Body: 1000, Linked: 2, Taken: 900, Stored: 300, Uploads: 1, Onward: 1, Copies: 1,
		Receive: 3 * time.Millisecond, Decide: time.Millisecond, Store: 20 * time.Millisecond, Total: 24 * time.Millisecond}
	for range 10 {
		s.meters.Message(event)
	}
	s.meters.Message(flow.Event{Verdict: flow.Deferred, Trouble: flow.TroubleStore, Total: time.Second})
	s.meters.Message(flow.Event{Recipient: true})
	check := func(when string) {
		t.Helper()
		_, body := s.get("/")
		for _, text := range []string{`<div class="value">11</div>`, "20 attachments linked", "8.8 KB", "2.9 KB new to the store", "67 % of it", "1</div><div class=\"more\">messages deferred"} {
			if !strings.Contains(body, text) {
				t.Errorf("%s: the overview does not say %q", when, text)
			}
		}
	}
	check("before it is written down")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.server.watch.flush(canceled); err == nil {
		t.Error("a canceled flush succeeded")
	}
	check("after a flush that failed")
	for range 2 {
		if err := s.server.watch.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check("after two flushes")
	if p50 := quantile(map[string]int64{latencyName(4): 10, latencyName(9): 1}, 0.5); p50 <= 0.01 || p50 > 0.025 {
		t.Errorf("half of ten between 10 and 25 ms took %v s", p50)
	}
}

func TestPagesShowWhatIsThere(t *testing.T) {
	s := newStage(t, withPassword(t))
	key, token := s.mail(7, "Plans <script>alert(1)</script> \u202egnp")
	waiting := s.upload(key, 7, "assets")
	failed := s.upload(key, 7, "backup")
	s.fail(failed, "mkdir alice: permission denied", 30*time.Hour)
	copied := s.copies(key)
	id := sisa.TokenID(token)
	if err := s.links.Downloaded(t.Context(), sisa.Download{LinkID: id, Part: 2, Client: "198.51.100.9", Agent: "curl/8", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	s.look()
	mail := []string{"4X000007", "alice@acmecorp.test", "bob@ext.test", "large files become links", "contracts stay in the mail", "plans for the new building.pdf",
		id[:8], "198.51.100.9", "curl/8", "alice/2026/11/plans 7.pdf", "permission denied", "mail to carol@gapps.acmecorp.test"}
	for path, texts := range map[string][]string{
		"/":                       {"Saved by storing once", "<svg", "oldest 30 h", "1 failed"},
		"/queue":                  {tail(waiting), tail(failed), tail(copied), "permission denied", "Delete"},
		"/queue?state=failed":     {tail(failed)},
		"/queue?error=PERMISSION": {tail(failed)},
		"/queue?state=done":       {"No job matches"},
		"/queue/" + failed:        {"permission denied", "4X000007", "alice/2026/11/plans 7.pdf"},
		"/targets":                {"target assets", "target backup", "sending copies", "vault.acmecorp.test"},
		"/links":                  {id[:8], "alice@acmecorp.test", "active"},
		"/links?sender=alice@acmecorp.test&file=plans&state=active": {id[:8]},
		"/links?recipient=@ext.test":                                {id[:8]},
		"/links?sender=nobody@acmecorp.test":                        {"No link matches"},
		"/links/" + id:                                              append(mail, "Revoke"),
		"/links/" + id[:8]:                                          mail,
		"/trace?q=4X000007":                                         mail,
		"/trace?q=" + url.QueryEscape("<7@acmecorp.test>"):          mail,
		"/trace?q=7@acmecorp.test":                                  mail,
		"/trace?q=" + key.String():                                  mail,
		"/trace?q=" + id:                                            mail,
		"/trace?q=" + url.QueryEscape("https://files.acmecorp.test/d/"+token): mail,
		"/trace?q=nothing": {"There is no record"},
		"/store":           {"Free on the disk", "300.0 GB", "1</div><div class=\"more\">of 1 mails"},
		"/audit":           {"Nothing was changed yet"},
	} {
		status, body := s.get(path)
		if status != 200 {
			t.Errorf("%s: %d\n%s", path, status, body)
			continue
		}
		for _, text := range texts {
			if !strings.Contains(body, text) {
				t.Errorf("%s does not show %q", path, text)
			}
		}
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "\u202e") {
			t.Errorf("%s shows a subject as it came", path)
		}
		if strings.Contains(body, token) {
			t.Errorf("%s shows the token of a link", path)
		}
	}
	for path, want := range map[string]int{"/queue/nothing": 404, "/links/00000000": 404, "/links/xyz": 404, "/queue?state=x": 400, "/links?state=x": 400, "/links?since=x": 400, "/nothing": 404, "/static/x": 404} {
		if status, _ := s.get(path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}

func TestTheQueueIsShownPageByPage(t *testing.T) {
	s := newStage(t)
	key, _ := s.mail(1, "x")
	want := map[string]bool{}
	for n := range 120 {
		want[tail(s.upload(key, n, "assets"))] = true
	}
	next := "/queue"
	pages := 0
	for next != "" {
		_, body := s.get(next)
		for _, m := range regexp.MustCompile(`<code>([0-9a-f]{8})</code></a></td>`).FindAllStringSubmatch(body, -1) {
			if !want[m[1]] {
				t.Errorf("job %s is shown twice, or was never made", m[1])
			}
			delete(want, m[1])
		}
		next = ""
		if m := regexp.MustCompile(`href="([^"]+)">Next page`).FindStringSubmatch(body); m != nil {
			next = strings.ReplaceAll(m[1], "&amp;", "&")
		}
		pages++
	}
	if len(want) != 0 || pages != 3 {
		t.Errorf("%d jobs are on none of %d pages", len(want), pages)
	}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// answer reads the question's form and gives the answer as a browser would.
func (s *stage) answer(path string, change func(url.Values, *http.Request)) (int, string, *http.Response) {
	s.t.Helper()
	status, page, resp := s.request("GET", path, nil)
	if status != 200 {
		s.t.Fatalf("%s: %d\n%s", path, status, page)
	}
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		form.Add(m[1], strings.ReplaceAll(m[2], "&amp;", "&"))
	}
	return s.request("POST", "/act", func(r *http.Request) {
		for _, c := range resp.Cookies() {
			if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
				s.t.Errorf("the cookie %v", c)
			}
			r.AddCookie(c)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", s.http.URL)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if change != nil {
			change(form, r)
		}
		body := form.Encode()
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	})
}

func TestChangesNeedOurOwnFormAndAreRemembered(t *testing.T) {
	s := newStage(t, withPassword(t))
	key, token := s.mail(1, "x")
	job := s.upload(key, 1, "assets")
	id := sisa.TokenID(token)
	drop := "/act?do=drop&job=" + job + "&back=/queue?state=failed"
	for name, change := range map[string]func(url.Values, *http.Request){
		"no token":      func(f url.Values, _ *http.Request) { f.Del("csrf") },
		"a wrong token": func(f url.Values, _ *http.Request) { f.Set("csrf", strings.Repeat("0", 64)) },
		"no cookie":     func(_ url.Values, r *http.Request) { r.Header.Del("Cookie") },
		"another's cookie": func(_ url.Values, r *http.Request) {
			r.Header.Set("Cookie", cookieName+"="+strings.Repeat("0", 32))
		},
		"another origin": func(_ url.Values, r *http.Request) {
			r.Header.Set("Origin", "https://evil.test")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		},
		"an origin of an old browser": func(_ url.Values, r *http.Request) {
			r.Header.Set("Origin", "https://evil.test")
			r.Header.Del("Sec-Fetch-Site")
		},
	} {
		if status, _, _ := s.answer(drop, change); status != http.StatusForbidden {
			t.Errorf("%s: %d", name, status)
		}
	}
	if len(s.acts.asked) > 0 {
		t.Fatalf("it was done: %v", s.acts.asked)
	}
	status, _, resp := s.answer(drop, nil)
	if status != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/queue?did=") && !strings.Contains(resp.Header.Get("Location"), "state=failed") {
		t.Fatalf("%d to %s", status, resp.Header.Get("Location"))
	}
	if want := "drop {[" + job + "]    } 1900000000000"; len(s.acts.asked) != 1 || s.acts.asked[0] != want {
		t.Errorf("asked %q, want %q", s.acts.asked, want)
	}
	if _, body := s.get(resp.Header.Get("Location")); !strings.Contains(body, "drop jobs: drop: done") || !strings.Contains(body, "alice") {
		t.Error("the page after it does not say what was done")
	}
	s.answer("/act?do=hold-target&kind=vault&target=assets&back=https://evil.test/", func(f url.Values, _ *http.Request) { f.Set("back", "//evil.test") })
	_, _, resp = s.answer("/act?do=test-target&kind=vault&target=assets&back=/targets", func(f url.Values, _ *http.Request) { f.Set("back", "https://evil.test/") })
	if at := resp.Header.Get("Location"); !strings.HasPrefix(at, "/?did=") {
		t.Errorf("it goes back to %s", at)
	}
	s.answer("/act?do=retry&all=1&state=failed&target=assets", nil)
	s.answer("/act?do=extend&link="+id, func(f url.Values, _ *http.Request) { f.Set("term", "forever") })
	if row, err := s.links.List(t.Context(), sisa.Filter{ID: id}); err != nil || !row[0].Expires.IsZero() {
		t.Errorf("the link was not extended: %v, %v", row, err)
	}
	s.answer("/act?do=revoke&link="+id, func(f url.Values, _ *http.Request) { f.Set("reason", "sent to the wrong person") })
	if row, err := s.links.List(t.Context(), sisa.Filter{ID: id}); err != nil || row[0].State != sisa.Revoked {
		t.Errorf("the link was not revoked: %v, %v", row, err)
	}
	acts, err := audit.List(t.Context(), s.db.Read(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range acts {
		got = append(got, a.Actor+" "+a.Door+" "+a.Action+" of "+a.Object+": "+a.Outcome)
	}
	for i, want := range []string{"alice dashboard revoke links of " + id + ": revoked: 1 of 1 link", "extend links", "retry jobs of all jobs with state failed, target assets: retry: done", "test target of target assets", "hold target", "drop jobs"} {
		if i >= len(got) || !strings.Contains(got[i], want) {
			t.Errorf("act %d is not %q:\n%s", i, want, strings.Join(got, "\n"))
		}
	}
	if status, body := s.get("/audit.jsonl"); status != 200 || strings.Count(body, "\n") != len(acts) || !strings.Contains(body, `"action":"revoke links"`) {
		t.Errorf("exported %d\n%s", status, body)
	}
	for _, path := range []string{"/act", "/act?do=x", "/act?do=drop", "/act?do=revoke", "/act?do=hold-target"} {
		if status, _ := s.get(path); status != http.StatusBadRequest {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestMetricsAreThoseOfTheCatalog(t *testing.T) {
	s := newStage(t)
	key, token := s.mail(1, "x")
	job := s.upload(key, 1, "assets")
	s.meters.Message(flow.Event{Verdict: flow.Passed, Total: time.Millisecond})
	handler := s.meters.Job(func(context.Context, jobs.Job) (jobs.Effect, error) { return nil, errors.New("x") })
	if _, err := handler(t.Context(), jobs.Job{Key: job, Kind: "vault", Target: "assets"}); err == nil {
		t.Error("the handler's error is gone")
	}
	counted := Links{s.links, s.meters}
	if _, err := counted.ByToken(t.Context(), token); err != nil {
		t.Error(err)
	}
	if _, err := counted.ByToken(t.Context(), strings.Repeat("A", 22)); !errors.Is(err, sisa.ErrNotFound) {
		t.Error(err)
	}
	s.look()
	_, body := s.get("/metrics")
	known := map[string]Metric{}
	for _, m := range Metrics {
		known[m.Name] = m
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(body, -1) {
		if strings.HasPrefix(m[1], "go_") || strings.HasPrefix(m[1], "process_") {
			continue
		}
		seen[m[1]] = true
		if known[m[1]].Type != m[2] {
			t.Errorf("%s is a %s, and in the catalog %+v", m[1], m[2], known[m[1]])
		}
	}
	for name := range known {
		if !seen[name] {
			t.Errorf("%s is in the catalog and not exported", name)
		}
	}
	for _, line := range []string{
		`cloakroom_mails_total{verdict="passed"} 1`, `cloakroom_queue_jobs{kind="vault",state="waiting",target="assets"} 1`,
		`cloakroom_job_attempts_total{kind="vault",result="failed",target="assets"} 1`, `cloakroom_link_pages_total{result="found"} 1`,
		`cloakroom_link_pages_total{result="unknown"} 1`, `cloakroom_links 1`, `cloakroom_store_bytes 1.8e+06`, `cloakroom_ready 1`, `cloakroom_loops_total 3`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}

// What was counted before the start is shown at once, and another node's count
// is not made again.
func TestSizesAreRecalled(t *testing.T) {
	s := newStage(t)
	s.mail(1, "x")
	s.look()
	s.mail(2, "y")
	again := &watch{p: s.server.watch.p, now: time.Now}
	again.recall(t.Context())
	if z := again.current().sizes; z.Links != 1 || z.Blobs != 1 || z.Mails != 1 || z.Bytes != 1_800_000 {
		t.Errorf("recalled %+v", z)
	}
	if took := again.survey(t.Context()); took != 0 && time.Now().Minute() > 0 {
		t.Error("it was counted twice within the hour")
	}
}

func TestLatencyNamesAndSpansFit(t *testing.T) {
	now := time.Date(2026, 3, 29, 15, 30, 0, 0, time.UTC)
	for _, sp := range spans {
		starts := sp.starts(now)
		if len(starts) != sp.points || pointOf(starts, now) != sp.points-1 || pointOf(starts, starts[0].Add(-time.Nanosecond)) != -1 {
			t.Errorf("%s: from %v to %v", sp.Key, starts[0], starts[len(starts)-1])
		}
		for i := 1; i < len(starts); i++ {
			if !starts[i].After(starts[i-1]) {
				t.Errorf("%s: %v does not follow %v", sp.Key, starts[i], starts[i-1])
			}
		}
	}
}

// The mail path pays for an event with a few atomic additions.
func BenchmarkEvent(b *testing.B) {
	m := NewMeters()
	e := flow.Event{Verdict: flow.Linked, Body: 1000, Linked: 2, Taken: 900, Stored: 300, Receive: 3 * time.Millisecond, Decide: time.Millisecond, Store: 20 * time.Millisecond, Total: 24 * time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.Message(e)
	}
}

func TestAnEventAllocatesNothing(t *testing.T) {
	m := NewMeters()
	e := flow.Event{Verdict: flow.Linked, Body: 1000, Receive: time.Millisecond, Total: 2 * time.Millisecond}
	if n := testing.AllocsPerRun(1000, func() { m.Message(e) }); n > 0 {
		t.Errorf("an event allocates %v times", n)
	}
}
