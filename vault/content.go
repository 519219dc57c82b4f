package vault

// Reading content on its way to a destination.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ErrContent says that what Content.Open gave is not what SHA256 and Size say.
var ErrContent = errors.New("the content is not what was announced")

// Reader opens the content to be sent once. The caller closes it.
func (c Content) Reader(ctx context.Context) (*ContentReader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	source, err := c.Open()
	if err != nil {
		return nil, fmt.Errorf("open the content: %w", err)
	}
	return &ContentReader{ctx: ctx, content: c, source: source, hash: sha256.New()}, nil
}

// ContentReader reads a Content, and compares it with what was announced: it
// gives io.EOF only after exactly that. It fails once its context has ended. It
// tells Progress of what it gave in earlier reads, as the caller has sent that by
// the time it comes for more.
type ContentReader struct {
	ctx     context.Context
	content Content
	source  io.ReadSeekCloser
	hash    hash.Hash
	given   int64
	err     error // the first error, io.EOF included; every later Read returns it
}

// Read implements io.Reader. Errors are the context's, the source's or ErrContent.
func (r *ContentReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.err = r.ctx.Err(); r.err != nil {
		return 0, r.err
	}
	if r.given > 0 {
		r.progress()
	}
	n, err := r.source.Read(p)
	r.hash.Write(p[:n])
	r.given += int64(n)
	switch {
	case r.given > r.content.Size:
		n, r.err = 0, fmt.Errorf("%w: more than %d bytes", ErrContent, r.content.Size)
	case err == io.EOF:
		r.err = r.end()
	case err != nil:
		r.err = fmt.Errorf("read the content: %w", err)
	}
	return n, r.err
}

// end is what to say at the end of the source.
func (r *ContentReader) end() error {
	if r.given != r.content.Size {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrContent, r.given, r.content.Size)
	}
	if [32]byte(r.hash.Sum(nil)) != r.content.SHA256 {
		return fmt.Errorf("%w: another SHA-256", ErrContent)
	}
	r.progress()
	return io.EOF
}

func (r *ContentReader) progress() {
	if r.content.Progress != nil {
		r.content.Progress(r.given)
	}
}

// Complete tells whether everything was read and is what was announced. A
// destination asks before it gives a file its name: not every way of sending
// reports what its source said.
func (r *ContentReader) Complete() bool { return r.err == io.EOF }

// Err is the error that ended reading, if it was not the end of the content: the
// cause, where a way of sending only says that it failed.
func (r *ContentReader) Err() error {
	if r.err == io.EOF {
		return nil
	}
	return r.err
}

// Close implements io.Closer.
func (r *ContentReader) Close() error { return r.source.Close() }
