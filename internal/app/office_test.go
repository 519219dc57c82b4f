package app

// A day in an office on which everything happens, and what a database has of it.

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/internal/submit"
	"cloakroom/ledger"
	"cloakroom/ledger/hours"
	"cloakroom/sisa"
	"cloakroom/vault"
)

// office is a store with all that makes facts: links, a vault with one target that
// works and one that does not, and another mail system.
type office struct {
	t      *testing.T
	cfg    *config.Config
	s      *Store
	engine *flow.Engine
	act    sisa.Act
}

const officeConfig = `domains: [acmecorp.test]
data: %q
web: {url: "https://files.acmecorp.test"}
submit: {smtp: %q}
coexistence:
  - {domain: acmecorp.test, alternate: gapps.acmecorp.test, members: [boss@acmecorp.test, gina@acmecorp.test], gateways: {networks: [192.0.2.0/24], daemon: gapps-in}}
vault:
  targets:
    files: {dir: {base: %q}, delay: 0s, path: "{space}/{name}"}
    away: {dir: {base: %q}, delay: 0s, path: "{space}/{name}"}
rules:
  - {name: all, link: {expires: 30d, accept_loss: true}}
  - {name: files, if: "subject.contains('vault')", vault: {target: files}}
  - {name: away, if: "subject.contains('away')", vault: {target: away}}
`

func newOffice(t *testing.T, smtp string) *office {
	t.Helper()
	base := t.TempDir()
	for _, folder := range []string{"files", "nowhere"} {
		if err := os.Mkdir(filepath.Join(base, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf(officeConfig, filepath.Join(base, "data"), smtp, filepath.Join(base, "files"), filepath.Join(base, "nowhere"))
	cfg, _, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(base, "nowhere")); err != nil { // the target is away
		t.Fatal(err)
	}
	o := &office{t: t, cfg: cfg, act: sisa.Act{By: "test", Reason: "because"}}
	o.open(true)
	return o
}

func (o *office) open(create bool) {
	o.t.Helper()
	s, err := OpenBeside(o.t.Context(), o.cfg, create, quiet)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { s.Close() })
	users, err := OpenUsers(o.cfg.Directory, quiet)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { users.Close() })
	o.s = s
	if o.engine, err = NewEngine(s, func() *config.Config { return o.cfg }, users, quiet); err != nil {
		o.t.Fatal(err)
	}
}

// mail takes a mail about a subject to some people; size is that of its
// attachment, whose content is the same for all mails of a size.
func (o *office) mail(subject string, size int, to ...string) ledger.Key {
	o.t.Helper()
	content := make([]byte, size)
	rand.New(rand.NewSource(int64(size))).Read(content)
	text := "From: alice@ext.test\r\nTo: bob@acmecorp.test\r\nSubject: " + subject + "\r\nMessage-ID: <" + strings.ReplaceAll(subject, " ", "-") + "@ext.test>\r\n" +
		"Date: Sat, 14 Mar 2026 15:09:26 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n" +
		incompressible(size) + "\r\n--b\r\nContent-Type: application/octet-stream; name=\"" + subject + ".bin\"\r\nContent-Disposition: attachment; filename=\"" + subject +
		".bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + inLines(content) + "--b--\r\n"
	env := &flow.Envelope{QueueID: "4XYZ", Sender: "alice@ext.test", Client: netip.MustParseAddr("203.0.113.7"), Received: time.Now()}
	for _, a := range to {
		env.Recipients = append(env.Recipients, flow.Recipient{Address: a})
	}
	var out bytes.Buffer
	if _, err := Filter(o.t.Context(), o.engine, env, strings.NewReader(text), &out); err != nil {
		o.t.Fatalf("%s: %v", subject, err)
	}
	return o.key("<" + strings.ReplaceAll(subject, " ", "-") + "@ext.test>")
}

func (o *office) key(id string) ledger.Key {
	o.t.Helper()
	keys, err := o.s.SelectMails(o.t.Context(), []string{id}, ledger.Filter{})
	if err != nil || len(keys) != 1 {
		o.t.Fatalf("%s: %v, %v", id, keys, err)
	}
	return keys[0]
}

