package vault_test

// The queue of an older version, where an upload had a row beside its job.

import (
	"context"
	"encoding/json"
	"errors"
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
	// In a fleet an older program is beside it for a while: by the table that it
	// knows it would take what waits for not needed, and delete it.
	const neededBefore = `EXISTS (SELECT 1 FROM uploads u JOIN jobs j ON j.key = u.job WHERE u.sha256 = $1 AND j.state <> 'done')`
	var needed bool
	if err := d.Read().QueryRowContext(t.Context(), `SELECT CASE WHEN `+neededBefore+` THEN 1 ELSE 0 END`, []byte("0123456789abcdef1000000000000001")).Scan(&needed); err == nil && !needed {
		t.Error("an older program that collects garbage finds that a waiting file is not needed")
	}
	if err := d.Read().QueryRowContext(t.Context(), `SELECT CASE WHEN `+vault.Needed+` THEN 1 ELSE 0 END`, []byte("0123456789abcdef1000000000000001")).Scan(&needed); err != nil || !needed {
		t.Errorf("a blob is needed: %v, %v", needed, err)
	}
}

// TestEveryJobOfAnOlderVersionGoesOn has one of each kind in each state that is
// not done, due at another time than it was made.
func TestEveryJobOfAnOlderVersionGoesOn(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { goOn(t, db.Options{Path: filepath.Join(t.TempDir(), "test.db")}) })
	t.Run("postgres", func(t *testing.T) { goOn(t, db.Options{URL: pgtest.Database(t)}) })
}

