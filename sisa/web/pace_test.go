package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/sisa"
)

// rawGet sends a GET over a connection of its own and gives the answer's body
// to be read at the caller's pace.
func rawGet(t *testing.T, address, path string) (net.Conn, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: files\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, resp
}

// startBig begins to fetch a file larger than any socket buffer, with a server
// that gives up after stall.
func startBig(t *testing.T, stall time.Duration) (*stage, *http.Response) {
	t.Helper()
	s := newStage(t, func(s *stage, _ *Config) {
		s.addFile(6, "big", "", make([]byte, bigFile))
		s.tune = func(site *Site, server *http.Server) {
			site.stall = stall
			server.WriteTimeout = stall // what pages have must not end a download
			server.ReadTimeout = stall
		}
	})
	path := strings.TrimPrefix(s.press("6"), s.server.URL)
	_, resp := rawGet(t, s.server.Listener.Addr().String(), path)
	return s, resp
}

const bigFile = 32 << 20 // bytes

func TestSlowClientThatReadsSteadilyIsServedToTheEnd(t *testing.T) {
	t.Parallel()
	const (
		stall = 2 * time.Second
		rate  = 16 << 10 // bytes each tick, 160 KB/s: a full send buffer would take 12 s to move again
		tick  = 100 * time.Millisecond
		ticks = 50 // more than twice the stall
	)
	_, resp := startBig(t, stall)
	read := int64(0)
	for range ticks {
		n, err := io.CopyN(io.Discard, resp.Body, rate)
		if read += n; err != nil {
			t.Fatalf("after %d bytes: %v", read, err)
		}
		time.Sleep(tick)
	}
	n, err := io.Copy(io.Discard, resp.Body) // what was cut off would show only now, behind the buffers
	if read += n; err != nil || read != bigFile {
		t.Errorf("%d bytes of %d, %v", read, bigFile, err)
	}
}

func TestClientThatStandsStillIsCutOff(t *testing.T) {
	t.Parallel()
	const stall = 500 * time.Millisecond
	s, resp := startBig(t, stall)
	time.Sleep(4 * stall)
	n, err := io.Copy(io.Discard, resp.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d bytes of %d, then %v", n, bigFile, err)
	}
	if strings.Contains(s.log.String(), "cut short") {
		t.Error("the client's stall was taken for a failing store")
	}
}

// contexts is a folder that remembers what context it was opened with.
type contexts struct {
	folder
	seen chan context.Context
}

func (c contexts) Open(ctx context.Context, sum [32]byte) (io.ReadSeekCloser, error) {
	c.seen <- ctx
	return c.folder.Open(ctx, sum)
}

func TestRequestTimeoutDoesNotCancelTheBlobsContext(t *testing.T) {
	t.Parallel()
	seen := make(chan context.Context, 1)
	s := newStage(t, func(s *stage, _ *Config) {
		s.addFile(6, "big", "", make([]byte, bigFile))
		s.tune = func(site *Site, server *http.Server) {
			site.blobs = contexts{s.blobs, seen}
			server.ReadTimeout = 300 * time.Millisecond
		}
	})
	path := strings.TrimPrefix(s.press("6"), s.server.URL)
	conn, _ := rawGet(t, s.server.Listener.Addr().String(), path)
	ctx := <-seen
	select {
	case <-ctx.Done():
		t.Error("the context ended with ReadTimeout")
	case <-time.After(900 * time.Millisecond):
	}
	conn.Close()
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
		t.Error("the context outlives the client")
	}
}

// failing is content that cannot be read to its end.
type failing struct {
	*os.File
	left int64
}

func (f *failing) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, errors.New("medium error")
	}
	n, err := f.File.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

type failingFolder struct{ folder }

func (f failingFolder) Open(_ context.Context, sum [32]byte) (io.ReadSeekCloser, error) {
	file, err := os.Open(f.path(sum))
	if err != nil {
		return nil, err
	}
	// Without the methods that let the kernel read the file past our Read.
	return struct{ io.ReadSeekCloser }{&failing{file, 1 << 20}}, nil
}

func TestContentThatFailsOnTheWayIsSeenByClientAndLog(t *testing.T) {
	s := newStage(t, func(s *stage, _ *Config) {
		s.tune = func(site *Site, _ *http.Server) { site.blobs = failingFolder{s.blobs} }
	})
	resp, err := s.client.Get(s.press("2"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) || n != 1<<20 {
		t.Errorf("%d bytes, %v: the client takes the file for complete", n, err)
	}
	s.server.Close() // waits for the handler
	if log := s.log.String(); !strings.Contains(log, "cut short") || !strings.Contains(log, "medium error") || strings.Contains(log, s.token) {
		t.Errorf("log:\n%s", log)
	}
}

// sink is a connection's writer that notes what it is given to read from.
type sink struct {
	*httptest.ResponseRecorder
	sources []io.Reader
}

func (s *sink) ReadFrom(r io.Reader) (int64, error) {
	s.sources = append(s.sources, r)
	return io.Copy(s.ResponseRecorder.Body, r)
}

// What sendfile needs can be seen only from inside: the very *os.File, in one
// LimitedReader (net.sendFile unwraps no more).
func TestTheConnectionIsGivenTheFileItself(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 3*paceBytes/16)
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	to := &sink{ResponseRecorder: httptest.NewRecorder()}
	site := &Site{stall: time.Minute}
	x := &exchange{answer: newAnswer(to, "", false, time.Minute), r: httptest.NewRequest("GET", "/", nil)}
	site.send(x, sisa.File{Name: "a"}, file)

	if !bytes.Equal(to.Body.Bytes(), content) || x.written != int64(len(content)) {
		t.Errorf("%d bytes arrived, %d counted, of %d", to.Body.Len(), x.written, len(content))
	}
	if len(to.sources) != 3 {
		t.Errorf("%d pieces, want 3", len(to.sources))
	}
	for _, src := range to.sources {
		if limited, ok := src.(*io.LimitedReader); !ok || limited.R != io.Reader(file) {
			t.Errorf("the connection reads from %T", src)
		}
	}
}
