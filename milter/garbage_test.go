package milter

// Whoever connects may send anything: it must end in an answer or in the end of
// the connection, in bounded time and memory, with every message closed.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/message"
)

// counting is a Handler that wants every message and counts them.
type counting struct {
	mu             sync.Mutex
	opened, closed int
	body           int64 // bytes written
}

type countedMail struct{ c *counting }

func (c *counting) Open(context.Context, *flow.Envelope, message.Header) (Mail, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened++
	return countedMail{c}, nil
}

func (m countedMail) Write(b []byte) (int, error) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.c.body += int64(len(b))
	return len(b), nil
}

func (countedMail) Finish(context.Context) (*flow.Outcome, error) { return &flow.Outcome{}, nil }

func (m countedMail) Close() {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.c.closed++
}

// balanced waits until every message is closed.
func (c *counting) balanced(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		opened, closed := c.opened, c.closed
		c.mu.Unlock()
		if opened == closed {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d messages were opened, %d closed", opened, closed)
		}
	}
}

// noPanic sends go-milter's log to a buffer, and fails if it tells of a panic.
func noPanic(t testing.TB) {
	var lib logBuffer
	old := log.Writer()
	log.SetOutput(LibraryLogWriter(slog.New(slog.NewTextHandler(&lib, nil))))
	t.Cleanup(func() {
		log.SetOutput(old)
		if strings.Contains(lib.String(), "panic") {
			t.Errorf("go-milter's log:\n%s", lib.String())
		}
	})
}

func raw(code byte, payload string) string {
	return string(append(binary.BigEndian.AppendUint32(nil, uint32(len(payload)+1)), code)) + payload
}

// session is what an MTA says, step by step, up to the end of a message.
func wholeSession() []string {
	return []string{
		raw('O', string(options{6, allActions, allProtocol}.payload())),
		raw('D', "C{daemon_name}\x00smtpd\x00") + raw('C', "client.ext.test\x004\x30\x39192.0.2.7\x00"),
		raw('H', "client.ext.test\x00"),
		raw('D', "Mi\x004XyZ\x00") + raw('M', "<alice@ext.test>\x00SIZE=100\x00"),
		raw('R', "<bob@acmecorp.test>\x00"),
		raw('T', ""),
		raw('L', "Subject\x00 hello\x00"),
		raw('N', ""),
		raw('B', "the body\r\n"),
		raw('E', ""),
	}
}

// drainReplies reads what the server says until it ends, and fails if that is
// not a row of whole packets.
func drainReplies(t testing.TB, conn net.Conn) <-chan string {
	codes := make(chan string, 1)
	go func() {
		var all []byte
		defer func() { codes <- string(all) }()
		for {
			var head [5]byte
			if n, err := io.ReadFull(conn, head[:]); err != nil {
				if n > 0 && !errors.Is(err, io.ErrClosedPipe) { // not we hung up
					t.Errorf("half an answer: %q", head[:n])
				}
				return
			}
			length := binary.BigEndian.Uint32(head[:])
			if length == 0 || length > maxPacket {
				t.Errorf("answer of %d bytes", length)
				return
			}
			if _, err := io.CopyN(io.Discard, conn, int64(length)-1); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("half an answer: %v", err)
				return
			}
			all = append(all, head[4])
		}
	}()
	return codes
}

