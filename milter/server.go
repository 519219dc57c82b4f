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
	slots    chan struct{} // one per connection that is served
	waiting  chan struct{} // one per connection that waits for a place
	patience time.Duration // how long it does
	closing  chan struct{} // closed by Shutdown

	mu       sync.Mutex // guards what follows
	ln       net.Listener
	sessions map[*session]struct{}
	shut     bool

	active   sync.WaitGroup // connections
	lastFull time.Time      // of the last warning that all are in use; guarded by mu
}

// New makes a server from a configuration that is valid.
func New(cfg Config, h Handler, log *slog.Logger) *Server {
	return &Server{
		cfg: cfg, handler: h, log: log,
		progress: progressInterval,
		slots:    make(chan struct{}, cfg.MaxConnections),
		waiting:  make(chan struct{}, cfg.MaxConnections),
		patience: placeTimeout,
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
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			s.admit(conn)
		case !s.pauseAfter(err):
			return nil
		}
	}
}

// admit serves a connection at once if there is a place for it, or lets it wait
// for one. It never blocks.
func (s *Server) admit(conn net.Conn) {
	select {
	case s.slots <- struct{}{}:
		s.serve(conn)
		return
	default:
	}
	select {
	case s.waiting <- struct{}{}:
		s.tellFull("all milter connections are in use, new ones wait: raise milter.max_connections if this lasts")
		go func() {
			defer func() { <-s.waiting }()
			s.await(conn)
		}()
	default:
		s.tellFull("milter connections closed: all are in use, and as many wait: raise milter.max_connections")
		conn.Close()
	}
}

// await serves a connection as soon as there is a place, or closes it: the MTA
// then does what it does without a milter, and keeps nobody waiting.
func (s *Server) await(conn net.Conn) {
	timer := time.NewTimer(s.patience)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		s.serve(conn)
		return
	case <-timer.C:
		s.log.Warn("milter connection closed: no other one ended in time, raise milter.max_connections",
			"mta", conn.RemoteAddr().String(), "waited", s.patience, "max_connections", s.cfg.MaxConnections)
	case <-s.closing:
	}
	conn.Close()
}

// tellFull warns that all connections are in use, but not every time.
func (s *Server) tellFull(text string) {
	s.mu.Lock()
	now := time.Now()
	quiet := now.Sub(s.lastFull) < fullLogInterval
	if !quiet {
		s.lastFull = now
	}
	s.mu.Unlock()
	if !quiet {
		s.log.Warn(text, "max_connections", s.cfg.MaxConnections)
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

// Full tells whether all connections that are allowed are in use: new ones wait
// unanswered, or are closed.
func (s *Server) Full() bool { return len(s.slots) == cap(s.slots) }

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
