package admin

// What is looked at in the background, so that neither a scrape nor a page waits
// for it: the queue, the checks, the sizes; and what is written down every minute.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cloakroom/internal/db"
	"cloakroom/internal/jobs"
	"cloakroom/ledger"
	"cloakroom/ledger/hours"
)

const (
	// queueEvery is how often the queue is counted, unless that takes more than
	// countShare of the time: a million jobs take 100 ms.
	queueEvery = 5 * time.Second
	countShare = 20
	// checkEvery is how often the checks are made beside those that are asked for.
	checkEvery = 10 * time.Second
	// flushEvery is how much of the counting a crash loses.
	flushEvery = time.Minute
	// surveyEvery is how often links, records and files are counted, unless that
	// takes more than surveyShare of the time: ten million take seconds.
	surveyEvery = time.Hour
	surveyShare = 200
	// surveyFirst is when, after a start, the first count is made.
	surveyFirst = 15 * time.Second
	// keepHours is how long hours are kept: this year and the one before, to
	// compare.
	keepHours = 2 * 366 * 24 * time.Hour
	// tick is how often the watch looks at what is due.
	tick = time.Second
	// quitTime is what the last flush may take.
	quitTime = 5 * time.Second
)

// sizes are what was last counted of the whole store.
type sizes struct {
	At                         time.Time
	Links, Mails, Blobs, Bytes int64
}

// state is what was last seen. It is replaced, never changed.
type state struct {
	stats   []jobs.Stat
	targets []jobs.Target
	queueAt time.Time // zero: never
	took    time.Duration
	trouble string // why the queue could not be looked at; "" when it could

	sizes sizes
}

// watch keeps a state fresh.
type watch struct {
	p   Parts
	now func() time.Time

	noted time.Time // up to when the journal has what was counted; zero: not known

	mu     sync.Mutex
	state  state
	checks checks
}

func (w *watch) current() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

func (w *watch) change(f func(*state)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.state)
}

// run looks at everything again and again until ctx ends; then it writes down
// what was counted.
func (w *watch) run(ctx context.Context) {
	w.recall(ctx)
	var queueDue, checkDue time.Time
	flushDue, surveyDue := w.now().Add(flushEvery), w.now().Add(surveyFirst)
	beat := time.NewTicker(tick)
	defer beat.Stop()
	for {
		now := w.now()
		if !now.Before(queueDue) {
			w.lookAtQueue(ctx)
			queueDue = w.now().Add(max(queueEvery, countShare*w.current().took))
		}
		if !now.Before(checkDue) {
			w.runChecks(ctx)
			checkDue = w.now().Add(checkEvery)
		}
		if !now.Before(flushDue) {
			w.flushAndTell(ctx)
			flushDue = now.Add(flushEvery)
			w.note(ctx, now, false)
		}
		if !now.Before(surveyDue) {
			took := w.survey(ctx)
			surveyDue = w.now().Add(max(surveyEvery, surveyShare*took))
		}
		select {
		case <-beat.C:
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTime)
			defer cancel()
			w.flushAndTell(ctx)
			w.note(ctx, w.now(), true)
			return
		}
	}
}

// note has the journal keep what was counted, once an hour and at the end.
func (w *watch) note(ctx context.Context, now time.Time, end bool) {
	hour := now.Truncate(time.Hour)
	if !end && hour.Equal(w.noted) {
		return
	}
	last := hour.Add(-time.Hour) // which is over
	if end {
		last = hour
	}
	if err := hours.Note(ctx, w.p.DB, w.p.Node, last); err != nil {
		if ctx.Err() == nil {
			w.p.Log.Warn("what was counted could not be noted in the journal", "err", err)
		}
		return
	}
	w.noted = hour
}

