package admin

// The socket, and who is at its other end.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// probeTimeout is how long an old socket is asked whether anybody listens.
const probeTimeout = 2 * time.Second

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
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		ln.Close()
		return nil, fmt.Errorf("permissions of the socket: %w", err)
	}
	return ln, nil
}

// removeStale takes away the socket of a process that is gone. Whatever else is
// at the path stays.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket: choose another path or move it away", path)
	}
	conn, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		conn.Close()
		return fmt.Errorf("another process already listens on %s", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot tell whether %s is still in use: %w", path, err)
	}
	return os.Remove(path)
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
