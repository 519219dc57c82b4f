package vault

// The worker: takes an upload's content from the store to its place on the
// target, and tells the queue what a failure means.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/sisa/blob"
	"cloakroom/vault/name"
)

const (
	// maxVariants is how many names are tried for one file: nine numbers, and
	// the hash, which only the same content shares.
	maxVariants = 10
	// staleTemp is the age from which a temporary file is of a worker that died:
	// longer than any upload may take.
	staleTemp = 24 * time.Hour
	// sweepEvery is how often targets are looked through for such files.
	sweepEvery = 6 * time.Hour
	// takenTwice bounds how often a name is tried that is taken and then not.
	takenTwice = 3
)

// Outlet is a configured target: a destination with its settings.
type Outlet struct {
	Destination
	Config TargetConfig
	limit  *limiter
}

// NewOutlet puts a destination and its settings together.
func NewOutlet(d Destination, c TargetConfig) *Outlet {
	return &Outlet{Destination: d, Config: c, limit: newLimiter(c.Bandwidth)}
}

// Worker works the jobs of uploads. All fields are set before first use.
type Worker struct {
	DB      *db.DB
	Jobs    *jobs.Store
	Blobs   blob.Store
	Targets map[string]*Outlet
	Now     func() time.Time
	Log     *slog.Logger

	same     keyed    // uploads of one content to one target wait for each other
	progress progress // of what is under way
}

// Parallel is how many uploads a target takes at the same time.
func (w *Worker) Parallel(target string) int {
	if t := w.Targets[target]; t != nil {
		return t.Config.Parallel
	}
	return 1
}

// Handle works one job.
func (w *Worker) Handle(ctx context.Context, j jobs.Job) (jobs.Effect, error) {
	var about About
	if err := json.Unmarshal(j.Payload, &about); err != nil {
		return nil, jobs.Permanent(fmt.Errorf("payload: %w", err))
	}
	r, err := Get(ctx, w.DB.Read(), j.Key)
	if errors.Is(err, ErrNoUpload) {
		return nil, jobs.Permanent(err)
	}
	if err != nil {
		return nil, err
	}
	t := w.Targets[r.Target]
	if t == nil {
		return nil, jobs.TargetDown(fmt.Errorf("the configuration has no target %q", r.Target))
	}
	c, err := w.content(ctx, r, t)
	if err != nil {
		return nil, err
	}
	stop := w.progress.watch(r.Job)
	defer stop()
	c.Progress = w.progress.sent(r.Job)
	start := w.Now()
	path, how, err := w.place(ctx, t, r, c, attempt(j))
	if err == nil && about.Sidecar {
		err = w.sidecar(ctx, t, r, about, path, attempt(j))
	}
	if err != nil {
		return nil, w.meaning(ctx, j, err)
	}
	w.Log.Info("file is in the vault", "queue_id", about.QueueID, "target", r.Target, "owner", r.Owner, "path", path,
		"bytes", r.Size, "how", how, "ms", w.Now().Sub(start).Milliseconds())
	return finish(path, r.Job, w.Now()), nil
}

// content opens the blob, as fast as the target's bandwidth allows.
func (w *Worker) content(ctx context.Context, r *Record, t *Outlet) (Content, error) {
	if _, err := w.Blobs.Stat(ctx, r.SHA256); errors.Is(err, blob.ErrNotExist) {
		return Content{}, jobs.Permanent(fmt.Errorf("the store no longer has the content %s", r.SHA256))
	} else if err != nil {
		return Content{}, err
	}
	return Content{SHA256: r.SHA256, Size: r.Size, Open: func() (io.ReadSeekCloser, error) {
		f, err := w.Blobs.Open(ctx, r.SHA256)
		if err != nil {
			return nil, err
		}
		return t.limit.slow(ctx, f), nil
	}}, nil
}

// attempt names one claim of a job, in temporary names too.
func attempt(j jobs.Job) string { return fmt.Sprintf("%x-%d", digest(j.Key), j.Fence) }

func digest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:8]
}

