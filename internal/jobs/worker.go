package jobs

// One kind's worker: a loop that takes jobs, a goroutine for each job under
// way, and one that renews their leases.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"cloakroom/internal/db"
)

const (
	// Each attempt to write down how a job ended may take so long …
	settleTimeout = 30 * time.Second
	// … and the next one waits from settleMin, doubling, to settleMax.
	settleMin = 100 * time.Millisecond
	settleMax = 10 * time.Second
	// settleStopping is how long a stopping pool tries, in all.
	settleStopping = 10 * time.Second
	// effectAttempts is how often an Effect is tried that fails by itself.
	effectAttempts = 3
	// renewals in the time of one lease: two of them may fail.
	renewals = 3
)

type worker struct {
	store *Store
	kind  Kind
	poll  time.Duration
	log   *slog.Logger
	work  context.Context // of the handlers; outlives run's by the grace time
	freed chan struct{}   // a job ended: there is room

	mu        sync.Mutex
	running   map[Ref]*claim
	perTarget map[string]int
	jobs      sync.WaitGroup
}

// claim is a job under way.
type claim struct {
	job   Job
	until time.Time // by our own clock the lease has ended by then
	lose  context.CancelCauseFunc
}

// run takes jobs until ctx ends, and waits for those under way.
func (w *worker) run(ctx context.Context) error {
	wake, unlisten := w.store.listen()
	defer unlisten()
	ended := make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() { w.renew(ended) })
	defer renewing.Wait()
	defer close(ended)
	defer w.jobs.Wait()
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	failing := false
	var checked time.Time
	for ctx.Err() == nil {
		if time.Since(checked) >= clockCheck {
			checked = time.Now()
			w.checkClock(ctx)
		}
		n, err := w.take(ctx)
		switch {
		case closed(err):
			return fmt.Errorf("work on %s jobs: %w", w.kind.Name, err)
		case err != nil && ctx.Err() == nil && !failing:
			w.log.Error("jobs cannot be taken, trying again", "error", err)
		}
		failing = err != nil
		if n > 0 {
			continue // there may be more, as long as there is room
		}
		select {
		case <-ctx.Done():
		case <-wake:
		case <-w.freed:
		case <-poll.C:
		}
	}
	return nil
}

// checkClock looks whether the database's clock was set back.
func (w *worker) checkClock(ctx context.Context) {
	switch n, err := w.store.setRight(ctx, w.kind.Name, w.kind.Lease); {
	case err != nil && ctx.Err() == nil:
		w.log.Error("times of jobs cannot be checked", "error", err)
	case n > 0:
		w.log.Warn("the clock was set back: jobs that waited for times far ahead are due again", "jobs", n)
	}
}

// take claims as many jobs as there is room for, and starts them.
func (w *worker) take(ctx context.Context) (int, error) {
	w.mu.Lock()
	free := w.kind.Workers - len(w.running)
	room := make(map[string]int, len(w.perTarget))
	for target, n := range w.perTarget {
		room[target] = w.kind.limit(target) - n
	}
	w.mu.Unlock()
	if free <= 0 {
		return 0, nil
	}
	begin := time.Now()
	// Not ctx: a claim that is cut off may have happened, and its jobs would
	// lie until their leases end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	taken, err := w.store.Claim(ctx, Claim{Kind: w.kind.Name, Limit: free, Lease: w.kind.Lease, Room: func(target string) int {
		if n, ok := room[target]; ok {
			return n
		}
		return w.kind.limit(target)
	}})
	for _, j := range taken {
		jobCtx, lose := context.WithCancelCause(w.work)
		c := &claim{job: j, until: begin.Add(w.kind.Lease), lose: lose}
		w.mu.Lock()
		w.running[j.Ref()] = c
		w.perTarget[j.Target]++
		w.mu.Unlock()
		w.jobs.Go(func() {
			defer w.end(c)
			w.do(jobCtx, j)
		})
	}
	return len(taken), err
}

