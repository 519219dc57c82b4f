package submit

// What no real MTA can be made to do on demand: a peer that is watched byte by
// byte, falls silent, hangs up, or answers nonsense.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// Answers of a peer that are none.
const (
	hangUp = "hang up"
	silent = "silent"
)

// peer is an SMTP server that does what it is told.
type peer struct {
	addr    string
	ehlo    []string          // extensions
	replies map[string]string // by verb, or "greeting", "end": what differs from the usual

	mu       sync.Mutex
	commands []string
	message  []byte // as it came: BDAT chunks joined, or DATA with its dots
}

func startPeer(t *testing.T, ehlo []string, replies map[string]string) *peer {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{addr: l.Addr().String(), ehlo: ehlo, replies: replies}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(t.Context(), func() { conn.Close() })()
				p.serve(conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return p
}

// answer writes the reply to a verb; false: the session is over.
func (p *peer) answer(conn net.Conn, verb, usual string) bool {
	reply, ok := p.replies[verb]
	if !ok {
		reply = usual
	}
	switch reply {
	case hangUp:
		return false
	case silent:
		io.Copy(io.Discard, conn)
		return false
	}
	_, err := io.WriteString(conn, reply+"\r\n")
	return err == nil
}

func (p *peer) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	ok := p.answer(conn, "greeting", "220 peer ESMTP")
	for ok {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), " ")
		p.mu.Lock()
		p.commands = append(p.commands, strings.TrimSuffix(line, "\r\n"))
		p.mu.Unlock()
		switch verb {
		case "EHLO":
			ok = p.answer(conn, verb, "250-peer\r\n250-"+strings.Join(append(p.ehlo, "PIPELINING"), "\r\n250-")+"\r\n250 HELP")
		case "DATA":
			if ok = p.answer(conn, verb, "354 go on"); ok && p.replies[verb] == "" {
				ok = p.readDots(in) && p.answer(conn, "end", "250 2.0.0 Ok: queued as X1")
			}
		case "BDAT":
			var n int
			fmt.Sscan(rest, &n)
			chunk := make([]byte, n)
			if _, err := io.ReadFull(in, chunk); err != nil {
				return
			}
			p.mu.Lock()
			p.message = append(p.message, chunk...)
			p.mu.Unlock()
			if strings.HasSuffix(rest, " LAST") {
				ok = p.answer(conn, "end", "250 2.0.0 Ok: queued as X1")
			} else {
				ok = p.answer(conn, verb, "250 2.0.0 Ok")
			}
		case "QUIT":
			p.answer(conn, verb, "221 bye")
			return
		default:
			ok = p.answer(conn, verb, "250 2.1.0 Ok")
		}
	}
}

// readDots reads a message to the one end of RFC 5321: CRLF dot CRLF.
func (p *peer) readDots(in *bufio.Reader) bool {
	got := []byte("\r\n") // of the DATA command
	for !bytes.HasSuffix(got, []byte("\r\n.\r\n")) {
		b, err := in.ReadByte()
		if err != nil {
			return false
		}
		got = append(got, b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.message = got[2 : len(got)-3]
	return true
}

func (p *peer) received() (commands string, message []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.commands, "\n"), p.message
}

// impatient is a sender with timeouts that a test can wait for.
func impatient(t *testing.T, addr string) *Sender {
	t.Helper()
	cfg := DefaultConfig()
	cfg.SMTP, cfg.CommandTimeout, cfg.MessageTimeout = addr, 200*time.Millisecond, 300*time.Millisecond
	return &Sender{cfg: cfg, helo: "cloakroom.acmecorp.test", log: slog.New(slog.DiscardHandler)}
}

func TestBDATChangesNoByte(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3*chunkSize)
	for i := range noise {
		noise[i] = "\r\n.\x00\xffab"[random.IntN(7)]
	}
	for _, size := range []int{0, 1, 5, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 2*chunkSize + 17, 3 * chunkSize} {
		p := startPeer(t, []string{"CHUNKING", "8BITMIME"}, nil)
		body := noise[:size]
		r, err := send(t, sender(t, p.addr), Envelope{To: to, EightBit: true}, iotest.HalfReader(bytes.NewReader(body)))
		if err != nil || !r.All(Accepted) {
			t.Fatalf("%d bytes: %+v, %v", size, r, err)
		}
		commands, got := p.received()
		if !bytes.Equal(got, body) || strings.Count(commands, "LAST") != 1 || strings.Count(commands, "BDAT") != max(1, (size+chunkSize-1)/chunkSize) {
			t.Errorf("%d bytes: got %d, or others; %s", size, len(got), commands)
		}
	}
}

