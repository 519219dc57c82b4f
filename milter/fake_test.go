package milter

// Handlers that provoke a decision, and an MTA that speaks raw packets.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
	"cloakroom/message"
)

const testTimeout = 30 * time.Second // generous: only a failing test waits for it

// handlerFunc is a Handler.
type handlerFunc func(ctx context.Context, env *flow.Envelope, h message.Header) (Mail, error)

func (f handlerFunc) Open(ctx context.Context, env *flow.Envelope, h message.Header) (Mail, error) {
	return f(ctx, env, h)
}

// fakeMail keeps what it was given and answers as told.
type fakeMail struct {
	env    *flow.Envelope
	header message.Header
	body   bytes.Buffer
	write  func([]byte) error
	finish func(context.Context, *fakeMail) (*flow.Outcome, error)
	closes atomic.Int32
	closed chan struct{} // closed by Close
}

func (m *fakeMail) Write(p []byte) (int, error) {
	if m.write != nil {
		if err := m.write(p); err != nil {
			return 0, err
		}
	}
	return m.body.Write(p)
}

func (m *fakeMail) Finish(ctx context.Context) (*flow.Outcome, error) {
	if m.finish == nil {
		return &flow.Outcome{}, nil
	}
	return m.finish(ctx, m)
}

func (m *fakeMail) Close() {
	if m.closes.Add(1) == 1 {
		close(m.closed)
	}
}

// recorder is a Handler that keeps its mails; set prepares each.
type recorder struct {
	set   func(*fakeMail)
	mu    sync.Mutex
	mails []*fakeMail
}

func (r *recorder) Open(_ context.Context, env *flow.Envelope, h message.Header) (Mail, error) {
	m := &fakeMail{env: env, header: h, closed: make(chan struct{})}
	if r.set != nil {
		r.set(m)
	}
	r.mu.Lock()
	r.mails = append(r.mails, m)
	r.mu.Unlock()
	return m, nil
}

// only gives the one mail there was, after its Close.
func (r *recorder) only(t *testing.T) *fakeMail {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mails) != 1 {
		t.Fatalf("%d mails were opened, want 1", len(r.mails))
	}
	m := r.mails[0]
	select {
	case <-m.closed:
	case <-time.After(testTimeout):
		t.Fatal("the mail was not closed")
	}
	if n := m.closes.Load(); n != 1 {
		t.Fatalf("the mail was closed %d times", n)
	}
	return m
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// await waits until the log contains text.
func (l *logBuffer) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(testTimeout); !strings.Contains(l.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q is not in the log:\n%s", text, l.String())
		}
	}
}

// start runs a server on a UNIX socket and ends it with the test.
func start(t testing.TB, h Handler, adjust ...func(*Server)) (*Server, *logBuffer) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Listen = "unix:" + filepath.Join(t.TempDir(), "m")
	log := &logBuffer{}
	s := New(cfg, h, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for _, f := range adjust {
		f(s)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, log
}

// mta is the other side of the wire.
type mta struct {
	t    testing.TB
	conn net.Conn
	opts options
}

type packet struct {
	code    byte
	payload []byte
}

// What current MTAs offer (Postfix 3.7 with milter_protocol 6).
const (
	allActions  = 0x1ff
	allProtocol = 0x1fffff
)

// dial connects without a word.
func dial(t testing.TB, s *Server) *mta {
	t.Helper()
	conn, err := net.Dial(s.Addr().Network(), s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(testTimeout))
	return &mta{t: t, conn: conn}
}

// greet negotiates and tells of the SMTP client.
func greet(t testing.TB, s *Server, actions gomilter.OptAction, protocol gomilter.OptProtocol) *mta {
	t.Helper()
	m := dial(t, s)
	m.negotiate(6, actions, protocol)
	m.send('D', "C{daemon_name}\x00smtpd\x00j\x00mx.acmecorp.test\x00")
	m.command(gomilter.OptNoConnReply, 'C', "client.ext.test\x004\x30\x39192.0.2.7\x00")
	m.command(gomilter.OptNoHeloReply, 'H', "client.ext.test\x00")
	return m
}

func (m *mta) negotiate(version uint32, actions gomilter.OptAction, protocol gomilter.OptProtocol) {
	m.t.Helper()
	m.send('O', string(options{version, actions, protocol}.payload()))
	p := m.receive()
	if p.code != 'O' || len(p.payload) != 12 {
		m.t.Fatalf("answer to the negotiation: %q %x", p.code, p.payload)
	}
	m.opts = options{
		version:  binary.BigEndian.Uint32(p.payload),
		actions:  gomilter.OptAction(binary.BigEndian.Uint32(p.payload[4:])),
		protocol: gomilter.OptProtocol(binary.BigEndian.Uint32(p.payload[8:])),
	}
}

func (m *mta) send(code byte, payload string) {
	m.t.Helper()
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)+1))
	b = append(append(b, code), payload...)
	if _, err := m.conn.Write(b); err != nil {
		m.t.Fatalf("sending %q: %v", code, err)
	}
}

