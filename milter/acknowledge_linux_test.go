package milter

import (
	"net"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
)

// Sendmail's way: macros and command in two writes, on a socket that waits for
// acknowledgements. Each took 40 ms.
func TestTwoWritesOfSendmailAreNotDelayed(t *testing.T) {
	s, _ := start(t, &recorder{}, func(s *Server) { s.cfg.Listen = "inet:127.0.0.1:0" })
	m := greet(t, s, allActions, allProtocol)
	if err := m.conn.(*net.TCPConn).SetNoDelay(false); err != nil {
		t.Fatal(err)
	}
	fastest := time.Hour // others may be late because the machine is busy
	for range 10 {
		began := time.Now()
		m.send('D', "Mi\x004XyZ\x00")
		m.command(gomilter.OptNoMailReply, 'M', "<alice@ext.test>\x00")
		m.send('D', "Rr\x00x\x00")
		m.command(gomilter.OptNoRcptReply, 'R', "<bob@acmecorp.test>\x00")
		m.command(gomilter.OptNoHeaderReply, 'L', "Subject\x00 hello\x00")
		m.send('N', "")
		m.receive()
		fastest = min(fastest, time.Since(began))
		m.send('A', "")
	}
	if fastest > 30*time.Millisecond {
		t.Errorf("an envelope took %v at best", fastest)
	}
}
