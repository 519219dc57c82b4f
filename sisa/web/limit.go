package web

// How many requests a client may make: token buckets, in bounded memory.

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

const (
	defaultRequests    = 600  // a minute and client: an office behind one address, with a download manager
	defaultMisses      = 20   // a minute and client: people mistype a few times, guessing needs 2^127 tries
	defaultTotalMisses = 1000 // a minute: old links in a whole company's mail
	maxRate            = 1_000_000

	// clientBits is how much of an IPv6 address is one client: what one customer
	// gets at least (RFC 6177).
	clientBits = 64
	// maxClients bounds how many clients are remembered: some 10 MB.
	maxClients = 100_000

	busyLines       = 6.0 // a minute: warnings about refused clients
	busyLinesAtOnce = 10

	minute = float64(time.Minute / time.Second)
)

func (l Limits) validate() error {
	switch {
	case l.Requests < 0 || l.Requests > maxRate:
		return errors.New("requests: must be 0 (no limit) to 1000000")
	case l.Misses < 1 || l.Misses > maxRate:
		return errors.New("misses: must be 1 to 1000000")
	case l.TotalMisses < l.Misses || l.TotalMisses > maxRate:
		return errors.New("total_misses: must be misses to 1000000")
	}
	return nil
}

// bucket holds what is left of a minute's allowance, and fills up steadily.
type bucket struct {
	left float64
	at   time.Time
}

// refill brings the bucket to now; rate is tokens a minute, and its size.
func (b *bucket) refill(now time.Time, rate float64) {
	if b.at.IsZero() {
		b.left = rate
	} else if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.left = min(rate, b.left+passed*rate/minute)
	}
	b.at = now
}

// wait is how long until there is one token.
func (b *bucket) wait(rate float64) time.Duration {
	return time.Duration((1 - b.left) * minute / rate * float64(time.Second))
}

// client is what is remembered of one client.
type client struct{ requests, misses bucket }

// limiter counts requests and misses, by client and together.
type limiter struct {
	limits Limits
	mu     sync.Mutex
	// Two generations: when young is full it becomes old, and what was old is
	// forgotten. A client that comes again moves to young.
	young, old map[netip.Prefix]*client
	misses     bucket
}

func newLimiter(limits Limits) *limiter {
	return &limiter{limits: limits, young: map[netip.Prefix]*client{}}
}

// clientKey is what counts as one client; unknown addresses are one together.
func clientKey(address string) netip.Prefix {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	bits := addr.BitLen()
	if addr.Is6() {
		bits = clientBits
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

func (l *limiter) client(key netip.Prefix) *client {
	c := l.young[key]
	if c != nil {
		return c
	}
	if c = l.old[key]; c == nil {
		c = &client{}
	}
	if len(l.young) >= maxClients/2 {
		l.young, l.old = map[netip.Prefix]*client{}, l.young
	}
	l.young[key] = c
	return c
}

// allow counts a request. It tells how long the client has to wait, 0 if it need not.
func (l *limiter) allow(address string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.client(clientKey(address))
	misses, total := float64(l.limits.Misses), float64(l.limits.TotalMisses)
	c.misses.refill(now, misses)
	if c.misses.left < 1 {
		return c.misses.wait(misses)
	}
	l.misses.refill(now, total)
	if l.misses.left < 1 && c.misses.left < misses {
		return max(l.misses.wait(total), time.Second)
	}
	if l.limits.Requests == 0 {
		return 0
	}
	requests := float64(l.limits.Requests)
	c.requests.refill(now, requests)
	if c.requests.left < 1 {
		return c.requests.wait(requests)
	}
	c.requests.left--
	return 0
}

// miss counts a request for what does not exist.
func (l *limiter) miss(address string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.client(clientKey(address))
	c.misses.refill(now, float64(l.limits.Misses))
	c.misses.left--
	l.misses.refill(now, float64(l.limits.TotalMisses))
	l.misses.left = max(0, l.misses.left-1)
}
