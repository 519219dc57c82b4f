package sftp

// The watchdog's eyes: which requests are unanswered, and since when nothing came.

import (
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// patience is how many timeouts a request may be unanswered while the server
// answers others: what waits behind a slow line is not stuck.
const patience = 10

// watch follows the requests and answers that cross one SFTP channel.
type watch struct {
	mu      sync.Mutex
	pending map[uint32]time.Time // when each unanswered request began
	since   time.Time            // of the last progress: an answer, or the first request after silence
}

// stuck tells whether the server has owed an answer for timeout and sent
// nothing, or owed one for much longer.
func (w *watch) stuck(now time.Time, timeout time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return false
	}
	if now.Sub(w.since) > timeout {
		return true
	}
	for _, began := range w.pending {
		if now.Sub(began) > patience*timeout {
			return true
		}
	}
	return false
}

func (w *watch) asked(ids []uint32) {
	if len(ids) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if len(w.pending) == 0 {
		w.since = now
	}
	if w.pending == nil {
		w.pending = map[uint32]time.Time{}
	}
	for _, id := range ids {
		w.pending[id] = now
	}
}

// heard is told of every byte: each is progress.
func (w *watch) heard(ids []uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Now()
	for _, id := range ids {
		delete(w.pending, id)
	}
}

// headerLength is that of what begins each packet: its length without these 4
// bytes, its type (1 byte), and the number that an answer has of its request (4
// bytes; the first packets have the version there, which is the same in both).
// All numbers are big endian (draft-ietf-secsh-filexfer-02 section 3).
const headerLength = 9

// frames finds the beginnings of packets in a stream.
type frames struct {
	header [headerLength]byte
	have   int    // bytes of header
	rest   uint32 // bytes of the packet that are to come
	ids    []uint32
}

// begun gives the numbers of the packets that begin in the next piece of the
// stream: the last byte of their header is in it. They are valid until the next call.
func (f *frames) begun(b []byte) []uint32 {
	f.ids = f.ids[:0]
	for len(b) > 0 {
		if f.rest > 0 {
			n := min(uint64(f.rest), uint64(len(b)))
			f.rest -= uint32(n)
			b = b[n:]
			continue
		}
		n := copy(f.header[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have == headerLength {
			f.have = 0
			f.ids = append(f.ids, binary.BigEndian.Uint32(f.header[5:]))
			if length := binary.BigEndian.Uint32(f.header[:]); length > headerLength-4 {
				f.rest = length - (headerLength - 4)
			}
		}
	}
	return f.ids
}

// watchedWriter notes requests. It does so before they are written, as writing
// blocks where the server reads nothing.
type watchedWriter struct {
	io.WriteCloser
	watch  *watch
	frames frames
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	w.watch.asked(w.frames.begun(b))
	return w.WriteCloser.Write(b)
}

// watchedReader notes answers.
type watchedReader struct {
	io.Reader
	watch  *watch
	frames frames
}

func (r *watchedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if n > 0 {
		r.watch.heard(r.frames.begun(b[:n]))
	}
	return n, err
}
