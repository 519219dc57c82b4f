package app

// Restored mails put into a mailbox, by IMAP APPEND (RFC 9051).

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const (
	// imapPatience is how long the server may take to take one mail.
	imapPatience = 10 * time.Minute
	imapConnect  = 30 * time.Second
)

// IMAPOptions says which mailbox restored mails go to.
type IMAPOptions struct {
	// URL is imaps://user@host/Mailbox, or imap:// which changes to TLS before it
	// logs in, except on a loopback address.
	URL      string
	Password string
	CAs      *x509.CertPool // nil: the system's
}

// mailbox appends to one mailbox over one connection.
type mailbox struct {
	conn   net.Conn
	client *imapclient.Client
	name   string
}

// NewIMAP logs in. The mailbox is made when it is missing.
func NewIMAP(ctx context.Context, o IMAPOptions) (Sink, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "imap" && u.Scheme != "imaps" || u.Hostname() == "" || u.User.Username() == "" {
		return nil, errors.New("--imap: write imaps://user@host/Mailbox; an @ in the user is %40")
	}
	if _, has := u.User.Password(); has {
		return nil, errors.New("--imap: a password on the command line is seen by everybody; use --imap-password-file")
	}
	m := &mailbox{name: strings.TrimPrefix(u.Path, "/")}
	if m.name == "" {
		m.name = "INBOX"
	}
	if err := m.connect(ctx, u, o.CAs); err != nil {
		return nil, fmt.Errorf("IMAP server %s: %w", u.Host, err)
	}
	if err := m.login(u.User.Username(), o.Password); err != nil {
		return nil, errors.Join(fmt.Errorf("IMAP server %s: %w", u.Host, err), m.client.Close())
	}
	return m, nil
}

// ReadIMAPOptions reads the files that flags name: the password is the first line
// of one, the certificates that sign the server's are in the other ("" for the
// system's).
func ReadIMAPOptions(address, password, ca string) (IMAPOptions, error) {
	o := IMAPOptions{URL: address}
	if password == "" {
		return o, errors.New("--imap needs --imap-password-file")
	}
	text, err := os.ReadFile(password)
	if err != nil {
		return o, fmt.Errorf("--imap-password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if o.Password = strings.TrimSuffix(line, "\r"); o.Password == "" {
		return o, fmt.Errorf("--imap-password-file: the first line of %s is empty", password)
	}
	if ca == "" {
		return o, nil
	}
	certificates, err := os.ReadFile(ca)
	if err != nil {
		return o, fmt.Errorf("--imap-ca-file: %w", err)
	}
	o.CAs = x509.NewCertPool()
	if !o.CAs.AppendCertsFromPEM(certificates) {
		return o, fmt.Errorf("--imap-ca-file: no certificate (PEM) in %s", ca)
	}
	return o, nil
}

func (m *mailbox) connect(ctx context.Context, u *url.URL, cas *x509.CertPool) error {
	port := u.Port()
	if port == "" {
		port = map[string]string{"imap": "143", "imaps": "993"}[u.Scheme]
	}
	dialer := net.Dialer{Timeout: imapConnect}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	m.conn = conn
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), RootCAs: cas}
	opt := &imapclient.Options{TLSConfig: cfg}
	conn.SetDeadline(time.Now().Add(imapConnect))
	switch {
	case u.Scheme == "imaps":
		m.client = imapclient.New(tls.Client(conn, cfg), opt)
	case isLoopback(u.Hostname()):
		m.client = imapclient.New(conn, opt)
	default:
		if m.client, err = imapclient.NewStartTLS(conn, opt); err != nil {
			conn.Close()
			return err
		}
	}
	return nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (m *mailbox) login(user, password string) error {
	if err := m.client.Login(user, password).Wait(); err != nil {
		return err
	}
	err := m.client.Create(m.name, nil).Wait()
	var refused *imap.Error
	if errors.As(err, &refused) {
		return nil // it is there, or the first APPEND tells better
	}
	return err
}

// Put appends a mail as of when it came. Line ends become CRLF, which IMAP asks for.
func (m *mailbox) Put(ctx context.Context, o *Original) (string, error) {
	size, err := io.Copy(io.Discard, canonicalLines(o.Reader()))
	if err != nil {
		return "", err
	}
	m.conn.SetDeadline(time.Now().Add(imapPatience))
	defer context.AfterFunc(ctx, func() { m.conn.Close() })()
	cmd := m.client.Append(m.name, size, &imap.AppendOptions{Time: o.Mail.Received})
	_, err = io.Copy(cmd, canonicalLines(o.Reader()))
	if cerr := cmd.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		_, err = cmd.Wait()
	}
	if err != nil {
		return "", fmt.Errorf("append to %s: %w", m.name, err)
	}
	return "mailbox " + m.name, nil
}

func (m *mailbox) Close() error {
	m.conn.SetDeadline(time.Now().Add(imapConnect))
	err := m.client.Logout().Wait()
	m.client.Close()
	return err
}
