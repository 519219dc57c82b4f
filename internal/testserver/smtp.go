package testserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"regexp"
	"time"
)

// smtpTimeout bounds one whole SMTP transaction where the context does not:
// longer than a milter may take for the content (300 s).
const smtpTimeout = 6 * time.Minute

// Reply is an SMTP server's answer to a message: to its end, or to the command
// that it refused.
type Reply struct {
	Code    int    // 250, 451, 550, … (RFC 5321, 4.2)
	Text    string // without the code; lines joined by "\n"
	QueueID string // Postfix's name for the message; "" if refused
}

// queuedAs is how Postfix names an accepted message.
var queuedAs = regexp.MustCompile(`queued as (\w+)`)

// SendSMTP sends one message by SMTP. from is the envelope sender, "" the null
// sender; every recipient must be accepted. Line ends of msg that are bare LF
// become CRLF. When the server refuses, the error is a *textproto.Error and
// Reply says the same; for other errors Reply is zero.
func SendSMTP(ctx context.Context, addr, from string, to []string, msg io.Reader) (Reply, error) {
	return SendSMTPFrom(ctx, "", addr, from, to, msg)
}

// SendSMTPFrom is SendSMTP from another address of this machine, such as
// 127.0.0.2; "" is the usual one.
func SendSMTPFrom(ctx context.Context, client, addr, from string, to []string, msg io.Reader) (Reply, error) {
	reply, err := sendSMTP(ctx, client, addr, from, to, msg)
	var refused *textproto.Error
	if errors.As(err, &refused) {
		reply = Reply{Code: refused.Code, Text: refused.Msg}
	}
	if err != nil {
		return reply, fmt.Errorf("SMTP to %s: %w", addr, err)
	}
	return reply, nil
}

func sendSMTP(ctx context.Context, client, addr, from string, to []string, msg io.Reader) (Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, smtpTimeout)
	defer cancel()
	var dialer net.Dialer
	if client != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(client)}
	}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		return Reply{}, err
	}
	if err := c.Hello("client.ext.test"); err != nil {
		return Reply{}, err
	}
	if err := c.Mail(from); err != nil {
		return Reply{}, fmt.Errorf("MAIL FROM:<%s>: %w", from, err)
	}
	for _, rcpt := range to {
		if err := c.Rcpt(rcpt); err != nil {
			return Reply{}, fmt.Errorf("RCPT TO:<%s>: %w", rcpt, err)
		}
	}
	reply, err := sendData(c.Text, msg)
	if err != nil {
		return Reply{}, fmt.Errorf("DATA: %w", err)
	}
	_ = c.Quit() // the message is the server's by now
	return reply, nil
}

// sendData does what smtp.Client.Data does, and keeps the answer.
func sendData(text *textproto.Conn, msg io.Reader) (Reply, error) {
	id, err := text.Cmd("DATA")
	if err != nil {
		return Reply{}, err
	}
	text.StartResponse(id)
	_, _, err = text.ReadResponse(354)
	text.EndResponse(id)
	if err != nil {
		return Reply{}, err
	}
	w := text.DotWriter()
	if _, err := io.Copy(w, msg); err != nil {
		return Reply{}, err
	}
	if err := w.Close(); err != nil {
		return Reply{}, err
	}
	code, answer, err := text.ReadResponse(250)
	if err != nil {
		return Reply{}, err
	}
	reply := Reply{Code: code, Text: answer}
	if m := queuedAs.FindStringSubmatch(answer); m != nil {
		reply.QueueID = m[1]
	}
	return reply, nil
}
