package test

// SMTP in a client's own words.

import (
	"bytes"
	"errors"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// conversation is an SMTP session of a client's own words.
type conversation struct {
	t    *testing.T
	conn net.Conn
	text *textproto.Conn
}

// converse connects to a listener from an address of this machine and greets.
func (w *sendmailWorld) converse(t *testing.T, listener, ip string) *conversation {
	t.Helper()
	return conversationWith(t, address(w.port[listener]), ip)
}

// conversationWith connects to a server.
func conversationWith(t *testing.T, addr, ip string) *conversation {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c := &conversation{t: t, conn: conn, text: textproto.NewConn(conn)}
	c.expect(220)
	c.say(250, "EHLO client.acmecorp.test")
	return c
}

// expect reads a reply and checks the beginning of its code.
func (c *conversation) expect(code int) string {
	c.t.Helper()
	_, text, err := c.text.ReadResponse(code)
	if err != nil {
		c.t.Fatalf("want %d: %v", code, err)
	}
	return text
}

// say gives a command and takes its reply.
func (c *conversation) say(code int, line string) string {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		c.t.Fatal(err)
	}
	_, text, err := c.text.ReadResponse(code)
	if err != nil {
		c.t.Fatalf("%.60q: want %d: %v", line, code, err)
	}
	return text
}

// envelope names a sender, with parameters, and recipients.
func (c *conversation) envelope(from string, to ...string) {
	c.t.Helper()
	address, args, _ := strings.Cut(from, " ")
	c.say(250, strings.TrimSpace("MAIL FROM:<"+address+"> "+args))
	for _, r := range to {
		address, args, _ := strings.Cut(r, " ")
		c.say(250, strings.TrimSpace("RCPT TO:<"+address+"> "+args))
	}
}

// data sends a message, byte for byte but for dots, and takes the reply.
func (c *conversation) data(code int, msg []byte) string {
	c.t.Helper()
	said, err := c.tryData(msg)
	var refused *textproto.Error
	if errors.As(err, &refused) && refused.Code == code {
		return refused.Msg
	}
	if err != nil || code != 250 {
		c.t.Fatalf("want %d: %q %v", code, said, err)
	}
	return said
}

// tryData is data where the reply is not known.
func (c *conversation) tryData(msg []byte) (string, error) {
	stuffed := bytes.ReplaceAll(append([]byte("\n"), msg...), []byte("\n."), []byte("\n.."))[1:]
	if !bytes.HasSuffix(stuffed, []byte("\r\n")) {
		stuffed = append(stuffed, "\r\n"...)
	}
	if _, err := c.conn.Write([]byte("DATA\r\n")); err != nil {
		return "", err
	}
	if _, _, err := c.text.ReadResponse(354); err != nil {
		return "", err
	}
	if _, err := c.conn.Write(append(stuffed, ".\r\n"...)); err != nil {
		return "", err
	}
	_, said, err := c.text.ReadResponse(250)
	return said, err
}

// mail sends one message by a listener and expects it to be taken. Parameters
// may follow an address.
func (w *sendmailWorld) mail(t *testing.T, listener, ip, from string, to []string, msg []byte) {
	t.Helper()
	c := w.converse(t, listener, ip)
	c.envelope(from, to...)
	c.data(250, msg)
	c.say(221, "QUIT")
}