func TestAnyCommandInAnyStateIsAnsweredOrEndsTheConnection(t *testing.T) {
	noPanic(t)
	c := &counting{}
	s, log := start(t, c)
	payloads := map[string]string{
		"nothing": "", "a byte": "x", "NUL": "\x00", "NULs": strings.Repeat("\x00", 5000), "no end": "abc\x00def",
		"an address": "<a@b>\x00", "a field": "A\x00 b\x00", "64 KB": strings.Repeat("x\x00", 32<<10), "almost 1 MB": strings.Repeat("y", 1<<20-2) + "\x00",
	}
	steps := wholeSession()
	begin := time.Now()
	tried := 0
	for state := range len(steps) + 1 {
		for _, code := range "OCHMRTLNBEAKQDUS\x00\xff" {
			for name, payload := range payloads {
				conn, err := net.Dial("unix", s.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				conn.SetDeadline(time.Now().Add(testTimeout))
				codes := drainReplies(t, conn)
				io.WriteString(conn, strings.Join(steps[:state], "")+raw(byte(code), payload)+raw('A', "")+raw('Q', ""))
				select {
				case <-codes:
				case <-time.After(testTimeout):
					t.Fatalf("after %d steps, command %q with %s: neither an answer nor the end", state, code, name)
				}
				conn.Close()
				tried++
			}
		}
	}
	c.balanced(t)
	if strings.Contains(log.String(), "panic") {
		t.Error("panic in the log")
	}
	t.Logf("%d commands out of place in %v", tried, time.Since(begin).Round(time.Millisecond))
}

func TestAbortAndNewConnectionAreGoodInEveryState(t *testing.T) {
	noPanic(t)
	c := &counting{}
	s, _ := start(t, c)
	steps := wholeSession()
	for state := 1; state <= len(steps); state++ {
		for name, command := range map[string]string{"abort": raw('A', ""), "new connection": raw('K', ""), "both, twice": raw('K', "") + raw('A', "") + raw('K', "")} {
			m := dial(t, s)
			io.WriteString(m.conn, strings.Join(steps[:state], "")+command)
			io.WriteString(m.conn, strings.Join(steps[1:], "")) // the next message
			accepted := 0
			want := 1
			if state == len(steps) {
				want = 2
			}
			for accepted < want {
				if p := m.receive(); p.code == 'a' {
					accepted++
				} else if p.code != 'O' && p.code != 'c' {
					t.Fatalf("%s after %d steps: answer %q", name, state, p.code)
				}
			}
			m.conn.Close()
		}
	}
	c.balanced(t)
}

func TestSessionCutAtAnyByteIsCleanedUp(t *testing.T) {
	noPanic(t)
	c := &counting{}
	s, _ := start(t, c)
	all := strings.Join(wholeSession(), "")
	for cut := range len(all) {
		conn, err := net.Dial("unix", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, all[:cut])
		conn.Close()
	}
	c.balanced(t)
	s.awaitSessions(t, 0)
}

// awaitSessions waits until so many connections are served.
func (s *Server) awaitSessions(t testing.TB, n int) {
	t.Helper()
	for end := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		have := len(s.sessions)
		s.mu.Unlock()
		if have == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections are served, want %d", have, n)
		}
	}
}

func TestLengthsThatCannotBeEndTheConnection(t *testing.T) {
	noPanic(t)
	c := &counting{}
	s, log := start(t, c)
	before := heap()
	begin := time.Now()
	for _, length := range []uint32{0, 1<<20 + 1, 1 << 31, 0xffffffff, 0x80000001} {
		for state := range len(wholeSession()) {
			m := dial(t, s)
			codes := drainReplies(t, m.conn)
			io.WriteString(m.conn, strings.Join(wholeSession()[:state], "")+string(binary.BigEndian.AppendUint32(nil, length))+"B")
			select {
			case <-codes:
			case <-time.After(testTimeout):
				t.Fatalf("length %d after %d steps: the connection stays open", length, state)
			}
		}
	}
	c.balanced(t)
	log.await(t, "packet length 4294967295 is not between 1 and")
	after := heap()
	t.Logf("lengths up to 4 GB: %v, heap %+d KB", time.Since(begin).Round(time.Millisecond), (int64(after)-int64(before))>>10)
	if after > before+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

func heap() uint64 {
	var ms runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&ms)
	return ms.HeapAlloc
}

