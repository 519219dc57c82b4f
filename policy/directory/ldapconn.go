package directory

// Connections to LDAP servers: encrypted, authenticated, reused, and never
// waited for longer than the context allows.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
)

const (
	// idleConnection is how long a connection is kept without use; firewalls
	// drop silent ones after some minutes without telling.
	idleConnection = time.Minute
	// maxPasswordFile bounds the file with the password, in bytes.
	maxPasswordFile = 4096
)

// connections is a pool.
type connections struct {
	cfg     LDAPConfig
	servers []server
	roots   *x509.CertPool // nil: the system's
	log     *slog.Logger
	tickets chan struct{} // one for each connection in use
	current atomic.Uint32 // the server to begin with

	mu     sync.Mutex
	idle   []*connection // the one used last at the end
	closed bool
}

// connection is a bound connection.
type connection struct {
	*ldap.Conn
	raw    net.Conn
	server int
	used   time.Time
}

func newConnections(cfg LDAPConfig, log *slog.Logger) (*connections, error) {
	p := &connections{cfg: cfg, log: log, tickets: make(chan struct{}, cfg.Connections)}
	for _, u := range cfg.URLs {
		s, err := parseServer(u)
		if err != nil {
			return nil, err
		}
		p.servers = append(p.servers, s)
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		p.roots = x509.NewCertPool()
		if !p.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM form", cfg.CAFile)
		}
	}
	if _, err := p.password(); err != nil {
		return nil, err
	}
	return p, nil
}

// password is read anew for each connection, so that it can be changed.
func (p *connections) password() (string, error) {
	if p.cfg.BindDN == "" {
		return "", nil
	}
	path := p.cfg.BindPasswordFile
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("bind_password_file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("bind_password_file: others can use %s (mode %v): chmod o= it", path, info.Mode().Perm())
	}
	if info.Size() > maxPasswordFile {
		return "", fmt.Errorf("bind_password_file: %s is longer than %d bytes", path, maxPasswordFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("bind_password_file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" { // servers take that for an anonymous bind (RFC 4513 section 5.1.2)
		return "", fmt.Errorf("bind_password_file: %s is empty", path)
	}
	return password, nil
}

// use runs f with a connection. When ctx ends, the connection is cut and f
// with it. f runs a second time if a connection that was used before proves
// to be dead.
func (p *connections) use(ctx context.Context, f func(*connection) error) error {
	select {
	case p.tickets <- struct{}{}:
		defer func() { <-p.tickets }()
	case <-ctx.Done():
		return fmt.Errorf("all %d connections are in use: %w", cap(p.tickets), ctx.Err())
	}
	if c := p.takeIdle(); c != nil {
		err := p.run(ctx, c, f)
		if !isBroken(err) || ctx.Err() != nil {
			return err
		}
	}
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	return p.run(ctx, c, f)
}

// run calls f, and keeps the connection if it is still good.
func (p *connections) run(ctx context.Context, c *connection, f func(*connection) error) error {
	stop := context.AfterFunc(ctx, func() { c.raw.Close() })
	err := f(c)
	whole := stop()
	if whole && !isBroken(err) {
		p.putIdle(c)
		return err
	}
	go c.Close() // it may try to say goodbye to a server that does not listen
	if err == nil {
		return nil
	}
	p.current.CompareAndSwap(uint32(c.server), uint32((c.server+1)%len(p.servers)))
	if ctx.Err() != nil {
		return fmt.Errorf("%s does not answer: %w", p.servers[c.server].url, ctx.Err())
	}
	return fmt.Errorf("%s: %w", p.servers[c.server].url, err)
}

// isBroken tells errors after which a connection cannot be used any more.
func isBroken(err error) bool {
	if err == nil {
		return false
	}
	var answer *ldap.Error
	if !errors.As(err, &answer) {
		var ambiguous *AmbiguousError
		var own *answerError
		return !errors.As(err, &ambiguous) && !errors.As(err, &own)
	}
	switch answer.ResultCode {
	case ldap.LDAPResultBusy, ldap.LDAPResultUnavailable, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultOperationsError:
		return true // another server, or a new connection, may do better
	}
	return answer.ResultCode >= ldap.ErrorNetwork // the library's own codes
}

func (p *connections) takeIdle() *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if time.Since(c.used) < idleConnection && !c.IsClosing() {
			return c
		}
		go c.Close()
	}
	return nil
}

func (p *connections) putIdle(c *connection) {
	c.used = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		go c.Close()
		return
	}
	p.idle = append(p.idle, c)
}

func (p *connections) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		go c.Close()
	}
	p.idle = nil
}

// dial connects to the first server that answers, each getting an equal share
// of the time that is left.
func (p *connections) dial(ctx context.Context) (*connection, error) {
	first := int(p.current.Load())
	var errs []error
	for i := range p.servers {
		n := (first + i) % len(p.servers)
		share, cancel := ctx, context.CancelFunc(func() {})
		if end, ok := ctx.Deadline(); ok {
			share, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(p.servers)-i))
		}
		c, err := p.dialServer(share, p.servers[n])
		cancel()
		if err == nil {
			c.server = n
			p.current.Store(uint32(n))
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", p.servers[n].url, err))
	}
	return nil, errors.Join(errs...)
}

// dialServer connects, encrypts and binds.
func (p *connections) dialServer(ctx context.Context, s server) (*connection, error) {
	password, err := p.password()
	if err != nil {
		return nil, err
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	conn, err := p.handshake(ctx, raw, s, password)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return &connection{Conn: conn, raw: raw}, nil
}

func (p *connections) handshake(ctx context.Context, raw net.Conn, s server, password string) (*ldap.Conn, error) {
	security := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots, ServerName: p.cfg.ServerName}
	if security.ServerName == "" {
		security.ServerName = s.host
	}
	stream := raw
	if s.tls {
		encrypted := tls.Client(raw, security)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		stream = encrypted
	}
	conn := ldap.NewConn(stream, s.tls)
	conn.SetTimeout(p.cfg.Timeout)
	conn.Start()
	err := func() error {
		if !s.tls && p.cfg.StartTLS {
			if err := conn.StartTLS(security); err != nil {
				return fmt.Errorf("StartTLS: %w", err)
			}
		}
		if p.cfg.BindDN == "" {
			return nil
		}
		if err := conn.Bind(p.cfg.BindDN, password); err != nil {
			return fmt.Errorf("bind as %s: %w", p.cfg.BindDN, err)
		}
		return nil
	}()
	if err != nil {
		raw.Close()
		go conn.Close()
		return nil, err
	}
	return conn, nil
}
