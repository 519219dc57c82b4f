package sftp

// The watchdog's arithmetic.

import (
	"net"
	"slices"
	"testing"
	"time"
)

// packet is one of n bytes after its length (at least 5), with that number.
func packet(id uint32, n int) []byte {
	b := make([]byte, 4+n)
	b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	b[5], b[6], b[7], b[8] = byte(id>>24), byte(id>>16), byte(id>>8), byte(id)
	return b
}

func TestPacketsAreFoundHoweverTheStreamIsCut(t *testing.T) {
	var stream []byte
	var want []uint32
	for i, n := range []int{5, 300, 6, 70_000, 5} {
		id := uint32(i) * 70_001
		stream, want = append(stream, packet(id, n)...), append(want, id)
	}
	for _, piece := range []int{1, 2, 3, 4, 5, 8, 9, 10, 64, 4096, len(stream)} {
		var f frames
		var got []uint32
		for rest := stream; len(rest) > 0; {
			n := min(piece, len(rest))
			got = append(got, f.begun(rest[:n])...)
			rest = rest[n:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %v, want %v", piece, got, want)
		}
	}
}

func TestStuckIsWhoOwesAnAnswer(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	var w watch
	out := &watchedWriter{WriteCloser: client, watch: &w}
	in := &watchedReader{Reader: client, watch: &w}
	exchange := func(read func([]byte) (int, error), b []byte, write func([]byte) (int, error)) {
		t.Helper()
		done := make(chan error, 1)
		go func() { _, err := write(b); done <- err }()
		for got := 0; got < len(b); {
			n, err := read(make([]byte, 7))
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	ask := func(id uint32) { t.Helper(); exchange(server.Read, packet(id, 20), out.Write) }
	answer := func(id uint32) { t.Helper(); exchange(in.Read, packet(id, 30), server.Write) }
	after := func(d time.Duration) bool { return w.stuck(time.Now().Add(d), time.Minute) }

	if after(time.Hour) {
		t.Error("stuck before anything was asked")
	}
	ask(1)
	ask(2)
	if after(0) || !after(61*time.Second) {
		t.Error("two answers are owed: not stuck at once, but after the timeout")
	}
	answer(2)
	if !after(61 * time.Second) {
		t.Error("one answer is still owed")
	}
	answer(1)
	if after(time.Hour) {
		t.Error("stuck when everything was answered")
	}

	// Answers to others do not help a request for ever.
	ask(3)
	w.pending[3] = time.Now().Add(-11 * time.Minute)
	ask(4)
	answer(4)
	if !after(0) {
		t.Error("a request that waits for eleven timeouts is not stuck")
	}
}
