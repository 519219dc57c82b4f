// Package blob keeps content by its hash: each content once, durable before
// anyone is told that it is there, and never changed.
//
// It knows nothing of names, links or mail. A blob is made by Put and ends by
// Delete; whether something still refers to it is the caller's business.
package blob

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

var (
	// ErrNotExist is returned for a hash that is not in the store.
	ErrNotExist = errors.New("blob does not exist")
	// ErrMismatch is returned by Put when the content is not what its Ref
	// says; nothing is kept.
	ErrMismatch = errors.New("content does not match its reference")
)

// Ref names a content.
type Ref struct {
	SHA256 [32]byte
	Size   int64 // bytes
}

// String is the hash in hexadecimal and the size, for logs.
func (r Ref) String() string {
	return fmt.Sprintf("%s (%d bytes)", hex.EncodeToString(r.SHA256[:]), r.Size)
}

// Store is a content-addressed store. Its methods may be called at the same
// time, for the same blob too. Package blobtest says what each must hold to.
type Store interface {
	// Put makes the blob durable: when it returns without error, the content
	// survives a power failure. existed says that it was there before; content
	// is then not called. Otherwise content writes the bytes, once and in
	// order; an error of content, bytes that do not match ref (ErrMismatch) or
	// the end of ctx leave nothing behind. A full disk is syscall.ENOSPC.
	// Put does not keep a Delete of the same blob away: who shares blobs with
	// a garbage collector looks again after its own commit, and puts again.
	Put(ctx context.Context, ref Ref, content func(io.Writer) error) (existed bool, err error)
	// Open opens a blob for reading, or returns ErrNotExist. An open File can
	// be read to its end even if the blob is deleted meanwhile.
	Open(ctx context.Context, sha [32]byte) (File, error)
	// Stat returns the blob's reference, or ErrNotExist.
	Stat(ctx context.Context, sha [32]byte) (Ref, error)
	// Delete removes a blob; one that is not there is no error.
	Delete(ctx context.Context, sha [32]byte) error
	// Walk calls f for every blob, in no particular order, until f returns an
	// error, which Walk then returns. f may delete the blob it was given.
	// Blobs put or deleted meanwhile may be seen or not.
	Walk(ctx context.Context, f func(Ref) error) error
}

// File is an open blob.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
	Size() int64 // bytes
}
