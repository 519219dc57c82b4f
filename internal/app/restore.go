package app

// The way back: originals are rebuilt, checked and handed out.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"cloakroom/flow"
	"cloakroom/internal/spool"
	"cloakroom/ledger"
)

// Original is a mail as it came in, checked.
type Original struct {
	Mail *ledger.Mail
	Sum  ledger.Hash // SHA-256 of the whole message
	Body io.ReaderAt // header and body
	Size int64
}

// Reader reads the message from its beginning.
func (o *Original) Reader() *io.SectionReader { return io.NewSectionReader(o.Body, 0, o.Size) }

// Sink is where restored mails go.
type Sink interface {
	// Put takes a mail and tells where it is now.
	Put(ctx context.Context, o *Original) (where string, err error)
	// Close makes durable what was put.
	Close() error
}

// Restored is what became of one mail.
type Restored struct {
	Mail      ledger.Key  `json:"mail"`
	MessageID string      `json:"message_id,omitempty"`
	Sender    string      `json:"sender"`
	Size      int64       `json:"size,omitempty"`
	SHA256    ledger.Hash `json:"sha256,omitzero"` // of the whole message
	Where     string      `json:"where,omitempty"`
	DKIM      []Signature `json:"dkim,omitempty"`
	// Nothing says why there is no original to restore: none was needed, or it was
	// given up. That is no failure unless somebody asked for this very mail.
	Nothing string `json:"nothing,omitempty"`
	Error   string `json:"error,omitempty"` // why it was not restored
}

// Restore rebuilds mails one after the other. A mail that fails is told in its
// result, and the next one is tried; the error is about what all depends on. Of
// one mail nothing is handed out before all of it was rebuilt and is, byte for
// byte, what came in. A mail without an original is no failure. sink may be nil,
// to check only.
func (s *Store) Restore(ctx context.Context, keys []ledger.Key, sink Sink, signatures *SignatureCheck, tell func(Restored)) (failed int, err error) {
	dir, err := spool.OpenDir(filepath.Join(s.Dir, "spool"))
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return failed, err
		}
		r := s.restoreOne(ctx, dir, key, sink, signatures)
		if r.Error != "" {
			failed++
		}
		tell(r)
	}
	return failed, nil
}

func (s *Store) restoreOne(ctx context.Context, dir *spool.Dir, key ledger.Key, sink Sink, signatures *SignatureCheck) Restored {
	r := Restored{Mail: key}
	fail := func(err error) Restored {
		r.Error = err.Error()
		return r
	}
	m, err := ledger.Get(ctx, s.DB.Read(), key)
	if err != nil {
		return fail(err)
	}
	r.MessageID, r.Sender = m.MessageID, m.Sender
	buf := dir.New(flow.MaxMessage)
	defer buf.Close()
	sum := sha256.New()
	switch err := ledger.Rebuild(ctx, io.MultiWriter(buf, sum), m, s.openChecked); {
	case errors.Is(err, ledger.ErrNoOriginal) && !hasLinks(m), errors.Is(err, ledger.ErrRetired):
		r.Nothing = strings.TrimPrefix(err.Error(), "mail "+key.String()+": ")
		return r
	case err != nil:
		return fail(err)
	}
	o := &Original{Mail: m, Body: buf, Size: buf.Size(), Sum: ledger.Hash(sum.Sum(nil))}
	if o.Size != m.Size {
		return fail(fmt.Errorf("mail %s has %d bytes, but came with %d", key, o.Size, m.Size))
	}
	r.Size, r.SHA256 = o.Size, o.Sum
	if signatures != nil {
		r.DKIM = signatures.Check(ctx, o)
	}
	if sink != nil {
		if r.Where, err = sink.Put(ctx, o); err != nil {
			return fail(err)
		}
	}
	return r
}

// hasLinks tells whether anything was taken out of a mail.
func hasLinks(m *ledger.Mail) bool {
	return slices.ContainsFunc(m.Parts, func(p ledger.Part) bool { return p.Linked })
}

// openChecked opens a blob whose content is compared with its name while it is
// read: a damaged one is told as such.
func (s *Store) openChecked(ctx context.Context, sum [32]byte) (io.ReadCloser, error) {
	f, err := s.Blobs.Open(ctx, sum)
	if err != nil {
		return nil, fmt.Errorf("file %x: %w", sum, err)
	}
	return &checkedBlob{f: f, want: sum, hash: sha256.New()}, nil
}

type checkedBlob struct {
	f    io.ReadCloser
	want [32]byte
	hash hash.Hash
}

func (c *checkedBlob) Read(p []byte) (int, error) {
	n, err := c.f.Read(p)
	c.hash.Write(p[:n])
	if err == io.EOF && [32]byte(c.hash.Sum(nil)) != c.want {
		return n, fmt.Errorf("file %x is damaged: cloakroom store verify tells more", c.want)
	}
	return n, err
}

func (c *checkedBlob) Close() error { return c.f.Close() }

// PrintRestored writes a line about one mail.
func PrintRestored(w io.Writer, r Restored) {
	if r.Error != "" {
		fmt.Fprintf(w, "%s FAILED: %s\n", r.Mail.String()[:12], plain(r.Error))
		return
	}
	if r.Nothing != "" {
		fmt.Fprintf(w, "%s skipped: %s\n", r.Mail.String()[:12], plain(r.Nothing))
		return
	}
	where := r.Where
	if where == "" {
		where = "whole"
	}
	var dkim []string
	for _, s := range r.DKIM {
		dkim = append(dkim, s.String())
	}
	tail := ""
	if len(dkim) > 0 {
		tail = "; DKIM " + plain(strings.Join(dkim, ", "))
	}
	fmt.Fprintf(w, "%s %s%s\n", r.Mail.String()[:12], plain(where), tail)
}
