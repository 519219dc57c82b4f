package milter

// An Outcome as modification packets.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	gomilter "github.com/emersion/go-milter"

	"cloakroom/flow"
	"cloakroom/message"
)

// insertFirst is the place of a field that is to stand before all others.
const insertFirst = 1

// apply tells the MTA how to change the message. Everything that can be wrong
// with the edits is found before the first of them is sent; after an error
// nothing but a temporary failure may be answered.
func (s *session) apply(out *flow.Outcome, m *gomilter.Modifier) error {
	envelope, err := s.check(out)
	if err != nil {
		return err
	}
	for _, p := range envelope {
		if err := s.tap.writePacket(p.code, p.payload); err != nil {
			return fmt.Errorf("sending envelope edits: %w", err)
		}
	}
	if err := s.sendHeader(out.Header, m); err != nil {
		return fmt.Errorf("sending header edits: %w", err)
	}
	if err := s.sendBody(out.Body); err != nil {
		return fmt.Errorf("sending the new body: %w", err)
	}
	if out.Quarantine == "" {
		return nil
	}
	// Behind the body, whose packets Postfix wants in one run.
	s.tx.logger().Info("message held in the MTA's queue", "reason", out.Quarantine)
	reason := cut(plain(out.Quarantine, s.tx.utf8()), maxReason)
	if err := s.tap.writePacket(respQuarantine, append([]byte(reason), 0)); err != nil {
		return fmt.Errorf("sending the quarantine: %w", err)
	}
	return nil
}

func (s *session) sendHeader(edits []message.HeaderEdit, m *gomilter.Modifier) error {
	for _, e := range edits {
		value := e.Value
		// With OptHeaderLeadingSpace the MTA adds no space after the colon. An
		// empty value deletes the field and stays empty.
		if value != "" && s.opts.agreed(gomilter.OptHeaderLeadingSpace) {
			value = " " + value
		}
		var err error
		switch {
		case e.Index == 0 && e.Top:
			// Postfix and Sendmail count from the first field below their own
			// Received; 0 would stand before that one.
			err = m.InsertHeader(insertFirst, e.Name, value)
		case e.Index == 0:
			err = m.AddHeader(e.Name, value)
		default:
			err = m.ChangeHeader(e.Index, e.Name, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *session) sendBody(body io.WriterTo) error {
	if body == nil {
		return nil
	}
	w := newBodyWriter(s.tap)
	defer w.release()
	if _, err := body.WriteTo(w); err != nil {
		return err
	}
	return w.finish()
}

// check looks for whatever could go wrong, and makes the packets of the
// envelope edits.
func (s *session) check(out *flow.Outcome) ([]edit, error) {
	envelope, need, err := s.tx.envelopeEdits(out)
	if err != nil {
		return nil, err
	}
	if out.Quarantine != "" {
		need |= gomilter.OptQuarantine
		if plain(out.Quarantine, true) == "" {
			return nil, errors.New("the reason for the quarantine is blank")
		}
	}
	if out.Body != nil {
		need |= gomilter.OptChangeBody
	}
	for _, e := range out.Header {
		if e.Index == 0 {
			need |= gomilter.OptAddHeader
		} else {
			need |= gomilter.OptChangeHeader
		}
		if err := checkEdit(e); err != nil {
			return nil, fmt.Errorf("header edit of %q: %w", e.Name, err)
		}
	}
	if !s.opts.may(need) {
		return nil, fmt.Errorf("the MTA does not allow the change (needed actions %#x, allowed %#x): check the milter's settings in the MTA",
			need, s.opts.actions)
	}
	return envelope, nil
}

// checkEdit refuses what would end up as another header than the one meant.
func checkEdit(e message.HeaderEdit) error {
	if e.Index < 0 || e.Index == 0 && e.Value == "" {
		return errors.New("there is no field to delete")
	}
	if e.Name == "" {
		return errors.New("no name")
	}
	for _, c := range []byte(e.Name) {
		if c < 33 || c > 126 || c == ':' { // RFC 5322 section 2.2
			return fmt.Errorf("byte %#x in a field name", c)
		}
	}
	if len(e.Name)+len(e.Value) > maxEdit-16 { // packet head, index, NULs and space
		return fmt.Errorf("%d bytes are more than fit into a packet", len(e.Value))
	}
	if strings.Contains(e.Value, "\x00") {
		return errors.New("NUL in the value")
	}
	lines := strings.Split(strings.ReplaceAll(e.Value, "\r\n", "\n"), "\n")
	for i, line := range lines {
		if strings.Contains(line, "\r") {
			return errors.New("bare CR in the value")
		}
		if i > 0 && strings.Trim(line, " \t") == "" || i > 0 && line[0] != ' ' && line[0] != '\t' {
			return errors.New("a line of the value is not a folded one")
		}
	}
	return nil
}

// bodyWriter sends SMFIR_REPLBODY packets as full as they may be, bytes as they
// are. go-milter's ReplaceBody would turn CRLF into LF, and is not split.
type bodyWriter struct {
	w    io.Writer
	buf  []byte // a packet under construction
	sent bool
}

// bodyPackets are kept for the next message.
var bodyPackets = sync.Pool{New: func() any { return new([packetHead + maxChunk]byte) }}

func newBodyWriter(w io.Writer) *bodyWriter {
	return &bodyWriter{w: w, buf: bodyPackets.Get().(*[packetHead + maxChunk]byte)[:packetHead]}
}

// release ends the writer.
func (b *bodyWriter) release() {
	bodyPackets.Put((*[packetHead + maxChunk]byte)(b.buf[:cap(b.buf)]))
	b.buf = nil
}

func (b *bodyWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), cap(b.buf)-len(b.buf))
		b.buf = append(b.buf, p[:k]...)
		p = p[k:]
		if len(b.buf) == cap(b.buf) {
			if err := b.send(); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

func (b *bodyWriter) send() error {
	binary.BigEndian.PutUint32(b.buf, uint32(len(b.buf)-packetHead+1))
	b.buf[4] = respReplBody
	_, err := b.w.Write(b.buf)
	b.buf, b.sent = b.buf[:packetHead], true
	return err
}

// finish sends what is left. An empty body is one empty packet.
func (b *bodyWriter) finish() error {
	if b.sent && len(b.buf) == packetHead {
		return nil
	}
	return b.send()
}
