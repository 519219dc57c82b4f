package doctor

// The milter, as an MTA speaks to it: two messages that never become mail. One
// has an attachment and is broken off before its end, so that directory, rules,
// spool and scanner take part and nothing is stored; the other goes to its end,
// is a plain text of the null sender, and so cannot be of what is stored.

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"time"
)

// Milter says where the milter is, and what a test message is like.
type Milter struct {
	Network, Address string // as package net takes them
	Sender           string // of ours
	Recipient        string // of ours
	Host             string // our name
}

// What an MTA of today offers: version 6, every action and every protocol step.
const (
	offerVersion  = 6
	offerActions  = 0x1ff
	offerProtocol = 0x1fffff
)

// Bits of the protocol by which a milter waives answers (libmilter's mfdef.h).
const (
	noHeaderReply  = 1 << 7
	noConnectReply = 1 << 12
	noHeloReply    = 1 << 13
	noMailReply    = 1 << 14
	noRcptReply    = 1 << 15
	noEOHReply     = 1 << 18
	noBodyReply    = 1 << 19
)

const (
	// slowMilter is how long the test messages may take together before that is
	// worth a word: an idle daemon takes a few milliseconds.
	slowMilter = 2 * time.Second
	// maxPacket bounds an answer in bytes; a reply has a few hundred.
	maxPacket = 1 << 20
	// failureMark is in every reply that is no rule's: it leads to the line in the
	// log.
	failureMark = "(ref "
	// testAttachment is the size of the test's attachment in bytes: it goes through
	// the spool in two chunks.
	testAttachment = 64 << 10
)

// Run speaks to the milter.
func (m Milter) Run(ctx context.Context) []Line {
	begin := time.Now()
	var d net.Dialer
	conn, err := d.DialContext(ctx, m.Network, m.Address)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return []Line{warn("run this as root, or as a member of the socket's group", "%s: this account may not connect: %v", m.Address, err)}
	case err != nil:
		return []Line{wrong("is the daemon running? systemctl status cloakroom", "no connection: %v", err)}
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline) //nolint:errcheck // a closed connection shows at once
	}
	t := &talk{conn: conn}
	if err := t.negotiate(); err != nil {
		return []Line{wrong("look at the log; milter.max_connections may be used up, or another program listens there", "%s: handshake: %v", m.Address, err)}
	}
	remark, err := m.messages(t)
	took := time.Since(begin)
	switch {
	case err != nil:
		return []Line{wrong("look at the log", "%s: %v", m.Address, err)}
	case took > slowMilter:
		return []Line{warn("look at cloakroom_step_seconds: directory, disk or processor are slow", "%s: handshake and test messages took %s", m.Address, short(took))}
	}
	return []Line{ok("%s: handshake and two test messages in %s%s", m.Address, short(took), remark)}
}

// messages sends both messages, and says goodbye.
func (m Milter) messages(t *talk) (remark string, err error) {
	if _, err := t.ask('C', append([]byte(m.Host+"\x004"), append(binary.BigEndian.AppendUint16(nil, 25), "127.0.0.1\x00"...)...), noConnectReply); err != nil {
		return "", fmt.Errorf("CONNECT: %w", err)
	}
	if _, err := t.ask('H', []byte(m.Host+"\x00"), noHeloReply); err != nil {
		return "", fmt.Errorf("HELO: %w", err)
	}
	noise := base64.StdEncoding.EncodeToString(make([]byte, testAttachment))
	var lines strings.Builder
	for len(noise) > 76 {
		lines.WriteString(noise[:76] + "\r\n")
		noise = noise[76:]
	}
	attached := "--doctor\r\nContent-Type: text/plain\r\n\r\na test by cloakroom doctor, not to be delivered\r\n" +
		"--doctor\r\nContent-Type: application/octet-stream; name=doctor.bin\r\nContent-Disposition: attachment; filename=doctor.bin\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n" + lines.String()
	a, err := m.message(t, m.Sender, "multipart/mixed; boundary=doctor", attached)
	if err == nil {
		err = t.send('A', nil) // broken off
	}
	if err != nil {
		return "", fmt.Errorf("message with an attachment: %w", err)
	}
	remark = a.remark("the message with an attachment")
	a, err = m.message(t, "", "text/plain", "a test by cloakroom doctor, not to be delivered\r\n")
	if err == nil && a.final == 0 {
		a, err = t.ask('E', nil, 0)
	}
	if err != nil {
		return "", fmt.Errorf("message to its end: %w", err)
	}
	if remark == "" {
		remark = a.remark("the message of the null sender")
	}
	t.send('Q', nil) //nolint:errcheck // it is over
	return remark, nil
}