// lookAtQueue counts the queue.
func (w *watch) lookAtQueue(ctx context.Context) {
	begin := w.now()
	stats, err := w.p.Jobs.Stats(ctx)
	var targets []jobs.Target
	if err == nil {
		targets, err = w.p.Jobs.Targets(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	w.change(func(s *state) {
		s.took = w.now().Sub(begin)
		if err != nil {
			s.trouble = err.Error()
			return
		}
		s.stats, s.targets, s.queueAt, s.trouble = stats, targets, begin, ""
	})
}

func (w *watch) flushAndTell(ctx context.Context) {
	if err := w.flush(ctx); err != nil && ctx.Err() == nil {
		w.p.Log.Warn("what was counted could not be written down: it is tried again", "err", err)
	}
}

// flush adds what was counted to the hours. Where the outcome of the commit is
// not known it may be counted twice: these are statistics.
func (w *watch) flush(ctx context.Context) error {
	counts, counted := w.pending()
	levels := w.levels()
	if len(counts)+len(levels) == 0 {
		return nil
	}
	at := w.now()
	err := w.p.DB.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		if err := hours.Add(ctx, tx, w.p.Node, at, counts); err != nil {
			return err
		}
		return hours.Raise(ctx, tx, at, levels)
	})
	if err != nil {
		return fmt.Errorf("write hours: %w", err)
	}
	for c, n := range counted {
		c.kept.Add(n)
	}
	return nil
}

// pending is what was counted and is not in the hours yet.
func (w *watch) pending() (byName map[string]int64, byCounter map[*counter]int64) {
	byName, byCounter = make(map[string]int64), make(map[*counter]int64)
	for name, c := range w.p.Meters.hourly() {
		if n := c.total.Load() - c.kept.Load(); n != 0 {
			byName[name], byCounter[c] = n, n
		}
	}
	return byName, byCounter
}

// levels are how high the queue stands; none when it is empty, or was not seen.
func (w *watch) levels() map[string]int64 {
	seen := w.current()
	depth, age := seen.backlog()
	if depth == 0 {
		return nil
	}
	return map[string]int64{hourQueueMax: depth, hourQueueAge: int64(age / time.Second)}
}

// backlog counts the jobs that are not done, and tells the age of the oldest that
// waits or has failed: one that is held is so because somebody wants it.
func (s *state) backlog() (depth int64, age time.Duration) {
	for _, one := range s.stats {
		switch one.State {
		case jobs.Done:
			continue
		case jobs.Waiting, jobs.Running, jobs.Failed:
			age = max(age, one.OldestAge)
		}
		depth += one.Count
	}
	return depth, age
}

// recall takes up the sizes that were last written down.
func (w *watch) recall(ctx context.Context) {
	found, err := hours.Since(ctx, w.p.DB.Read(), w.now().Add(-2*24*time.Hour))
	if err != nil {
		w.p.Log.Warn("admin: earlier counts cannot be read", "err", err)
		return
	}
	for _, h := range found {
		if _, ok := h.Values[hourLinks]; ok {
			w.change(func(s *state) {
				s.sizes = sizes{At: h.Begin, Links: h.Values[hourLinks], Mails: h.Values[hourMails], Blobs: h.Values[hourBlobs], Bytes: h.Values[hourBytes]}
			})
		}
	}
}

// survey counts the store, unless another node did so within the hour.
func (w *watch) survey(ctx context.Context) (took time.Duration) {
	begin := w.now()
	if w.current().sizes.At.IsZero() || begin.Sub(w.current().sizes.At) >= surveyEvery {
		w.recall(ctx)
	}
	if seen := w.current().sizes.At; !seen.IsZero() && begin.Sub(seen) < surveyEvery {
		return 0
	}
	kept, err := w.p.Links.Stats(ctx)
	var mails int64
	if err == nil {
		mails, err = ledger.Number(ctx, w.p.DB.Read())
	}
	if err != nil {
		if ctx.Err() == nil {
			w.p.Log.Warn("the store could not be counted", "err", err)
		}
		return w.now().Sub(begin)
	}
	took = w.now().Sub(begin)
	w.change(func(s *state) { s.sizes = sizes{begin, kept.Links, mails, kept.Blobs, kept.Bytes} })
	err = w.p.DB.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
		return hours.Set(ctx, tx, begin, map[string]int64{hourLinks: kept.Links, hourMails: mails, hourBlobs: kept.Blobs, hourBytes: kept.Bytes})
	})
	if err == nil {
		_, err = hours.Purge(ctx, w.p.DB, begin.Add(-keepHours))
	}
	if err != nil && ctx.Err() == nil {
		w.p.Log.Warn("what the store holds could not be written down", "err", err)
	}
	return took
}
