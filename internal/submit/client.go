package submit

// One SMTP session: connection, greeting, EHLO, STARTTLS, AUTH, replies.

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

const (
	// maxReplyLine bounds a line of a reply in bytes; RFC 5321 (4.5.3.1.5) has
	// 512, and MTAs that explain themselves at length exist.
	maxReplyLine = 4096
	// maxReplyLines bounds the lines of a reply. EHLO has two dozen.
	maxReplyLines = 256
	// quitTimeout bounds the wait for the answer to QUIT, which nobody needs.
	quitTimeout = 2 * time.Second
	// maxPassword bounds the password file in bytes.
	maxPassword = 4096
	// codeClosing announces that the MTA closes the connection (RFC 5321, 3.8).
	codeClosing = 421
)

// replyError is a reply that refuses.
type replyError struct {
	phase string
	Reply Reply
}

func (e *replyError) Error() string { return e.phase + " refused: " + e.Reply.String() }

// timeouts of the phases of RFC 5321, 4.5.3.2.
type timeouts struct {
	command, message time.Duration
}

type client struct {
	conn       net.Conn
	in         *bufio.Reader
	out        *bufio.Writer
	timeouts   timeouts
	extensions map[string]string // by upper-case keyword, with its parameters
	release    func() bool
}

// connect opens a session that is ready for MAIL.
func (s *Sender) connect(ctx context.Context) (*client, error) {
	dialer := net.Dialer{Timeout: s.cfg.ConnectTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", s.cfg.SMTP)
	if err != nil {
		return nil, err
	}
	c := &client{timeouts: timeouts{s.cfg.CommandTimeout, s.cfg.MessageTimeout}}
	c.use(conn)
	c.release = context.AfterFunc(ctx, func() { conn.Close() })
	if err := s.handshake(ctx, c); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *client) use(conn net.Conn) {
	c.conn, c.in, c.out = conn, bufio.NewReaderSize(conn, maxReplyLine), bufio.NewWriterSize(conn, writeBuffer)
}

func (c *client) close() {
	c.release()
	c.conn.Close()
}

// quit ends the session politely; how it ends no longer matters.
func (c *client) quit() {
	_, _ = c.command(quitTimeout, "QUIT")
}

func (s *Sender) handshake(ctx context.Context, c *client) error {
	r, err := c.reply(c.timeouts.command)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if r.Code != 220 {
		return &replyError{"connection", r}
	}
	if err := c.hello(s.helo); err != nil {
		return err
	}
	if s.cfg.encrypted() {
		if err := s.startTLS(ctx, c); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
		// What was said in the clear is forgotten (RFC 3207, 4.2).
		if err := c.hello(s.helo); err != nil {
			return err
		}
	}
	if s.cfg.User == "" {
		return nil
	}
	return s.authenticate(c)
}

// hello sends EHLO, and HELO to an MTA that does not know it.
func (c *client) hello(name string) error {
	c.extensions = map[string]string{}
	r, err := c.command(c.timeouts.command, "EHLO "+name)
	if err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	if r.outcome() == Permanent {
		return c.expect(2, "HELO", "HELO "+name)
	}
	if r.outcome() != Accepted {
		return &replyError{"EHLO", r}
	}
	// The first line is the MTA's name.
	for _, line := range strings.Split(r.Text, "\n")[1:] {
		keyword, params, _ := strings.Cut(line, " ")
		c.extensions[strings.ToUpper(keyword)] = params
	}
	return nil
}

func (c *client) has(extension string) bool {
	_, ok := c.extensions[extension]
	return ok
}

func (s *Sender) startTLS(ctx context.Context, c *client) error {
	if !c.has("STARTTLS") {
		return errors.New("the MTA does not offer it")
	}
	name := s.cfg.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(s.cfg.SMTP)
	}
	config := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if s.cfg.CAFile != "" {
		pem, err := os.ReadFile(s.cfg.CAFile)
		if err != nil {
			return fmt.Errorf("ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("ca_file: %s has no certificate in PEM", s.cfg.CAFile)
		}
	}
	if err := c.expect(2, "STARTTLS", "STARTTLS"); err != nil {
		return err
	}
	if c.in.Buffered() > 0 {
		// Somebody put words into the MTA's mouth before it was encrypted.
		return errors.New("the MTA went on in the clear")
	}
	conn := tls.Client(c.conn, config)
	ctx, cancel := context.WithTimeout(ctx, c.timeouts.command)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	c.use(conn)
	return nil
}

// authenticate sends user and password (RFC 4954, RFC 4616).
func (s *Sender) authenticate(c *client) error {
	if !strings.Contains(" "+strings.ToUpper(c.extensions["AUTH"])+" ", " PLAIN ") {
		return errors.New("AUTH: the MTA does not offer PLAIN")
	}
	password, err := readPassword(s.cfg.PasswordFile)
	if err != nil {
		return err
	}
	secret := base64.StdEncoding.EncodeToString([]byte("\x00" + s.cfg.User + "\x00" + password))
	return c.expect(2, "AUTH", "AUTH PLAIN "+secret)
}

func readPassword(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPassword))
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || strings.ContainsRune(line, 0) {
		return "", fmt.Errorf("password_file: %s has no password in its first line", file)
	}
	return line, nil
}

