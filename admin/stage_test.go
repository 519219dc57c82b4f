package admin

// A listener over a real database with mail, links, jobs and uploads in it.

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"cloakroom/flow"
	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/ledger/audit"
	"cloakroom/ledger/hours"
	"cloakroom/ledger/tally"
	"cloakroom/sisa"
	"cloakroom/vault"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

// stage is a server with what it works on.
type stage struct {
	t      testing.TB
	db     *db.DB
	jobs   *jobs.Store
	links  *sisa.Links
	meters *Meters
	server *Server
	http   *httptest.Server
	acts   *fakeActs
}

// fakeActs remembers what was asked for, where the commands' code stands in the
// daemon; test/admin_test.go drives that.
type fakeActs struct{ asked []string }

func (a *fakeActs) CountJobs(_ context.Context, act string, which Jobs) (int, string, time.Time, error) {
	return max(len(which.Keys), 1), "This loses what is dropped.\n", time.UnixMilli(1_900_000_000_000), nil
}

func (a *fakeActs) ChangeJobs(_ context.Context, act string, which Jobs, until time.Time) (string, error) {
	a.asked = append(a.asked, fmt.Sprint(act, " ", which, " ", until.UnixMilli()))
	return act + ": done", nil
}

func (a *fakeActs) SetTarget(_ context.Context, kind, target string, hold bool) (string, error) {
	a.asked = append(a.asked, fmt.Sprint("target ", kind, " ", target, " ", hold))
	return "set", nil
}

func (a *fakeActs) TestTarget(_ context.Context, target string) (string, error) {
	a.asked = append(a.asked, "test "+target)
	return "connect: 3 ms", nil
}

func migrations() []db.Migration {
	return slices.Concat(ledger.Migrations, sisa.Migrations, jobs.Migrations, vault.Migrations, hours.Migrations, audit.Migrations, tally.Migrations)
}

// newStage opens an empty database; options change the configuration.
func newStage(t testing.TB, options ...func(*Config, *Parts)) *stage {
	t.Helper()
	return openStage(t, filepath.Join(t.TempDir(), "cloakroom.db"), options...)
}

func openStage(t testing.TB, path string, options ...func(*Config, *Parts)) *stage {
	t.Helper()
	log := slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s := &stage{t: t, meters: NewMeters(), acts: &fakeActs{}}
	var err error
	if s.db, err = db.Open(t.Context(), db.Options{Path: path, Log: log}, migrations()...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.db.Close() })
	if s.jobs, err = jobs.New(t.Context(), s.db, jobs.Options{Node: "mx.acmecorp.test", Log: log}); err != nil {
		t.Fatal(err)
	}
	s.links = sisa.NewLinks(s.db, time.Now)
	s.db.Observe(s.meters.Commit)
	cfg := DefaultConfig()
	p := Parts{Meters: s.meters, DB: s.db, Jobs: s.jobs, Links: s.links, Acts: s.acts, Build: Build{"1.2.3", "abcdef"}, Node: "mx.acmecorp.test",
		Targets: func() []Target {
			return []Target{{"assets", "sftp", "cloakroom@vault.acmecorp.test:22"}, {"backup", "dir", "/srv/backup"}}
		},
		Disk:  func() (int64, int64, bool, error) { return 300 << 30, 1 << 40, false, nil },
		Loops: func() int64 { return 3 }, Mode: func() string { return "enforce" }, Now: time.Now, Log: log,
		Checks: []Check{{"database", func(ctx context.Context) (string, error) { return "", s.db.Read().PingContext(ctx) }}},
	}
	for _, o := range options {
		o(&cfg, &p)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if s.server, err = Open(cfg, p); err != nil {
		t.Fatal(err)
	}
	s.http = httptest.NewServer(s.server.Handler())
	t.Cleanup(s.http.Close)
	return s
}

