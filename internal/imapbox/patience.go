package imapbox

// A connection on which something has to move.

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// patientConn gives up when for too long nothing moved in either direction while
// an answer was awaited: a large message over a slow line may take its time, and
// a server that hangs may not.
type patientConn struct {
	net.Conn
	patience time.Duration

	mu      sync.Mutex
	waiting bool
	gaveUp  bool // the client's errors do not tell it
}

// await begins to wait for an answer; what it returns ends that.
func (c *patientConn) await() (rest func()) {
	c.set(true)
	return func() { c.set(false) }
}

func (c *patientConn) set(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = waiting
	var end time.Time
	if waiting {
		end = time.Now().Add(c.patience)
	}
	c.Conn.SetDeadline(end)
}

// moved extends the time if something went through.
func (c *patientConn) moved(n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting && n > 0 {
		c.Conn.SetDeadline(time.Now().Add(c.patience))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.gaveUp = true
	}
}

// timedOut tells whether patience came to its end.
func (c *patientConn) timedOut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gaveUp
}

func (c *patientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved(n, err)
	return n, err
}

func (c *patientConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.moved(n, err)
	return n, err
}

// The client has limits of its own, such as five minutes for any message.

func (c *patientConn) SetDeadline(time.Time) error      { return nil }
func (c *patientConn) SetReadDeadline(time.Time) error  { return nil }
func (c *patientConn) SetWriteDeadline(time.Time) error { return nil }