// expect sends a command that must be answered by a code of the class.
func (c *client) expect(class int, phase, command string) error {
	r, err := c.command(c.timeouts.command, command)
	if err != nil {
		return fmt.Errorf("%s: %w", phase, err)
	}
	if r.Code/100 != class {
		return &replyError{phase, r}
	}
	return nil
}

// command sends a line and reads the reply.
func (c *client) command(limit time.Duration, line string) (Reply, error) {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return Reply{}, err
	}
	c.out.WriteString(line)
	c.out.WriteString("\r\n")
	if err := c.out.Flush(); err != nil {
		return c.lastWords(err)
	}
	return c.reply(limit)
}

// lastWords reads what an MTA said before it closed the connection on us:
// mostly why. Without such words err is returned.
func (c *client) lastWords(err error) (Reply, error) {
	r, readErr := c.reply(quitTimeout)
	if readErr != nil || r.Code < 400 {
		return Reply{}, err
	}
	return r, nil
}

// reply reads one reply (RFC 5321, 4.2).
func (c *client) reply(limit time.Duration) (Reply, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return Reply{}, err
	}
	var r Reply
	var lines []string
	for range maxReplyLines {
		line, err := c.in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return Reply{}, fmt.Errorf("a reply has a line of more than %d bytes", maxReplyLine)
		case err == io.EOF:
			return Reply{}, errors.New("the MTA closed the connection")
		case err != nil:
			return Reply{}, err
		}
		code, more, text, ok := parseReplyLine(strings.TrimRight(string(line), "\r\n"))
		if !ok || r.Code != 0 && code != r.Code {
			return Reply{}, fmt.Errorf("%.60q is not an SMTP reply", line)
		}
		r.Code = code
		enhanced, rest := cutEnhanced(code, text)
		if enhanced != "" {
			r.Enhanced, text = enhanced, rest
		}
		lines = append(lines, strings.ToValidUTF8(text, "\uFFFD"))
		if !more {
			r.Text = strings.Join(lines, "\n")
			return r, nil
		}
	}
	return Reply{}, fmt.Errorf("a reply has more than %d lines", maxReplyLines)
}

// parseReplyLine takes "250-text", "250 text" and "250" apart.
func parseReplyLine(line string) (code int, more bool, text string, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, "", false
	}
	for _, digit := range []byte(line[:3]) {
		if digit < '0' || digit > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(digit-'0')
	}
	if len(line) == 3 {
		return code, false, "", true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, false, "", false
	}
	return code, line[3] == '-', line[4:], true
}

// cutEnhanced takes an enhanced status code (RFC 2034) off a reply's text.
func cutEnhanced(code int, text string) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	var class, subject, detail int
	if n, err := fmt.Sscanf(word, "%1d.%3d.%3d", &class, &subject, &detail); n != 3 || err != nil ||
		class != code/100 || word != fmt.Sprintf("%d.%d.%d", class, subject, detail) {
		return "", text
	}
	return word, rest
}