// incompressible makes the skeletons of large mails blobs of their own.
func incompressible(n int) string {
	b := make([]byte, n/2)
	rand.New(rand.NewSource(int64(-n))).Read(b)
	return inLinesOf(hex.EncodeToString(b))
}

// links are the ids of a mail's links, the newest last.
func (o *office) links(key ledger.Key) (ids []string) {
	o.t.Helper()
	rows, err := o.s.DB.Read().Query(`SELECT id FROM links WHERE mail = $1 ORDER BY generation`, key[:])
	if err != nil {
		o.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			o.t.Fatal(err)
		}
		ids = append(ids, hex.EncodeToString(raw))
	}
	return ids
}

func (o *office) do(what string, err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("%s: %v", what, err)
	}
}

// work works all jobs that are due, until none is left.
func (o *office) work() {
	o.t.Helper()
	w, err := newVault(o.s, o.cfg, quiet)
	o.do("vault", err)
	defer w.Close()
	sender, err := submit.New(o.cfg.Submit, "mx.acmecorp.test", quiet)
	o.do("submit", err)
	courier := &flow.Courier{DB: o.s.DB, Jobs: o.s.Jobs, Blobs: o.s.Blobs, Spool: o.engine.Spool, Sender: sender, Hostname: "mx.acmecorp.test",
		Onward: o.engine.Onward, Now: time.Now, Log: quiet}
	for n := 1; n > 0; {
		n = 0
		for kind, handle := range map[string]jobs.Handler{vault.JobKind: w.Handle, flow.JobCopy: courier.Handle} {
			taken, err := o.s.Jobs.Claim(o.t.Context(), jobs.Claim{Kind: kind, Limit: 10, Lease: time.Minute})
			o.do("claim", err)
			n += len(taken)
			for _, j := range taken {
				if effect, err := handle(o.t.Context(), j); err != nil {
					o.do("fail", o.s.Jobs.Fail(o.t.Context(), j.Ref(), err))
				} else {
					o.do("complete", o.s.Jobs.Complete(o.t.Context(), j.Ref(), effect))
				}
			}
		}
	}
}

// masked are the columns that the journal does not have, by table. Those of
// "about" are times: the journal's own, which are a moment later.
var (
	masked = map[string][]string{
		"jobs":        {"attempts", "not_before", "lease_until", "node", "fence", "since", "due", "sent"},
		"job_targets": {"failures", "probe", "probe_at", "last_error", "changed"},
	}
	about = map[string][]string{"blobs": {"created", "used"}, "jobs": {"created", "updated"}}
	// unjournalled are tables that begin anew: sums for `cloakroom report`, which
	// name people and are kept for a quarter only, and what is about the database
	// itself.
	unjournalled = []string{"tally", "tally_people", "tally_contents", "schema_migrations", "journal_segments"}
)

// dump lists all rows of all tables as texts, by table.
func dump(t *testing.T, q db.Tx) map[string][]string {
	t.Helper()
	out := make(map[string][]string)
	for _, table := range column(t, q, `SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name`) {
		if slices.Contains(unjournalled, table) {
			continue
		}
		var columns []string
		for _, c := range column(t, q, `SELECT name FROM pragma_table_info('`+table+`')`) {
			switch {
			case slices.Contains(masked[table], c):
			case table == "jobs" && c == "last_error": // of what waits it is found out again
				columns = append(columns, `'last_error=' || CASE WHEN state = 'failed' THEN last_error ELSE '' END`)
			case slices.Contains(about[table], c):
				columns = append(columns, fmt.Sprintf(`'%s=~' || %s`, c, c))
			default:
				columns = append(columns, fmt.Sprintf(`'%s=' || COALESCE(CASE typeof(%s) WHEN 'blob' THEN hex(%s) ELSE %s END, 'NULL')`, c, c, c, c))
			}
		}
		out[table] = column(t, q, `SELECT `+strings.Join(columns, ` || ' ' || `)+` AS line FROM `+table+` ORDER BY line`)
	}
	return out
}

