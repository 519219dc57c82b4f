package admin

// The socket, and who is at its other end.

import (
	"context"
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"cloakroom/internal/unixsocket"
)

// listen opens the socket of a configuration that is valid.
func listen(c Config) (net.Listener, error) {
	path := c.socket()
	if path == "" {
		return net.Listen("tcp", c.Listen)
	}
	mode, err := c.socketMode()
	if err != nil {
		return nil, err
	}
	return unixsocket.Listen(path, mode)
}

type peerKey struct{}

// withPeer notes who connected to a UNIX socket, as the kernel knows them.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	name := ""
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			name = userName(cred.Uid)
		}
	})
	if err != nil || name == "" {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, name)
}

func userName(uid uint32) string {
	text := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(text); err == nil {
		return u.Username
	}
	return "uid " + text
}

// peer is who connected to a UNIX socket; "" for TCP.
func peer(ctx context.Context) string {
	name, _ := ctx.Value(peerKey{}).(string)
	return name
}
