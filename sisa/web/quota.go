package web

// How often something may happen per link or address: token buckets by name,
// in bounded memory.

import (
	"crypto/sha256"
	"sync"
	"time"
)

// What guards codes and passwords. A code is one of 10^8 and can be tried
// triesPerCode times: at these rates an even chance to guess one, for a link with
// ten recipients, takes some 80 years, in which each of them gets 48 codes a day.
const (
	mailsPerLink      = 1.0 // a minute, as many at once: recipients of one mail
	mailsAtOnceLink   = 20
	mailsPerAddress   = 0.2 // a minute, through any links: nobody's mailbox is flooded
	mailsAtOnce       = 5
	mailsPerBoth      = 2.0 / 60 // a minute: to one address for one link
	mailsPerClient    = 0.2      // a minute, for one link
	mailsAtOnceClient = 10       // an office whose people open the mail at the same time

	triesPerCode  = 5
	triesComeBack = 0.001 // a minute: not within a code's life

	// Wrong passwords, for one link: by one client, and by all.
	triesPerClient    = 0.5 // a minute
	triesAtOnceClient = 10
	triesPerLink      = 1.0
	triesAtOnceLink   = 30

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

// mailQuotas are those that stand before a code is sent.
type mailQuotas struct{ client, both, address, link *quota }

func newMailQuotas() mailQuotas {
	return mailQuotas{newQuota(mailsPerClient, mailsAtOnceClient), newQuota(mailsPerBoth, mailsAtOnce),
		newQuota(mailsPerAddress, mailsAtOnce), newQuota(mailsPerLink, mailsAtOnceLink)}
}

// take counts one, whether the address is a recipient's or not. A client that is
// told to wait uses up nothing of what others have.
func (m mailQuotas) take(linkID, address, client string, now time.Time) time.Duration {
	for _, one := range []struct {
		quota *quota
		name  string
	}{{m.client, linkID + " " + client}, {m.both, linkID + " " + address}, {m.address, address}, {m.link, linkID}} {
		if wait := one.quota.take(one.name, now); wait > 0 {
			return wait
		}
	}
	return 0
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

// giveBack takes back what take counted a moment ago.
func (q *quota) giveBack(name string) {
	sum := sha256.Sum256([]byte(name))
	q.mu.Lock()
	defer q.mu.Unlock()
	if b, ok := q.young[[16]byte(sum[:])]; ok {
		b.left = min(q.size, b.left+1)
		q.young[[16]byte(sum[:])] = b
	}
}

// doubleTap is how long a code that was used is taken again: a form that was sent
// twice by one press.
const doubleTap = 5 * time.Second

// once remembers what was used, in bounded memory: of more than maxQuotas names
// the oldest are forgotten.
type once struct {
	mu         sync.Mutex
	young, old map[string]time.Time
}

func newOnce() *once { return &once{young: map[string]time.Time{}} }

// use reports whether a name may be used now.
func (o *once) use(name string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, used := o.young[name]
	if !used {
		at, used = o.old[name]
	}
	if used {
		return now.Sub(at) < doubleTap
	}
	if len(o.young) >= maxQuotas/2 {
		o.young, o.old = map[string]time.Time{}, o.young
	}
	o.young[name] = now
	return true
}