func TestMacrosAndRecipientsAreHeldInBoundedMemory(t *testing.T) {
	noPanic(t)
	c := &counting{}
	s, log := start(t, c)
	for name, tc := range map[string]struct {
		packets func(yield func(string) bool)
		bound   uint64
		ends    bool
	}{
		"macros of 1 MB for every command": {func(yield func(string) bool) {
			for stage := range 256 {
				if !yield(raw('D', string(byte(stage))+"i\x00Q\x00junk\x00"+strings.Repeat("m", 1<<20-64)+"\x00")) {
					return
				}
			}
		}, 2 << 20, false},
		"64 KB of macros again and again": {func(yield func(string) bool) {
			for range 500 {
				if !yield(raw('D', "M"+strings.Repeat("{auth_authen}\x00eve\x00", 64<<10/18))) {
					return
				}
			}
		}, 2 << 20, false},
		"a queue id of 64 KB": {func(yield func(string) bool) {
			yield(raw('D', "Mi\x00"+strings.Repeat("Q", 64<<10)+"\x00"))
		}, 2 << 20, true},
		"recipients of 512 KB": {func(yield func(string) bool) {
			for i := range 200 {
				if !yield(raw('R', fmt.Sprintf("<%d%s@acmecorp.test>\x00", i, strings.Repeat("r", 512<<10)))) {
					return
				}
			}
		}, 2*maxEnvelope + 4<<20, false},
		"100,001 recipients": {func(yield func(string) bool) {
			var b strings.Builder
			for i := range maxRecipients + 1 {
				b.WriteString(raw('R', fmt.Sprintf("<user%d@acmecorp.test>\x00", i)))
			}
			yield(b.String())
		}, 40 << 20, false},
		"10 MB of header fields": {func(yield func(string) bool) {
			for range 100 {
				if !yield(raw('L', "A\x00 "+strings.Repeat("h", 100<<10)+"\x00")) {
					return
				}
			}
		}, 4 << 20, false},
		"short header fields": {func(yield func(string) bool) {
			yield(strings.Repeat(raw('L', "A\x00b\x00"), 300_000))
		}, 4 << 20, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := greet(t, s, allActions, allProtocol)
			m.send('M', "<>\x00")
			before, begin := heap(), time.Now()
			failed := false
			for p := range tc.packets {
				if _, err := io.WriteString(m.conn, p); err != nil {
					failed = true
					break
				}
			}
			if tc.ends {
				m.expectClosed()
				return
			}
			if failed {
				t.Fatal("the connection was closed")
			}
			m.send('U', "\x00")
			m.send('T', "")
			time.Sleep(100 * time.Millisecond) // all of it was taken
			after := heap()
			t.Logf("%v, heap %+d KB", time.Since(begin).Round(time.Millisecond), (int64(after)-int64(before))>>10)
			if after > before+tc.bound {
				t.Errorf("the heap grew by %d bytes, allowed are %d", after-before, tc.bound)
			}
			m.send('N', "")
			p := m.receive()
			if p.code != 'c' && p.code != 'a' && p.code != respReply {
				t.Errorf("end of header: %q", p.code)
			}
			if strings.Contains(name, "recipients") && (p.code != respReply || !strings.HasPrefix(string(p.payload), "451 ")) {
				t.Errorf("too large an envelope is answered %q %q", p.code, p.payload)
			}
			m.conn.Close()
		})
	}
	c.balanced(t)
	log.await(t, "macro i of 65536 bytes")
	log.await(t, "more than 100000 recipients")
	log.await(t, "recipients of more than")
}

// FuzzPackets lets anything come over the connection: what is answered is whole
// packets, every message is closed, and nothing panics.
func FuzzPackets(f *testing.F) {
	steps := wholeSession()
	for i := range steps {
		f.Add([]byte(strings.Join(steps[:i+1], "")))
	}
	f.Add([]byte(steps[0] + raw('M', "<>\x00") + raw('R', "x\x00") + raw('E', "late")))
	f.Add([]byte(strings.Join(steps, "") + raw('K', "") + strings.Join(steps[1:], "") + raw('Q', "")))
	f.Add([]byte("\xff\xff\xff\xffO"))
	noPanic(f)
	quiet := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &counting{}
		s := New(DefaultConfig(), c, quiet)
		client, server := net.Pipe()
		s.slots <- struct{}{}
		s.serve(server)
		client.SetDeadline(time.Now().Add(testTimeout))
		codes := drainReplies(t, client)
		client.Write(data) // may fail: the server need not listen to all of it
		client.Close()
		<-codes
		s.active.Wait()
		if c.opened != c.closed {
			t.Fatalf("%d messages were opened, %d closed", c.opened, c.closed)
		}
		if c.body > int64(len(data)) {
			t.Fatalf("%d body bytes of %d that came", c.body, len(data))
		}
		if len(s.slots) != 0 {
			t.Fatal("the place was not given back")
		}
	})
}
