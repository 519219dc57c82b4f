package test

// How the databases go about every statement that the program runs while mail,
// people and administrators wait: a large table is never read from end to end.
// The program tells its statements at log level debug.

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cloakroom/internal/app"
	"cloakroom/internal/db"
	"cloakroom/internal/testserver"
)

// largeTables grow with the mail.
var largeTables = []string{"mails", "parts", "recipients", "links", "link_parts", "downloads", "blobs", "jobs", "uploaded", "holds", "audit", "tally_contents"}

// wholeReads are the statements that read all of something on purpose: a part of
// each, and why.
var wholeReads = map[string]string{
	`SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs`:                      "store stats, and once an hour in the background",
	`SELECT COUNT(*) FROM links`:                                                              "store stats, and once an hour in the background",
	`SELECT COUNT(*) FROM mails`:                                                              "once an hour in the background",
	`SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT), CAST(COALESCE(SUM(skeleton_s`:   "store stats",
	`SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM parts WHERE linked = 1`:     "store stats",
	`SELECT COUNT(*) FROM tally_contents`:                                                     "once at the start, in the background; it has a bound",
	`SELECT fp.mail FROM parts fp WHERE fp.linked = 1 AND LOWER(fp.name) LIKE`:                "a part of a name, in an index that has the names",
	`SELECT key FROM jobs WHERE key LIKE $1 ESCAPE '\' LIMIT $2`:                              "a job by the end of its key, in the index of keys",
	`AND last_error <> '' AND LOWER(last_error) LIKE LOWER(`:                                  "a part of an error, in an index of the jobs that have one",
	`SELECT matter, COUNT(*), MIN(since), MIN(actor), MIN(reason) FROM holds GROUP BY matter`: "all legal holds are listed",
}

// statements are those that a log tells of.
func statements(log string) []string {
	var out []string
	for line := range strings.Lines(log) {
		_, quoted, found := strings.Cut(strings.TrimSpace(line), `msg=statement sql=`)
		if !found {
			continue
		}
		text := quoted
		if unquoted, err := strconv.Unquote(quoted); err == nil {
			text = unquoted
		}
		out = append(out, text)
	}
	return out
}

// work has the program do what it does every day, and gives the statements that
// took.
func work(t *testing.T) (texts []string, database string) {
	t.Helper()
	base := t.TempDir()
	d, web := newAdmin(t, "log: {level: debug}\nvault:\n  targets:\n    assets:\n      dir: {base: "+base+"}\n      delay: 0s\n      path: \"{space}/{name}\"\n"+
		"rules:\n  - name: everybody\n    vault: {target: assets}\n  - name: everything\n    link: {expires: 30d, accept_loss: true}\n")
	d.start()
	var log strings.Builder
	run := func(args ...string) string {
		stdout, stderr, code := d.run(nil, args...)
		if code != 0 {
			t.Errorf("%s: exit code %d\n%s", strings.Join(args, " "), code, lastLines(stderr))
		}
		log.WriteString(stderr)
		return stdout
	}
	mail := func(name string) string {
		msg := compose(dave, []string{bob, carol}, "plans", file{name, "application/pdf", random(5000, int64(len(name)))})
		stdout, stderr, code := d.run(bytes.NewReader(msg), "filter", "--from", dave, "--to", bob, "--to", carol)
		if code != 0 {
			t.Fatalf("filter: exit code %d\n%s", code, stderr)
		}
		log.WriteString(stderr)
		found := links([]byte(stdout))
		if len(found) != 1 {
			t.Fatalf("%d links in\n%s", len(found), stdout)
		}
		return found[0]
	}
	mail("first.pdf")
	link := mail("second.pdf")
	download(t, link)
	waitFiles(t, base, 4)
	run("queue", "hold", "--target", "assets")
	mail("third.pdf")
	visit(t, d, web, run, link)
	d.stop()
	log.WriteString(d.running.Log())
	all := statements(log.String())
	slices.Sort(all)
	return slices.Compact(all), filepath.Join(d.Folder, "data", "cloakroom.db")
}

