package vaulttest

// Contents: in memory, generated, watched and broken.

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"

	"cloakroom/vault"
)

// Bytes makes a reproducible content of n bytes that does not compress.
func Bytes(n int, seed uint64) []byte {
	b := make([]byte, n)
	generator(seed).Read(b)
	return b
}

func generator(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

// Content is a content in memory.
func Content(b []byte) vault.Content {
	return vault.Content{
		SHA256: sha256.Sum256(b),
		Size:   int64(len(b)),
		Open:   func() (io.ReadSeekCloser, error) { return nopCloser{bytes.NewReader(b)}, nil },
	}
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }

// Watched is Content with a function that is called before every read, with how
// many bytes were read by then. Reads are of at most piece bytes. What the
// function returns, if not nil, is the error of the read.
func Watched(b []byte, piece int, watch func(read int64) error) vault.Content {
	c := Content(b)
	c.Open = func() (io.ReadSeekCloser, error) {
		return &watched{Reader: bytes.NewReader(b), piece: piece, watch: watch}, nil
	}
	return c
}

type watched struct {
	*bytes.Reader
	piece int
	watch func(read int64) error
}

func (w *watched) Read(p []byte) (int, error) {
	if err := w.watch(w.Size() - int64(w.Len())); err != nil {
		return 0, err
	}
	return w.Reader.Read(p[:min(len(p), w.piece)])
}

// WriteTo would let io.Copy go around Read.
func (w *watched) WriteTo(to io.Writer) (int64, error) {
	return io.Copy(to, struct{ io.Reader }{w})
}

func (w *watched) Close() error { return nil }

// Generated is a content of size bytes that is nowhere in memory; each is called
// before every read, with how many bytes were read by then.
func Generated(size int64, seed uint64, each func(read int64)) vault.Content {
	h := sha256.New()
	io.CopyN(h, generator(seed), size)
	return vault.Content{
		SHA256: [32]byte(h.Sum(nil)),
		Size:   size,
		Open: func() (io.ReadSeekCloser, error) {
			return &generated{source: generator(seed), size: size, each: each}, nil
		},
	}
}

type generated struct {
	source     *rand.ChaCha8
	read, size int64
	each       func(read int64)
}

func (g *generated) Read(p []byte) (int, error) {
	if g.read == g.size {
		return 0, io.EOF
	}
	g.each(g.read)
	n, err := g.source.Read(p[:min(int64(len(p)), g.size-g.read)])
	g.read += int64(n)
	return n, err
}

// Seek is not needed: what is opened is at its beginning.
func (g *generated) Seek(offset int64, whence int) (int64, error) {
	if offset == 0 && whence == io.SeekCurrent {
		return g.read, nil
	}
	return 0, errors.New("seeking in a generated content")
}

func (g *generated) Close() error { return nil }
