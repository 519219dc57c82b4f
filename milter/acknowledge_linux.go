package milter

import (
	"net"

	"golang.org/x/sys/unix"
)

// acknowledger gives a function that has the kernel acknowledge at once what has
// come over a TCP connection; nil for other connections.
//
// Sendmail sends macros and the command they are for in two writes. TCP holds the
// second one back until the first is acknowledged (Nagle, RFC 1122 section
// 4.2.3.4), and a kernel that has nothing to send takes 40 ms before it does that
// (section 4.2.3.2): a mail with one recipient waited three times. The option is
// not kept by the kernel, and needs to be set again and again (tcp(7)).
func acknowledger(conn net.Conn) func() {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	set := func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }
	return func() { _ = raw.Control(set) } // where it fails, mail is slower
}