func TestDATAIsUndoneByTheRulesOfSMTP(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"\r\n", ".", "\r", "a", "\xff", "\r\n.", "\r\n.\r\n", "\x00"}
	for range 300 {
		var body string
		for range random.IntN(30) {
			body += pieces[random.IntN(len(pieces))]
		}
		p := startPeer(t, nil, nil)
		reader := io.Reader(strings.NewReader(body))
		if random.IntN(2) == 0 {
			reader = iotest.OneByteReader(reader)
		}
		if r, err := send(t, sender(t, p.addr), Envelope{To: to}, reader); err != nil || !r.All(Accepted) {
			t.Fatalf("%q: %+v, %v", body, r, err)
		}
		want := body
		if body != "" && !strings.HasSuffix(body, "\r\n") {
			want += "\r\n"
		}
		_, wire := p.received()
		// RFC 5321, 4.5.2: a dot at the beginning of a line is taken away.
		got := strings.ReplaceAll("\r\n"+string(wire), "\r\n.", "\r\n")[2:]
		if got != want {
			t.Errorf("sent %q, on the wire %q, read as %q", body, wire, got)
		}
	}
}

func TestNoAnswerAfterTheEndMayBeADuplicate(t *testing.T) {
	for _, ehlo := range [][]string{{"CHUNKING"}, nil} {
		for _, how := range []string{hangUp, silent, "nonsense", "250-half an answer"} {
			p := startPeer(t, ehlo, map[string]string{"end": how})
			r, err := send(t, impatient(t, p.addr), Envelope{To: append(to, Rcpt{Address: "\r\n"})}, strings.NewReader("a\r\n"))
			if !errors.Is(err, ErrUnknown) || r.Recipients[0].Outcome != Temporary || !r.Recipients[0].MayDuplicate {
				t.Errorf("%v, %s: %+v, %v", ehlo, how, r, err)
			}
			if bad := r.Recipients[1]; bad.Outcome != Permanent || bad.MayDuplicate {
				t.Errorf("a recipient that was never sent: %+v", bad)
			}
		}
	}
}

func TestWhatAnMTACanAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		replies map[string]string
		outcome Outcome
		code    int
		is      error // of the whole; nil: not asked
		text    string
	}{
		"no text at all":       {map[string]string{"MAIL": "250", "RCPT": "250", "end": "250"}, Accepted, 250, nil, ""},
		"many lines":           {map[string]string{"end": "250-2.0.0 one\r\n250 2.0.0 two"}, Accepted, 250, nil, ""},
		"251 forwards":         {map[string]string{"RCPT": "251 2.1.5 will forward"}, Accepted, 250, nil, ""},
		"sender refused":       {map[string]string{"MAIL": "550 5.7.1 no"}, Permanent, 550, nil, "MAIL refused: 550 5.7.1 no"},
		"sender deferred":      {map[string]string{"MAIL": "451 4.3.0 later"}, Temporary, 451, nil, "MAIL refused"},
		"message refused":      {map[string]string{"end": "554 5.6.0 spam"}, Permanent, 554, nil, "message refused"},
		"message deferred":     {map[string]string{"end": "452 4.3.1 full"}, Temporary, 452, nil, "message refused"},
		"DATA refused":         {map[string]string{"DATA": "554 no valid recipients"}, Permanent, 554, nil, "DATA refused"},
		"DATA accepted at 250": {map[string]string{"DATA": "250 what"}, Temporary, 250, nil, "DATA refused"},
		"3yz at the end":       {map[string]string{"end": "354 more"}, Temporary, 354, nil, "message refused"},
		"greeting 554":         {map[string]string{"greeting": "554 go away"}, Temporary, 0, ErrUnavailable, "554 go away"},
		"greeting 421":         {map[string]string{"greeting": "421 4.3.2 busy"}, Temporary, 0, ErrUnavailable, "busy"},
		"no SMTP":              {map[string]string{"greeting": "HTTP/1.1 400 Bad Request"}, Temporary, 0, ErrUnavailable, "not an SMTP reply"},
		"endless line":         {map[string]string{"greeting": "220 " + strings.Repeat("x", 1<<20)}, Temporary, 0, ErrUnavailable, "more than 4096 bytes"},
		"endless reply":        {map[string]string{"greeting": strings.Repeat("220-x\r\n", 10_000) + "220 x"}, Temporary, 0, ErrUnavailable, "more than 256 lines"},
		"changing codes":       {map[string]string{"MAIL": "250-a\r\n550 b"}, Temporary, 0, nil, "not an SMTP reply"},
		"closing at RCPT":      {map[string]string{"RCPT": "421 4.3.2 shutting down"}, Temporary, 421, nil, "shutting down"},
		"silent greeting":      {map[string]string{"greeting": silent}, Temporary, 0, ErrUnavailable, "timeout"},
		"silent at RCPT":       {map[string]string{"RCPT": silent}, Temporary, 0, os.ErrDeadlineExceeded, "RCPT"},
		"hangs up at MAIL":     {map[string]string{"MAIL": hangUp}, Temporary, 0, nil, "closed the connection"},
		"hangs up at QUIT":     {map[string]string{"QUIT": hangUp}, Accepted, 250, nil, ""},
		"knows no EHLO":        {map[string]string{"EHLO": "502 5.5.1 what"}, Accepted, 250, nil, ""},
		"knows no HELO either": {map[string]string{"EHLO": "502 what", "HELO": "502 what"}, Temporary, 0, ErrUnavailable, "HELO refused"},
	} {
		p := startPeer(t, nil, c.replies)
		r, err := send(t, impatient(t, p.addr), Envelope{To: to}, strings.NewReader("a\r\n"))
		one := r.Recipients[0]
		if one.Outcome != c.outcome || one.Reply.Code != c.code || one.MayDuplicate {
			t.Errorf("%s: %+v, %v", name, one, err)
		}
		if (err == nil) != (c.outcome == Accepted) || c.is != nil && !errors.Is(err, c.is) || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestARefusalInTheMidstIsHeard(t *testing.T) {
	p := startPeer(t, []string{"CHUNKING"}, map[string]string{"BDAT": "552 5.3.4 too big"})
	r, err := send(t, sender(t, p.addr), Envelope{To: to}, io.LimitReader(&breaking{before: 1 << 40}, 3*chunkSize))
	if err == nil || !r.All(Permanent) || r.Recipients[0].Reply.Code != 552 {
		t.Errorf("%+v, %v", r, err)
	}
	if commands, _ := p.received(); strings.Contains(commands, "LAST") || strings.Count(commands, "BDAT") != 1 {
		t.Errorf("went on: %s", commands)
	}
}

func TestParametersFollowWhatTheMTAOffers(t *testing.T) {
	env := Envelope{From: "a@ext.test", Args: []string{"ret=FULL", "ENVID=x", "SIZE=9"}, Size: 77, EightBit: true,
		To: []Rcpt{{Address: `"odd > one"@acmecorp.test`, Args: []string{"NOTIFY=NEVER", "orcpt=rfc822;b@x", "FOO=1"}}}}
	for name, c := range map[string]struct {
		ehlo []string
		want string
	}{
		"all": {[]string{"DSN", "size 1000000", "8BITMIME", "SMTPUTF8"},
			"MAIL FROM:<a@ext.test> SIZE=77 BODY=8BITMIME ret=FULL ENVID=x\nRCPT TO:<\"odd > one\"@acmecorp.test> NOTIFY=NEVER orcpt=rfc822;b@x\nDATA"},
		"little": {[]string{"8BITMIME"}, "MAIL FROM:<a@ext.test> BODY=8BITMIME\nRCPT TO:<\"odd > one\"@acmecorp.test>\nDATA"},
	} {
		p := startPeer(t, c.ehlo, nil)
		if _, err := send(t, sender(t, p.addr), env, strings.NewReader("a\r\n")); err != nil {
			t.Fatal(err)
		}
		if commands, _ := p.received(); !strings.Contains(commands, c.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, commands, c.want)
		}
	}
	bare := startPeer(t, nil, nil)
	if r, err := send(t, sender(t, bare.addr), env, strings.NewReader("a\r\n")); err == nil || !r.All(Temporary) || !strings.Contains(err.Error(), "8BITMIME") {
		t.Errorf("8 bits for an MTA without: %+v, %v", r, err)
	}
}

