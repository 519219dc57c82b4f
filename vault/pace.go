package vault

// Pace and progress of uploads: bandwidth, one at a time of the same content,
// and how far each has come.

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/internal/db"
)

// limiter lets so many bytes pass in a second, over all uploads of a target.
type limiter struct {
	perSecond int64

	mu   sync.Mutex
	free time.Time // when the next byte may pass
}

func newLimiter(perSecond int64) *limiter { return &limiter{perSecond: perSecond} }

// wait takes the time that n bytes need.
func (l *limiter) wait(ctx context.Context, n int) error {
	l.mu.Lock()
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	begin := l.free
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.perSecond) * float64(time.Second)))
	l.mu.Unlock()
	timer := time.NewTimer(time.Until(begin))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// slow makes reading from f as slow as the limit says.
func (l *limiter) slow(ctx context.Context, f io.ReadSeekCloser) io.ReadSeekCloser {
	if l.perSecond <= 0 {
		return f
	}
	return &slowed{ReadSeekCloser: f, limit: l, ctx: ctx}
}

type slowed struct {
	io.ReadSeekCloser
	limit *limiter
	ctx   context.Context
}

func (s *slowed) Read(p []byte) (int, error) {
	n, err := s.ReadSeekCloser.Read(p)
	if n > 0 {
		if werr := s.limit.wait(s.ctx, n); werr != nil {
			return n, werr
		}
	}
	return n, err
}

// keyed is a lock for each key.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*counted
}

type counted struct {
	sync.Mutex
	users int
}

// lock waits for the key and gives what unlocks it.
func (k *keyed) lock(key string) func() {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = make(map[string]*counted)
	}
	c := k.locks[key]
	if c == nil {
		c = new(counted)
		k.locks[key] = c
	}
	c.users++
	k.mu.Unlock()
	c.Lock()
	return func() {
		c.Unlock()
		k.mu.Lock()
		if c.users--; c.users == 0 {
			delete(k.locks, key)
		}
		k.mu.Unlock()
	}
}

// progressEvery is how often progress is written down, for other processes to
// see. Most uploads are done before.
const progressEvery = 2 * time.Second

// progress knows how far the uploads of this process have come.
type progress struct {
	mu      sync.Mutex
	running map[string]*atomic.Int64
}

func (p *progress) watch(job string) (stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		p.running = make(map[string]*atomic.Int64)
	}
	p.running[job] = new(atomic.Int64)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, job)
	}
}

func (p *progress) sent(job string) func(int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[job].Store
}

// write notes in the database how far uploads have come, until ctx ends.
func (p *progress) write(ctx context.Context, d *db.DB, log *slog.Logger) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	last := make(map[string]int64)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := p.changed(last)
		if len(now) == 0 {
			continue
		}
		err := d.Commit(ctx, nil, func(ctx context.Context, tx db.Tx) error {
			for job, sent := range now {
				if _, err := tx.ExecContext(ctx, `UPDATE uploads SET sent = $2 WHERE job = $1 AND done = 0`, job, sent); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			log.Debug("progress of uploads not written", "err", err)
		}
	}
}

// changed gives what has moved since last, and forgets what has ended.
func (p *progress) changed(last map[string]int64) map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	for job := range last {
		if p.running[job] == nil {
			delete(last, job)
		}
	}
	now := make(map[string]int64)
	for job, n := range p.running {
		if sent := n.Load(); sent > 0 && sent != last[job] {
			last[job], now[job] = sent, sent
		}
	}
	return now
}
