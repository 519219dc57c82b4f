//go:build !race

package admin

// The dashboard over a store of many years: what pages and scrapes take, and how
// the database finds what they show.

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"cloakroom/internal/db"
	"cloakroom/ledger"
	"cloakroom/ledger/audit"
	"cloakroom/ledger/hours"
)

// scaleLinks is how many links the benchmark makes, each of a mail of its own,
// and scaleJobs how many jobs. CLOAKROOM_SCALE_LINKS asks for another number:
// a million take some minutes and 2 GB.
const (
	scaleLinks = 1_000_000
	scaleJobs  = 1_000_000
)

// plans is a db.Tx that remembers how the database goes about what it is asked.
type plans struct {
	db.Tx
	t     testing.TB
	found []string
}

func (p *plans) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	p.explain(ctx, text, args)
	return p.Tx.QueryContext(ctx, text, args...)
}

func (p *plans) explain(ctx context.Context, text string, args []any) {
	p.t.Helper()
	rows, err := p.Tx.QueryContext(ctx, "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, zero int
		var detail string
		if err := rows.Scan(&id, &parent, &zero, &detail); err != nil {
			p.t.Fatal(err)
		}
		p.found = append(p.found, detail)
	}
	if err := rows.Err(); err != nil {
		p.t.Fatal(err)
	}
}

// What a page asks for is found by an index, and no table is read from end to end.
func TestPagesReadByIndexes(t *testing.T) {
	s := newStage(t)
	s.mail(1, "x")
	ctx := t.Context()
	for name, ask := range map[string]func(q db.Tx) error{
		"hours": func(q db.Tx) error { _, err := hours.Since(ctx, q, time.Now().Add(-24*time.Hour)); return err },
		"ever":  func(q db.Tx) error { _, err := hours.Ever(ctx, q); return err },
		"trace": func(q db.Tx) error { _, err := ledger.Find(ctx, q, ledger.Filter{Mail: "4X000001"}); return err },
		"audit": func(q db.Tx) error { _, err := audit.List(ctx, q, audit.Filter{Limit: 51}); return err },
		"audit 2": func(q db.Tx) error {
			_, err := audit.List(ctx, q, audit.Filter{Before: time.Now(), Limit: 51})
			return err
		},
	} {
		p := &plans{Tx: s.db.Read(), t: t}
		if err := ask(p); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s:\n  %s", name, strings.Join(p.found, "\n  "))
		for _, step := range p.found {
			if strings.HasPrefix(step, "SCAN") || len(p.found) == 0 {
				t.Errorf("%s: %s", name, step)
			}
		}
	}
}

// fill makes links and jobs, with ids spread as hashes are.
func fill(b *testing.B, path string, links, count int) {
	b.Helper()
	d, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(off)&_pragma=synchronous(off)&_pragma=foreign_keys(off)&_pragma=cache_size(-400000)")
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	d.SetMaxOpenConns(1)
	const step = 250_000
	spread := `unhex(printf('%08x%056d', (n * 2654435761) & 4294967295, n))`
	now := time.Now().UnixMilli()
	for from := 0; from < links; from += step {
		numbers := fmt.Sprintf(`WITH RECURSIVE c(n) AS (SELECT %d UNION ALL SELECT n + 1 FROM c WHERE n + 1 < %d) `, from, min(from+step, links))
		run(b, d, numbers+fmt.Sprintf(`INSERT INTO mails (key, queue_id, message_id, subject, sender, recipients, auth_user, client, received, size, digest, skeleton_stored, skeleton_header)
			SELECT %s, printf('4X%%09d', n), printf('<%%d@acmecorp.test>', n), printf('Plans %%d', n), printf('user%%d@acmecorp.test', n %% 5000), '["bob@ext.test"]', '', '192.0.2.7',
			%d - (%d - n) * 20000, 2000000, x'00', 3000, 900 FROM c`, spread, now, links))
		run(b, d, numbers+fmt.Sprintf(`INSERT INTO parts (mail, part, name, type, sniffed, size, sha256, span_start, span_end, layout, cut, linked, rule)
			SELECT %s, 2, printf('plans %%d.pdf', n), 'application/pdf', '', 1800000, unhex(printf('%%064x', n / 3)), 0, 1, '', 1, 1, 'large' FROM c`, spread))
		run(b, d, numbers+fmt.Sprintf(`INSERT INTO links (id, mail, generation, created) SELECT %s, %s, 0, %d - (%d - n) * 20000 FROM c`, spread, spread, now, links))
		run(b, d, numbers+fmt.Sprintf(`INSERT INTO link_parts (link, part) SELECT %s, 2 FROM c`, spread))
		run(b, d, numbers+`INSERT OR IGNORE INTO blobs (sha256, size, created, used) SELECT unhex(printf('%064x', n / 3)), 1800000, n, n FROM c`)
		run(b, d, numbers+fmt.Sprintf(`INSERT INTO downloads (link, part, at, client, agent) SELECT %s, 2, %d - (%d - n) * 20000, '198.51.100.9', 'x' FROM c WHERE n %% 2 = 0`, spread, now, links))
	}
	for from := 0; from < count; from += step {
		numbers := fmt.Sprintf(`WITH RECURSIVE c(n) AS (SELECT %d UNION ALL SELECT n + 1 FROM c WHERE n + 1 < %d) `, from, min(from+step, count))
		run(b, d, numbers+fmt.Sprintf(`INSERT INTO jobs (key, kind, target, owner, payload, state, attempts, not_before, lease_until, node, fence, last_error, created, since, updated, due)
			SELECT 'vault-' || lower(hex(%s)), 'vault', CASE n %% 3 WHEN 0 THEN 'assets' WHEN 1 THEN 'backup' ELSE 'archive' END, printf('user%%d@acmecorp.test', n %% 5000), CAST('{}' AS BLOB),
			CASE WHEN n %% 50 = 0 THEN 'failed' WHEN n %% 3 = 0 THEN 'waiting' ELSE 'done' END, 1, 0, 0, '', 1, CASE WHEN n %% 50 = 0 THEN 'permission denied' ELSE '' END,
			%d - (%d - n) * 1000, 0, 0, %d - (%d - n) * 1000 FROM c`, spread, now, count, now, count))
	}
	run(b, d, `INSERT INTO job_targets (kind, target, held, failures, probe, probe_at, last_error, changed) SELECT 'vault', column1, 0, 0, '', 0, '', 0 FROM (VALUES ('assets'), ('backup'), ('archive'))`)
}

