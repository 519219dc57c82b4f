package web

// How often something may happen per link or address: token buckets by name,
// in bounded memory.

import (
	"crypto/sha256"
	"sync"
	"time"
)

// What guards codes and passwords. A code has 10^8 values, of which 6 are right:
// at these rates guessing one takes some 30,000 years.
const (
	mailsPerLink    = 1.0 // a minute, as many at once: recipients of one mail
	mailsAtOnceLink = 20
	mailsPerAddress = 0.5 // a minute: nobody's mailbox is flooded
	mailsAtOnce     = 5
	triesPerMinute  = 0.5 // wrong codes for one address
	triesAtOnce     = 5
	triesPerLink    = 5.0 // wrong codes or passwords for one link
	triesAtOnceLink = 30

	maxHashing = 2       // passwords being checked at once: each takes 0.1 s of a processor
	maxQuotas  = 100_000 // names that are remembered: some 10 MB
)

// quota is a set of buckets of one kind. Names are kept as hashes: addresses of
// visitors are nobody's business.
type quota struct {
	rate float64 // tokens a minute
	size float64 // tokens at once

	mu         sync.Mutex
	young, old map[[16]byte]bucket // two generations, see limiter
}

func newQuota(rate, size float64) *quota {
	return &quota{rate: rate, size: size, young: map[[16]byte]bucket{}}
}

// take counts one. It tells how long to wait, 0 if that is not needed.
func (q *quota) take(name string, now time.Time) time.Duration {
	sum := sha256.Sum256([]byte(name))
	key := [16]byte(sum[:])
	q.mu.Lock()
	defer q.mu.Unlock()
	b, ok := q.young[key]
	if !ok {
		if b, ok = q.old[key]; !ok {
			b = bucket{left: q.size, at: now}
		}
		if len(q.young) >= maxQuotas/2 {
			q.young, q.old = map[[16]byte]bucket{}, q.young
		}
	}
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.left = min(q.size, b.left+passed*q.rate/minute)
	}
	b.at = now
	var wait time.Duration
	if b.left < 1 {
		wait = max(b.wait(q.rate), time.Second)
	} else {
		b.left--
	}
	q.young[key] = b
	return wait
}
