package milter

// Addresses in the notation of MTAs, and the sockets behind them.

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"cloakroom/internal/unixsocket"
)

const (
	// maxSocketPath is what fits into sun_path with its NUL (unix(7)).
	maxSocketPath = 107
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
		return unixsocket.Listen(e.address, mode)
	}
	return net.Listen(e.network, e.address)
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

// Endpoint is where an MTA finds the milter, as package net takes it. c is valid.
func (c Config) Endpoint() (network, address string) {
	e, err := parseListen(c.Listen)
	if err != nil {
		return "", ""
	}
	return e.network, e.address
}
