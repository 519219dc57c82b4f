package vault_test

// The worker with a real queue and store, and a folder as its target.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/sisa"
	"cloakroom/sisa/blob"
	"cloakroom/vault"
	"cloakroom/vault/dir"
)

// counted is a destination that counts what it is asked for, and fails when it
// is told to.
type counted struct {
	vault.Destination
	puts, copies, sweeps atomic.Int64
	fault                atomic.Pointer[vault.Fault]
}

func (d *counted) Put(ctx context.Context, path string, c vault.Content, attempt string) error {
	if f := d.fault.Load(); f != nil {
		return f
	}
	d.puts.Add(1)
	return d.Destination.Put(ctx, path, c, attempt)
}

func (d *counted) Copy(ctx context.Context, from, path string, c vault.Content, attempt string) error {
	err := d.Destination.Copy(ctx, from, path, c, attempt)
	if err == nil {
		d.copies.Add(1)
	}
	return err
}

func (d *counted) Sweep(ctx context.Context, age time.Duration) (int, error) {
	d.sweeps.Add(1)
	if f := d.fault.Load(); f != nil {
		return 0, f
	}
	return d.Destination.Sweep(ctx, age)
}

// bench is a worker at work.
type bench struct {
	base   string
	target *counted
	db     *db.DB
	jobs   *jobs.Store
	blobs  *blob.Local
	worker *vault.Worker
}

func newBench(t *testing.T) *bench {
	t.Helper()
	folder, log := t.TempDir(), slog.New(slog.DiscardHandler)
	b := &bench{base: filepath.Join(folder, "spaces")}
	if err := os.Mkdir(b.base, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.db, err = db.Open(context.WithoutCancel(t.Context()), db.Options{Path: filepath.Join(folder, "test.db"), Log: log}, slices.Concat(ledger.Migrations, sisa.Migrations, jobs.Migrations, vault.Migrations)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.db.Close() })
	quick := jobs.Backoff{Min: 5 * time.Millisecond, Max: 5 * time.Millisecond}
	if b.jobs, err = jobs.New(t.Context(), b.db, jobs.Options{Node: "test", Log: log,
		Retry: map[string]jobs.Retry{vault.JobKind: {Job: quick, Target: quick, MaxAge: time.Hour}}}); err != nil {
		t.Fatal(err)
	}
	if b.blobs, err = blob.OpenLocal(filepath.Join(folder, "blobs")); err != nil {
		t.Fatal(err)
	}
	cfg := dir.DefaultConfig()
	cfg.Base = b.base
	d, err := dir.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.target = &counted{Destination: d}
	settings := vault.DefaultTarget()
	settings.Parallel = 8
	b.worker = &vault.Worker{DB: b.db, Jobs: b.jobs, Blobs: b.blobs, Now: time.Now, Log: log,
		Targets: map[string]*vault.Outlet{"assets": vault.NewOutlet(b.target, settings)}}
	return b
}

