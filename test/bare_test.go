package test

// The bare milter: a program that does with a mail what none can leave out that
// takes attachments out of it, and nothing else. What Cloakroom costs is compared
// with it, on whatever machine.

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	bigendian "encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"
	"github.com/segmentio/asm/base64"
)

// bareVariable has the test binary be a bare milter: its value is the socket. The
// next one is the folder that files are stored in; without, mail is only read.
const (
	bareVariable = "CLOAKROOM_TEST_BARE_SOCKET"
	bareFolder   = "CLOAKROOM_TEST_BARE_FOLDER"
)

// startBare runs a bare milter in a process of its own. In mails with a file in
// base64 the body is replaced, if files are stored.
func startBare(t *testing.T, store bool) (socket string, process string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cloakroom-bare-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // Postfix has another user
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "bare.sock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), bareVariable+"="+socket)
	if store {
		cmd.Env = append(cmd.Env, bareFolder+"="+dir)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			break
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatal(err)
		}
	}
	return socket, fmt.Sprintf("/proc/%d", cmd.Process.Pid)
}

// bareMilter serves until it is killed.
func bareMilter(socket, folder string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			s := &bareSession{r: bufio.NewReaderSize(c, 128<<10), w: bufio.NewWriter(c), folder: folder, sum: sha256.New()}
			if err := s.serve(); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "bare milter:", err)
			}
		}()
	}
}

type bareSession struct {
	r      *bufio.Reader
	w      *bufio.Writer
	folder string

	file    *os.File // of the mail under way; nil: no base64 came yet
	inside  bool     // base64 comes
	lines   []byte   // of it, without their ends
	decoded []byte
	sum     hash.Hash
}

// bareQuiet are the answers that it asks to be spared.
const bareQuiet = gomilter.OptNoBodyReply | gomilter.OptNoHeaderReply

// bareNotice is the new body: as long as a short text with a notice.
var bareNotice = append([]byte("b"), bytes.Repeat([]byte("a line of the text that stays, or of the notice that is added to it\r\n"), 70)...)

func (s *bareSession) serve() error {
	var packet []byte
	quiet := gomilter.OptProtocol(0)
	for {
		var head [4]byte
		if _, err := io.ReadFull(s.r, head[:]); err != nil {
			return err
		}
		size := int(bigendian.BigEndian.Uint32(head[:]))
		if cap(packet) < size {
			packet = make([]byte, size)
		}
		packet = packet[:size]
		if _, err := io.ReadFull(s.r, packet); err != nil {
			return err
		}
		var err error
		switch packet[0] {
		case 'O':
			quiet = gomilter.OptProtocol(bigendian.BigEndian.Uint32(packet[9:])) & bareQuiet
			answer := bigendian.BigEndian.AppendUint32([]byte("O"), 6)
			answer = bigendian.BigEndian.AppendUint32(answer, uint32(gomilter.OptChangeBody))
			s.answer(bigendian.BigEndian.AppendUint32(answer, uint32(quiet)))
		case 'B':
			if s.folder != "" {
				err = s.body(packet[1:])
			}
			if quiet&gomilter.OptNoBodyReply == 0 {
				s.answer([]byte("c"))
			}
		case 'L':
			if quiet&gomilter.OptNoHeaderReply == 0 {
				s.answer([]byte("c"))
			}
		case 'D':
		case 'A':
			s.drop()
		case 'E':
			if s.file != nil {
				err = s.keep()
				s.answer(bareNotice)
			}
			s.answer([]byte("a"))
		case 'Q':
			return nil
		default:
			s.answer([]byte("c"))
		}
		if err != nil {
			return err
		}
		if s.r.Buffered() == 0 {
			if err := s.w.Flush(); err != nil {
				return err
			}
		}
	}
}

func (s *bareSession) answer(packet []byte) {
	s.w.Write(bigendian.BigEndian.AppendUint32(nil, uint32(len(packet)))) // Flush tells what failed
	s.w.Write(packet)
}

