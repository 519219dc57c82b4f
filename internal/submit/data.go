package submit

// The message itself: BDAT where the MTA offers it, DATA otherwise.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// writeBuffer is the size in bytes of the buffer below DATA.
	writeBuffer = 32 << 10
	// chunkSize is the size in bytes of a BDAT chunk. Each costs a round trip.
	chunkSize = 256 << 10
)

// message sends the message and notes the answer for the open recipients.
func (d *delivery) message(c *client) error {
	var r Reply
	var err error
	if c.has("CHUNKING") {
		r, err = d.chunks(c)
	} else {
		r, err = d.data(c)
	}
	if err != nil {
		return err
	}
	d.result.Reply = r
	if r.Code/100 != 2 {
		return &replyError{"message", r}
	}
	for _, i := range d.open {
		d.result.Recipients[i] = RcptResult{Address: d.result.Recipients[i].Address, Outcome: Accepted, Reply: r}
	}
	return nil
}

// chunks sends the message by BDAT (RFC 3030): counted bytes, that nothing in
// them can end.
func (d *delivery) chunks(c *client) (Reply, error) {
	// One byte is read ahead: only the last chunk says so.
	buf := make([]byte, chunkSize+1)
	have := 0
	for {
		n, err := io.ReadFull(d.body, buf[have:])
		have += n
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return Reply{}, fmt.Errorf("%w: %w", ErrBody, err)
		}
		send := buf[:min(have, chunkSize)]
		last = last && have <= chunkSize
		r, err := c.chunk(send, last)
		if err != nil || last || r.Code/100 != 2 {
			return r, err
		}
		have = copy(buf, buf[len(send):have])
	}
}

// chunk sends one BDAT command. Once the last byte of the last chunk may have
// left us, an error is ErrUnknown.
func (c *client) chunk(data []byte, last bool) (Reply, error) {
	command, limit := fmt.Sprintf("BDAT %d", len(data)), c.timeouts.command
	if last {
		command, limit = command+" LAST", c.timeouts.message
	}
	c.out.WriteString(command)
	c.out.WriteString("\r\n")
	err := c.write(data)
	var r Reply
	if err == nil {
		err = c.flush()
	}
	if err != nil {
		r, err = c.lastWords(err)
	} else {
		r, err = c.reply(limit)
	}
	switch {
	case err == nil:
		return r, nil
	case last:
		return r, fmt.Errorf("%w: %w", ErrUnknown, err)
	default:
		return r, fmt.Errorf("BDAT: %w", err)
	}
}

// data sends the message by DATA.
func (d *delivery) data(c *client) (Reply, error) {
	r, err := c.command(c.timeouts.command, "DATA")
	if err != nil {
		return r, fmt.Errorf("DATA: %w", err)
	}
	if r.Code != 354 {
		return Reply{}, &replyError{"DATA", r}
	}
	stuffed := &dotWriter{out: c, atStart: true, tail: [2]byte{'\r', '\n'}}
	buf := make([]byte, writeBuffer)
	for {
		n, readErr := d.body.Read(buf)
		if err := stuffed.write(buf[:n]); err != nil {
			r, err := c.lastWords(err)
			if err != nil {
				err = fmt.Errorf("DATA: %w", err)
			}
			return r, err
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return Reply{}, fmt.Errorf("%w: %w", ErrBody, readErr)
		}
	}
	err = stuffed.end()
	if err == nil {
		err = c.flush()
	}
	if err != nil {
		r, err = c.lastWords(err)
	} else {
		r, err = c.reply(c.timeouts.message)
	}
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return r, nil
}

// write gives each piece of a buffer's size the time of one command.
func (c *client) write(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), writeBuffer)
		if err := c.moreTime(); err != nil {
			return err
		}
		if _, err := c.out.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (c *client) flush() error {
	if err := c.moreTime(); err != nil {
		return err
	}
	return c.out.Flush()
}

// moreTime lets writing go on for the time of a command.
func (c *client) moreTime() error {
	return c.conn.SetWriteDeadline(time.Now().Add(c.timeouts.command))
}

// dotWriter doubles the dots at the beginning of lines. A bare LF begins a
// line as well: an MTA that takes it for one would otherwise find the end of
// the message, and commands behind it, wherever a mail's author put them. An
// MTA that does not takes one dot too many into a message that RFC 5321 (2.3.8)
// does not allow anyway.
type dotWriter struct {
	out     *client
	atStart bool
	tail    [2]byte // the last two bytes that were written; at first the end of the DATA line
}

// write takes at most writeBuffer bytes at a time.
func (w *dotWriter) write(p []byte) error {
	if err := w.out.moreTime(); err != nil {
		return err
	}
	for len(p) > 0 {
		if w.atStart && p[0] == '.' {
			if err := w.out.out.WriteByte('.'); err != nil {
				return err
			}
		}
		line := p
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line = p[:i+1]
		}
		if _, err := w.out.out.Write(line); err != nil {
			return err
		}
		w.atStart = line[len(line)-1] == '\n'
		if len(line) == 1 {
			w.tail = [2]byte{w.tail[1], line[0]}
		} else {
			w.tail = [2]byte(line[len(line)-2:])
		}
		p = p[len(line):]
	}
	return nil
}

// end writes the final dot on a line of its own.
func (w *dotWriter) end() error {
	end := "\r\n.\r\n"
	if w.tail == [2]byte{'\r', '\n'} {
		end = ".\r\n"
	}
	return w.out.write([]byte(end))
}