func TestAnEnvelopeCannotAddCommands(t *testing.T) {
	p := startPeer(t, []string{"DSN"}, nil)
	s := sender(t, p.addr)
	for _, env := range []Envelope{
		{From: "a@ext.test\r\nRSET", To: to},
		{From: "a@ext.test> SIZE=1", To: to},
		{To: to, Args: []string{"ENVID=x\r\nRSET"}},
		{To: to, Args: []string{"ENVID=x BODY=7BIT"}},
		{To: []Rcpt{{Address: "b@ext.test>\r\nRSET"}}},
		{To: []Rcpt{{Address: "b@ext.test", Args: []string{"NOTIFY=NEVER\r\nRSET"}}}},
		{To: []Rcpt{{Address: `"b\` + "\n" + `"@ext.test`}}},
		{To: []Rcpt{{Address: `"b\"@ext.test`}}},
		{To: []Rcpt{{Address: ""}}},
		{To: []Rcpt{{Address: "b\xff@ext.test"}}},
		{To: []Rcpt{{Address: strings.Repeat("b", 2000) + "@ext.test"}}},
		{},
	} {
		r, err := send(t, s, env, strings.NewReader("a\r\n"))
		if !errors.Is(err, errInvalid) || !r.All(Permanent) {
			t.Errorf("%+v: %+v, %v", env, r, err)
		}
	}
	if commands, _ := p.received(); commands != "" {
		t.Errorf("sent: %s", commands)
	}
}

func TestAuthenticationSendsThePasswordOfTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret ü\r\nanother line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	login := func(cfg *Config) { cfg.User, cfg.PasswordFile = "cloak", file }
	want := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00cloak\x00s3cret ü"))
	for name, c := range map[string]struct {
		ehlo    string
		replies map[string]string
		text    string
	}{
		"good":        {"AUTH LOGIN PLAIN", map[string]string{"AUTH": "235 2.7.0 welcome"}, ""},
		"refused":     {"AUTH PLAIN", map[string]string{"AUTH": "535 5.7.8 no"}, "535 5.7.8"},
		"not offered": {"AUTH LOGIN XPLAIN", nil, "does not offer PLAIN"},
	} {
		p := startPeer(t, []string{c.ehlo}, c.replies)
		r, err := send(t, sender(t, p.addr, login), Envelope{To: to}, strings.NewReader("a\r\n"))
		commands, _ := p.received()
		if c.text == "" {
			if err != nil || !r.All(Accepted) || !strings.Contains(commands, want) {
				t.Errorf("%s: %+v, %v: %s", name, r, err, commands)
			}
			continue
		}
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), c.text) || !r.All(Temporary) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	os.WriteFile(file, []byte("\n"), 0o600)
	p := startPeer(t, []string{"AUTH PLAIN"}, nil)
	if _, err := send(t, sender(t, p.addr, login), Envelope{To: to}, strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "password_file: ") {
		t.Errorf("empty password: %v", err)
	}
}

func TestWordsBeforeTheHandshakeAreNotTrusted(t *testing.T) {
	p := startPeer(t, []string{"STARTTLS"}, map[string]string{"STARTTLS": "220 go\r\n250 injected"})
	r, err := send(t, sender(t, p.addr, func(cfg *Config) { cfg.TLS = tlsRequired }), Envelope{To: to}, strings.NewReader("a\r\n"))
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "in the clear") || !r.All(Temporary) {
		t.Errorf("%+v, %v", r, err)
	}
}
