package sftp

// The connections of a server: made when needed, shared, forgotten when dead.

import (
	"context"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// idleTime is after how long an unused connection is closed, in order not to
// hold one of the server's few.
const idleTime = 5 * time.Minute

// pool shares up to Config.Connections sessions.
type pool struct {
	cfg    Config
	log    *slog.Logger
	ctx    context.Context // of dialling
	cancel context.CancelFunc

	mu      sync.Mutex
	entries []*entry
	closed  bool
}

// entry is a session, or the making of one.
type entry struct {
	ready   chan struct{} // closed when session or err is set
	session *session
	err     error
	users   int // operations that use it or wait for it; under the pool's lock
}

func newPool(cfg Config, log *slog.Logger) *pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &pool{cfg: cfg, log: log, ctx: ctx, cancel: cancel}
}

// get gives a session to use until release is called. Errors are Faults, ctx's
// or fs.ErrClosed.
func (p *pool) get(ctx context.Context) (s *session, release func(), err error) {
	e, err := p.choose()
	if err != nil {
		return nil, nil, err
	}
	release = sync.OnceFunc(func() { p.leave(e) })
	select {
	case <-e.ready:
	case <-ctx.Done():
		release()
		return nil, nil, ctx.Err()
	}
	if e.err != nil {
		release()
		return nil, nil, e.err
	}
	return e.session, release, nil
}

// choose takes the connection with the least to do, or begins a new one while
// there may be more.
func (p *pool) choose() (*entry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fs.ErrClosed
	}
	p.forgetDead()
	var best *entry
	for _, e := range p.entries {
		if best == nil || e.users < best.users {
			best = e
		}
	}
	if best == nil || best.users > 0 && len(p.entries) < p.cfg.Connections {
		best = &entry{ready: make(chan struct{})}
		p.entries = append(p.entries, best)
		go p.make(best)
	}
	best.users++
	return best, nil
}

// forgetDead removes entries that are of no use. The lock is held.
func (p *pool) forgetDead() {
	p.entries = slices.DeleteFunc(p.entries, func(e *entry) bool {
		select {
		case <-e.ready:
		default:
			return false
		}
		if e.err != nil {
			return true
		}
		_, over := e.session.over()
		return over
	})
}

// make dials for an entry. Whoever asked may have gone meanwhile: the connection
// is for others too.
func (p *pool) make(e *entry) {
	began := time.Now()
	s, err := p.cfg.dial(p.ctx)
	p.mu.Lock()
	if err == nil && p.closed {
		s.end(fs.ErrClosed)
		err = fs.ErrClosed
	}
	if p.closed {
		err = fs.ErrClosed
	}
	e.session, e.err = s, err
	close(e.ready)
	p.mu.Unlock()
	if err != nil {
		return
	}
	p.log.Debug("connected", "address", p.cfg.Address, "version", string(s.ssh.ServerVersion()), "took", time.Since(began))
	s.net.heard.Store(time.Now().UnixNano())
	s.tend(p.cfg, func() bool { return p.idle(e) })
	if cause, _ := s.over(); cause == errStuck || cause == errSilent {
		p.log.Warn("connection closed", "address", p.cfg.Address, "reason", cause)
	}
}

// idle tells whether nobody has used an entry for long, and takes it away.
func (p *pool) idle(e *entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.users > 0 || time.Since(e.session.lastUsed) < idleTime {
		return false
	}
	p.entries = slices.DeleteFunc(p.entries, func(other *entry) bool { return other == e })
	return true
}

func (p *pool) leave(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.users--
	if e.session != nil {
		e.session.lastUsed = time.Now()
	}
}

// close ends all connections.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	entries := p.entries
	p.entries = nil
	p.mu.Unlock()
	p.cancel()
	for _, e := range entries {
		select {
		case <-e.ready:
			if e.err == nil {
				e.session.end(fs.ErrClosed)
			}
		default: // make sees that the pool is closed
		}
	}
}