// add queues a file for a space.
func (b *bench) add(t *testing.T, mail byte, path string, content []byte, sidecar bool) {
	t.Helper()
	u := &vault.Upload{Target: "assets", Path: path, Place: path, SHA256: sha256.Sum256(content), Size: int64(len(content)), Owner: "bob@acmecorp.test"}
	u.About.Mail[0], u.About.Sidecar, u.About.QueueID = mail, sidecar, fmt.Sprint("q", mail)
	ref := blob.Ref{SHA256: u.SHA256, Size: u.Size}
	if _, err := b.blobs.Put(t.Context(), ref, func(w io.Writer) error { _, err := w.Write(content); return err }); err != nil {
		t.Fatal(err)
	}
	j, err := u.Job(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.db.Commit(t.Context(), nil, func(ctx context.Context, tx db.Tx) error { return b.jobs.Enqueue(ctx, tx, j) }); err != nil {
		t.Fatal(err)
	}
}

// work runs the queue until a condition holds.
func (b *bench) work(t *testing.T, until func() bool) {
	t.Helper()
	p, err := jobs.NewPool(b.jobs, jobs.PoolOptions{Poll: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler)},
		jobs.Kind{Name: vault.JobKind, Workers: 8, Limit: b.worker.Parallel, Handle: b.worker.Handle})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); !until(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not within 20 s: %v", b.states(t))
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func (b *bench) states(t *testing.T) map[jobs.State]int64 {
	t.Helper()
	stats, err := b.jobs.Stats(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	out := map[jobs.State]int64{}
	for _, s := range stats {
		out[s.State] += s.Count
	}
	return out
}

func (b *bench) allDone(t *testing.T) func() bool {
	return func() bool { n := b.states(t); return n[jobs.Waiting]+n[jobs.Running] == 0 }
}

func TestOneContentForManySpacesIsUploadedOnce(t *testing.T) {
	b := newBench(t)
	content := []byte(strings.Repeat("a newsletter ", 10_000))
	for i := range 40 {
		b.add(t, byte(i), fmt.Sprintf("user %d/news.pdf", i), content, false)
	}
	b.work(t, b.allDone(t))
	if puts, copies := b.target.puts.Load(), b.target.copies.Load(); puts != 1 || copies != 39 {
		t.Errorf("%d uploads and %d copies, want 1 and 39", puts, copies)
	}
	for i := range 40 {
		if got, err := os.ReadFile(filepath.Join(b.base, fmt.Sprintf("user %d", i), "news.pdf")); err != nil || string(got) != string(content) {
			t.Errorf("space %d: %d bytes, %v", i, len(got), err)
		}
	}
}

func TestASourceThatAUserChangedIsNotCopied(t *testing.T) {
	b := newBench(t)
	b.add(t, 1, "one/plan.pdf", []byte("as it was sent"), false)
	b.work(t, b.allDone(t))
	if err := os.WriteFile(filepath.Join(b.base, "one", "plan.pdf"), []byte("changed since."), 0o600); err != nil {
		t.Fatal(err)
	}
	b.add(t, 2, "two/plan.pdf", []byte("as it was sent"), false)
	b.add(t, 3, "one/plan.pdf", []byte("as it was sent"), false)
	b.work(t, b.allDone(t))
	for path, want := range map[string]string{"one/plan.pdf": "changed since.", "one/plan (2).pdf": "as it was sent", "two/plan.pdf": "as it was sent"} {
		if got, err := os.ReadFile(filepath.Join(b.base, path)); err != nil || string(got) != want {
			t.Errorf("%s has %q, %v", path, got, err)
		}
	}
}

// TestAJobDoneTwiceLeavesOneFileAndOneDescription: the process died after the
// deed and before it was written down.
func TestAJobDoneTwiceLeavesOneFileAndOneDescription(t *testing.T) {
	b := newBench(t)
	b.add(t, 1, "bob/plan.pdf", []byte("a plan"), true)
	got, err := b.jobs.Claim(t.Context(), jobs.Claim{Kind: vault.JobKind, Limit: 1, Lease: time.Minute})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	for range 2 {
		if _, err := b.worker.Handle(t.Context(), got[0]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.jobs.FreeOwn(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.work(t, b.allDone(t))
	files, err := filepath.Glob(filepath.Join(b.base, "bob", "*"))
	want := []string{filepath.Join(b.base, "bob", "plan.pdf"), filepath.Join(b.base, "bob", "plan.pdf.json")}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("there are %v, %v", files, err)
	}
}

func TestATargetThatLetsNobodyInIsLeftAloneUntilItIsReleased(t *testing.T) {
	b := newBench(t)
	b.target.fault.Store(&vault.Fault{Scope: vault.Access, Err: errors.New("wrong password")})
	// The first look, at the start, is enough to know it.
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { b.worker.Run(ctx); close(ended) }()
	held := func() bool {
		all, err := b.jobs.Targets(t.Context())
		return err == nil && len(all) == 1 && all[0].Held
	}
	for deadline := time.Now().Add(10 * time.Second); !held(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the target is not held")
		}
	}
	stop()
	<-ended
	b.add(t, 1, "bob/plan.pdf", []byte("a plan"), false)
	swept := b.target.sweeps.Load()
	again, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	go b.worker.Run(again)
	b.work(t, func() bool { return again.Err() != nil })
	if n := b.states(t)[jobs.Waiting]; n != 1 || b.target.sweeps.Load() != swept {
		t.Errorf("%d jobs wait; looked through again: %v", n, b.target.sweeps.Load() != swept)
	}
	b.target.fault.Store(nil)
	if err := b.jobs.ReleaseTarget(t.Context(), vault.JobKind, "assets"); err != nil {
		t.Fatal(err)
	}
	b.work(t, b.allDone(t))
	if _, err := os.Stat(filepath.Join(b.base, "bob", "plan.pdf")); err != nil {
		t.Error(err)
	}
}