func goOn(t *testing.T, o db.Options) {
	ctx := context.WithoutCancel(t.Context())
	o.Log = slog.New(slog.DiscardHandler)
	d, err := db.Open(ctx, o, slices.Concat(jobs.Migrations[:2], vault.Migrations[:3])...)
	if err != nil {
		t.Fatal(err)
	}
	far := time.Now().Add(time.Hour).UnixMilli()
	err = d.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		for _, kind := range []string{"vault", "copy", "receipt"} {
			if _, err := tx.ExecContext(ctx, `INSERT INTO job_targets (kind, target, held, failures, probe, probe_at, last_error, changed) VALUES ($1, 't', 0, 0, '', 0, '', 0)`, kind); err != nil {
				return err
			}
			for i, one := range []struct {
				name, state string
				due         int64
			}{{"ready", "waiting", 2000}, {"delayed", "waiting", far}, {"tried", "waiting", 9000}, {"held", "held", 2000}, {"failed", "failed", 2000}, {"running", "running", 2000}} {
				_, err := tx.ExecContext(ctx, `INSERT INTO jobs (key, kind, target, owner, payload, state, attempts, not_before, lease_until, node, fence, last_error, created, since, updated)
					VALUES ($1, $2, 't', 'bob', $3, $4, 1, $5, $6, 'one', 5, 'because', $7, $7, $7)`,
					kind+"-"+one.name, kind, []byte("{}"), one.state, one.due, map[bool]int64{true: far}[one.state == "running"], 1000+i)
				if err == nil && kind == "vault" {
					_, err = tx.ExecContext(ctx, `INSERT INTO uploads (job, target, sha256, size, mail, owner, wanted, path, sent, done) VALUES ($1, 't', $2, 5, $2, 'bob', $3, '', 3, 0)`,
						kind+"-"+one.name, make([]byte, 32), one.name+".pdf")
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	for range 2 { // there is nothing to do the second time
		if d, err = db.Open(ctx, o, slices.Concat(jobs.Tables, vault.Migrations, jobs.Indexes)...); err != nil {
			t.Fatal(err)
		}
		defer d.Close()
	}
	if _, err := db.Open(ctx, o, slices.Concat(jobs.Migrations[:2], vault.Migrations[:3])...); !errors.Is(err, db.ErrNewer) {
		t.Errorf("the older program: %v", err)
	}
	s, err := jobs.New(ctx, d, jobs.Options{Node: "one", Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"vault", "copy", "receipt"} {
		keysOf := func(f jobs.Filter) (keys []string) {
			f.Kind = kind
			got, err := s.List(ctx, f, jobs.Cursor{}, 100)
			n, _, countErr := s.Count(ctx, f)
			if err != nil || countErr != nil || n != len(got) {
				t.Errorf("%s: %d listed, %d counted: %v, %v", kind, len(got), n, err, countErr)
			}
			for _, j := range got {
				keys = append(keys, strings.TrimPrefix(j.Key, kind+"-"))
			}
			return keys
		}
		for want, f := range map[string]jobs.Filter{
			"ready delayed tried held failed running": {},
			"ready delayed tried":                     {States: []jobs.State{jobs.Waiting}},
			"held failed":                             {States: []jobs.State{jobs.Held, jobs.Failed}},
			"running":                                 {States: []jobs.State{jobs.Running}, Owner: "bob"},
		} {
			if got := strings.Join(keysOf(f), " "); got != want {
				t.Errorf("%s: %s, want %s", kind, got, want)
			}
		}
		got, err := s.Claim(ctx, jobs.Claim{Kind: kind, Limit: 100, Lease: time.Minute})
		if err != nil || len(got) != 2 || got[0].Key != kind+"-ready" || got[1].Key != kind+"-tried" {
			t.Errorf("%s: claimed %+v, %v", kind, got, err)
		}
		for _, j := range got {
			if err := s.GiveBack(ctx, j.Ref()); err != nil {
				t.Error(err)
			}
		}
	}
	if err := s.Complete(ctx, jobs.Ref{Key: "copy-running", Fence: 5}, nil); err != nil {
		t.Errorf("what was under way ends: %v", err)
	}
	if n, err := s.FreeOwn(ctx); n != 2 || err != nil {
		t.Errorf("%d jobs of the node before are freed, %v", n, err)
	}
	if n, err := s.Release(ctx, jobs.Filter{}); n != 3 || err != nil {
		t.Errorf("%d released, %v", n, err)
	}
	if n, err := s.Retry(ctx, jobs.Filter{States: []jobs.State{jobs.Failed}}); n != 3 || err != nil {
		t.Errorf("%d retried, %v", n, err)
	}
	for kind, want := range map[string]int{"vault": 5, "copy": 4, "receipt": 5} {
		if got, err := s.Claim(ctx, jobs.Claim{Kind: kind, Limit: 100, Lease: time.Minute}); err != nil || len(got) != want {
			t.Errorf("%s: %d claimed, %v", kind, len(got), err)
		}
	}
	stats, err := s.Stats(ctx)
	sum := ""
	for _, one := range stats {
		sum += fmt.Sprint(one.Kind, " ", one.State, " ", one.Count, " ", one.Oldest.UnixMilli(), "; ")
	}
	if want := "copy done 1 1005; copy running 4 1000; copy waiting 1 1001; receipt running 5 1000; receipt waiting 1 1001; vault running 5 1000; vault waiting 1 1001; "; err != nil || sum != want {
		t.Errorf("%s, %v, want %s", sum, err, want)
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
	line("job", `{"Key":"vault-damaged","Kind":"vault","Target":"assets","Payload":{"mail":"MAIL","part":3}}`) // the line of its upload cannot be read
	line("uploaded", `{"job":"vault-damaged","path":"bob/third.pdf","at":"2026-11-28T13:00:36Z"}`)
	line("uploaded", `{"job":"vault-forgotten","path":"bob/other.pdf","at":"2026-11-28T13:00:36Z"}`)
	if j, err = b.jobs.Get(t.Context(), "vault-x"); err != nil {
		t.Fatal(err)
	}
	r, _, err := vault.Of(t.Context(), b.db.Read(), j)
	if err != nil || r.Path != "bob/plan-2.pdf" || r.Wanted != "bob/plan.pdf" || r.Mail != mail || r.SHA256 != sum || r.Sent != 5 || r.Done.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAMailIsForgottenWithAJobThatNamesNoContent has one whose upload was lost with
// a damaged line of an older journal: what it tells of the mail goes too.
func TestAMailIsForgottenWithAJobThatNamesNoContent(t *testing.T) {
	b := newBench(t)
	mail := ledger.Key{7}
	u := vault.Upload{Target: "assets", Path: "bob/secret plan.pdf", About: vault.About{Mail: mail, Name: "secret plan.pdf"}}
	j, err := u.Job(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	j.Blob = nil
	err = b.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error {
		if err := b.jobs.Enqueue(ctx, tx, j); err != nil {
			return err
		}
		return vault.ForgetMail(ctx, tx, mail)
	})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := b.jobs.Get(t.Context(), j.Key); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("left: %+v, %v", left, err)
	}
}
