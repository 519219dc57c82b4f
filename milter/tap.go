package milter

// The tap: the connection as go-milter sees it, with every packet looked at.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	gomilter "github.com/emersion/go-milter"
)

// errDrained ends an idle connection at shutdown.
var errDrained = errors.New("shutting down")

// tap wraps the connection to the MTA. It cuts what comes in into packets and
// shows each to intercept, buffers what goes out until the next read would wait
// for the MTA, and keeps the deadlines. Only go-milter's goroutine reads and
// writes, except while attend lends both sides to its helpers.
type tap struct {
	net.Conn
	r *bufio.Reader
	w *bufio.Writer
	// intercept looks at a packet before go-milter does; false keeps it away.
	// The payload is valid until the next packet. Of a body chunk it is shown
	// nothing, after body has had the content.
	intercept func(code gomilter.Code, payload []byte) (pass bool, err error)
	// body takes a piece of a body chunk, which is valid until it returns.
	// go-milter never sees body chunks: it makes new memory for each.
	body func([]byte) error
	// closed is called once by Close, with what ended the reading.
	closed func(error)

	acknowledge func() // see acknowledger; nil where there is no need

	idle    time.Duration // how long a packet may be awaited
	packet  time.Duration // how long it may take to arrive, and the first to come
	buf     []byte        // the current packet
	pending []byte        // what go-milter has not read of it
	err     error         // what ended the reading

	inPacket bool      // the next bytes belong to a packet already begun
	whole    time.Time // until when the rest of it must be here
	greeted  bool      // the MTA has said its first word
	watching bool      // a watcher reads: no flush, no deadline

	mu       sync.Mutex // guards the fields below, and the order of deadlines
	busy     bool       // a message is in flight
	limit    time.Time  // until when it must be answered
	draining bool
	once     sync.Once
}

func newTap(conn net.Conn, idle time.Duration) *tap {
	t := &tap{Conn: conn, idle: idle, packet: packetTimeout, acknowledge: acknowledger(conn)}
	t.r = bufio.NewReaderSize(source{t}, readBuffer)
	t.w = bufio.NewWriterSize(sink{t}, writeBuffer)
	return t
}

// Read gives go-milter the next bytes of packets it shall see. Any failure looks
// like the end of the connection to it: the reason is logged by us.
func (t *tap) Read(p []byte) (int, error) {
	if len(t.pending) == 0 {
		if err := t.next(); err != nil {
			t.err = err
			return 0, io.EOF
		}
	}
	n := copy(p, t.pending)
	t.pending = t.pending[n:]
	return n, nil
}

// next reads packets until one is for go-milter.
func (t *tap) next() error {
	for {
		if t.drained() {
			if err := t.flush(); err != nil {
				return err
			}
			return errDrained
		}
		code, payload, err := t.readPacket()
		if err != nil {
			return err
		}
		pass, err := t.intercept(code, payload)
		if err != nil {
			return err
		}
		if pass {
			t.pending = t.buf
			return nil
		}
	}
}

// readPacket reads one packet into buf. The content of a body chunk goes to body
// instead.
func (t *tap) readPacket() (gomilter.Code, []byte, error) {
	if cap(t.buf) > keptPacket { // after an unusually long header field
		t.buf = nil
	}
	t.buf = append(t.buf[:0], make([]byte, packetHead)...)
	t.inPacket = false
	if _, err := t.r.Peek(1); err != nil {
		return 0, nil, err
	}
	// One time for all of it, or a byte now and then would hold the place for ever.
	t.inPacket, t.whole = true, time.Now().Add(t.packet)
	if _, err := io.ReadFull(t.r, t.buf[:4]); err != nil {
		return 0, nil, unexpected(err)
	}
	length := binary.BigEndian.Uint32(t.buf)
	if length == 0 || length > maxPacket {
		return 0, nil, fmt.Errorf("packet length %d is not between 1 and %d", length, maxPacket)
	}
	if _, err := io.ReadFull(t.r, t.buf[4:]); err != nil {
		return 0, nil, unexpected(err)
	}
	code, rest := gomilter.Code(t.buf[4]), int(length)-1
	if code == gomilter.CodeBody {
		return code, nil, t.passBody(rest)
	}
	t.buf = append(t.buf, make([]byte, rest)...)
	if _, err := io.ReadFull(t.r, t.buf[packetHead:]); err != nil {
		return 0, nil, unexpected(err)
	}
	return code, t.buf[packetHead:], nil
}

// bodyPieces are lent for the time of one chunk.
var bodyPieces = sync.Pool{New: func() any { return new([maxChunk]byte) }}

// passBody gives n bytes to body.
func (t *tap) passBody(n int) error {
	piece := bodyPieces.Get().(*[maxChunk]byte)
	defer bodyPieces.Put(piece)
	for n > 0 {
		b := piece[:min(n, len(piece))]
		if _, err := io.ReadFull(t.r, b); err != nil {
			return unexpected(err)
		}
		if err := t.body(b); err != nil {
			return err
		}
		n -= len(b)
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write takes go-milter's answers; they leave together before the next read.
func (t *tap) Write(p []byte) (int, error) { return t.w.Write(p) }

// writePacket writes an answer that go-milter has no call for.
func (t *tap) writePacket(code byte, payload []byte) error {
	var head [packetHead]byte
	binary.BigEndian.PutUint32(head[:], uint32(len(payload)+1))
	head[4] = code
	if _, err := t.w.Write(head[:]); err != nil {
		return err
	}
	_, err := t.w.Write(payload)
	return err
}

func (t *tap) flush() error {
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("answering the MTA: %w", err)
	}
	return nil
}

// Close is called by go-milter when its session ends, for whatever reason.
func (t *tap) Close() error {
	err := t.Conn.Close()
	t.once.Do(func() { t.closed(t.err) })
	return err
}

// source is the socket under the read buffer.
type source struct{ t *tap }

func (s source) Read(p []byte) (int, error) {
	n, err := s.read(p)
	if n > 0 && s.t.acknowledge != nil {
		s.t.acknowledge()
	}
	return n, err
}

func (s source) read(p []byte) (int, error) {
	t := s.t
	if t.watching {
		return t.Conn.Read(p)
	}
	// Whoever waits for the MTA must have told it everything.
	if err := t.flush(); err != nil {
		return 0, err
	}
	if err := t.armRead(); err != nil {
		return 0, err
	}
	return t.Conn.Read(p)
}

// armRead sets the deadline of the read that follows.
func (t *tap) armRead() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining && !t.busy {
		return errDrained
	}
	wait := t.idle
	if !t.greeted {
		wait = min(wait, t.packet)
	}
	deadline := time.Now().Add(wait)
	if t.inPacket {
		deadline = t.whole
	}
	if t.busy && t.limit.Before(deadline) {
		deadline = t.limit
	}
	return t.Conn.SetReadDeadline(deadline)
}

// sink is the socket under the write buffer.
type sink struct{ t *tap }

func (s sink) Write(p []byte) (int, error) {
	if err := s.t.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return s.t.Conn.Write(p)
}

// begin marks a message in flight that must be answered before limit.
func (t *tap) begin(limit time.Time) {
	t.mu.Lock()
	t.busy, t.limit = true, limit
	t.mu.Unlock()
}

// end marks the connection idle.
func (t *tap) end() {
	t.mu.Lock()
	t.busy = false
	t.mu.Unlock()
}

func (t *tap) drained() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.draining && !t.busy
}

// drain ends the connection as soon as no message is in flight. It may be called
// from any goroutine.
func (t *tap) drain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
	if !t.busy {
		// Wakes a waiting read; an answer being written is not disturbed.
		t.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}
