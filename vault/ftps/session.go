package ftps

// One control connection with its data connections.

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/jlaffaye/ftp"

	"cloakroom/vault"
)

// keepalive is how often a silent TCP connection is asked whether it is alive:
// the control connection is silent while a large file is sent, and firewalls
// forget it within minutes.
const keepalive = 15 * time.Second

// session is a connection that is logged in. One goroutine uses it at a time;
// kill may be called by any.
type session struct {
	*ftp.ServerConn
	base string // absolute, on the server

	life context.Context // ends with kill
	end  context.CancelFunc

	mu     sync.Mutex
	raw    []net.Conn // the control connection, and the data connections
	killed bool
}

// kill closes all connections at once, whatever they do.
func (s *session) kill() {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = true
	for _, conn := range s.raw {
		conn.Close()
	}
}

// track has conn closed by kill. Of the data connections the last is enough:
// there is never more than one.
func (s *session) track(conn net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.killed {
		conn.Close()
		return net.ErrClosed
	}
	s.raw = append(s.raw[:min(len(s.raw), 1)], conn)
	return nil
}

// dial opens a session: connection, TLS, login, base folder. It ends early with
// ctx.
func (d *FTPS) dial(ctx context.Context) (*session, error) {
	password, err := d.cfg.password()
	if err != nil {
		return nil, &vault.Fault{Scope: vault.Access, Err: err}
	}
	s := &session{}
	s.life, s.end = context.WithCancel(context.Background()) // longer than the call that opens it
	release := context.AfterFunc(ctx, s.kill)
	defer release()
	if err := d.connect(s); err != nil {
		s.kill()
		return nil, onConnect(fmt.Errorf("connect to %s: %w", d.address, err))
	}
	if err := s.Login(d.cfg.User, password); err != nil {
		s.kill()
		return nil, onLogin(fmt.Errorf("log in to %s as %s: %w", d.address, d.cfg.User, err))
	}
	if err := s.enter(d.cfg.Base); err != nil {
		s.kill()
		return nil, onBase(fmt.Errorf("base folder %s on %s: %w", d.cfg.Base, d.address, err))
	}
	return s, nil
}

// connect opens the control connection, and says how data connections are made.
func (d *FTPS) connect(s *session) error {
	options := []ftp.DialOption{ftp.DialWithDisabledEPSV(d.cfg.Passive == passivePASV)}
	var control, data *tls.Config
	if !d.cfg.InsecurePlainFTP {
		sessions := newResumption()
		var err error
		if control, err = d.cfg.tlsConfig(d.address, sessions.lru); err != nil {
			return err
		}
		data = control.Clone()
		data.ClientSessionCache = sessions.data()
		if d.cfg.TLS == tlsImplicit {
			options = append(options, ftp.DialWithTLS(control))
		} else {
			options = append(options, ftp.DialWithExplicitTLS(control))
		}
	}
	dialer := net.Dialer{Timeout: d.cfg.Timeout, KeepAlive: keepalive}
	connected := false
	options = append(options, ftp.DialWithDialFunc(func(network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(s.life, network, address)
		if err != nil {
			return nil, err
		}
		if err := s.track(conn); err != nil {
			return nil, err
		}
		raw := &timed{conn, d.cfg.Timeout}
		switch {
		case connected:
			return newTransfer(raw, data), nil
		case control != nil && d.cfg.TLS == tlsImplicit:
			connected = true
			return tls.Client(raw, control), nil
		}
		connected = true
		return raw, nil
	}))
	var err error
	s.ServerConn, err = ftp.Dial(d.address, options...)
	return err
}

// enter finds out what base is, and that it is there.
func (s *session) enter(base string) error {
	if !path.IsAbs(base) {
		home, err := s.CurrentDir()
		if err != nil {
			return err
		}
		home = strings.ReplaceAll(home, `""`, `"`) // RFC 959, appendix II
		if !path.IsAbs(home) {
			return fmt.Errorf("the server tells %q as the folder where sessions start; set base to an absolute path", home)
		}
		base = path.Join(home, base)
	}
	s.base = base
	return s.ChangeDir(base)
}

// usable tells whether a session whose last command gave err can go on: the
// server has answered, and did not say goodbye.
func usable(err error) bool {
	var reply *textproto.Error
	return err == nil || errors.As(err, &reply) && reply.Code != ftp.StatusNotAvailable
}
