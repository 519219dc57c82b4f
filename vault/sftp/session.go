package sftp

// One connection to the server: made, watched, closed.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	pkgsftp "github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

const (
	// requestsPerFile is how many requests of one file are under way: with 32 KB
	// each it is the window that OpenSSH gives a channel (2 MB).
	requestsPerFile = 64
	// missedKeepalives is how many answers in a row may be missing.
	missedKeepalives = 3
	// watchesPerTimeout is how often in a timeout the watchdog looks.
	watchesPerTimeout = 10
)

// Why connections are closed by us.
var (
	errStuck   = errors.New("the server has not answered in time")
	errSilent  = errors.New("the connection is dead: no answer to keepalives")
	errIdle    = errors.New("the connection was not needed any more")
	errLost    = errors.New("the connection was lost")
	errRefused = errors.New("the server refuses SFTP")
)

// session is one SSH connection with an SFTP channel.
type session struct {
	net   *countedConn
	ssh   *ssh.Client
	files *pkgsftp.Client
	watch watch
	moves moves
	raw   rawChannel

	lastUsed time.Time // under the pool's lock

	ending sync.Once
	ended  chan struct{}
	cause  error // why it ended; set before ended is closed
}

// countedConn knows when something came last.
type countedConn struct {
	net.Conn
	heard atomic.Int64 // Unix time in nanoseconds
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// dial makes a session. Errors are Faults, or ctx's.
func (c Config) dial(ctx context.Context) (*session, error) {
	keys, err := c.hostKeys()
	if err != nil {
		return nil, accessFault(err, "")
	}
	auth, done, err := c.methods()
	if err != nil {
		return nil, accessFault(err, "")
	}
	defer done()
	var failure error
	for _, algorithms := range keys.offers {
		s, err := c.connect(ctx, &ssh.ClientConfig{
			User:              c.User,
			Auth:              auth,
			HostKeyCallback:   keys.check,
			HostKeyAlgorithms: algorithms,
		})
		if err == nil {
			return s, nil
		}
		var wrongKey *hostKeyError
		var noCommon *ssh.AlgorithmNegotiationError
		// A key that it shows says more than one that it does not have.
		if failure == nil || !errors.As(err, &noCommon) {
			failure = err
		}
		if !errors.As(err, &wrongKey) && !errors.As(err, &noCommon) {
			break
		}
	}
	return nil, dialFault(ctx, failure)
}

// connect is one attempt. Until it is done everything has the deadline of
// Timeout, as no single step of a handshake has one.
func (c Config) connect(ctx context.Context, cfg *ssh.ClientConfig) (s *session, err error) {
	address, err := splitAddress(c.Address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var dialer net.Dialer
	tcp, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s = &session{net: &countedConn{Conn: tcp}, ended: make(chan struct{}), lastUsed: time.Now()}
	s.raw.token = make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { tcp.Close() })
	defer func() {
		if !stop() && err == nil { // the deadline came at the very end
			err = ctx.Err()
		}
		if err != nil {
			tcp.Close()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				err = fmt.Errorf("%s has not answered within %v (%w)", address, c.Timeout, err)
			}
		}
	}()
	conn, channels, requests, err := ssh.NewClientConn(s.net, address, cfg)
	if err != nil {
		return nil, err
	}
	s.ssh = ssh.NewClient(conn, channels, requests)
	in, out, err := openSFTP(s.ssh, &s.watch)
	if err != nil {
		return nil, err
	}
	s.files, err = pkgsftp.NewClientPipe(in, out, pkgsftp.UseFstat(true), pkgsftp.MaxConcurrentRequestsPerFile(requestsPerFile))
	if err != nil {
		return nil, fmt.Errorf("begin SFTP: %w", err)
	}
	return s, nil
}

// openSFTP starts the SFTP subsystem in a channel of its own.
func openSFTP(conn *ssh.Client, w *watch) (io.Reader, io.WriteCloser, error) {
	channel, requests, err := conn.OpenChannel("session", nil)
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		return nil, nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open a channel: %w", err)
	}
	go ssh.DiscardRequests(requests)
	ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err == nil && !ok {
		err = fmt.Errorf("%w: it has no subsystem sftp", errRefused)
	}
	if err != nil {
		channel.Close()
		return nil, nil, fmt.Errorf("begin SFTP: %w", err)
	}
	return &watchedReader{Reader: channel, watch: w}, &watchedWriter{WriteCloser: channel, watch: w}, nil
}

// end closes the connection, so that all that waits for it fails; the first
// cause stands.
func (s *session) end(cause error) {
	s.ending.Do(func() {
		s.cause = cause
		close(s.ended)
		// The network first: closing what lies above waits for locks that stuck requests hold.
		s.net.Close()
		s.ssh.Close()
	})
}

// over tells whether the session has ended, and why.
func (s *session) over() (error, bool) {
	select {
	case <-s.ended:
		return s.cause, true
	default:
		return nil, false
	}
}

// tend watches the session until it ends: requests without answer, keepalives,
// idleness. idle tells whether nobody has used it for long.
func (s *session) tend(c Config, idle func() bool) {
	go func() {
		// The SFTP channel may end alone.
		_ = s.files.Wait()
		s.end(errLost)
	}()
	go func() {
		_ = s.ssh.Wait()
		s.end(errLost)
	}()
	tick := time.NewTicker(min(c.Timeout, c.Keepalive) / watchesPerTimeout)
	defer tick.Stop()
	var asked time.Time
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		}
		now := time.Now()
		silent := now.Sub(time.Unix(0, s.net.heard.Load()))
		switch {
		case s.watch.stuck(now, c.Timeout) || s.raw.watch.stuck(now, c.Timeout):
			s.end(errStuck)
		case silent > (missedKeepalives+1)*c.Keepalive:
			s.end(errSilent)
		case idle():
			s.end(errIdle)
		case silent > c.Keepalive && now.Sub(asked) > c.Keepalive:
			asked = now
			// It blocks for as long as the connection does. OpenSSH refuses such requests, which is an answer too.
			go s.ssh.SendRequest("keepalive@openssh.com", true, nil)
		}
	}
}
