package test

// The listener for administrators on the built daemon, with real mail: metrics,
// readiness, dashboard, audit, and the documents and alerts that go with them.

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloakroom/admin"
)

// adminClient asks as alice.
type adminClient struct {
	t    *testing.T
	base string
	http *http.Client
}

const alicePassword = "correct horse battery"

// newAdmin prepares a daemon with a listener for administrators; config is the
// rest of its configuration.
func newAdmin(t *testing.T, config string) (*daemon, *adminClient) {
	t.Helper()
	d := newDaemon(t, "")
	line, err := admin.HashPassword("alice", alicePassword)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(d.Folder, "admins")
	if err := os.WriteFile(file, []byte(line+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	d.Config = fmt.Sprintf("admin: {listen: %q, password_file: %s}\n", address, file) + config
	jar := &cookies{}
	return d, &adminClient{t, "http://" + address, &http.Client{Jar: jar, Timeout: time.Minute}}
}

// cookies keeps them for one host.
type cookies struct{ all []*http.Cookie }

func (c *cookies) SetCookies(_ *url.URL, all []*http.Cookie) { c.all = append(c.all, all...) }
func (c *cookies) Cookies(*url.URL) []*http.Cookie           { return c.all }

func (c *adminClient) do(method, path string, form url.Values) (int, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.SetBasicAuth("alice", alicePassword)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// want waits until a page has all of some texts.
func (c *adminClient) want(path string, texts ...string) string {
	c.t.Helper()
	var body string
	missing := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		_, body = c.do("GET", path, nil)
		missing = ""
		for _, text := range texts {
			if !strings.Contains(body, text) {
				missing = text
			}
		}
		if missing == "" {
			return body
		}
	}
	c.t.Fatalf("%s does not have %q:\n%s", path, missing, body)
	return ""
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// change answers the question that a page of the dashboard asks.
func (c *adminClient) change(question string, more url.Values) string {
	c.t.Helper()
	_, page := c.do("GET", question, nil)
	form := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(page, -1) {
		form.Add(m[1], m[2])
	}
	for name, values := range more {
		form[name] = values
	}
	status, after := c.do("POST", "/act", form)
	if status != http.StatusOK { // of the page it leads to
		c.t.Fatalf("%s: %d\n%s", question, status, after)
	}
	return after
}

func TestTheDashboardShowsAndChangesWhatMailDid(t *testing.T) {
	t.Parallel()
	files := filepath.Join(t.TempDir(), "vault")
	if err := os.Mkdir(files, 0o700); err != nil {
		t.Fatal(err)
	}
	d, c := newAdmin(t, "vault:\n  targets:\n    assets: {dir: {base: "+files+"}, delay: 0s, path: \"{space}/{name}\"}\n"+
		"directory: {file: users.yaml}\nrules:\n  - {name: contracts stay, if: attachment.name.contains('contract'), link: false}\n  - {name: all, link: {}, vault: {target: assets}}\n")
	if err := os.WriteFile(filepath.Join(d.Folder, "users.yaml"), []byte("users:\n  - {address: bob@acmecorp.test}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.start()
	if err := os.Rename(files, files+".away"); err != nil {
		t.Fatal(err)
	}
	p := startPostfix(t, d.MilterAddr)
	c.want("/readyz", "ok         database", "ok         store", "ok         milter", "ok         disk")
	msg := toCRLF(compose(alice, []string{bob}, "trace me", file{"plans.pdf", "application/pdf", random(40_000, 81)}))
	send(t, p, alice, []string{bob}, msg)
	link := links(mailbox(t, p, bob, 1)[0])[0]
	download(t, link)

	c.want("/metrics", `cloakroom_mails_total{verdict="linked"} 1`, "cloakroom_attachments_linked_total 1", "cloakroom_downloads_total 1", `cloakroom_link_pages_total{result="found"}`)
	c.want("/", `<div class="value">1</div><div class="more">1 attachments linked`)
	trace := c.want("/trace?q="+url.QueryEscape(link), "trace me", "plans.pdf", ">all<", bob, "127.0.0.1", "assets")
	if token := link[strings.LastIndex(link, "/")+1:]; strings.Contains(trace, token) {
		t.Error("the dashboard shows a token")
	}
	id := regexp.MustCompile(`href="/links/([0-9a-f]{64})"`).FindStringSubmatch(trace)[1]
	after := c.change("/act?do=revoke&link="+id+"&back=/links", url.Values{"reason": {"a test"}})
	if !strings.Contains(after, "revoked: 1 of 1 link") {
		t.Errorf("afterwards: %s", after)
	}
	if status, _ := get(t, link); status != http.StatusNotFound {
		t.Errorf("the link that was revoked gives %d", status)
	}

	// The target's folder is not there: its job waits, and can be dropped by the page.
	c.want("/targets", "assets", "down")
	c.want("/metrics", `cloakroom_target_up{kind="vault",target="assets"} 0`)
	held := c.change("/act?do=hold-target&kind=vault&target=assets&back=/targets", nil)
	if !strings.Contains(held, "hold target") || !strings.Contains(held, ">held<") {
		t.Errorf("after holding: %s", held)
	}
	if err := os.Rename(files+".away", files); err != nil { // commands look for it
		t.Fatal(err)
	}
	if out, _, _ := d.run(nil, "queue", "list"); !strings.Contains(out, " held ") {
		t.Errorf("the command says %s", out)
	}
	key := regexp.MustCompile(`name="job" value="(vault-[^"]+)"`).FindStringSubmatch(c.want("/queue", "plans.pdf"))[1]
	if after := c.change("/act?do=drop&job="+key+"&back=/queue", nil); !strings.Contains(after, "dropped") {
		t.Errorf("after dropping: %s", after)
	}
	if _, stderr, code := d.run(nil, "queue", "release", "--target", "assets"); code != 0 {
		t.Errorf("release: %s", stderr)
	}
	out, stderr, code := d.run(nil, "audit", "--json")
	if code != 0 {
		t.Fatal(stderr)
	}
	var got []string
	for line := range strings.Lines(out) {
		var a struct{ Actor, Door, Action, Outcome string }
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		got = append(got, a.Door+" "+a.Action)
		if a.Outcome == "" || a.Door == "dashboard" && a.Actor != "alice" {
			t.Errorf("the audit has %s", line)
		}
	}
	if want := "command release jobs, dashboard drop jobs, dashboard hold target, dashboard revoke links"; strings.Join(got, ", ") != want {
		t.Errorf("the audit has %s, want %s", strings.Join(got, ", "), want)
	}
	c.want("/audit", "release jobs", "command", "alice")
}

func TestReadinessFollowsTheStore(t *testing.T) {
	t.Parallel()
	d, c := newAdmin(t, linkAll)
	d.start()
	c.want("/readyz", "ready\n")
	breakStore(t, d)
	c.want("/readyz", "not ready\n", "not ready  store:")
	if status, _ := c.do("GET", "/readyz", nil); status != http.StatusServiceUnavailable {
		t.Errorf("not ready is %d", status)
	}
	c.want("/metrics", "cloakroom_ready 0", `cloakroom_check_ok{check="store"} 0`)
	mendStore(t, d)
	c.want("/readyz", "ready\n", "ok         store")
}

// What was counted outlives the daemon.
func TestCountsOutliveARestart(t *testing.T) {
	t.Parallel()
	d, c := newAdmin(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	send(t, p, alice, []string{dave}, toCRLF(compose(alice, []string{dave}, "x", file{"a.pdf", "application/pdf", random(5000, 82)})))
	mailbox(t, p, dave, 1)
	c.want("/", "1 attachments linked")
	d.stop()
	d.start()
	c.want("/", "1 attachments linked")
}

func TestOperationsDocumentHasEveryMetricAndAlert(t *testing.T) {
	text := mustRead(t, filepath.Join(root, "docs/operations.md"))
	var table strings.Builder
	table.WriteString("| metric | type | labels | what it is |\n|---|---|---|---|\n")
	known := map[string]bool{}
	for _, m := range admin.Metrics {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, strings.Join(m.Labels, ", "), m.Help)
		known[m.Name] = true
	}
	part := regexp.MustCompile(`(?s)<!-- metrics -->\n(.*?)<!-- end -->`).FindStringSubmatch(text)
	if part == nil {
		t.Fatal("there is no place for the metrics")
	}
	if part[1] != table.String() {
		if os.Getenv("UPDATE_DOCS") == "" {
			t.Error("the table of metrics is not what the program exports; run UPDATE_DOCS=1 go test ./test -run Operations")
		} else if err := os.WriteFile(filepath.Join(root, "docs/operations.md"), []byte(strings.Replace(text, part[0], "<!-- metrics -->\n"+table.String()+"<!-- end -->", 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rules := mustRead(t, filepath.Join(root, "deploy/prometheus/cloakroom.rules.yml"))
	alerts := map[string]bool{}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
		alerts[m[1]] = true
		section := regexp.MustCompile("\n#### " + m[1] + "\n\n(?s:.{60})").FindString(text)
		if section == "" || strings.Contains(section[5:], "\n#") {
			t.Errorf("the document has no section about what to do about %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`#### (Cloakroom\w+)`).FindAllStringSubmatch(text, -1) {
		if !alerts[m[1]] {
			t.Errorf("the document is about %s, which is no alert", m[1])
		}
	}
	grafana := mustRead(t, filepath.Join(root, "deploy/grafana/cloakroom.json"))
	if !json.Valid([]byte(grafana)) {
		t.Error("the dashboard for Grafana is not JSON")
	}
	metric, ending := regexp.MustCompile(`\bcloakroom_[a-z_]+`), regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, name := range metric.FindAllString(rules+grafana, -1) {
		if !known[name] && !known[ending.ReplaceAllString(name, "")] {
			t.Errorf("%s is asked for and not exported", name)
		}
	}
	for _, name := range metric.FindAllString(rules, -1) { // who gets an alert wants to see since when
		if !strings.Contains(grafana, ending.ReplaceAllString(name, "")) {
			t.Errorf("an alert is about %s, which the dashboard for Grafana does not show", name)
		}
	}
	checkLinks(t, "docs/operations.md", text)
}

// promtool is the program of that name.
func promtool(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("promtool")
	if err != nil {
		program = filepath.Join(cacheFolder(), "prometheus/usr/bin/promtool")
	}
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is neither installed nor unpacked: run deploy/setup/prometheus.sh")
		}
		t.Skip("promtool is neither installed nor unpacked: run deploy/setup/prometheus.sh")
	}
	return program
}

func TestAlertRulesPassPromtool(t *testing.T) {
	program := promtool(t)
	questions := filepath.Join(t.TempDir(), "grafana.yml")
	if err := os.WriteFile(questions, []byte(grafanaQuestions(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", "cloakroom.rules.yml"}, {"test", "rules", "cloakroom.rules.test.yml"}, {"check", "rules", questions}} {
		cmd := exec.Command(program, args...)
		cmd.Dir = filepath.Join(root, "deploy/prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// grafanaQuestions has what the dashboard for Grafana asks Prometheus, as rules, and
// looks at its panels.
func grafanaQuestions(t *testing.T) string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(mustRead(t, filepath.Join(root, "deploy/grafana/cloakroom.json"))), &dashboard); err != nil {
		t.Fatal(err)
	}
	rules := strings.Builder{}
	rules.WriteString("groups:\n  - name: grafana\n    rules:\n")
	ids, places := map[int]bool{}, map[[2]int]string{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %q: its id is another's, or it asks nothing", p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := places[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q, or beside the page", p.Title, other)
				}
				places[[2]int{x, y}] = p.Title
			}
		}
		for i, q := range p.Targets {
			expr := strings.NewReplacer("$instance", ".*", "$__rate_interval", "5m").Replace(q.Expr)
			fmt.Fprintf(&rules, "      - {record: \"panel:%d:%d\", expr: %q}\n", p.ID, i, expr)
		}
	}
	return rules.String()
}

// cacheFolder is where the set-up scripts unpack what is not installed.
func cacheFolder() string {
	if dir := os.Getenv("CLOAKROOM_CACHE"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/cache/cloakroom-test"
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "cloakroom-test")
}
