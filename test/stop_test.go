package test

// The end of the daemon in the middle of a rush.

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// rush is how many messages are in flight.
	rush = 100
	// stopLimit is what is left to do once the last of them has its answer.
	stopLimit = 5 * time.Second
)

// flight is a message that has been sent by half.
type flight struct {
	conn *textproto.Conn
	msg  []byte
	sum  [32]byte
	code int // of the answer to it
	err  error
}

// takeOff sends half of a message.
func takeOff(addr string, n int) *flight {
	content := random(20<<10, int64(7000+n))
	f := &flight{sum: sha256.Sum256(content)}
	f.msg = toCRLF(compose(alice, []string{bob}, fmt.Sprint("rush", n), file{fmt.Sprintf("rush %d.pdf", n), "application/pdf", content}))
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		f.err = err
		return f
	}
	raw.SetDeadline(time.Now().Add(2 * time.Minute))
	f.conn = textproto.NewConn(raw)
	for _, step := range []struct {
		say  string
		code int
	}{{"", 220}, {"HELO test", 250}, {"MAIL FROM:<" + alice + ">", 250}, {"RCPT TO:<" + bob + ">", 250}, {"DATA", 354}} {
		if step.say != "" {
			f.err = f.conn.PrintfLine("%s", step.say)
		}
		if f.err == nil {
			_, _, f.err = f.conn.ReadResponse(step.code)
		}
		if f.err != nil {
			f.err = fmt.Errorf("%s: %w", step.say, f.err)
			return f
		}
	}
	_, f.err = io.Copy(raw, bytes.NewReader(f.msg[:len(f.msg)/2]))
	return f
}

// land sends the rest and reads the answer.
func (f *flight) land() {
	defer f.conn.Close()
	if _, f.err = f.conn.W.Write(f.msg[len(f.msg)/2:]); f.err == nil {
		f.err = f.conn.PrintfLine("\r\n.")
	}
	if f.err == nil {
		f.code, _, f.err = f.conn.ReadResponse(0)
	}
}

// TestAHundredMessagesInFlightSurviveSIGTERM stops the daemon while a hundred
// messages are half sent: each is answered, none is lost, and the daemon is gone
// soon after.
func TestAHundredMessagesInFlightSurviveSIGTERM(t *testing.T) {
	d := newDaemon(t, linkAll)
	d.start()
	p := startPostfix(t, d.MilterAddr)
	flights := make([]*flight, rush)
	all := func(f func(i int)) {
		var wg sync.WaitGroup
		for i := range flights {
			wg.Go(func() { f(i) })
		}
		wg.Wait()
	}
	all(func(i int) { flights[i] = takeOff(p.SMTPAddr(), i) })
	for i, f := range flights {
		if f.err != nil {
			t.Fatalf("message %d: %v", i, f.err)
		}
	}
	begin := time.Now()
	if err := d.running.Signal("TERM"); err != nil {
		t.Fatal(err)
	}
	d.waitLog("stopping: messages in flight finish first")
	all(func(i int) { flights[i].land() })
	landed := time.Now()
	d.waitLog("the server ended, status 0") // a second SIGTERM would end it at once
	d.stop()
	t.Logf("from SIGTERM to the last answer %v, to the end %v", landed.Sub(begin).Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	if took := time.Since(landed); took > stopLimit {
		t.Errorf("the daemon ended %v after the last message", took)
	}
	d.start()
	var want [][32]byte
	later := 0
	for i, f := range flights {
		switch {
		case f.err != nil:
			t.Errorf("message %d: no answer: %v", i, f.err)
			continue
		case f.code/100 == 4:
			later++
			send(t, p, alice, []string{bob}, f.msg)
		case f.code != 250:
			t.Errorf("message %d: answer %d", i, f.code)
		}
		want = append(want, f.sum)
	}
	t.Logf("%d of %d were to come again", later, rush)
	var got [][32]byte
	for _, msg := range mailbox(t, p, bob, len(want)) {
		for _, l := range links(msg) {
			got = append(got, download(t, l)...)
		}
	}
	order := func(a, b [32]byte) int { return strings.Compare(string(a[:]), string(b[:])) }
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if !slices.Equal(got, want) {
		t.Errorf("%d files behind the links, %d were sent", len(got), len(want))
	}
}
