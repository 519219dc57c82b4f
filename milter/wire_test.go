package milter

import (
	"context"
	"encoding/binary"
	"errors"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
	"cloakroom/message"
)

func TestWaitingMTAGetsProgress(t *testing.T) {
	release := make(chan struct{})
	r := &recorder{set: func(m *fakeMail) {
		m.finish = func(context.Context, *fakeMail) (*flow.Outcome, error) {
			<-release
			return &flow.Outcome{Body: chunks{"new"}}, nil
		}
	}}
	s, _ := start(t, r, func(s *Server) { s.progress = 5 * time.Millisecond })
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	m.send('E', "")
	for range 3 {
		if p := m.receive(); p.code != respProgress || len(p.payload) != 0 {
			t.Fatalf("got %q %q, want progress", p.code, p.payload)
		}
	}
	close(release)
	all := m.answers()
	for len(all) > 0 && all[0].code == respProgress {
		all = all[1:]
	}
	if len(all) != 2 || all[0].code != 'b' || all[1].code != 'a' {
		t.Errorf("after the progress: %v, want body and accept", all)
	}
	time.Sleep(20 * time.Millisecond)
	if p := m.open(); p.code != 'c' {
		t.Errorf("a stray %q follows the verdict", p.code)
	}
}

// Sendmail's R: is 10 s by default, and an interval as long as that loses the race.
func TestProgressComesBeforeSendmailGivesUp(t *testing.T) {
	const sendmailRead = 10 * time.Second
	if progressInterval > sendmailRead/3 {
		t.Errorf("PROGRESS every %v is too seldom for an MTA that waits %v", progressInterval, sendmailRead)
	}
}

func TestAbortInTheMiddleOfABody(t *testing.T) {
	r := &recorder{}
	s, _ := start(t, r)
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	m.body("half")
	m.send('A', "")
	m.send('A', "") // an abort without a message is nothing
	if got := r.only(t).body.String(); got != "half" {
		t.Errorf("body %q", got)
	}
	m.mustOpen()
	m.body("whole")
	if got := m.finish(); got[0].code != 'a' {
		t.Errorf("the next message was answered %q", got[0].code)
	}
	if got := r.mails[1].body.String(); got != "whole" {
		t.Errorf("the next message has the body %q", got)
	}
}

func TestTransactionReplacedWithoutAbort(t *testing.T) {
	r := &recorder{}
	s, _ := start(t, r)
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	m.body("lost")
	m.mustOpen()
	m.finish()
	for i, mail := range r.mails {
		if n := mail.closes.Load(); n != 1 {
			t.Errorf("mail %d was closed %d times", i, n)
		}
	}
	if n := len(r.mails[1].env.Recipients); n != 1 {
		t.Errorf("%d recipients, want those of the second transaction", n)
	}
}

func TestLostConnectionClosesTheMail(t *testing.T) {
	for name, cut := range map[string]func(*mta){
		"hang up":          func(m *mta) { m.conn.Close() },
		"quit":             func(m *mta) { m.send('Q', "") },
		"cut in a chunk":   func(m *mta) { m.conn.Write([]byte("\x00\x00\x10\x00Bhalf")); m.conn.Close() },
		"cut in a command": func(m *mta) { m.conn.Write([]byte("\x00\x00\x10\x00Lhalf")); m.conn.Close() },
		"cut in a length":  func(m *mta) { m.conn.Write([]byte("\x00\x00")); m.conn.Close() },
		"unknown command":  func(m *mta) { m.send('z', ""); m.expectClosed() },
		"new negotiation":  func(m *mta) { m.send('O', strings.Repeat("\x00", 12)); m.expectClosed() },
	} {
		t.Run(name, func(t *testing.T) {
			ctxs := make(chan context.Context, 1)
			r := &recorder{}
			s, _ := start(t, handlerFunc(func(ctx context.Context, env *flow.Envelope, h message.Header) (Mail, error) {
				ctxs <- ctx
				return r.Open(ctx, env, h)
			}))
			m := greet(t, s, allActions, allProtocol)
			m.mustOpen()
			cut(m)
			r.only(t)
			select {
			case <-(<-ctxs).Done():
			case <-time.After(testTimeout):
				t.Error("the context lives on")
			}
		})
	}
}

func TestConnectionLostWhileFinishing(t *testing.T) {
	cause := make(chan error, 1)
	r := &recorder{set: func(m *fakeMail) {
		m.finish = func(ctx context.Context, _ *fakeMail) (*flow.Outcome, error) {
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return nil, ctx.Err()
		}
	}}
	s, log := start(t, r)
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	m.send('E', "")
	m.conn.Close()
	select {
	case err := <-cause:
		if !errors.Is(err, errGone) {
			t.Errorf("cause %v", err)
		}
	case <-time.After(testTimeout):
		t.Fatal("the context was not cancelled")
	}
	r.only(t)
	log.await(t, errGone.Error())
}

