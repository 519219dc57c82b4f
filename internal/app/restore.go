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
	// Put takes a mail and tells where it is now, and whether it was there
	// before. After a StopError there is no sense in another one.
	Put(ctx context.Context, o *Original) (where string, was bool, err error)
	// Close makes durable what was put.
	Close(ctx context.Context) error
}

// StopError says that nothing more can be put where mails go.
type StopError struct{ Err error }

func (e *StopError) Error() string { return e.Err.Error() }
func (e *StopError) Unwrap() error { return e.Err }

// Restored is what became of one mail.
type Restored struct {
	Mail      ledger.Key  `json:"mail"`
	MessageID string      `json:"message_id,omitempty"`
	Sender    string      `json:"sender"`
	Size      int64       `json:"size,omitempty"`
	SHA256    ledger.Hash `json:"sha256,omitzero"` // of the whole message
	Where     string      `json:"where,omitempty"`
	WasThere  bool        `json:"was_there,omitempty"` // nothing had to be done
	DKIM      []Signature `json:"dkim,omitempty"`
	// Nothing says why there is no original to restore: none was needed, or it was
	// given up. That is no failure unless somebody asked for this very mail.
	Nothing string `json:"nothing,omitempty"`
	Error   string `json:"error,omitempty"` // why it was not restored
}

// Restoring says what is restored and where to.
type Restoring struct {
	Keys       []ledger.Key
	Sink       Sink            // nil: only check
	Signatures *SignatureCheck // nil: do not verify them
	Done       *DoneList       // nil: nothing is known to be done
	Tell       func(Restored)  // is given each result
}

// RestoreCount sums up what became of mails.
type RestoreCount struct {
	Restored int // or only checked
	WasThere int
	Nothing  int // had no original to restore
	Failed   int
	NotTried int
}

func (c RestoreCount) String() string {
	return fmt.Sprintf("restored: %d, there already: %d, nothing to restore: %d, failed: %d, not tried: %d",
		c.Restored, c.WasThere, c.Nothing, c.Failed, c.NotTried)
}

func (c *RestoreCount) add(r Restored) {
	switch {
	case r.Error != "":
		c.Failed++
	case r.Nothing != "":
		c.Nothing++
	case r.WasThere:
		c.WasThere++
	default:
		c.Restored++
	}
}

// Restore rebuilds mails one after the other. A mail that fails is told in its
// result, and the next one is tried; the error is about what all depends on. Of
// one mail nothing is handed out before all of it was rebuilt and is, byte for
// byte, what came in. A mail without an original is no failure. Who wants it and
// where the mails go is to be remembered by the caller.
func (s *Store) Restore(ctx context.Context, what Restoring) (count RestoreCount, err error) {
	count.NotTried = len(what.Keys)
	dir, err := spool.OpenDir(filepath.Join(s.Dir, spoolName))
	if err != nil {
		return count, err
	}
	for _, key := range what.Keys {
		if err := ctx.Err(); err != nil {
			return count, err
		}
		r, err := s.restoreOne(ctx, dir, key, what)
		var stop *StopError
		if err != nil && (ctx.Err() != nil || errors.As(err, &stop)) {
			return count, fmt.Errorf("mail %.12s: %w", key, err)
		}
		if err == nil && r.Nothing == "" && !r.WasThere {
			err = what.Done.Add(key)
		}
		if err != nil {
			r.Error = err.Error()
		}
		count.NotTried--
		count.add(r)
		what.Tell(r)
		if r.Error != "" && errors.As(err, &stop) { // the list of what is done
			return count, err
		}
	}
	return count, nil
}

func (s *Store) restoreOne(ctx context.Context, dir *spool.Dir, key ledger.Key, what Restoring) (r Restored, err error) {
	r.Mail = key
	m, err := ledger.Get(ctx, s.DB.Read(), key)
	if err != nil {
		return r, err
	}
	r.MessageID, r.Sender = m.MessageID, m.Sender
	if what.Done.Has(key) {
		r.WasThere, r.Where = true, "done before, as "+what.Done.Name()+" says"
		return r, nil
	}
	buf := dir.New(flow.MaxMessage)
	defer buf.Close()
	sum := sha256.New()
	switch err := ledger.Rebuild(ctx, io.MultiWriter(buf, sum), m, s.openChecked); {
	case errors.Is(err, ledger.ErrNoOriginal) && !hasLinks(m), errors.Is(err, ledger.ErrRetired):
		r.Nothing = strings.TrimPrefix(err.Error(), "mail "+key.String()+": ")
		return r, nil
	case err != nil:
		return r, err
	}
	o := &Original{Mail: m, Body: buf, Size: buf.Size(), Sum: ledger.Hash(sum.Sum(nil))}
	if o.Size != m.Size {
		return r, fmt.Errorf("mail %s has %d bytes, but came with %d", key, o.Size, m.Size)
	}
	r.Size, r.SHA256 = o.Size, o.Sum
	if what.Signatures != nil {
		r.DKIM = what.Signatures.Check(ctx, o)
	}
	if what.Sink != nil {
		r.Where, r.WasThere, err = what.Sink.Put(ctx, o)
	}
	return r, err
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
	if r.WasThere {
		where += " (was there)"
	}
	tail := ""
	if len(dkim) > 0 {
		tail = "; DKIM " + plain(strings.Join(dkim, ", "))
	}
	fmt.Fprintf(w, "%s %s%s\n", r.Mail.String()[:12], plain(where), tail)
}