// message sends one up to the end of its body. The answer is final where the
// milter does not want the rest.
func (m Milter) message(t *talk, sender, contentType, body string) (answer, error) {
	steps := []struct {
		code  byte
		data  string
		waive uint32
	}{
		{'M', "<" + sender + ">\x00", noMailReply},
		{'R', "<" + m.Recipient + ">\x00", noRcptReply},
		{'L', "From\x00cloakroom doctor <" + m.Sender + ">\x00", noHeaderReply},
		{'L', "To\x00<" + m.Recipient + ">\x00", noHeaderReply},
		{'L', "Subject\x00test by cloakroom doctor\x00", noHeaderReply},
		{'L', "Date\x00" + time.Now().Format(time.RFC1123Z) + "\x00", noHeaderReply},
		{'L', fmt.Sprintf("Message-ID\x00<doctor-%d@%s>\x00", time.Now().UnixNano(), m.Host), noHeaderReply},
		{'L', "MIME-Version\x001.0\x00", noHeaderReply},
		{'L', "Content-Type\x00" + contentType + "\x00", noHeaderReply},
		{'N', "", noEOHReply},
	}
	const chunk = 65535 // bytes, the largest of the protocol
	for ; len(body) > chunk; body = body[chunk:] {
		steps = append(steps, struct {
			code  byte
			data  string
			waive uint32
		}{'B', body[:chunk], noBodyReply})
	}
	steps = append(steps, struct {
		code  byte
		data  string
		waive uint32
	}{'B', body, noBodyReply})
	for _, s := range steps {
		a, err := t.ask(s.code, []byte(s.data), s.waive)
		if err != nil || a.final != 0 {
			return a, err
		}
	}
	return answer{}, nil
}

// talk is a connection on which the milter waived some answers.
type talk struct {
	conn     net.Conn
	protocol uint32
}

// answer is what the milter said; final is its code where the message is over.
type answer struct {
	final   byte
	text    string
	changes int
}

// remark tells of an answer that rules gave.
func (a answer) remark(what string) string {
	switch {
	case a.final == 'y' || a.final == 'r' || a.final == 'd':
		return fmt.Sprintf("; a rule refuses %s: %s", what, a.text)
	case a.changes > 0:
		return fmt.Sprintf("; rules make %d changes to %s", a.changes, what)
	}
	return ""
}

func (t *talk) negotiate() error {
	var offer []byte
	for _, n := range []uint32{offerVersion, offerActions, offerProtocol} {
		offer = binary.BigEndian.AppendUint32(offer, n)
	}
	if err := t.send('O', offer); err != nil {
		return err
	}
	code, data, err := t.read()
	switch {
	case err != nil:
		return err
	case code != 'O' || len(data) < 12:
		return fmt.Errorf("the answer is a packet %q of %d bytes: not a milter", code, len(data))
	}
	t.protocol = binary.BigEndian.Uint32(data[8:])
	return nil
}

func (t *talk) send(code byte, data []byte) error {
	packet := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	_, err := t.conn.Write(append(append(packet, code), data...))
	return err
}

func (t *talk) read() (code byte, data []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(t.conn, head[:]); err != nil {
		return 0, nil, fmt.Errorf("no answer: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxPacket {
		return 0, nil, fmt.Errorf("an answer of %d bytes: not a milter", n)
	}
	data = make([]byte, n-1)
	_, err = io.ReadFull(t.conn, data)
	return head[4], data, err
}

// ask sends a step and takes its answer, unless the milter waived that. Put off
// (4xx) is an error: a message like this should not be.
func (t *talk) ask(code byte, data []byte, waive uint32) (answer, error) {
	if err := t.send(code, data); err != nil {
		return answer{}, err
	}
	var a answer
	if waive != 0 && t.protocol&waive != 0 {
		return a, nil
	}
	for {
		got, data, err := t.read()
		if err != nil {
			return a, err
		}
		switch got {
		case 'p': // progress
		case 'c', 's':
			return a, nil
		case 'a', 'd', 'r':
			a.final = got
			a.text = map[byte]string{'r': "550", 'd': "discarded"}[got]
			return a, nil
		case 't':
			return a, errors.New("put off (4xx) without a reason")
		case 'y':
			a.final, a.text = 'y', strings.TrimRight(string(data), "\x00")
			if strings.HasPrefix(a.text, "4") && strings.Contains(a.text, failureMark) {
				return a, fmt.Errorf("put off: %s", a.text)
			}
			return a, nil
		default:
			a.changes++
		}
	}
}

func short(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
