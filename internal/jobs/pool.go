package jobs

// Workers: taking jobs as there is room for them, and stopping in good order.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// defaultPoll is how long a job may wait that another node enqueued, or
	// whose time has come. An idle look is two reads of an index.
	defaultPoll = time.Second
	// defaultGrace is how long jobs under way may go on when the pool stops;
	// service managers kill after 90 s.
	defaultGrace = 30 * time.Second
	// defaultLease outlives a node's pause, and is short enough for a node's
	// jobs to move to another while somebody still waits for the mail.
	defaultLease = 2 * time.Minute
)

// Handler does a job. It must bear being repeated, and end soon once ctx does:
// that is when the pool has stopped, or the lease is lost and another worker
// may have the job. What it returns beside nil is written in the transaction
// that completes the job. Its errors may be Permanent or TargetDown.
type Handler func(ctx context.Context, j Job) (Effect, error)

// Kind says how the jobs of one kind are worked.
type Kind struct {
	Name      string
	Workers   int // jobs under way in this process; at least 1
	PerTarget int // of which for one target; 0: all
	// Limit, if not nil, tells it for each target instead; at least 1.
	Limit  func(target string) int
	Lease  time.Duration // renewed while a job runs; 0: two minutes
	Handle Handler
}

// limit is how many jobs of a target are worked at the same time.
func (k *Kind) limit(target string) int {
	if k.Limit == nil {
		return k.PerTarget
	}
	return max(1, k.Limit(target))
}

// PoolOptions of a Pool; zero values mean the defaults.
type PoolOptions struct {
	Poll  time.Duration // how often to look without being woken; 1 s
	Grace time.Duration // how long jobs may go on after the pool was stopped; 30 s
	Log   *slog.Logger
}

// ErrStopped is the cause of a handler's context that ended because the pool
// stopped.
var ErrStopped = errors.New("the worker is stopping")

// Pool works the jobs of some kinds in this process.
type Pool struct {
	store *Store
	opt   PoolOptions
	kinds []Kind
}

// NewPool checks the kinds; Run starts the work.
func NewPool(s *Store, o PoolOptions, kinds ...Kind) (*Pool, error) {
	if o.Poll <= 0 {
		o.Poll = defaultPoll
	}
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	p := &Pool{store: s, opt: o}
	seen := map[string]bool{}
	for _, k := range kinds {
		if k.Name == "" || k.Handle == nil || k.Workers < 1 || seen[k.Name] {
			return nil, fmt.Errorf("jobs: kind %q needs a name of its own, a handler and workers", k.Name)
		}
		seen[k.Name] = true
		if k.PerTarget <= 0 || k.PerTarget > k.Workers {
			k.PerTarget = k.Workers
		}
		if k.Lease <= 0 {
			k.Lease = defaultLease
		}
		p.kinds = append(p.kinds, k)
	}
	return p, nil
}

// Run works until ctx ends, and returns when no job is under way any more.
// Jobs get the grace time to finish, then their contexts end; what they leave
// is given back. The one error is a database that was closed under it.
func (p *Pool) Run(ctx context.Context) error {
	if err := p.freeOwn(ctx); err != nil {
		return err
	}
	// Jobs outlive ctx by the grace time, and their bookkeeping the jobs.
	work, stopWork := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopWork(ErrStopped)
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(p.opt.Grace, func() { stopWork(ErrStopped) })
		context.AfterFunc(work, func() { timer.Stop() })
	})()
	var wg sync.WaitGroup
	errs := make([]error, len(p.kinds))
	for i, k := range p.kinds {
		wg.Go(func() {
			w := &worker{store: p.store, kind: k, poll: p.opt.Poll, log: p.opt.Log.With("kind", k.Name), work: work,
				running: map[Ref]*claim{}, perTarget: map[string]int{}, freed: make(chan struct{}, 1)}
			errs[i] = w.run(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// freeOwn waits for the database if it must.
func (p *Pool) freeOwn(ctx context.Context) error {
	for wait := settleMin; ; wait = min(2*wait, settleMax) {
		n, err := p.store.FreeOwn(ctx)
		switch {
		case err == nil:
			if n > 0 {
				p.opt.Log.Info("jobs of an earlier run are taken up again", "jobs", n)
			}
			return nil
		case closed(err):
			return err
		case ctx.Err() != nil:
			return nil
		}
		p.opt.Log.Error("jobs cannot be started, trying again", "error", err)
		sleep(ctx, wait)
	}
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
