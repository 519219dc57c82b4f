package testserver

// A system log for one server: what it sends to /dev/log goes into a file.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"sync"
)

// syslogFile listens on a socket as syslogd does (RFC 3164), and appends what
// comes to a file.
type syslogFile struct {
	conn *net.UnixConn
	file *os.File
	done sync.WaitGroup
}

// syslogHead is the priority in front of a message.
var syslogHead = regexp.MustCompile(`^<\d+>`)

// maxSyslog is the longest message taken, in bytes; Sendmail's have 1,024.
const maxSyslog = 64 << 10

func listenSyslog(socket, file string) (*syslogFile, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("log of the server: %w", err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("log of the server: %w", err), conn.Close())
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log of the server: %w", err), conn.Close())
	}
	l := &syslogFile{conn: conn, file: f}
	l.done.Go(l.copy)
	return l, nil
}

func (l *syslogFile) copy() {
	buf := make([]byte, maxSyslog)
	for {
		n, err := l.conn.Read(buf)
		if err != nil {
			return // closed
		}
		line := syslogHead.ReplaceAll(buf[:n], nil)
		if _, err := l.file.Write(append(line, '\n')); err != nil {
			return // whoever waits for a line in the log will tell
		}
	}
}

func (l *syslogFile) close() {
	l.conn.Close()
	l.done.Wait()
	l.file.Close()
}
