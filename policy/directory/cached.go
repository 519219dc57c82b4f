package directory

// Answers kept in memory, before a source that takes time and may be away.

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// retryPause is how long a source that failed is left alone. Meanwhile
	// nobody waits for it.
	retryPause = 5 * time.Second
	// probeLimit is how long the one lookup that tries a failed source again
	// may keep the others from trying.
	probeLimit = 2 * time.Minute
)

// Cached stands before a Source. It asks for an address once at a time, keeps
// the answer, and uses an old one while the source fails.
type Cached struct {
	source Source
	cfg    CacheConfig
	log    *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	users   *answers // separate, so that
	nobody  *answers // guessed addresses cannot drive out users
	flights map[string]*flight
	away    error     // why the source failed when it was asked last; nil: it answered
	retryAt time.Time // when it may be asked again
}

// flight is a lookup under way.
type flight struct {
	addresses []string // normal
	done      chan struct{}
	found     map[string]*User // set before done is closed
	err       error
}

// NewCached stands before source, which must bound the time of its lookups
// itself.
func NewCached(source Source, cfg CacheConfig, log *slog.Logger) *Cached {
	return &Cached{source: source, cfg: cfg, log: log, now: time.Now,
		users: newAnswers(cfg.Size), nobody: newAnswers(cfg.Size), flights: make(map[string]*flight)}
}

// Lookup implements Source. While the source fails, answers up to
// CacheConfig.Stale old are given; the error is the source's once an address
// has none.
func (c *Cached) Lookup(ctx context.Context, addresses []string) (map[string]*User, error) {
	found := make(map[string]*User, len(addresses))
	waiting := make(map[string]*flight) // by address as asked
	if err := c.begin(ctx, addresses, found, waiting); err != nil {
		return nil, err
	}
	for asked, f := range waiting {
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("directory: %w", ctx.Err())
		}
		normal, err := Normalize(asked)
		if err != nil {
			continue
		}
		u := f.found[normal]
		if f.err != nil {
			var known bool
			if u, known = c.stale(normal); !known {
				return nil, f.err
			}
		}
		if u != nil {
			found[asked] = u
		}
	}
	return found, nil
}

// begin answers from memory what it can, and makes sure that the rest is being
// asked.
func (c *Cached) begin(ctx context.Context, addresses []string, found map[string]*User, waiting map[string]*flight) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	var own *flight
	resting := c.away != nil && now.Before(c.retryAt)
	for _, asked := range addresses {
		normal, err := Normalize(asked)
		if err != nil {
			continue // nobody's
		}
		a, known := c.answer(normal)
		if known && (now.Sub(a.read) < c.ttl(a) || resting && now.Sub(a.read) < c.cfg.Stale) {
			if a.user != nil {
				found[asked] = a.user
			}
			continue
		}
		if resting {
			return fmt.Errorf("directory is not asked again before %v from now, and no recent answer is known for %s: %w",
				c.retryAt.Sub(now).Round(time.Millisecond), normal, c.away)
		}
		f := c.flights[normal]
		if f == nil {
			if own == nil {
				own = &flight{done: make(chan struct{})}
			}
			f = own
			own.addresses = append(own.addresses, normal)
			c.flights[normal] = own
		}
		waiting[asked] = f
	}
	if own != nil {
		if c.away != nil {
			c.retryAt = now.Add(probeLimit) // one tries; land sets it anew
		}
		// Others may come to wait for it: it does not end with its first asker.
		go c.fly(context.WithoutCancel(ctx), own)
	}
	return nil
}

// fly asks the source.
func (c *Cached) fly(ctx context.Context, f *flight) {
	f.found, f.err = c.source.Lookup(ctx, f.addresses)
	c.mu.Lock()
	c.land(f)
	c.mu.Unlock()
	close(f.done)
}

// land keeps what a flight has found.
func (c *Cached) land(f *flight) {
	now := c.now()
	for _, normal := range f.addresses {
		delete(c.flights, normal)
		if f.err == nil {
			c.keep(normal, answer{f.found[normal], now})
		}
	}
	var ambiguous *AmbiguousError
	switch {
	case errors.As(f.err, &ambiguous):
		c.log.Error("directory: an address is ambiguous", "error", f.err)
	case f.err != nil:
		if c.away == nil {
			c.log.Error("directory: the source fails; old answers are used", "for", c.cfg.Stale, "error", f.err)
		}
		c.away, c.retryAt = f.err, now.Add(retryPause)
		return
	}
	if c.away != nil {
		c.log.Info("directory: the source answers again")
	}
	c.away = nil
}

// stale is an answer to be used because the source failed.
func (c *Cached) stale(normal string) (*User, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, known := c.answer(normal)
	if !known || c.now().Sub(a.read) >= c.cfg.Stale {
		return nil, false
	}
	return a.user, true
}

func (c *Cached) ttl(a answer) time.Duration {
	if a.user == nil {
		return c.cfg.NegativeTTL
	}
	return c.cfg.TTL
}

func (c *Cached) answer(normal string) (answer, bool) {
	if a, ok := c.users.get(normal); ok {
		return a, true
	}
	return c.nobody.get(normal)
}

func (c *Cached) keep(normal string, a answer) {
	if a.user != nil {
		c.nobody.remove(normal)
		c.users.put(normal, a)
		return
	}
	c.users.remove(normal)
	c.nobody.put(normal, a)
}

// answer is what the source said at a time; user is nil for nobody.
type answer struct {
	user *User
	read time.Time
}

// answers keeps up to size answers, and drops the one not used for longest.
type answers struct {
	size  int
	at    map[string]*list.Element
	order *list.List // of kept; the one used last in front
}

type kept struct {
	address string
	answer
}

func newAnswers(size int) *answers {
	return &answers{size: size, at: make(map[string]*list.Element), order: list.New()}
}

func (s *answers) get(address string) (answer, bool) {
	e, ok := s.at[address]
	if !ok {
		return answer{}, false
	}
	s.order.MoveToFront(e)
	return e.Value.(*kept).answer, true
}

func (s *answers) put(address string, a answer) {
	if e, ok := s.at[address]; ok {
		e.Value.(*kept).answer = a
		s.order.MoveToFront(e)
		return
	}
	if s.order.Len() >= s.size {
		s.remove(s.order.Back().Value.(*kept).address)
	}
	s.at[address] = s.order.PushFront(&kept{address, a})
}

func (s *answers) remove(address string) {
	if e, ok := s.at[address]; ok {
		s.order.Remove(e)
		delete(s.at, address)
	}
}
