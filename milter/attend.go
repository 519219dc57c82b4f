package milter

// While a handler works: the MTA is told so, and its going away is noticed.

import (
	"sync"
	"time"
)

// watch waits in the background for the connection to fail, and calls lost if it
// does. Until stop returns nobody else may read from the tap.
func (t *tap) watch(lost func(error)) (stop func()) {
	var mu sync.Mutex
	stopped := false
	done := make(chan struct{})

	t.watching = true
	t.Conn.SetReadDeadline(time.Time{}) // a closed connection is found by the read
	go func() {
		defer close(done)
		// What the MTA may already have sent stays in the buffer.
		_, err := t.r.Peek(1)
		mu.Lock()
		defer mu.Unlock()
		if err != nil && !stopped {
			lost(err)
		}
	}()
	return func() {
		mu.Lock()
		stopped = true
		mu.Unlock()
		t.Conn.SetReadDeadline(time.Unix(1, 0))
		<-done
		t.watching = false
	}
}

// progress sends SMFIR_PROGRESS at each interval, so that the MTA starts its
// timer again. Until stop returns nobody else may write to the tap: the packets
// must not stand between modifications, of which some must be contiguous.
func (t *tap) progress(interval time.Duration, lost func(error)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			if err := t.writePacket(respProgress, nil); err != nil {
				lost(err)
				return
			}
			if err := t.flush(); err != nil {
				lost(err)
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}