func (m *mta) receive() packet {
	m.t.Helper()
	p, err := m.tryReceive()
	if err != nil {
		m.t.Fatalf("receiving: %v", err)
	}
	return p
}

func (m *mta) tryReceive() (packet, error) {
	var head [5]byte
	if _, err := io.ReadFull(m.conn, head[:]); err != nil {
		return packet{}, err
	}
	p := packet{head[4], make([]byte, binary.BigEndian.Uint32(head[:])-1)}
	_, err := io.ReadFull(m.conn, p.payload)
	return p, err
}

// command sends and takes the reply, unless there is to be none.
func (m *mta) command(silent gomilter.OptProtocol, code byte, payload string) {
	m.t.Helper()
	m.send(code, payload)
	if m.opts.agreed(silent) {
		return
	}
	if p := m.receive(); p.code != 'c' {
		m.t.Fatalf("reply to %q: %q %q", code, p.code, p.payload)
	}
}

// open sends a message up to its end of header, and gives the reply.
func (m *mta) open(fields ...string) packet {
	m.t.Helper()
	m.send('D', "Mi\x004XyZ\x00")
	m.command(gomilter.OptNoMailReply, 'M', "<alice@ext.test>\x00")
	m.command(gomilter.OptNoRcptReply, 'R', "<bob@acmecorp.test>\x00")
	if len(fields) == 0 {
		fields = []string{"Subject\x00 hello\x00"}
	}
	for _, f := range fields {
		m.command(gomilter.OptNoHeaderReply, 'L', f)
	}
	m.send('N', "")
	return m.receive()
}

// mustOpen is open where the handler wants the message.
func (m *mta) mustOpen(fields ...string) {
	m.t.Helper()
	if p := m.open(fields...); p.code != 'c' {
		m.t.Fatalf("end of header was answered %q %q", p.code, p.payload)
	}
}

func (m *mta) body(chunk string) {
	m.t.Helper()
	m.command(gomilter.OptNoBodyReply, 'B', chunk)
}

// finish ends the message and gives everything up to the verdict, which is last.
func (m *mta) finish() []packet {
	m.t.Helper()
	m.send('E', "")
	return m.answers()
}

func (m *mta) answers() []packet {
	m.t.Helper()
	var all []packet
	for {
		p := m.receive()
		all = append(all, p)
		if strings.IndexByte("acdrty", p.code) >= 0 {
			return all
		}
	}
}

// expectClosed waits for the server to hang up.
func (m *mta) expectClosed() {
	m.t.Helper()
	p, err := m.tryReceive()
	if err == nil {
		m.t.Fatalf("packet %q %q instead of the end", p.code, p.payload)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		m.t.Fatal("the connection stays open")
	}
}