// place puts the content under the first name that is free or has it already,
// and tells how it came there.
func (w *Worker) place(ctx context.Context, t *Outlet, r *Record, c Content, attempt string) (path, how string, err error) {
	defer w.same.lock(r.Target + " " + r.SHA256.String())()
	for n := 1; n <= maxVariants; n++ {
		path := name.Variant(r.Wanted, n, c.SHA256)
		for range takenTwice {
			how, err = w.put(ctx, t, r, path, c, attempt)
			if !errors.Is(err, ErrTaken) {
				return path, how, err
			}
			same, err := t.Same(ctx, path, c)
			switch {
			case errors.Is(err, fs.ErrNotExist): // gone meanwhile
				continue
			case err != nil:
				return "", "", err
			case same:
				return path, "there already", nil
			}
			break
		}
	}
	return "", "", &Fault{Scope: ThisPath, Hint: "move the files of this name elsewhere, then retry",
		Err: fmt.Errorf("%s and its %d variants are all taken by other files", r.Wanted, maxVariants-1)}
}

// put copies on the target what is there under another path, or uploads.
func (w *Worker) put(ctx context.Context, t *Outlet, r *Record, path string, c Content, attempt string) (how string, err error) {
	others, err := elsewhere(ctx, w.DB.Read(), r)
	if err != nil {
		return "", err
	}
	for _, o := range others {
		if o.Path == path {
			continue
		}
		switch err := t.Copy(ctx, o.Path, path, c, attempt); {
		case err == nil:
			return "copied on the server", nil
		case !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
	}
	return "uploaded", t.Put(ctx, path, c, attempt)
}

// sidecar puts the description beside the file.
func (w *Worker) sidecar(ctx context.Context, t *Outlet, r *Record, about About, path, attempt string) error {
	text, err := json.MarshalIndent(struct {
		About
		File   string `json:"file"`
		Owner  string `json:"owner"`
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
	}{about, path, r.Owner, r.Size, r.SHA256.String()}, "", "  ")
	if err != nil {
		return fmt.Errorf("description of %s: %w", path, err)
	}
	text = append(text, '\n')
	c := Content{SHA256: sha256.Sum256(text), Size: int64(len(text)), Open: func() (io.ReadSeekCloser, error) {
		return nopCloser{bytes.NewReader(text)}, nil
	}}
	beside := *r
	beside.Wanted, beside.SHA256 = path+".json", c.SHA256
	_, _, err = w.place(ctx, t, &beside, c, attempt+"j")
	return err
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// meaning tells the queue what a failure is about. A target that does not let us
// in is held: trying again would lock accounts, or hand a password to whoever
// answers in its place.
func (w *Worker) meaning(ctx context.Context, j jobs.Job, err error) error {
	var f *Fault
	if !errors.As(err, &f) {
		return err
	}
	if f.Hint != "" {
		err = fmt.Errorf("%w (%s)", err, f.Hint)
	}
	switch f.Scope {
	case ThisPath:
		return jobs.Permanent(err)
	case Target:
		return jobs.TargetDown(err)
	case Access:
		if herr := w.Jobs.HoldTarget(context.WithoutCancel(ctx), JobKind, j.Target); herr != nil {
			w.Log.Error("target cannot be held", "target", j.Target, "err", herr)
		} else {
			w.Log.Error("target is held until an administrator releases it", "target", j.Target, "err", err)
		}
		return jobs.TargetDown(err)
	}
	return err
}

// Run writes down progress and sweeps targets until ctx ends.
func (w *Worker) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { w.progress.write(ctx, w.DB, w.Log) })
	for targetName, t := range w.Targets {
		all.Go(func() { w.sweep(ctx, targetName, t) })
	}
	all.Wait()
}

func (w *Worker) sweep(ctx context.Context, target string, t *Outlet) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if n, err := t.Sweep(ctx, staleTemp); err != nil && ctx.Err() == nil {
			w.Log.Warn("target cannot be looked through for temporary files", "target", target, "err", err)
		} else if n > 0 {
			w.Log.Info("temporary files of uploads that died removed", "target", target, "files", n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Close ends all connections.
func (w *Worker) Close() error {
	var errs []error
	for _, t := range w.Targets {
		errs = append(errs, t.Destination.Close())
	}
	return errors.Join(errs...)
}