func column(t *testing.T, q db.Tx, query string) (out []string) {
	t.Helper()
	rows, err := q.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// aboutTime is a time of which the journal knows about when it was, in milliseconds.
var aboutTime = regexp.MustCompile(`=~(\d+)`)

// nearly tells rows that are the same, but for 5 s in such times.
func nearly(row string) func(string) bool {
	text, times := aboutTime.ReplaceAllString(row, "=~"), aboutTime.FindAllStringSubmatch(row, -1)
	return func(other string) bool {
		if aboutTime.ReplaceAllString(other, "=~") != text {
			return false
		}
		for i, m := range aboutTime.FindAllStringSubmatch(other, -1) {
			a, _ := strconv.ParseInt(times[i][1], 10, 64)
			b, _ := strconv.ParseInt(m[1], 10, 64)
			if max(a-b, b-a) > 5000 {
				return false
			}
		}
		return true
	}
}

// compareDumps tells every row that only one of two databases has.
func compareDumps(t *testing.T, live, rebuilt map[string][]string) {
	t.Helper()
	if !slices.Equal(slices.Sorted(maps.Keys(live)), slices.Sorted(maps.Keys(rebuilt))) {
		t.Errorf("tables %v, rebuilt %v", slices.Sorted(maps.Keys(live)), slices.Sorted(maps.Keys(rebuilt)))
	}
	for _, table := range slices.Sorted(maps.Keys(live)) {
		if slices.Equal(live[table], rebuilt[table]) {
			continue
		}
		for _, row := range live[table] {
			if !slices.ContainsFunc(rebuilt[table], nearly(row)) {
				t.Errorf("%s: only the live database has\n  %.1500s", table, row)
			}
		}
		for _, row := range rebuilt[table] {
			if !slices.ContainsFunc(live[table], nearly(row)) {
				t.Errorf("%s: only the rebuilt database has\n  %.1500s", table, row)
			}
		}
	}
}

// eventful is the day.
func (o *office) eventful() {
	t, s, ctx := o.t, o.s, o.t.Context()
	k := s.Keeper(quiet)
	old := o.mail("kept in the vault", 3000, "bob@acmecorp.test", "carol@acmecorp.test")
	time.Sleep(3 * time.Millisecond)
	o.mail("kept in the vault", 3000, "bob@acmecorp.test", "carol@acmecorp.test") // an MTA tries again
	large := o.mail("with a long text", 90_000, "bob@acmecorp.test")
	o.mail("with the same file", 90_000, "bob@acmecorp.test")
	o.mail("away 1", 5000, "bob@acmecorp.test")
	dropped := o.mail("away 2", 6000, "bob@acmecorp.test")
	lost := o.mail("vault, whose file is lost", 7000, "bob@acmecorp.test")
	both := o.mail("for both systems", 8000, "bob@acmecorp.test", "boss@acmecorp.test", "gina@acmecorp.test")
	struck := o.mail("struck", 9000, "bob@acmecorp.test", "carol@acmecorp.test")
	gone := o.mail("vault, forgotten", 10_000, "bob@acmecorp.test")
	again := o.mail("forgotten and back", 11_000, "bob@acmecorp.test")
	dead := o.mail("dead", 12_000, "bob@acmecorp.test")
	back := o.mail("dead and back", 13_000, "bob@acmecorp.test")
	held := o.mail("held", 14_000, "bob@acmecorp.test")

	// Downloads: today, long ago, and of the file that is held.
	for i, key := range []ledger.Key{old, old, large, gone, held} {
		at := time.Now().Add(-time.Duration(i%3) * 500 * 24 * time.Hour)
		o.do("download", s.Links.Downloaded(ctx, sisa.Download{LinkID: o.links(key)[0], Part: 2 - i%2*3, Client: "198.51.100.7", Agent: "curl/8", At: at}))
	}
	_, _, err := k.Hold(ctx, "case 1", []ledger.Key{held, old}, o.act)
	o.do("hold", err)
	_, err = k.Release(ctx, "case 1", []ledger.Key{old}, o.act)
	o.do("release", err)
	_, err = k.PurgeDownloads(ctx, time.Now().Add(-365*24*time.Hour))
	o.do("purge downloads", err)

	// The queue.
	var sum []byte
	o.do("file", s.DB.Read().QueryRow(`SELECT sha256 FROM parts WHERE mail = $1 AND linked = 1`, lost[:]).Scan(&sum))
	o.do("lose a file", s.Blobs.Delete(ctx, [32]byte(sum)))
	o.work() // files are uploaded, copies sent, one target is away, one file missing
	_, err = s.HoldJobs(ctx, Which{Kind: vault.JobKind, Target: "away"})
	o.do("hold a target", err)
	_, err = s.HoldJobs(ctx, Which{Keys: o.jobsOf(dropped)})
	o.do("hold a job", err)
	_, err = s.ReleaseJobs(ctx, Which{Keys: o.jobsOf(dropped)})
	o.do("release a job", err)
	_, err = s.DropJobs(ctx, Which{Keys: o.jobsOf(dropped)}, time.Now().Add(time.Minute))
	o.do("drop a job", err)
	_, err = s.RetryJobs(ctx, Which{Keys: o.jobsOf(lost)})
	o.do("retry", err)
	o.work()
	_, err = s.Backfill(ctx, o.cfg, Backfill{User: "bob@acmecorp.test", Target: "files", Space: "owner"}, quiet)
	o.do("backfill", err)
	o.work()
	time.Sleep(5 * time.Millisecond)
	if n, err := s.Jobs.Purge(ctx, time.Millisecond); err != nil || n == 0 {
		t.Fatalf("purged %d jobs, %v", n, err)
	}
	o.mail("for both systems", 8000, "bob@acmecorp.test", "boss@acmecorp.test", "gina@acmecorp.test") // its copies are made again
	o.mail("away 3", 15_000, "bob@acmecorp.test")
	o.mail("vault, late", 16_000, "bob@acmecorp.test")
	o.work()

	// Links end, are extended; files go.
	_, err = s.Links.Revoke(ctx, slices.Concat(o.links(dead), o.links(back), o.links(held)), o.act)
	o.do("revoke", err)
	_, err = s.Links.Extend(ctx, slices.Concat(o.links(large), o.links(dead), o.links(both)), sisa.Term{By: 24 * time.Hour}, o.act)
	o.do("extend", err)
	_, err = s.Links.Extend(ctx, o.links(struck), sisa.Term{Forever: true}, o.act)
	o.do("extend", err)
	for _, f := range []Forgetting{{Keys: []ledger.Key{gone, again, held}, Act: o.act}, {Keys: []ledger.Key{struck}, Address: "carol@acmecorp.test", Act: o.act}} {
		_, err = s.Forget(ctx, f, quiet)
		o.do("forget", err)
	}
	later := *k
	later.Now, later.Recent = func() time.Time { return time.Now().Add(20 * 24 * time.Hour) }, 0
	r, err := later.Collect(ctx, sisa.GCOptions{Grace: 10 * 24 * time.Hour})
	if o.do("collect", err); r.Retired != 2 || r.Blobs < 2 {
		t.Fatalf("collected %+v", r)
	}
	o.mail("dead and back", 13_000, "bob@acmecorp.test")
	o.mail("forgotten and back", 11_000, "bob@acmecorp.test")

	// What is counted, and who did what.
	o.do("count", s.DB.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		return errors.Join(hours.Add(ctx, tx, "mx", time.Now(), map[string]int64{"mails": 20, "bytes": 1 << 40}), hours.Set(ctx, tx, time.Now(), map[string]int64{"links": 9}))
	}))
	o.do("note", hours.Note(ctx, s.DB, "mx", time.Now()))
	if err := s.Audited(ctx, "test", "fail", "on purpose", func(context.Context) (string, error) { return "", errors.New("no") }); err == nil {
		t.Fatal("no error")
	}
	_, unaudited, err := PauseMail(ctx, o.cfg, Pause{Who: "test", Why: "for a moment"}, quiet)
	o.do("pause", errors.Join(unaudited, err))
	_, unaudited, err = ResumeMail(ctx, o.cfg, "test", quiet)
	o.do("resume", errors.Join(unaudited, err))
}

// jobsOf are the keys of a mail's jobs.
func (o *office) jobsOf(key ledger.Key) []string {
	o.t.Helper()
	found := column(o.t, o.s.DB.Read(), `SELECT key FROM jobs WHERE key LIKE '%-`+key.String()[:16]+`-%'`)
	if len(found) == 0 {
		o.t.Fatalf("mail %s has no jobs", key)
	}
	return found
}
