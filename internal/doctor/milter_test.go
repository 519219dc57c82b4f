package doctor

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listen serves connections of one listener by f until the test ends.
func listen(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c) }()
		}
	}()
	return l.Addr().String()
}

// speaker is a milter that gives one answer to each command that has one; its
// answer to the negotiation waives nothing.
func speaker(answers map[byte]string) func(net.Conn) {
	return func(c net.Conn) {
		for {
			var head [5]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:])-1)) //nolint:errcheck // seen at the next read
			answer, known := answers[head[4]]
			switch {
			case head[4] == 'O':
				answer = "O" + strings.Repeat("\x00", 12)
			case head[4] == 'D' || head[4] == 'Q':
				continue
			case !known:
				answer = "c"
			case answer == "hang":
				time.Sleep(time.Minute)
				return
			}
			for part := range strings.SplitSeq(answer, "|") {
				c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(part))), part...)) //nolint:errcheck // seen at the next read
			}
		}
	}
}

func TestMilter(t *testing.T) {
	for name, one := range map[string]struct {
		serve func(net.Conn)
		down  bool // no daemon holds the data
		want  want
	}{
		"well":               {speaker(map[byte]string{'E': "a"}), false, want{OK, "handshake and test message in", ""}},
		"not wanted":         {speaker(map[byte]string{'N': "a"}), false, want{OK, "handshake and test message in", ""}},
		"progress and edits": {speaker(map[byte]string{'E': "p|h" + "X\x00y\x00|a"}), false, want{OK, "rules make 1 changes to it", ""}},
		"refused by a rule":  {speaker(map[byte]string{'R': "y550 5.7.1 not here\x00"}), false, want{OK, "a rule refuses it: 550 5.7.1 not here", ""}},
		"put off": {speaker(map[byte]string{'E': "y451 4.3.0 Cloakroom: temporary failure, please try again later (ref 5AE0F33C)\x00"}), false,
			want{Wrong, "end of message: put off: 451", "journalctl -u cloakroom -g 'ref=5AE0F33C'"}},
		"put off, no words": {speaker(map[byte]string{'M': "t"}), false, want{Wrong, "MAIL: put off", "journalctl"}},
		"hangs":             {speaker(map[byte]string{'N': "hang"}), false, want{Wrong, "end of header: no answer", "journalctl"}},
		"leaves":            {func(net.Conn) {}, false, want{Wrong, "handshake: no answer", "max_connections"}},
		"another protocol":  {func(c net.Conn) { c.Write([]byte("220 mx ESMTP\r\n")) }, false, want{Wrong, "not a milter", "who listens"}}, //nolint:errcheck // a test
		"someone else's":    {speaker(nil), true, want{Wrong, "is not the daemon of this data folder", "opendkim"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := Milter{Network: "tcp", Address: listen(t, one.serve), Sender: "a@acmecorp.test", Recipient: "b@acmecorp.test", Host: "mx.acmecorp.test", Runs: !one.down}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			one.want.check(t, only(t, m.Run(ctx)))
		})
	}
}

func TestMilterThatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	gone := Milter{Network: "tcp", Address: l.Addr().String()}
	want{Wrong, "refused", "start the daemon"}.check(t, only(t, gone.Run(t.Context())))
	gone.Runs = true
	want{Wrong, "refused", "milter.listen was changed"}.check(t, only(t, gone.Run(t.Context())))
	socket := Milter{Network: "unix", Address: filepath.Join(t.TempDir(), "milter.sock"), Runs: true}
	want{Wrong, "its socket was removed", "restart"}.check(t, only(t, socket.Run(t.Context())))
	socket.Runs = false
	want{Wrong, "no such file", "start the daemon"}.check(t, only(t, socket.Run(t.Context())))
}
