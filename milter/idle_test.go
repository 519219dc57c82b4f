package milter

// Connections on which nothing happens, or next to nothing, and too many of them.

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
)

func TestSlowSenderOfAPacketIsDisconnected(t *testing.T) {
	for name, head := range map[string]string{
		"in a length": "\x00", "in a command": "\x00\x00\x10\x00L", "in a chunk": "\x00\x00\xff\xffB",
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			tp := newTap(server, time.Hour)
			tp.packet = 400 * time.Millisecond
			tp.intercept = func(gomilter.Code, []byte) (bool, error) { return true, nil }
			tp.closed = func(error) {}
			tp.greeted = true
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, tp)
				tp.Close()
				ended <- err
			}()
			io.WriteString(client, head)
			begin := time.Now()
			for time.Since(begin) < testTimeout {
				time.Sleep(20 * time.Millisecond) // a byte "a second"
				if _, err := client.Write([]byte{0}); err != nil {
					break
				}
			}
			<-ended
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("a byte now and then held the connection for %v", took)
			}
		})
	}
	t.Run("before the negotiation", func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		tp := newTap(server, time.Hour)
		tp.packet = 50 * time.Millisecond
		if n, err := tp.Read(make([]byte, 10)); n != 0 || err != io.EOF || !os.IsTimeout(tp.err) {
			t.Errorf("%d bytes, %v, %v", n, err, tp.err)
		}
	})
}

// idleEnv makes of this test's program the side of the MTA: where to connect.
const idleEnv = "CLOAKROOM_TEST_IDLE_CLIENT"

// holdConnections greets the server n times, says so, and waits for its
// standard input to end.
func holdConnections(t *testing.T, address string, n int) {
	greeting, answer := strings.Join(wholeSession()[:3], ""), make([]byte, 17)
	for i := range n {
		conn, err := net.Dial("unix", address)
		if err == nil {
			_, err = io.WriteString(conn, greeting)
		}
		if err == nil {
			_, err = io.ReadFull(conn, answer)
		}
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer conn.Close()
	}
	fmt.Println("all are there")
	io.Copy(io.Discard, os.Stdin)
}

func TestTenThousandIdleConnections(t *testing.T) {
	const n = 10_000
	const bound = 24 << 10 // bytes for each
	if address := os.Getenv(idleEnv); address != "" {
		holdConnections(t, address, n)
		return
	}
	allowFiles(t, n+500)
	c := &counting{}
	s, _ := start(t, c, func(s *Server) {
		s.cfg.MaxConnections = n + 1
		s.slots = make(chan struct{}, n+1)
		s.log = slog.New(slog.DiscardHandler)
	})
	used := func() uint64 {
		var ms runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&ms)
		return ms.HeapAlloc + ms.StackInuse
	}
	before, begin := used(), time.Now()
	clients := exec.Command(os.Args[0], "-test.run=^TestTenThousandIdleConnections$")
	clients.Env = append(os.Environ(), idleEnv+"="+s.Addr().String())
	hold, err := clients.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := clients.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		t.Fatal(err)
	}
	defer clients.Process.Kill()
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "all are there\n" {
		t.Fatalf("%q %v", line, err)
	}
	took := time.Since(begin)
	each := (used() - before) / n
	t.Logf("%d idle connections made in %v, %d bytes each", n, took.Round(time.Millisecond), each)
	if each > bound {
		t.Errorf("%d bytes for an idle connection, allowed are %d", each, bound)
	}
	begin = time.Now()
	m := greet(t, s, allActions, allProtocol)
	m.mustOpen()
	m.body("x")
	if got := m.finish(); got[0].code != 'a' {
		t.Errorf("a message beside them: %q", got[0].code)
	}
	t.Logf("a message beside them took %v", time.Since(begin).Round(time.Microsecond))
	m.conn.Close()
	begin = time.Now()
	hold.Close()
	if err := clients.Wait(); err != nil {
		t.Error(err)
	}
	s.awaitSessions(t, 0)
	t.Logf("all gone after %v", time.Since(begin).Round(time.Millisecond))
}

// allowFiles sees to it that n files may be open.
func allowFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	raised := syscall.Rlimit{Cur: n, Max: max(n, limit.Max)}
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised)
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatalf("%d open files are allowed, %d needed: %v", limit.Max, n, err)
	case err != nil:
		t.Skipf("%d open files are allowed, %d needed", limit.Max, n)
	}
	t.Cleanup(func() { syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) })
}

func TestConnectionsOverTheLimitAreClosedInTime(t *testing.T) {
	c := &counting{}
	s, log := start(t, c, func(s *Server) {
		s.slots, s.waiting = make(chan struct{}, 2), make(chan struct{}, 2)
		s.patience = 200 * time.Millisecond
	})
	first, second := greet(t, s, allActions, allProtocol), greet(t, s, allActions, allProtocol)
	begin := time.Now()
	third, fourth := dial(t, s), dial(t, s)
	for len(s.waiting) < 2 {
		time.Sleep(time.Millisecond)
	}
	fifth := dial(t, s) // nobody may wait any more
	fifth.expectClosed()
	if took := time.Since(begin); took > 150*time.Millisecond {
		t.Logf("closed after %v", took) // a busy machine
	}
	third.expectClosed()
	fourth.expectClosed()
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("kept waiting for %v", took)
	}
	log.await(t, "milter connection closed: no other one ended in time")
	first.mustOpen() // those inside notice nothing
	second.mustOpen()
	first.send('Q', "")
	s.awaitSessions(t, 1)
	if next := greet(t, s, allActions, allProtocol); next.open().code != 'c' {
		t.Error("a free place is not given again")
	}
}