// body looks for base64, takes its line ends out, decodes, hashes and writes it.
func (s *bareSession) body(chunk []byte) error {
	for len(chunk) > 0 {
		if !s.inside {
			_, after, found := bytes.Cut(chunk, []byte("base64\r\n\r\n"))
			if !found {
				return nil
			}
			s.inside, chunk = true, after
			continue
		}
		line, after, _ := bytes.Cut(chunk, []byte("\n"))
		chunk = after
		if bytes.HasPrefix(line, []byte("--")) {
			s.inside = false
			if err := s.decode(); err != nil {
				return err
			}
			continue
		}
		s.lines = append(s.lines, bytes.TrimSuffix(line, []byte("\r"))...)
		if len(s.lines) >= 128<<10 {
			if err := s.decode(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *bareSession) decode() (err error) {
	if s.file == nil {
		if s.file, err = os.CreateTemp(s.folder, "new-"); err != nil {
			return err
		}
	}
	whole := len(s.lines) / 4 * 4
	if len(s.decoded) < whole {
		s.decoded = make([]byte, whole)
	}
	n, err := base64.StdEncoding.Decode(s.decoded, s.lines[:whole])
	if err != nil {
		return err
	}
	s.lines = append(s.lines[:0], s.lines[whole:]...)
	s.sum.Write(s.decoded[:n])
	_, err = s.file.Write(s.decoded[:n])
	return err
}

// keep makes the file durable under its hash.
func (s *bareSession) keep() error {
	defer s.drop()
	if err := s.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(s.file.Name(), filepath.Join(s.folder, fmt.Sprintf("%x", s.sum.Sum(nil)))); err != nil {
		return err
	}
	dir, err := os.Open(s.folder)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *bareSession) drop() {
	if s.file != nil {
		os.Remove(s.file.Name()) // if it was not kept
		s.file.Close()
		s.file = nil
	}
	s.sum.Reset()
	s.inside, s.lines = false, s.lines[:0]
}

// milterClient passes mails over one connection, as an MTA does.
type milterClient struct{ *gomilter.ClientSession }

func dialMilter(socket string) (milterClient, error) {
	c, err := gomilter.NewClientWithOptions("unix", socket, gomilter.ClientOptions{
		ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		ActionMask: gomilter.OptChangeBody | gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptAddRcpt | gomilter.OptRemoveRcpt |
			gomilter.OptQuarantine | gomilter.OptChangeFrom,
		ProtocolMask: bareQuiet | gomilter.OptHeaderLeadingSpace,
	}).Session()
	if err != nil {
		return milterClient{}, err
	}
	for _, step := range []func() (*gomilter.Action, error){
		func() (*gomilter.Action, error) {
			return c.Conn("client.ext.test", gomilter.FamilyInet, 4711, "192.0.2.7")
		},
		func() (*gomilter.Action, error) { return c.Helo("client.ext.test") },
	} {
		if err := goesOn(step()); err != nil {
			return milterClient{}, err
		}
	}
	return milterClient{c}, nil
}

func goesOn(a *gomilter.Action, err error) error {
	if err == nil && a != nil && a.Code != gomilter.ActContinue {
		err = fmt.Errorf("answered by %q", a.Code)
	}
	return err
}

// pass sends one mail and tells whether its body was replaced.
func (c milterClient) pass(msg []byte) (replaced bool, err error) {
	header, body, _ := bytes.Cut(msg, []byte("\r\n\r\n"))
	if err := goesOn(c.Mail(dave, nil)); err != nil {
		return false, err
	}
	if err := goesOn(c.Rcpt(bob, nil)); err != nil {
		return false, err
	}
	for field := range bytes.SplitSeq(header, []byte("\r\n")) {
		name, value, _ := bytes.Cut(field, []byte(":")) // compose folds none
		if err := goesOn(c.HeaderField(string(name), string(value))); err != nil {
			return false, err
		}
	}
	if err := goesOn(c.HeaderEnd()); err != nil {
		return false, err
	}
	mods, a, err := c.BodyReadFrom(bytes.NewReader(body))
	if err == nil && a.Code != gomilter.ActAccept && a.Code != gomilter.ActContinue {
		err = fmt.Errorf("answered by %q", a.Code)
	}
	for _, m := range mods {
		replaced = replaced || m.Code == gomilter.ActReplBody
	}
	return replaced, err
}
