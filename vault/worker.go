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
	"slices"
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

	turns    turns    // of uploads of one content to one target
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
	r, about, err := Open(&j)
	if err != nil {
		return nil, jobs.Permanent(err)
	}
	t := w.Targets[r.Target]
	if t == nil {
		return nil, jobs.TargetDown(fmt.Errorf("the configuration has no target %q", r.Target))
	}
	c, err := w.content(ctx, r, t)
	if err != nil {
		return nil, err
	}
	sent, stop := w.progress.watch(r.Job)
	defer stop()
	c.Progress = sent
	start := w.Now()
	path, how, err := w.place(ctx, t, r, c, attempt(j))
	if err == nil && about.Sidecar {
		err = w.sidecar(ctx, t, r, *about, path, attempt(j))
	}
	if err != nil {
		return nil, w.meaning(ctx, j, &namedError{err, r.Wanted})
	}
	w.Log.Info("file is in the vault", "queue_id", about.QueueID, "target", r.Target, "owner", r.Owner, "path", path,
		"bytes", r.Size, "how", how, "ms", w.Now().Sub(start).Milliseconds())
	return finish(r, path, w.Now()), nil
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
// and tells how it came there. The first of several with the same content
// uploads it; the others wait for that, and then have it copied.
func (w *Worker) place(ctx context.Context, t *Outlet, r *Record, c Content, attempt string) (path, how string, err error) {
	turn, handOn, err := w.turns.take(ctx, r.Target+" "+r.SHA256.String())
	if err != nil {
		return "", "", err
	}
	defer handOn()
	from, err := w.sources(ctx, r, turn.path)
	if err != nil {
		return "", "", err
	}
	if len(from) > 0 {
		handOn()
		return w.placeAs(ctx, t, r, c, attempt, from)
	}
	path, how, err = w.placeAs(ctx, t, r, c, attempt, nil)
	if err == nil {
		turn.path = path
	}
	return path, how, err
}

// sources lists where the target has the content already; latest is a path that
// is not written down yet.
func (w *Worker) sources(ctx context.Context, r *Record, latest string) ([]string, error) {
	var out []string
	if latest != "" {
		out = append(out, latest)
	}
	done, err := elsewhere(ctx, w.DB.Read(), r)
	for _, o := range done {
		out = append(out, o.Path)
	}
	return out, err
}

// placeAs is place with what the content can be copied from.
func (w *Worker) placeAs(ctx context.Context, t *Outlet, r *Record, c Content, attempt string, from []string) (path, how string, err error) {
	for n := 1; n <= maxVariants; n++ {
		path := name.Variant(r.Wanted, n, c.SHA256)
		for range takenTwice {
			how, err = put(ctx, t, path, c, attempt, from)
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
func put(ctx context.Context, t *Outlet, path string, c Content, attempt string, from []string) (how string, err error) {
	for _, source := range from {
		if source == path {
			continue
		}
		switch err := t.Copy(ctx, source, path, c, attempt); {
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
		w.hold(ctx, j.Target, err)
		return jobs.TargetDown(err)
	}
	return err
}

// hold has a target left alone until an administrator releases it.
func (w *Worker) hold(ctx context.Context, target string, why error) {
	if err := w.Jobs.HoldTarget(context.WithoutCancel(ctx), JobKind, target); err != nil {
		w.Log.Error("target cannot be held", "target", target, "err", err)
		return
	}
	w.Log.Error("target is held until an administrator releases it", "target", target, "err", why)
}

// held tells whether a target is to be left alone; if that cannot be told, it is.
func (w *Worker) held(ctx context.Context, target string) bool {
	all, err := w.Jobs.Targets(ctx)
	if err != nil {
		return true
	}
	return slices.ContainsFunc(all, func(t jobs.Target) bool { return t.Kind == JobKind && t.Target == target && t.Held })
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

// sweep looks through a target now and then, but not while it is held.
func (w *Worker) sweep(ctx context.Context, target string, t *Outlet) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if !w.held(ctx, target) {
			w.sweepOnce(ctx, target, t)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *Worker) sweepOnce(ctx context.Context, target string, t *Outlet) {
	n, err := t.Sweep(ctx, staleTemp)
	var f *Fault
	switch {
	case errors.As(err, &f) && f.Scope == Access:
		w.hold(ctx, target, err)
	case err != nil && ctx.Err() == nil:
		w.Log.Warn("target cannot be looked through for temporary files", "target", target, "err", err)
	case n > 0:
		w.Log.Info("temporary files of uploads that died removed", "target", target, "files", n)
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