func TestManyMessagesOnOneConnectionNeedNoMoreMemory(t *testing.T) {
	r := &recorder{}
	s, _ := start(t, handlerFunc(func(ctx context.Context, env *flow.Envelope, h message.Header) (Mail, error) {
		r.mails = nil
		return r.Open(ctx, env, h)
	}))
	m := greet(t, s, allActions, allProtocol)
	send := func(n int) {
		for range n {
			m.conn.SetDeadline(time.Now().Add(testTimeout))
			m.mustOpen("X-Filler\x00 "+strings.Repeat("x", 10_000)+"\x00", "Subject\x00 a\x00")
			m.body("body\r\n")
			if got := m.finish(); got[0].code != 'a' {
				t.Fatalf("answer %q", got[0].code)
			}
		}
	}
	heap := func() uint64 {
		var ms runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&ms)
		return ms.HeapAlloc
	}
	send(50)
	before := heap()
	send(1000) // 10 MB of header fields
	if after := heap(); after > before+2<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

func TestShutdownWaitsForTheMessageInFlight(t *testing.T) {
	release := make(chan struct{})
	r := &recorder{set: func(m *fakeMail) {
		m.finish = func(context.Context, *fakeMail) (*flow.Outcome, error) { <-release; return &flow.Outcome{}, nil }
	}}
	s, _ := start(t, r)
	idle := greet(t, s, allActions, allProtocol)
	idle.mustOpen()
	idle.send('A', "")
	busy := greet(t, s, allActions, allProtocol)
	busy.mustOpen()

	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	idle.expectClosed()
	if _, err := net.Dial("unix", s.Addr().String()); err == nil {
		t.Error("a new connection was taken")
	}
	busy.body("still welcome")
	busy.send('E', "")
	select {
	case err := <-done:
		t.Fatalf("shutdown did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	if got := busy.answers(); got[0].code != 'a' {
		t.Errorf("answer %q", got[0].code)
	}
	busy.expectClosed()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsOffWhenItsTimeIsUp(t *testing.T) {
	r := &recorder{set: func(m *fakeMail) {
		m.finish = func(ctx context.Context, _ *fakeMail) (*flow.Outcome, error) { <-ctx.Done(); return nil, ctx.Err() }
	}}
	s, _ := start(t, r)
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	m.send('E', "")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connections") {
		t.Errorf("got %v", err)
	}
	r.only(t)
}

func TestConnectionsOverTheLimitWait(t *testing.T) {
	s, log := start(t, &recorder{}, func(s *Server) { s.slots = make(chan struct{}, 2) })
	first, second := greet(t, s, allActions, allProtocol), greet(t, s, allActions, allProtocol)
	third := dial(t, s)
	third.send('O', string(options{6, allActions, allProtocol}.payload()))
	third.conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if p, err := third.tryReceive(); err == nil {
		t.Fatalf("a third connection got %q", p.code)
	}
	log.await(t, "all milter connections are in use")
	first.send('Q', "")
	third.conn.SetReadDeadline(time.Now().Add(testTimeout))
	if p := third.receive(); p.code != 'O' {
		t.Errorf("got %q", p.code)
	}
	second.mustOpen()
}

func TestSilentMTAIsDisconnected(t *testing.T) {
	short := func(s *Server) { s.cfg.IdleTimeout = 300 * time.Millisecond }
	t.Run("between messages", func(t *testing.T) {
		s, log := start(t, &recorder{}, short)
		m := greet(t, s, allActions, allProtocol)
		m.expectClosed()
		log.await(t, "in_message=false")
	})
	t.Run("in a message", func(t *testing.T) {
		r := &recorder{}
		s, log := start(t, r, short)
		m := greet(t, s, allActions, allProtocol)
		m.mustOpen()
		m.expectClosed()
		r.only(t)
		log.await(t, "in_message=true")
	})
	t.Run("before the negotiation", func(t *testing.T) {
		s, _ := start(t, &recorder{}, short)
		dial(t, s).expectClosed()
	})
}

func TestMessageTimeout(t *testing.T) {
	short := func(s *Server) { s.cfg.MessageTimeout = 500 * time.Millisecond }
	t.Run("while the MTA sends", func(t *testing.T) {
		r := &recorder{}
		s, _ := start(t, r, short)
		m := greet(t, s, allActions, allProtocol)
		m.mustOpen()
		m.expectClosed()
		r.only(t)
	})
	t.Run("while the handler works", func(t *testing.T) {
		r := &recorder{set: func(m *fakeMail) {
			m.finish = func(ctx context.Context, _ *fakeMail) (*flow.Outcome, error) { <-ctx.Done(); return nil, ctx.Err() }
		}}
		s, log := start(t, r, short)
		m := greet(t, s, allActions, allProtocol)
		m.mustOpen()
		checkDeferred(t, m.finish()[0], log, errTimeLimit.Error())
		m.conn.SetDeadline(time.Now().Add(testTimeout))
		m.mustOpen() // answered in time to go on
	})
}

func TestCommandsWithNothingToSayAreAnswered(t *testing.T) {
	s, _ := start(t, &recorder{})
	for _, protocol := range []gomilter.OptProtocol{0, allProtocol} {
		m := greet(t, s, allActions, protocol)
		m.command(gomilter.OptNoUnknownReply, 'U', "XYZZY\x00")
		m.send('D', "Mi\x004XyZ\x00")
		m.command(gomilter.OptNoMailReply, 'M', "<>\x00")
		m.command(gomilter.OptNoUnknownReply, 'U', "XYZZY\x00")
		m.command(gomilter.OptNoRcptReply, 'R', "<bob@acmecorp.test>\x00")
		m.command(gomilter.OptNoDataReply, 'T', "")
		m.send('N', "")
		if p := m.receive(); p.code != 'c' {
			t.Fatalf("end of header: %q", p.code)
		}
		m.body("x")
		if got := m.finish(); len(got) != 1 || got[0].code != 'a' {
			t.Errorf("protocol %#x: %v", protocol, got)
		}
	}
}

func TestCommandsOutOfOrderEndTheConnection(t *testing.T) {
	var lib logBuffer
	defer log.SetOutput(log.Writer())
	log.SetOutput(LibraryLogWriter(slog.New(slog.NewTextHandler(&lib, nil))))
	s, _ := start(t, &recorder{})
	for _, tc := range []packet{
		{'R', []byte("<a@b>\x00")}, {'L', []byte("A\x00b\x00")}, {'N', nil}, {'B', []byte("x")}, {'E', nil},
		{'M', []byte("no end")}, {'M', nil}, {'C', []byte("host")}, {'C', []byte("h\x004\x00\x01not an address\x00")}, {'D', nil}, {'D', []byte("Munterminated")},
	} {
		m := greet(t, s, allActions, allProtocol)
		m.send(tc.code, string(tc.payload))
		m.expectClosed()
	}
	for _, code := range "NB" { // a second end of header, a body before any
		m := greet(t, s, allActions, allProtocol)
		m.send('M', "<>\x00")
		m.send('R', "<bob@acmecorp.test>\x00")
		if code == 'N' {
			m.send('N', "")
			m.receive()
		}
		m.send(byte(code), "")
		m.expectClosed()
	}
	m := dial(t, s)
	m.send('C', "host\x00U") // before the negotiation
	m.expectClosed()
	lib.await(t, errOrder.Error())
	if !strings.Contains(lib.String(), "level=WARN") || !strings.Contains(lib.String(), "library=go-milter") {
		t.Errorf("go-milter's log: %s", lib.String())
	}
}

func TestGarbageEndsTheConnectionOnly(t *testing.T) {
	s, log := start(t, &recorder{})
	for _, raw := range []string{
		"\x00\x00\x00\x00", "\xff\xff\xff\xffO", "\x00\x10\x00\x01O", "GET / HTTP/1.1\r\n\r\n",
		"\x00\x00\x00\x01O", "\x00\x00\x00\x0dO\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		m := dial(t, s)
		m.conn.Write([]byte(raw))
		m.expectClosed()
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	codes := "ABCDEHKLMNOQRTUz"
	for range 200 {
		m := dial(t, s)
		m.negotiate(6, allActions, allProtocol)
		for range 20 {
			payload := make([]byte, rnd.IntN(40))
			for i := range payload {
				payload[i] = byte(rnd.IntN(256)) * byte(rnd.IntN(3)) // many NULs
			}
			b := append([]byte{0, 0, 0, byte(len(payload) + 1), codes[rnd.IntN(len(codes))]}, payload...)
			if _, err := m.conn.Write(b); err != nil {
				break
			}
		}
		m.conn.Close()
	}
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	m.finish()
	if strings.Contains(log.String(), "panic") {
		t.Errorf("panic in the log:\n%s", log)
	}
}

func BenchmarkSessionBody(b *testing.B) {
	s, _ := start(b, handlerFunc(func(context.Context, *flow.Envelope, message.Header) (Mail, error) {
		return discard{}, nil
	}))
	m := greet(b, s, allActions, allProtocol)
	m.conn.SetDeadline(time.Time{})
	const chunksPerMessage = 160 // 10 MB
	// Made once: what is counted are the server's allocations.
	chunk := append(binary.BigEndian.AppendUint32(nil, maxChunk+1), 'B')
	chunk = append(chunk, strings.Repeat("x", maxChunk)...)
	b.SetBytes(chunksPerMessage * maxChunk)
	b.ReportAllocs()
	for b.Loop() {
		m.mustOpen()
		for range chunksPerMessage {
			if _, err := m.conn.Write(chunk); err != nil {
				b.Fatal(err)
			}
		}
		if got := m.finish(); got[0].code != 'a' {
			b.Fatalf("answer %q", got[0].code)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error)                   { return len(p), nil }
func (discard) Finish(context.Context) (*flow.Outcome, error) { return &flow.Outcome{}, nil }
func (discard) Close()                                        {}