// visit goes through the commands and the pages.
func visit(t *testing.T, d *daemon, web *adminClient, run func(...string) string, link string) {
	t.Helper()
	for _, line := range []string{
		"links list", "links list --sender dave@ext.test", "links list --sender @ext.test", "links list --sender <>", "links list --recipient bob@acmecorp.test",
		"links list --recipient @acmecorp.test", "links list --file second.pdf", "links list --file *econd*", "links list --mail <1.plans@ext.test>",
		"links list --mail 4XYZabc", "links list --older 1h", "links list --newer 1h", "links list --state active", "links list --state expired",
		"links list --state revoked", "links list --limit 0 --sender nobody@ext.test", "links downloads", "links downloads --newer 1h",
		"links downloads --sender dave@ext.test", "links downloads --file second.pdf", "links holds",
		"queue list", "queue list --state waiting", "queue list --kind vault", "queue list --target assets", "queue list --owner bob@acmecorp.test",
		"queue list --error refused", "queue list --error denied --state failed", "queue list --file third", "queue list --file third --state waiting,failed,done",
		"queue list --older 1h", "queue list --state done", "queue stats", "store stats", "audit", "report", "vault targets",
		"links restore --check --recipient carol@acmecorp.test", "links restore --check --address dave@ext.test", "store gc --dry-run",
		"store forget --dry-run --address bob@acmecorp.test", "store purge-downloads --older 1000d",
	} {
		run(strings.Fields(line)...)
	}
	rows := strings.Fields(run("links", "list", "--limit", "3"))
	id := rows[slices.IndexFunc(rows, regexp.MustCompile(`^[0-9a-f]{8,}$`).MatchString)]
	run("links", "show", id)
	run("links", "show", link)
	run("links", "downloads", id)
	job := queued(t, d)[0]
	run("queue", "show", job.ID)
	run("queue", "hold", job.ID)
	run("queue", "release", job.ID)
	run("queue", "list", "--after", job.Key)
	run("queue", "drop", job.ID, "--yes")
	run("links", "extend", id, "--by", "60d")
	run("links", "revoke", id, "--yes")
	run("store", "forget", "--file", "first.pdf", "--yes")
	run("links", "revoke", "--file", "*econd*", "--yes")
	for _, path := range []string{"/", "/?span=7d", "/queue", "/queue?state=failed", "/queue?owner=bob@acmecorp.test", "/queue?error=denied", "/queue?kind=vault&target=assets",
		"/targets", "/links", "/links?sender=dave@ext.test", "/links?recipient=bob@acmecorp.test", "/links?file=second", "/links?state=expired", "/links/" + id,
		"/trace?q=4XYZabc", "/trace?q=" + url.QueryEscape("<2.plans@ext.test>"), "/trace?q=" + url.QueryEscape(link), "/store", "/audit", "/metrics", "/readyz"} {
		if status, body := web.do("GET", path, nil); status != 200 {
			t.Errorf("%s: %d\n%s", path, status, lastLines(body))
		}
	}
}

func lastLines(text string) string { return text[max(0, len(text)-2000):] }

// tableOf is the table that a name in a plan stands for.
func tableOf(text, name string) string {
	for _, table := range largeTables {
		if name == table || regexp.MustCompile(`(?i)\b`+table+`\s+(AS\s+)?`+name+`\b`).MatchString(text) {
			return table
		}
	}
	return ""
}

func TestNoStatementReadsALargeTableFromEndToEnd(t *testing.T) {
	texts, path := work(t)
	if len(texts) < 100 {
		t.Fatalf("only %d statements were told:\n%s", len(texts), strings.Join(texts, "\n"))
	}
	used := map[string]bool{}
	t.Run("sqlite", func(t *testing.T) { plansOnSQLite(t, path, texts, used) })
	for part, why := range wholeReads {
		if !used[part] && !strings.Contains(why, "background") {
			t.Errorf("%q (%s) was not run, or does not read a whole table", part, why)
		}
	}
	t.Run("postgres", func(t *testing.T) { plansOnPostgres(t, texts) })
}

// exempt tells whether a statement may read all of a table.
func exempt(text string, used map[string]bool) bool {
	words := strings.Join(strings.Fields(text), " ")
	for part := range wholeReads {
		if strings.Contains(words, part) {
			used[part] = true
			return true
		}
	}
	return false
}

var (
	scanStep  = regexp.MustCompile(`^SCAN (\w+)( USING (?:COVERING )?INDEX \w+)?`)
	schemaSQL = regexp.MustCompile(`(?i)^\s*(CREATE|DROP|ALTER|PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b`)
	// What package db asks about itself.
	sqliteOnly = regexp.MustCompile(`schema_migrations|journal_segments`)
	migration  = regexp.MustCompile(`(?i)json_each|UPDATE links SET guard = '\{\}'|\bCREATE INDEX\b|\bFROM uploads\b`)
)

