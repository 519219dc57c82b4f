package app

// An MTA that puts one recipient off the first time, and refuses another.

import (
	"bufio"
	"encoding/base64"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// choosyMTA takes mail on a loopback port: for gina only the second time, and for
// nobody.
func choosyMTA(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var asked atomic.Int64
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go choosy(c, &asked)
		}
	}()
	return l.Addr().String()
}

func choosy(c net.Conn, asked *atomic.Int64) {
	defer c.Close()
	in := bufio.NewReader(c)
	say := func(text string) { c.Write([]byte(text + "\r\n")) }
	say("220 mta ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line); {
		case strings.HasPrefix(verb, "EHLO"):
			say("250-mta\r\n250-8BITMIME\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES")
		case strings.HasPrefix(verb, "RCPT") && strings.Contains(line, "gina@") && asked.Add(1) == 1:
			say("451 4.2.1 later")
		case strings.HasPrefix(verb, "RCPT") && strings.Contains(line, "nobody@"):
			say("550 5.1.1 no such user")
		case strings.HasPrefix(verb, "DATA"):
			say("354 go on")
			for line != ".\r\n" {
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			say("250 2.0.0 taken")
		case strings.HasPrefix(verb, "QUIT"):
			say("221 bye")
			return
		default:
			say("250 2.0.0 ok")
		}
	}
}

// inLines is content in base64, in lines.
func inLines(content []byte) string { return inLinesOf(base64.StdEncoding.EncodeToString(content)) }

func inLinesOf(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := min(76, len(s))
		b.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
	return b.String()
}
