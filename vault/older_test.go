package vault_test

// The queue of an older version, where an upload had a row beside its job.

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/internal/testserver/pgtest"
	"cloakroom/ledger"
	"cloakroom/vault"
)

// olderQueue is how many jobs the queue has; CLOAKROOM_OLDER_QUEUE asks for
// another number, to see how long a million take.
const olderQueue = 1000

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestTheQueueOfAnOlderVersionIsTakenOver(t *testing.T) {
	n := olderQueue
	if text := os.Getenv("CLOAKROOM_OLDER_QUEUE"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("sqlite", func(t *testing.T) { takeOver(t, n, db.Options{Path: filepath.Join(t.TempDir(), "test.db")}) })
	t.Run("postgres", func(t *testing.T) { takeOver(t, n, db.Options{URL: pgtest.Database(t)}) })
}

// fillOlder makes jobs whose uploads wait, of every ten one that was tried, one
// that failed, and two that are done, one of which is not remembered.
func fillOlder(t *testing.T, d *db.DB, n int, mail ledger.Key, spell func(string) string) {
	t.Helper()
	const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) `
	key := fmt.Sprintf(`'vault-%s-' || CAST(10000000 + i AS TEXT)`, mail.String()[:16])
	payload, err := json.Marshal(vault.About{Mail: mail, Part: 2, Name: "plan.pdf", Type: "application/pdf", Sender: "dave@ext.test", To: []string{"bob@acmecorp.test"},
		Subject: "The plans for the new building", MessageID: "<1.8a7f@mail.ext.test>", QueueID: "4XYZabc", Received: time.Now(), Direction: "inbound", Rule: "vault"})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		for i, text := range []string{
			`INSERT INTO jobs (key, kind, target, owner, payload, state, attempts, not_before, lease_until, node, fence, last_error, created, since, updated)
			SELECT ` + key + `, 'vault', 'assets', 'bob@acmecorp.test', CAST($2 AS BYTEA),
			CASE i % 10 WHEN 2 THEN 'failed' WHEN 3 THEN 'done' ELSE 'waiting' END, CASE i % 10 WHEN 1 THEN 1 ELSE 0 END,
			1000 + i + CASE i % 10 WHEN 1 THEN 5 ELSE 0 END, 0, '', 0, CASE i % 10 WHEN 1 THEN 'refused' WHEN 2 THEN 'denied' ELSE '' END,
			1000 + i, 1000 + i, 1000 + i FROM n WHERE i % 10 <> 4`,
			`INSERT INTO uploads (job, target, sha256, size, mail, owner, wanted, path, sent, done)
			SELECT ` + key + `, 'assets', CAST('0123456789abcdef' || CAST(1000000000000000 + i AS TEXT) AS BYTEA), 5, CAST($2 AS BYTEA), 'bob@acmecorp.test',
			'bob@acmecorp.test/plan ' || CAST(i AS TEXT) || '.pdf', CASE WHEN i % 10 IN (3, 4) THEN 'there.pdf' ELSE '' END,
			CASE WHEN i % 10 IN (3, 4) THEN 5 ELSE 0 END, CASE WHEN i % 10 IN (3, 4) THEN 7000 ELSE 0 END FROM n`,
		} {
			if _, err := tx.ExecContext(ctx, spell(numbers+text), n, [][]byte{payload, mail[:]}[i]); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO job_targets (kind, target, held, failures, probe, probe_at, last_error, changed) VALUES ('vault', 'assets', 0, 0, '', 0, '', 0)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func takeOver(t *testing.T, n int, o db.Options) {
	ctx := context.WithoutCancel(t.Context())
	o.Log = slog.New(slog.DiscardHandler)
	d, err := db.Open(ctx, o, slices.Concat(jobs.Migrations[:2], vault.Migrations[:3])...)
	if err != nil {
		t.Fatal(err)
	}
	mail := ledger.Key{1, 2, 3}
	fillOlder(t, d, n, mail, func(text string) string {
		if o.URL == "" {
			text = strings.ReplaceAll(text, "BYTEA", "BLOB")
		}
		return text
	})
	d.Close()
	begin := time.Now()
	if d, err = db.Open(ctx, o, slices.Concat(jobs.Tables, vault.Migrations, jobs.Indexes)...); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	t.Logf("%d jobs are taken over in %v", n, time.Since(begin))
	if n > olderQueue {
		return
	}
	s, err := jobs.New(t.Context(), d, jobs.Options{Node: "one", Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.List(t.Context(), jobs.Filter{Label: "PLAN"}, jobs.Cursor{}, 1000)
	if err != nil || len(all) != n*9/10 || all[0].Label != "bob@acmecorp.test/plan 1.pdf" {
		t.Fatalf("%d jobs, %v", len(all), err)
	}
	for _, j := range all {
		r, about, err := vault.Of(t.Context(), d.Read(), &j)
		if err != nil || r.Mail != mail || about.Part != 2 || r.SHA256[0] != '0' || r.Size != 5 || r.Wanted != j.Label || j.Due != j.Created {
			t.Fatalf("%+v, %+v, %v", r, about, err)
		}
		if done := j.State == jobs.Done; done != (r.Path == "there.pdf") || done != (r.Done.UnixMilli() == 7000) || done != (r.Sent == 5) {
			t.Fatalf("job is %s, %+v", j.State, r)
		}
	}
	records, err := vault.OfMail(t.Context(), d.Read(), mail)
	if err != nil || len(records) != n {
		t.Errorf("%d uploads of the mail, %v", len(records), err)
	}
	got, err := s.Claim(t.Context(), jobs.Claim{Kind: "vault", Limit: 500, Lease: time.Minute})
	again := 0
	for _, j := range got {
		again += j.Attempts - 1
	}
	if err != nil || len(got) != 500 || again != 72 || !slices.IsSortedFunc(got, func(a, b jobs.Job) int { return a.NotBefore.Compare(b.NotBefore) }) {
		t.Errorf("%d jobs claimed, %d of them again, %v", len(got), again, err)
	}
	var needed bool
	if err := d.Read().QueryRowContext(t.Context(), `SELECT CASE WHEN `+vault.Needed+` THEN 1 ELSE 0 END`, []byte("0123456789abcdef1000000000000001")).Scan(&needed); err != nil || !needed {
		t.Errorf("a blob is needed: %v, %v", needed, err)
	}
}

// TestTheJournalOfAnOlderVersionIsReadBack has the lines of such an upload: queued,
// and made.
func TestTheJournalOfAnOlderVersionIsReadBack(t *testing.T) {
	b := newBench(t)
	mail, sum, at := ledger.Key{7}, ledger.Hash{8}, time.UnixMilli(1_790_000_000_000)
	line := func(kind, data string) {
		t.Helper()
		data = strings.NewReplacer("MAIL", mail.String(), "SUM", sum.String()).Replace(data)
		r := db.Record{Time: at, Kind: kind, Data: []byte(data)}
		err := b.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
			if known, err := jobs.Replay(ctx, tx, r); err != nil || known.Known {
				return err
			}
			known, err := vault.Replay(ctx, tx, r)
			if err == nil && !known {
				err = fmt.Errorf("%s is not known", kind)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	line("job", `{"Key":"vault-x","Kind":"vault","Target":"assets","Owner":"bob@acmecorp.test","Payload":{"mail":"MAIL","part":2,"name":"plan.pdf"}}`)
	line("upload", `{"job":"vault-x","target":"assets","sha256":"SUM","size":5,"mail":"MAIL","owner":"bob@acmecorp.test","wanted":"bob/plan.pdf"}`)
	j, err := b.jobs.Get(t.Context(), "vault-x")
	if err != nil || j.Label != "bob/plan.pdf" || ledger.Hash(j.Blob) != sum || j.Size != 5 || !j.Due.Equal(at) {
		t.Fatalf("%+v, %v", j, err)
	}
	line("job", `{"key":"vault-x","how":"done"}`)
	line("uploaded", `{"job":"vault-x","path":"bob/plan-2.pdf","at":"2026-11-28T13:00:36Z"}`)
	line("uploaded", `{"job":"vault-forgotten","path":"bob/other.pdf","at":"2026-11-28T13:00:36Z"}`)
	if j, err = b.jobs.Get(t.Context(), "vault-x"); err != nil {
		t.Fatal(err)
	}
	r, _, err := vault.Of(t.Context(), b.db.Read(), j)
	if err != nil || r.Path != "bob/plan-2.pdf" || r.Wanted != "bob/plan.pdf" || r.Mail != mail || r.SHA256 != sum || r.Sent != 5 || r.Done.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
}
