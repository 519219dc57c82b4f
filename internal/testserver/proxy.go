package testserver

// A TCP proxy that makes loopback behave like a real network: far, slow, cut.

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// proxyChunk is what the proxy passes on at a time, in bytes.
	proxyChunk = 32 << 10
	// proxyQueue is how many chunks are under way in each direction of a
	// connection: 64 MB, more than any window of a protocol.
	proxyQueue = 2048
	// proxyDial bounds connecting to the server behind.
	proxyDial = 10 * time.Second
)

// Proxy passes TCP connections on to one address.
type Proxy struct {
	listener net.Listener
	target   string
	working  sync.WaitGroup

	mu        sync.Mutex
	delay     time.Duration // one way
	bandwidth int64         // bytes a second, each way of each connection; 0: no limit
	stalled   chan struct{} // closed when data may flow; nil: it may
	conns     map[net.Conn]struct{}
	accepted  int
	closed    bool
}

// StartProxy listens on a port of 127.0.0.1 and passes connections on to target
// (host:port). It runs until Close is called or ctx ends.
func StartProxy(ctx context.Context, target string) (*Proxy, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a proxy: %w", err)
	}
	p := &Proxy{listener: listener, target: target, conns: map[net.Conn]struct{}{}}
	p.working.Go(p.accept)
	context.AfterFunc(ctx, func() { p.Close() })
	return p, nil
}

// Address is where the proxy listens, host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// SetRoundTrip makes data take that long to the server and back; it holds for
// what arrives from now on.
func (p *Proxy) SetRoundTrip(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d / 2
}

// SetBandwidth limits each direction of each connection, in bytes a second; 0
// removes the limit.
func (p *Proxy) SetBandwidth(bytesPerSecond int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bandwidth = bytesPerSecond
}

// Stall stops all data, as a pulled cable does: connections stay, and new ones
// are accepted.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil {
		p.stalled = make(chan struct{})
	}
}

// Flow ends a Stall.
func (p *Proxy) Flow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// Accepted is how many connections were made so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Cut closes all connections there are, and tells how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
	return len(p.conns) / 2
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	p.Flow()
	p.Cut()
	p.working.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.accepted++
		p.mu.Unlock()
		p.working.Go(func() { p.serve(client) })
	}
}

// serve passes one connection on until either side ends.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.DialTimeout("tcp", p.target, proxyDial)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.enter(client, server) {
		return
	}
	defer p.leave(client, server)
	var both sync.WaitGroup
	both.Go(func() { p.pass(server, client) })
	both.Go(func() { p.pass(client, server) })
	both.Wait()
}

func (p *Proxy) enter(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	for _, conn := range conns {
		p.conns[conn] = struct{}{}
	}
	return true
}

func (p *Proxy) leave(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		delete(p.conns, conn)
	}
}

// parcel is data and when it may arrive.
type parcel struct {
	data []byte
	due  time.Time
}

// pass copies one direction. Its end closes both sides.
func (p *Proxy) pass(to, from net.Conn) {
	queue := make(chan parcel, proxyQueue)
	go func() {
		defer close(queue)
		for {
			data := make([]byte, proxyChunk)
			n, err := from.Read(data)
			if n > 0 {
				p.mu.Lock()
				due := time.Now().Add(p.delay)
				p.mu.Unlock()
				queue <- parcel{data[:n], due}
			}
			if err != nil {
				return
			}
		}
	}()
	free := time.Now() // when the line has sent everything before
	for next := range queue {
		free = p.await(next, free)
		if _, err := to.Write(next.data); err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	for range queue { // let the reader end
		continue
	}
}

// await sleeps until a parcel may arrive, and tells when the next may follow.
func (p *Proxy) await(next parcel, free time.Time) time.Time {
	p.mu.Lock()
	stalled, bandwidth := p.stalled, p.bandwidth
	p.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
	at := next.due
	if bandwidth > 0 {
		if free.After(at) {
			at = free
		}
		free = at.Add(time.Duration(len(next.data)) * time.Second / time.Duration(bandwidth))
	}
	time.Sleep(time.Until(at))
	return free
}

var _ io.Closer = (*Proxy)(nil)