type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// withPassword lets alice in, whose password is "correct horse".
func withPassword(t testing.TB) func(*Config, *Parts) {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("correct horse"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	line := "alice:" + string(hash)
	file := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(file, []byte("# administrators\n"+line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(c *Config, _ *Parts) { c.PasswordFile = file }
}

func (s *stage) commit(f func(ctx context.Context, tx db.Tx) error) {
	s.t.Helper()
	if err := s.db.Commit(s.t.Context(), nil, f); err != nil {
		s.t.Fatal(err)
	}
}

// mail is a mail as the flow records it; its token is returned.
func (s *stage) mail(n int, subject string) (ledger.Key, string) {
	s.t.Helper()
	return s.guarded(n, subject, sisa.Guard{})
}

// guarded is mail whose link does not open to everybody.
func (s *stage) guarded(n int, subject string, guard sisa.Guard) (ledger.Key, string) {
	s.t.Helper()
	key := ledger.KeyOf(fmt.Sprintf("<%d@acmecorp.test>", n), "date", "alice@acmecorp.test", []string{"bob@ext.test"}, [32]byte{byte(n)})
	received := time.Now().Add(-time.Duration(n) * time.Minute)
	m := &ledger.Mail{Key: key, QueueID: fmt.Sprintf("4X%06d", n), MessageID: fmt.Sprintf("<%d@acmecorp.test>", n), Subject: subject,
		Sender: "alice@acmecorp.test", Recipients: []string{"bob@ext.test", "carol@acmecorp.test"}, Client: "192.0.2.7", Received: received, Size: 2_345_678,
		Parts: []ledger.Part{
			{Index: 1, Type: "text/plain", Size: 320, Rule: "body"},
			{Index: 2, Name: "plans for the new building.pdf", Type: "application/pdf", Sniffed: "application/pdf", Size: 1_800_000, SHA256: ledger.Hash{byte(n), 1}, Linked: true, Rule: "large files become links"},
			{Index: 3, Name: "contract.docx", Type: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", Size: 60_000, SHA256: ledger.Hash{byte(n), 2}, Rule: `rule "contracts stay in the mail" keeps it`},
		}}
	var grant sisa.Grant
	s.commit(func(ctx context.Context, tx db.Tx) (err error) {
		if _, err = ledger.Put(ctx, tx, m); err != nil {
			return err
		}
		if err = sisa.Use(ctx, tx, m.Parts[1].SHA256, m.Parts[1].Size, received); err != nil {
			return err
		}
		grant, err = sisa.Issue(ctx, tx, testKey, sisa.Wish{Mail: key, Parts: []int{2}, Life: 90 * 24 * time.Hour, Now: received, Guard: guard})
		return err
	})
	return key, grant.Token
}

// upload queues the upload of a mail's file.
func (s *stage) upload(key ledger.Key, n int, target string) string {
	s.t.Helper()
	u := &vault.Upload{Target: target, Path: fmt.Sprintf("alice/2026/11/plans %d.pdf", n), SHA256: [32]byte{byte(n), 1}, Size: 1_800_000, Owner: "alice@acmecorp.test",
		About: vault.About{Mail: key, Part: 2, Inner: n, Name: "plans for the new building.pdf", Sender: "alice@acmecorp.test", QueueID: fmt.Sprintf("4X%06d", n)}}
	j, err := u.Job(time.Now().Add(time.Hour))
	if err != nil {
		s.t.Fatal(err)
	}
	s.commit(func(ctx context.Context, tx db.Tx) error { return s.jobs.Enqueue(ctx, tx, j) })
	return j.Key
}

// fail makes a job failed, as it is after days.
func (s *stage) fail(key string, why string, age time.Duration) {
	s.t.Helper()
	s.commit(func(ctx context.Context, tx db.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE jobs SET state = 'failed', last_error = $2, attempts = 12, created = $3 WHERE key = $1`, key, why, time.Now().Add(-age).UnixMilli())
		return err
	})
}

// copies queues a copy of a mail.
func (s *stage) copies(key ledger.Key) string {
	s.t.Helper()
	payload, err := json.Marshal(flow.Copy{Mail: key, QueueID: "4X1", Sender: "alice@acmecorp.test", Recipients: []flow.CopyRecipient{{Recipient: flow.Recipient{Address: "carol@gapps.acmecorp.test"}}}})
	if err != nil {
		s.t.Fatal(err)
	}
	j := jobs.Job{Key: "copy-" + key.String()[:16] + "-0123456789abcdef", Kind: flow.JobCopy, Owner: "carol@gapps.acmecorp.test", Payload: payload}
	s.commit(func(ctx context.Context, tx db.Tx) error { return s.jobs.Enqueue(ctx, tx, j) })
	return j.Key
}

// look makes the watch see the database as it is.
func (s *stage) look() {
	s.t.Helper()
	s.server.watch.lookAtQueue(s.t.Context())
	s.server.watch.runChecks(s.t.Context())
	s.server.watch.survey(s.t.Context())
}

// get asks as alice, if she can be.
func (s *stage) get(path string) (int, string) {
	s.t.Helper()
	status, body, _ := s.request("GET", path, nil)
	return status, body
}

func (s *stage) request(method, path string, change func(*http.Request)) (int, string, *http.Response) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.SetBasicAuth("alice", "correct horse")
	if change != nil {
		change(r)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := fmt.Fprint(&b, readAll(s.t, resp)); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, b.String(), resp
}

func filterOf(key ledger.Key) sisa.Filter {
	return sisa.Filter{Mails: ledger.Filter{Mail: key.String()}}
}
