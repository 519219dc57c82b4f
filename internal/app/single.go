package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"cloakroom/flow"
	"cloakroom/internal/config"
	"cloakroom/internal/secret"
	"cloakroom/internal/spool"
	"cloakroom/message"
)

// maxHeader is the header of a single message in bytes, as the milter limits
// it too.
const maxHeader = 1 << 20

// readHeader takes the header off the front of a message.
func readHeader(r *bufio.Reader) (message.Header, error) {
	var raw []byte
	for {
		line, err := r.ReadSlice('\n')
		if len(raw)+len(line) > maxHeader {
			return message.Header{}, fmt.Errorf("header over the limit of %d bytes", maxHeader)
		}
		if err == nil && (len(line) == 1 || len(line) == 2 && line[0] == '\r') {
			blank := bytes.Clone(line)
			h, _ := message.ParseHeader(raw)
			h.Blank = blank
			return h, nil
		}
		raw = append(raw, line...)
		switch {
		case errors.Is(err, io.EOF):
			h, _ := message.ParseHeader(raw)
			h.Blank = []byte{}
			return h, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return message.Header{}, fmt.Errorf("read the message: %w", err)
		}
	}
}

// RejectedError says that a rule refuses the message.
type RejectedError struct{ Reply *flow.Reply }

func (e *RejectedError) Error() string {
	return fmt.Sprintf("refused: %d %s %s", e.Reply.Code, e.Reply.Enhanced, e.Reply.Text)
}

// Filter takes one message through the flow: from in to out, with the line
// ends it came with. Nothing is written before everything is durable.
func Filter(ctx context.Context, engine *flow.Engine, env *flow.Envelope, in io.Reader, out io.Writer) (changed bool, err error) {
	r := bufio.NewReaderSize(in, 64<<10)
	h, err := readHeader(r)
	if err != nil {
		return false, err
	}
	m, err := engine.Open(ctx, env, h)
	if err != nil {
		return false, err
	}
	if m == nil {
		if _, err := out.Write(h.Block()); err != nil {
			return false, fmt.Errorf("write the message: %w", err)
		}
		if _, err := io.Copy(out, r); err != nil {
			return false, fmt.Errorf("pass the message on: %w", err)
		}
		return false, nil
	}
	defer m.Close()
	m.KeepBody()
	if _, err := io.Copy(m, r); err != nil {
		return false, fmt.Errorf("read the message: %w", err)
	}
	o, err := m.Finish(ctx)
	if err != nil {
		return false, err
	}
	if o.Reject != nil {
		return false, &RejectedError{o.Reject}
	}
	var body io.Reader
	if o.Body == nil {
		if body, err = m.Original(); err != nil {
			return false, err
		}
	}
	head := h.Block()
	if len(o.Header) > 0 {
		changedHeader := h
		changedHeader.Raw = message.ApplyHeader(h, o.Header)
		head = changedHeader.Block()
	}
	if _, err := out.Write(head); err != nil {
		return false, fmt.Errorf("write the message: %w", err)
	}
	if o.Body != nil {
		_, err = o.Body.WriteTo(out)
	} else {
		_, err = io.Copy(out, body)
	}
	if err != nil {
		return false, fmt.Errorf("write the message: %w", err)
	}
	return o.Changed(), nil
}

// Explain tells what would become of one message. Nothing is stored: the key
// behind the links is not the real one, and the body is spooled outside the
// data directory.
func Explain(ctx context.Context, cfg *config.Config, env *flow.Envelope, in io.Reader) (*flow.Explanation, error) {
	tmp, err := os.MkdirTemp("", "cloakroom-explain-")
	if err != nil {
		return nil, fmt.Errorf("spool directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	dir, err := spool.OpenDir(tmp)
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	users, err := OpenUsers(cfg.Directory, quiet)
	if err != nil {
		return nil, err
	}
	defer users.Close()
	ways, err := routes(cfg, make([]byte, secret.KeySize), make([]byte, secret.KeySize))
	if err != nil {
		return nil, err
	}
	set := settings(cfg, cfg.Web.URL, ways)
	if set.Vault, err = cfg.Vault.Plans(); err != nil {
		return nil, err
	}
	engine := &flow.Engine{
		Settings: func() *flow.Settings { return set },
		Spool:    dir, LinkKey: make([]byte, secret.KeySize), Directory: users, Now: time.Now, Log: quiet,
	}
	r := bufio.NewReaderSize(in, 64<<10)
	h, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	m, err := engine.OpenAny(ctx, env, h)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if _, err := io.Copy(m, r); err != nil {
		return nil, fmt.Errorf("read the message: %w", err)
	}
	return m.Explain()
}
