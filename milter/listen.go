package milter

// Addresses in the notation of MTAs, and the sockets behind them.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxSocketPath is what fits into sun_path with its NUL (unix(7)).
	maxSocketPath = 107
	// probeTimeout is how long an old socket is asked whether anybody listens.
	probeTimeout = 2 * time.Second
)

// endpoint is a parsed listen address, as package net takes it.
type endpoint struct{ network, address string }

// parseListen reads inet:HOST:PORT, inet:PORT@HOST, inet6:… and unix:/PATH.
func parseListen(s string) (endpoint, error) {
	kind, rest, ok := strings.Cut(s, ":")
	if !ok {
		return endpoint{}, fmt.Errorf("%q is none of inet:HOST:PORT, inet:PORT@HOST, unix:/PATH", s)
	}
	switch kind {
	case "inet", "inet6":
		network := "tcp"
		if kind == "inet6" {
			network = "tcp6"
		}
		address, err := parseHostPort(rest)
		if err != nil {
			return endpoint{}, fmt.Errorf("%q: %w", s, err)
		}
		return endpoint{network, address}, nil
	case "unix", "local":
		if !filepath.IsAbs(rest) {
			return endpoint{}, fmt.Errorf("%q: the path must begin with /", s)
		}
		if len(rest) > maxSocketPath {
			return endpoint{}, fmt.Errorf("%q: the path is longer than the %d bytes a socket can have", s, maxSocketPath)
		}
		return endpoint{"unix", rest}, nil
	default:
		return endpoint{}, fmt.Errorf("%q: unknown kind %q: use inet, inet6 or unix", s, kind)
	}
}

func parseHostPort(s string) (string, error) {
	var host, port string
	if p, h, ok := strings.Cut(s, "@"); ok {
		host, port = strings.TrimSuffix(strings.TrimPrefix(h, "["), "]"), p
	} else {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", errors.New("give both host and port: HOST:PORT or PORT@HOST")
		}
	}
	// An empty host would listen on every interface, and milter has no
	// authentication: who wants that must write 0.0.0.0.
	if host == "" {
		return "", errors.New("the host is missing (0.0.0.0 or :: for all interfaces)")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q is not a port number", port)
	}
	return net.JoinHostPort(host, port), nil
}

// listen opens the socket. A UNIX socket gets mode.
func (e endpoint) listen(mode fs.FileMode) (net.Listener, error) {
	if e.network == "unix" {
		if err := removeStale(e.address); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), e.network, e.address)
	if err != nil {
		return nil, err
	}
	if e.network == "unix" {
		if err := os.Chmod(e.address, mode); err != nil {
			ln.Close()
			return nil, fmt.Errorf("permissions of the socket: %w", err)
		}
	}
	return ln, nil
}

// removeStale takes away the socket of a process that is gone. Whatever else is
// at the path stays.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
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

// oneShot is a listener that yields one connection: go-milter serves listeners,
// and each of our connections has a go-milter server of its own.
type oneShot struct {
	conn net.Conn
	done bool
}

func (l *oneShot) Accept() (net.Conn, error) {
	if l.done {
		return nil, net.ErrClosed
	}
	l.done = true
	return l.conn, nil
}

func (l *oneShot) Close() error   { return nil } // the connection has an owner
func (l *oneShot) Addr() net.Addr { return l.conn.LocalAddr() }