func plansOnSQLite(t *testing.T, path string, texts []string, used map[string]bool) {
	d, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	looked := 0
	for _, text := range texts {
		if schemaSQL.MatchString(text) || migration.MatchString(text) {
			continue
		}
		looked++
		for _, value := range []any{nil, 1} { // SQLite plans anew for a LIMIT of one row
			planOnSQLite(t, d, text, value, used)
		}
	}
	t.Logf("%d statements", looked)
}

// planOnSQLite looks at the plan of a statement whose arguments have all one value.
func planOnSQLite(t *testing.T, d *sql.DB, text string, value any, used map[string]bool) {
	t.Helper()
	steps := explain(t, d, "EXPLAIN QUERY PLAN "+text, slices.Repeat([]any{value}, parameters(text)), func(rows *sql.Rows) (step string, err error) {
		var id, parent, zero int
		return step, rows.Scan(&id, &parent, &zero, &step)
	})
	sorted := slices.ContainsFunc(steps, func(s string) bool { return strings.Contains(s, "TEMP B-TREE FOR ORDER BY") })
	if sorted && value == nil {
		t.Logf("sorts: %s\n%s", strings.Join(strings.Fields(text), " "), strings.Join(steps, "\n"))
	}
	for _, step := range steps {
		m := scanStep.FindStringSubmatch(step)
		if m == nil || tableOf(text, m[1]) == "" {
			continue
		}
		// In the order of an index, until the page is full.
		if m[2] != "" && strings.Contains(text, "LIMIT") && strings.Contains(text, "ORDER BY") && !sorted {
			continue
		}
		if !exempt(text, used) {
			t.Errorf("with %v: %s\n%s", value, strings.Join(strings.Fields(text), " "), strings.Join(steps, "\n"))
		}
	}
}

func explain(t *testing.T, q db.Tx, text string, args []any, scan func(*sql.Rows) (string, error)) []string {
	t.Helper()
	rows, err := q.QueryContext(t.Context(), text, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		step, err := scan(rows)
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return steps
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// parameters tells how many arguments a statement has.
func parameters(text string) (most int) {
	for _, m := range parameter.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		most = max(most, n)
	}
	return most
}

// PostgreSQL plans by what is in its tables, and reads small ones whole: here it
// is told not to where there is another way.
func plansOnPostgres(t *testing.T, texts []string) {
	server, err := testserver.StartPostgres(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	address, err := server.NewDatabase(t.Context(), "plans")
	if err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(t.Context(), db.Options{URL: address}, app.Migrations()...)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	conn, err := d.Read().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, set := range []string{"enable_seqscan = off", "plan_cache_mode = force_generic_plan"} {
		if _, err := conn.ExecContext(t.Context(), "SET "+set); err != nil {
			t.Fatal(err)
		}
	}
	looked := 0
	for i, text := range texts {
		if schemaSQL.MatchString(text) || migration.MatchString(text) || sqliteOnly.MatchString(text) {
			continue
		}
		looked++
		plan := postgresPlan(t, conn, fmt.Sprint("s", i), text)
		for _, m := range regexp.MustCompile(`Seq Scan on (\w+)`).FindAllStringSubmatch(plan, -1) {
			if slices.Contains(largeTables, m[1]) && !exempt(text, map[string]bool{}) {
				t.Errorf("%s\n%s", strings.Join(strings.Fields(text), " "), plan)
			}
		}
	}
	t.Logf("%d statements", looked)
}

// postgresPlan prepares a statement, whose parameters' types are PostgreSQL's
// to find out, and asks for the plan that fits any values.
func postgresPlan(t *testing.T, conn *sql.Conn, name, text string) string {
	t.Helper()
	text = strings.ReplaceAll(text, `CAST(unixepoch('subsec') * 1000 AS BIGINT)`, `CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)`)
	ctx := context.WithoutCancel(t.Context())
	if _, err := conn.ExecContext(ctx, "PREPARE "+name+" AS "+text); err != nil {
		t.Errorf("PostgreSQL does not take a statement: %v\n%s", err, text)
		return ""
	}
	execute := "EXPLAIN EXECUTE " + name
	if n := parameters(text); n > 0 {
		execute += "(NULL" + strings.Repeat(", NULL", n-1) + ")"
	}
	rows, err := conn.QueryContext(ctx, execute)
	if err != nil {
		t.Errorf("%v\n%s", err, text)
		return ""
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	return plan.String()
}
