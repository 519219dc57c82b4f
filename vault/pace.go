package vault

// Pace and progress of uploads: bandwidth, who goes first with a content, and how
// far each has come.

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

// turns has whoever brings the same content to the same target wait for the
// first of them: the others can have it copied there.
type turns struct {
	mu      sync.Mutex
	entries map[string]*turn
}

// turn is the right to bring one content.
type turn struct {
	free  chan struct{} // holds one token while nobody has the turn
	users int
	path  string // where the content is by now; read and written by who has the turn
}

// take waits for the turn, and gives what hands it on; that may be called twice.
func (t *turns) take(ctx context.Context, key string) (*turn, func(), error) {
	t.mu.Lock()
	if t.entries == nil {
		t.entries = make(map[string]*turn)
	}
	mine := t.entries[key]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.entries[key] = mine
	}
	mine.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.entries, key)
		}
	}
	select {
	case <-mine.free:
	case <-ctx.Done():
		leave()
		return nil, nil, ctx.Err()
	}
	return mine, sync.OnceFunc(func() {
		mine.free <- struct{}{}
		leave()
	}), nil
}

// progressEvery is how often progress is written down, for other processes to
// see. Most uploads are done before.
const progressEvery = 2 * time.Second

// progress knows how far the uploads of this process have come.
type progress struct {
	mu      sync.Mutex
	running map[string]*atomic.Int64
}

// watch begins to follow a job, and gives what is to be told of bytes sent. The
// job may be followed twice for a while, when its lease was lost.
func (p *progress) watch(job string) (sent func(int64), stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		p.running = make(map[string]*atomic.Int64)
	}
	n := new(atomic.Int64)
	p.running[job] = n
	return n.Store, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.running[job] == n {
			delete(p.running, job)
		}
	}
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
				if _, err := tx.ExecContext(ctx, `UPDATE jobs SET sent = $2 WHERE key = $1 AND state = 'running'`, job, sent); err != nil {
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
