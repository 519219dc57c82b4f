package milter

// The server: sockets, the limit on connections, and the end in good order.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	gomilter "github.com/emersion/go-milter"
)

// Server accepts MTA connections. Its methods are called in this order: Listen,
// Serve, and Shutdown from another goroutine.
type Server struct {
	cfg      Config
	handler  Handler
	log      *slog.Logger
	progress time.Duration
	slots    chan struct{} // one per connection
	closing  chan struct{} // closed by Shutdown

	mu       sync.Mutex // guards what follows
	ln       net.Listener
	sessions map[*session]struct{}
	shut     bool

	active   sync.WaitGroup // connections
	lastFull time.Time      // of the last warning; Serve's own
}

// New makes a server from a configuration that is valid.
func New(cfg Config, h Handler, log *slog.Logger) *Server {
	return &Server{
		cfg: cfg, handler: h, log: log,
		progress: progressInterval,
		slots:    make(chan struct{}, cfg.MaxConnections),
		closing:  make(chan struct{}),
		sessions: make(map[*session]struct{}),
	}
}

// Listen opens the socket.
func (s *Server) Listen() error {
	at, err := parseListen(s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("milter: %w", err)
	}
	mode, err := s.cfg.socketMode()
	if err != nil {
		return fmt.Errorf("milter: %w", err)
	}
	ln, err := at.listen(mode)
	if err != nil {
		return fmt.Errorf("milter: listen on %s: %w", s.cfg.Listen, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ln = ln
	return nil
}

// Addr is where the server listens; nil before Listen.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil {
		return nil
	}
	return s.ln.Addr()
}

// Serve accepts connections until Shutdown; then it returns nil.
func (s *Server) Serve() error {
	s.mu.Lock()
	ln := s.ln
	s.mu.Unlock()
	if ln == nil {
		return errors.New("milter: Serve before Listen")
	}
	for s.acquire() {
		conn, err := ln.Accept()
		if err != nil {
			<-s.slots
			if s.pauseAfter(err) {
				continue
			}
			break
		}
		s.serve(conn)
	}
	return nil
}

// acquire waits for a free place, so that what is over the limit waits in the
// kernel's queue. It is false at shutdown.
func (s *Server) acquire() bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	if now := time.Now(); now.Sub(s.lastFull) >= fullLogInterval {
		s.lastFull = now
		s.log.Warn("all milter connections are in use, new ones wait: raise milter.max_connections if this lasts",
			"max_connections", s.cfg.MaxConnections)
	}
	select {
	case s.slots <- struct{}{}:
		return true
	case <-s.closing:
		return false
	}
}

// pauseAfter tells whether to go on after a failed accept.
func (s *Server) pauseAfter(err error) bool {
	select {
	case <-s.closing:
		return false
	default:
	}
	s.log.Error("accepting a milter connection failed", "err", err)
	select {
	case <-s.closing:
		return false
	case <-time.After(acceptPause):
		return true
	}
}

// serve starts the session of a connection.
func (s *Server) serve(conn net.Conn) {
	sess := newSession(conn, s.handler, s.cfg, s.progress, s.log)
	sess.gone = func() { s.remove(sess) }

	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		conn.Close()
		<-s.slots
		return
	}
	s.sessions[sess] = struct{}{}
	s.active.Add(1)
	s.mu.Unlock()

	engine := gomilter.Server{NewMilter: func() gomilter.Milter { return sess }}
	// Returns at once: go-milter serves the tap on a goroutine of its own, which
	// ends by closing it, and its listener has nothing more to give.
	engine.Serve(&oneShot{conn: sess.tap})
}

func (s *Server) remove(sess *session) {
	s.mu.Lock()
	delete(s.sessions, sess)
	s.mu.Unlock()
	<-s.slots
	s.active.Done()
}

// Shutdown stops accepting, closes idle connections and waits for the messages
// in flight. When ctx ends first it cancels their contexts, closes their
// connections (their MTAs try again later), and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.shut {
		s.shut = true
		close(s.closing)
		if s.ln != nil {
			s.ln.Close()
		}
	}
	for sess := range s.sessions {
		sess.tap.drain()
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		s.active.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	n := len(s.sessions)
	for sess := range s.sessions {
		sess.kill()
	}
	s.mu.Unlock()
	select {
	case <-done:
	case <-time.After(killGrace):
		s.log.Error("handlers did not end when told to")
	}
	return fmt.Errorf("milter: %d connections cut off at shutdown: %w", n, context.Cause(ctx))
}
