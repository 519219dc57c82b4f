package ftps

// Connections that cannot hang, and data connections that end without loss.

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"
)

// drainPiece is the size in bytes of what is read at a time from a connection
// whose content is of no interest.
const drainPiece = 4 << 10

// timed gives every read and write a deadline.
type timed struct {
	net.Conn
	timeout time.Duration
}

func (c *timed) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *timed) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// transfer is a data connection. Its handshake waits for the first read or
// write: servers shake hands only after they have answered the command.
type transfer struct {
	net.Conn           // what is read and written: encrypted, or raw
	raw      *timed    // below it
	secure   *tls.Conn // nil without encryption
	sending  bool
	closing  sync.Once
}

func newTransfer(raw *timed, config *tls.Config) *transfer {
	t := &transfer{Conn: raw, raw: raw}
	if config != nil {
		t.secure = tls.Client(raw, config)
		t.Conn = t.secure
	}
	return t
}

func (t *transfer) Write(p []byte) (int, error) {
	t.sending = true
	return t.Conn.Write(p)
}

// Handshake is asked for before an empty file is sent.
func (t *transfer) Handshake() error {
	t.sending = true
	if t.secure == nil {
		return nil
	}
	return t.secure.Handshake()
}

// Close implements net.Conn. After sending, it says that this was all, and waits
// for the server to close: what the server has sent meanwhile, such as session
// tickets of TLS 1.3, would otherwise make the kernel reset the connection, and
// the server lose the end of the file.
func (t *transfer) Close() error {
	t.closing.Do(func() {
		if !t.sending {
			return
		}
		if t.secure != nil && t.secure.CloseWrite() != nil {
			return
		}
		half, ok := t.raw.Conn.(interface{ CloseWrite() error })
		if !ok || half.CloseWrite() != nil {
			return
		}
		// How this ends does not matter: the server tells on the control connection.
		_ = t.raw.SetReadDeadline(time.Now().Add(t.raw.timeout))
		_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{t.raw.Conn}, make([]byte, drainPiece))
	})
	return t.raw.Conn.Close()
}