// tell prints a line: a benchmark shows ten of its own.
func tell(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) }

func run(b *testing.B, d *sql.DB, text string) {
	b.Helper()
	if _, err := d.ExecContext(b.Context(), text); err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
}

// paints are the limits: of the first page, and of a scrape.
const (
	paintLimit  = 200 * time.Millisecond
	scrapeLimit = 20 * time.Millisecond
)

// BenchmarkScale tells the times of pages over a large store.
func BenchmarkScale(b *testing.B) {
	links := scaleLinks
	if n, err := strconv.Atoi(os.Getenv("CLOAKROOM_SCALE_LINKS")); err == nil && n > 0 {
		links = n
	}
	path := filepath.Join(b.TempDir(), "cloakroom.db")
	empty, err := db.Open(b.Context(), db.Options{Path: path}, migrations()...)
	if err != nil {
		b.Fatal(err)
	}
	if err := empty.Close(); err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	fill(b, path, links, scaleJobs)
	tell("%d links and %d jobs made in %v", links, scaleJobs, time.Since(begin).Round(time.Second))
	s := openStage(b, path)
	s.history()
	begin = time.Now()
	s.server.watch.lookAtQueue(b.Context())
	tell("counting the queue, in the background: %v", time.Since(begin).Round(time.Millisecond))
	begin = time.Now()
	s.server.watch.state.sizes = sizes{}
	if err := s.db.Commit(b.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM hours WHERE name = $1`, hourLinks)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	s.server.watch.survey(b.Context())
	tell("counting the store, once an hour in the background: %v: %d links", time.Since(begin).Round(time.Millisecond), s.server.watch.current().sizes.Links)
	for b.Loop() {
		for _, path := range []string{"/", "/?span=7d", "/?span=30d", "/?span=1y", "/queue", "/queue?state=failed", "/queue?state=done", "/queue?error=denied", "/queue?owner=user7@acmecorp.test", "/targets", "/links",
			"/links?sender=user7@acmecorp.test", "/links?mail=4X000500000", "/links?state=revoked", "/links?recipient=nobody@ext.test", "/trace?q=4X000500000", "/trace?q=%3C777@acmecorp.test%3E", "/store", "/audit", "/metrics", "/readyz"} {
			s.measure(b, path)
		}
	}
	s.paint(b)
}

// measure asks for a page again and again.
func (s *stage) measure(b *testing.B, path string) {
	b.Helper()
	var took []time.Duration
	for range 15 {
		begin := time.Now()
		status, body := s.get(path)
		took = append(took, time.Since(begin))
		if status != http.StatusOK {
			tell("%-40s %d after %v: %.60s", path, status, took[len(took)-1].Round(time.Millisecond), strings.TrimSpace(body))
			return
		}
	}
	first := took[0]
	slices.Sort(took)
	middle := took[len(took)/2]
	tell("%-40s first %8.1f ms, half under %6.1f ms", path, float64(first.Microseconds())/1000, float64(middle.Microseconds())/1000)
	if path == "/metrics" && middle > scrapeLimit {
		b.Errorf("a scrape takes %v", middle)
	}
	if path == "/" && middle > paintLimit {
		b.Errorf("the first page takes %v", middle)
	}
}

// paint tells when a browser has drawn something.
func (s *stage) paint(b *testing.B) {
	name := ""
	for _, program := range []string{"google-chrome", "chromium-browser", "chromium"} {
		if path, err := exec.LookPath(program); err == nil {
			name = path
		}
	}
	if name == "" {
		tell("no browser is installed")
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(name), chromedp.UserDataDir(b.TempDir()), chromedp.DisableGPU, chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(b.Context(), options...)
	defer cancel()
	ctx, end := chromedp.NewContext(ctx)
	defer end()
	for range 4 {
		if err := chromedp.Do(ctx, chromedp.Navigate(s.http.URL+"/")); err != nil {
			b.Fatal(err)
		}
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool](`performance.getEntriesByType('paint').some(e => e.name == 'first-contentful-paint')`)); err != nil {
			b.Fatal(err)
		}
		at, err := chromedp.Run(ctx, chromedp.Evaluate[float64](`performance.getEntriesByType('paint').find(e => e.name == 'first-contentful-paint').startTime`))
		if err != nil {
			b.Fatal(err)
		}
		tell("first paint in %s: %.0f ms", name, at)
	}
}
