package db

// Who counts the commits.

import (
	"sync/atomic"
	"time"
)

// observer is told of each durable transaction.
type observer struct {
	f atomic.Pointer[func(commits int, took time.Duration)]
}

// Observe has f told of each durable transaction from now on: how many commits
// it held, and how long it took. f runs in their way: it counts, and nothing else.
func (d *DB) Observe(f func(commits int, took time.Duration)) { d.observer.f.Store(&f) }

func (o *observer) tell(commits int, took time.Duration) {
	if f := o.f.Load(); f != nil {
		(*f)(commits, took)
	}
}
