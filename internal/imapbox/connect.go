package imapbox

// The way to a server: dial, TLS, login.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// connect makes a connection that is logged in.
func (b *Box) connect(ctx context.Context) error {
	if err := b.dial(ctx, false); err != nil {
		return b.explain(err)
	}
	err := b.do(ctx, func() error { return b.login(false) })
	if errors.Is(err, errNeedsTLS) { // on a loopback address
		b.drop()
		if err = b.dial(ctx, true); err == nil {
			err = b.do(ctx, func() error { return b.login(true) })
		}
	}
	if err != nil {
		b.drop()
		return b.explain(err)
	}
	return nil
}

// dial connects, by TLS as the place says, or where secure does.
func (b *Box) dial(ctx context.Context, secure bool) error {
	p := b.o.Place
	dialer := net.Dialer{Timeout: connectPatience}
	raw, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(p.Host, p.Port))
	if err != nil {
		return err
	}
	b.conn = &patientConn{Conn: raw, patience: b.o.Patience}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: p.Host, RootCAs: b.o.CAs}
	opt := &imapclient.Options{TLSConfig: cfg}
	return b.do(ctx, func() error {
		switch {
		case p.TLS:
			conn := tls.Client(b.conn, cfg)
			if err := conn.HandshakeContext(ctx); err != nil {
				b.conn.Conn.Close()
				return err
			}
			b.client = imapclient.New(conn, opt)
		case secure || !p.loopback():
			client, err := imapclient.NewStartTLS(b.conn, opt)
			if err != nil {
				return fmt.Errorf("STARTTLS: %w", err)
			}
			b.client = client
		default:
			b.client = imapclient.New(b.conn, opt)
		}
		return b.client.WaitGreeting()
	})
}

// errNeedsTLS says that the server wants no password without TLS.
var errNeedsTLS = errors.New("the server wants no password without TLS")

func (b *Box) login(secure bool) error {
	caps := b.client.Caps()
	if b.client.State() == imap.ConnStateAuthenticated {
		return nil // PREAUTH
	}
	plain := caps.Has(imap.AuthCap(sasl.Plain))
	disabled := caps.Has(imap.CapLoginDisabled)
	switch {
	case !secure && !b.o.Place.TLS && b.o.Place.loopback() && disabled && caps.Has(imap.CapStartTLS):
		return errNeedsTLS
	case plain:
		return b.client.Authenticate(sasl.NewPlainClient("", b.o.Place.User, b.o.Password))
	case disabled:
		return fmt.Errorf("it takes no password here (LOGINDISABLED), and offers neither AUTH=PLAIN nor, without TLS, STARTTLS; it offers %v", caps.AuthMechanisms())
	}
	return b.client.Login(b.o.Place.User, b.o.Password).Wait()
}

// do talks with the server; ctx and the patience end it.
func (b *Box) do(ctx context.Context, f func() error) error {
	conn := b.conn
	defer conn.await()()
	defer context.AfterFunc(ctx, func() { conn.Conn.Close() })()
	err := f()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && conn.timedOut() {
		err = fmt.Errorf("the server said nothing for %v: %w", b.o.Patience, err)
	}
	return err
}

// drop ends a connection that is of no use.
func (b *Box) drop() {
	if b.conn != nil {
		b.conn.Conn.Close() // first, as a farewell by TLS could block
	}
	if b.client != nil {
		b.client.Close()
	}
	b.conn, b.client, b.selected = nil, nil, false
}

// explain adds to an error what can be done about it.
func (b *Box) explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var notTLS tls.RecordHeaderError
	hint := ""
	switch no := refusal(err); {
	case errors.As(err, &unknown):
		hint = "; if it is the right one, name the file with the certificate that signed it"
	case errors.As(err, &host):
		hint = "; write the name that the certificate has"
	case errors.As(err, &notTLS):
		hint = "; there is no TLS at this port: write imap://, which changes to it, or another port"
	case no != nil && no.Code == imap.ResponseCodeAuthenticationFailed:
		hint = "; the user or the password is wrong"
	}
	return fmt.Errorf("IMAP server %s: %w%s", net.JoinHostPort(b.o.Place.Host, b.o.Place.Port), err, hint)
}

// refusal is a server's NO or BAD; nil for every other error.
func refusal(err error) *imap.Error {
	var e *imap.Error
	if errors.As(err, &e) && (e.Type == imap.StatusResponseTypeNo || e.Type == imap.StatusResponseTypeBad) {
		return e
	}
	return nil
}
