package doctor

// The milter, as an MTA speaks to it: a message that never becomes mail. It is
// marked by a macro that no MTA sends, so that everything takes part up to the
// point of no return, and nothing of it is kept or counted.

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"cloakroom/milter"
)

// Milter says where the milter is, and what a test message is like.
type Milter struct {
	Network, Address string // as package net takes them
	Sender           string // of ours
	Recipient        string // of ours
	Host             string // our name
	Runs             bool   // a daemon holds the data directory
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
	// slowMilter is how long the test message may take before that is worth a
	// word: an idle daemon takes a few milliseconds.
	slowMilter = 2 * time.Second
	// maxPacket bounds an answer in bytes; a reply has a few hundred.
	maxPacket = 1 << 20
	// maxChunk is the largest piece of a body, in bytes.
	maxChunk = 65535
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
	if err != nil {
		return []Line{m.unreached(err)}
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline.Add(-grace)) //nolint:errcheck // a closed connection shows at once
	}
	t := &talk{conn: conn}
	if err := t.negotiate(); err != nil {
		return []Line{wrong("look who listens there (ss -ltnp, ss -lxp); where it is Cloakroom, milter.max_connections may be used up, or it hangs: "+logOf, "%s: handshake: %v", m.Address, err)}
	}
	if !m.Runs {
		return []Line{wrong("look who listens there (ss -ltnp, ss -lxp): an old daemon, one with another data folder, or another milter; opendkim's instructions use port 8891 too",
			"%s: a milter answers, and it is not the daemon of this data folder", m.Address)}
	}
	a, err := m.message(t)
	took := time.Since(begin)
	switch {
	case err != nil:
		return []Line{wrong(m.look(err), "%s: test message: %v", m.Address, err)}
	case took > slowMilter:
		return []Line{warn("look at cloakroom_step_seconds: directory, disk or processor are slow", "%s: handshake and test message took %s", m.Address, short(took))}
	}
	return []Line{ok("%s: handshake and test message in %s%s", m.Address, short(took), a.remark())}
}

// unreached tells why there is no connection.
func (m Milter) unreached(err error) Line {
	where := fmt.Sprintf("%s: no connection: %v", m.Address, err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return wrong("run this as root or as a member of the socket's group; for the MTA's account see the line mta", "%s", where)
	case errors.Is(err, fs.ErrNotExist) && m.Runs:
		return wrong("systemctl restart cloakroom", "%s: the daemon runs, and its socket was removed", m.Address)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED) && !m.Runs:
		return wrong("start the daemon, see the line daemon", "%s", where)
	case errors.Is(err, syscall.ECONNREFUSED):
		return wrong("systemctl restart cloakroom: milter.listen was changed since it started, or it stops just now", "%s", where)
	}
	return wrong(logOf, "%s", where)
}

// look says where to look for the reason of a failure.
func (m Milter) look(err error) string {
	if _, rest, found := strings.Cut(err.Error(), failureMark); found {
		ref, _, _ := strings.Cut(rest, ")")
		return "journalctl -u cloakroom -g 'ref=" + ref + "'"
	}
	return logOf
}

// step is a packet; waive is the bit by which the milter gives no answer.
type step struct {
	code  byte
	data  string
	waive uint32
}

// steps is the test message as packets, up to its end.
func (m Milter) steps() []step {
	port := string(binary.BigEndian.AppendUint16(nil, 25))
	out := []step{
		{'C', m.Host + "\x004" + port + "127.0.0.1\x00", noConnectReply},
		{'H', m.Host + "\x00", noHeloReply},
		{'D', "M{" + milter.MacroProbe + "}\x001\x00", always},
		{'M', "<" + m.Sender + ">\x00", noMailReply},
		{'R', "<" + m.Recipient + ">\x00", noRcptReply},
	}
	for _, field := range [][2]string{
		{"From", "cloakroom doctor <" + m.Sender + ">"}, {"To", "<" + m.Recipient + ">"}, {"Subject", "test by cloakroom doctor"},
		{"Date", time.Now().Format(time.RFC1123Z)}, {"Message-ID", fmt.Sprintf("<doctor-%d@%s>", time.Now().UnixNano(), m.Host)},
		{"MIME-Version", "1.0"}, {"Content-Type", "multipart/mixed; boundary=doctor"},
	} {
		out = append(out, step{'L', field[0] + "\x00" + field[1] + "\x00", noHeaderReply})
	}
	out = append(out, step{'N', "", noEOHReply})
	for body := testBody(); len(body) > 0; {
		n := min(len(body), maxChunk)
		out = append(out, step{'B', body[:n], noBodyReply})
		body = body[n:]
	}
	return append(out, step{'E', "", 0})
}

// always is for what never has an answer.
const always = 1 << 31

// testBody has a text and an attachment.
func testBody() string {
	const width = 76
	var b strings.Builder
	b.WriteString("--doctor\r\nContent-Type: text/plain\r\n\r\na test by cloakroom doctor, not to be delivered\r\n" +
		"--doctor\r\nContent-Type: application/octet-stream; name=doctor.bin\r\nContent-Disposition: attachment; filename=doctor.bin\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	code := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("doctor\r\n"), testAttachment/8))
	for len(code) > 0 {
		n := min(len(code), width)
		b.WriteString(code[:n] + "\r\n")
		code = code[n:]
	}
	b.WriteString("--doctor--\r\n")
	return b.String()
}

// message sends the test message, and says goodbye.
func (m Milter) message(t *talk) (answer, error) {
	names := map[byte]string{'C': "CONNECT", 'H': "HELO", 'M': "MAIL", 'R': "RCPT", 'N': "end of header", 'B': "body", 'E': "end of message"}
	var a answer
	for _, s := range m.steps() {
		var err error
		if a, err = t.ask(s.code, []byte(s.data), s.waive); err != nil {
			return a, fmt.Errorf("%s: %w", names[s.code], err)
		}
		if a.final != 0 {
			break
		}
	}
	t.send('Q', nil) //nolint:errcheck // it is over
	return a, nil
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
func (a answer) remark() string {
	switch {
	case a.final == 'y' || a.final == 'r' || a.final == 'd':
		return "; a rule refuses it: " + a.text
	case a.changes > 0:
		return fmt.Sprintf("; rules make %d changes to it", a.changes)
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

// ask sends a step and takes its answer, unless the milter waived that. Put off by
// a failure is an error; what a rule says is not.
func (t *talk) ask(code byte, data []byte, waive uint32) (answer, error) {
	if err := t.send(code, data); err != nil {
		return answer{}, err
	}
	var a answer
	if waive == always || t.protocol&waive != 0 {
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