func (w *worker) end(c *claim) {
	c.lose(nil)
	w.mu.Lock()
	delete(w.running, c.job.Ref())
	if w.perTarget[c.job.Target]--; w.perTarget[c.job.Target] == 0 {
		delete(w.perTarget, c.job.Target)
	}
	w.mu.Unlock()
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

// do runs the handler and writes down how it went.
func (w *worker) do(ctx context.Context, j Job) {
	log := w.log.With("job", j.Key, "target", j.Target, "attempt", j.Attempts)
	begin := time.Now()
	effect, err := w.handle(ctx, j, log)
	switch {
	case err == nil:
		w.complete(j.Ref(), effect, log.With("duration", time.Since(begin)))
	case errors.Is(context.Cause(ctx), ErrStopped):
		w.settle("given back", log, func(ctx context.Context) error { return w.store.GiveBack(ctx, j.Ref()) })
	default:
		log.Warn("job failed", "error", err, "permanent", isPermanent(err), "target_down", isDown(err))
		w.settle("failed", log, func(ctx context.Context) error { return w.store.Fail(ctx, j.Ref(), err) })
	}
}

// handle calls the handler; one broken job must not end the process.
func (w *worker) handle(ctx context.Context, j Job, log *slog.Logger) (effect Effect, err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic in a job", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return w.kind.Handle(ctx, j)
}

// complete writes that a job is done. An effect that cannot be written is the
// job's failure.
func (w *worker) complete(ref Ref, effect Effect, log *slog.Logger) {
	tries := 0
	var broken error
	w.settle("done", log, func(ctx context.Context) error {
		err := w.store.Complete(ctx, ref, effect)
		if _, ok := errors.AsType[effectError](err); ok && !errors.Is(err, db.ErrUnknown) {
			if tries++; tries == effectAttempts {
				broken = err
				return nil
			}
		}
		return err
	})
	if broken != nil {
		log.Error("what a finished job has to write cannot be written: it will be done again", "error", broken)
		w.settle("failed", log, func(ctx context.Context) error { return w.store.Fail(ctx, ref, broken) })
	}
}

// settle writes down how a job ended, for as long as it takes: the lease is
// renewed meanwhile. Every write of the store may be repeated. A pool that
// stops tries a while; then the lease runs out, or the next start frees it.
func (w *worker) settle(outcome string, log *slog.Logger, write func(context.Context) error) {
	var giveUp time.Time
	for wait := settleMin; ; wait = min(2*wait, settleMax) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.work), settleTimeout)
		err := write(ctx)
		cancel()
		switch {
		case err == nil:
			log.Debug("job ended", "outcome", outcome)
			return
		case errors.Is(err, ErrFenced):
			log.Warn("job was another's before it ended here", "outcome", outcome)
			return
		case w.work.Err() != nil && giveUp.IsZero():
			giveUp = time.Now().Add(settleStopping)
		}
		if closed(err) || !giveUp.IsZero() && time.Now().After(giveUp) {
			log.Error("end of a job was not recorded: it will be done again", "outcome", outcome, "error", err)
			return
		}
		log.Error("end of a job cannot be recorded, trying again", "outcome", outcome, "error", err)
		sleep(w.work, wait)
		if w.work.Err() != nil {
			time.Sleep(settleMin) // the context no longer waits
		}
	}
}

func closed(err error) bool { return errors.Is(err, db.ErrClosed) }

// renew extends the leases of all jobs under way until ended is closed. A job
// whose lease is lost, or may be by now, has its context ended.
func (w *worker) renew(ended <-chan struct{}) {
	tick := time.NewTicker(w.kind.Lease / renewals)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		w.mu.Lock()
		refs := make([]Ref, 0, len(w.running))
		for ref := range w.running {
			refs = append(refs, ref)
		}
		w.mu.Unlock()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.work), w.kind.Lease/renewals)
		lost, err := w.store.Renew(ctx, refs, w.kind.Lease)
		cancel()
		if err != nil {
			w.log.Error("leases cannot be renewed", "jobs", len(refs), "error", err)
		}
		w.renewed(refs, lost, err == nil, begin)
	}
}

// renewed notes which leases hold until when.
func (w *worker) renewed(refs, lost []Ref, ok bool, begin time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ok {
		for _, ref := range refs {
			if c := w.running[ref]; c != nil {
				c.until = begin.Add(w.kind.Lease)
			}
		}
	}
	for _, ref := range lost {
		if c := w.running[ref]; c != nil {
			c.until = begin
		}
	}
	for _, c := range w.running {
		if !time.Now().Before(c.until) {
			c.lose(ErrFenced)
		}
	}
}
