package testserver

// A next hop that keeps what it is given, byte for byte.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// sinkTimeout bounds the wait for a client's next word.
const sinkTimeout = 5 * time.Minute

// SunkMail is a message that a Sink has taken.
type SunkMail struct {
	From     string   // the envelope sender; "" is the null sender
	FromArgs []string // ESMTP parameters of MAIL: "BODY=8BITMIME", "RET=HDRS", …
	To       []SunkRecipient
	Data     []byte // as sent, without dot stuffing, with CRLF line ends
}

// SunkRecipient is a recipient of a SunkMail.
type SunkRecipient struct {
	Address string
	Args    []string // ESMTP parameters of RCPT: "NOTIFY=NEVER", "ORCPT=…"
}

// Sink is an SMTP server (RFC 5321) that takes all mail. It speaks 8BITMIME,
// SMTPUTF8, DSN and PIPELINING, so that nothing needs to be converted or left out.
type Sink struct {
	ln     net.Listener
	ended  context.Context
	end    context.CancelFunc
	active sync.WaitGroup

	mu     sync.Mutex
	mails  []SunkMail
	refuse map[string]string
}

// StartSink starts a sink on a port of 127.0.0.1. It runs until Stop is called
// or ctx ends.
func StartSink(ctx context.Context) (*Sink, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a sink: %w", err)
	}
	s := &Sink{ln: ln, refuse: map[string]string{}}
	s.ended, s.end = context.WithCancel(ctx)
	context.AfterFunc(s.ended, func() { ln.Close() })
	s.active.Go(s.serve)
	return s, nil
}

// Addr is the sink's "host:port".
func (s *Sink) Addr() string { return s.ln.Addr().String() }

// Stop ends the sink and its connections.
func (s *Sink) Stop() {
	s.end()
	s.active.Wait()
}

// Refuse makes the sink answer RCPT for an address with a reply, such as
// "550 5.1.1 unknown"; "" takes the address again.
func (s *Sink) Refuse(address, reply string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[address] = reply
}

// Mails lists what has come for an address, in the order of its coming; "" lists all.
func (s *Sink) Mails(address string) []SunkMail {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []SunkMail
	for _, m := range s.mails {
		if address == "" || slices.ContainsFunc(m.To, func(r SunkRecipient) bool { return strings.EqualFold(r.Address, address) }) {
			out = append(out, m)
		}
	}
	return out
}

// Wait waits until at least n messages have come for an address, and lists them.
func (s *Sink) Wait(ctx context.Context, address string, n int) ([]SunkMail, error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		mails := s.Mails(address)
		if len(mails) >= n {
			return mails, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return mails, fmt.Errorf("%d messages for %q have come, want %d: %w", len(mails), address, n, ctx.Err())
		}
	}
}

func (s *Sink) serve() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return // stopped
		}
		s.active.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(s.ended, func() { conn.Close() })()
			s.talk(conn)
		})
	}
}

// talk serves one client; a broken conversation just ends.
func (s *Sink) talk(conn net.Conn) {
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	say := func(reply string) { fmt.Fprintf(w, "%s\r\n", reply) }
	say("220 sink.test ESMTP")
	var mail SunkMail
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		if err := conn.SetDeadline(time.Now().Add(sinkTimeout)); err != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			mail = SunkMail{}
			say("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 DSN")
		case "HELO", "RSET":
			mail = SunkMail{}
			say("250 2.0.0 ok")
		case "MAIL":
			mail.From, mail.FromArgs = sinkPath(rest)
			say("250 2.1.0 ok")
		case "RCPT":
			address, args := sinkPath(rest)
			s.mu.Lock()
			reply := s.refuse[address]
			s.mu.Unlock()
			if reply == "" {
				mail.To = append(mail.To, SunkRecipient{address, args})
				reply = "250 2.1.5 ok"
			}
			say(reply)
		case "DATA":
			if len(mail.To) == 0 {
				say("554 5.5.1 no recipient")
				continue
			}
			say("354 go on")
			if w.Flush() != nil {
				return
			}
			if mail.Data, err = sinkData(r); err != nil {
				return
			}
			s.mu.Lock()
			s.mails = append(s.mails, mail)
			s.mu.Unlock()
			mail = SunkMail{}
			say("250 2.0.0 taken")
		case "NOOP":
			say("250 2.0.0 ok")
		case "QUIT":
			say("221 2.0.0 bye")
			w.Flush()
			return
		default:
			say("502 5.5.1 not here")
		}
	}
}

// sinkPath reads "FROM:<a@b> X=Y" or "TO:<a@b> X=Y".
func sinkPath(s string) (address string, args []string) {
	_, s, _ = strings.Cut(s, "<")
	i := strings.LastIndexByte(s, '>')
	if i < 0 {
		return s, nil
	}
	return s[:i], strings.Fields(s[i+1:])
}

// sinkData reads to the line with a dot alone (RFC 5321 section 4.5.2). Only
// CRLF ends a line.
func sinkData(r *bufio.Reader) ([]byte, error) {
	var data []byte
	start := 0 // of the current line in data
	for {
		piece, err := r.ReadSlice('\n')
		data = append(data, piece...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		line := data[start:]
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			continue
		}
		if line[0] == '.' {
			if len(line) == 3 {
				return data[:start], nil
			}
			copy(line, line[1:])
			data = data[:len(data)-1]
		}
		start = len(data)
	}
}
