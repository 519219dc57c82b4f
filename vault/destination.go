// Package vault keeps copies of attachments in spaces of users and departments
// on other servers, where they can be browsed with any client.
//
// A destination is one server, or a folder; what it promises is in the comments
// of Destination, and vaulttest holds each of them to it.
package vault

import (
	"context"
	"errors"
	"io"
	"time"
)

// Destination puts files in place on one target. Paths are relative to the
// target's base folder, with slashes, and made of names that package name gave:
// never absolute, never with "..". Every method may be called by several
// goroutines at once, and returns soon after its context has ended, whatever
// the server does.
//
// Errors, possibly wrapped: ErrTaken, fs.ErrNotExist and errors.ErrUnsupported as
// the methods say; the context's error once it has ended; fs.ErrClosed after
// Close; a *Fault for what the server or the network did. Everything else is a
// fault of the content, such as a blob that cannot be read (see ErrContent).
type Destination interface {
	// Put makes path hold the content, making the folders it lies in. The file
	// appears under its name complete, verified (count, size, and content as
	// configured) and, where the server can, on its disk: or not at all, also
	// when the connection, the server or this process dies at any moment. It
	// never replaces a file: ErrTaken if path exists. attempt is unique to the
	// call, of letters, digits and dashes; the temporary name has it.
	Put(ctx context.Context, path string, c Content, attempt string) error

	// Copy is Put from a file that is on the target already, without the content
	// crossing the network again. The result is verified as by Put, as users may
	// have changed the file: errors.ErrUnsupported where the server cannot copy
	// or what it copied is not the content (also if from is missing), and nothing
	// stays behind. Where it can copy, ErrTaken if path exists.
	Copy(ctx context.Context, from, path string, c Content, attempt string) error

	// Same tells whether path holds the content; a folder does not, nor a symbolic
	// link where the server tells that it is one. fs.ErrNotExist if there is
	// nothing under the name.
	Same(ctx context.Context, path string, c Content) (bool, error)

	// Remove deletes the file at path; fs.ErrNotExist if there is none. It is for
	// tests of a target, never for what was delivered. A folder is a Fault.
	Remove(ctx context.Context, path string) error

	// Sweep removes temporary files that are older than age, by the server's
	// clock where it has one, and tells how many.
	Sweep(ctx context.Context, age time.Duration) (int, error)

	// Close ends all connections; calls under way fail.
	Close() error
}

// Content is what a file shall hold.
type Content struct {
	SHA256 [32]byte
	Size   int64
	// Open gives the content from its beginning, each time it is called.
	Open func() (io.ReadSeekCloser, error)
	// Progress, if not nil, is told how many bytes have been sent so far: never
	// fewer than before, and Size by the time of success.
	Progress func(sent int64)
}

// ErrTaken says that there is another file (or folder) under the name.
var ErrTaken = errors.New("the name is taken")

// Scope is what a Fault concerns, and so what waits for its end.
type Scope int

// What faults concern.
const (
	// OneFile: this upload alone; it is tried again.
	OneFile Scope = iota
	// ThisPath: the server refuses the path (permission, name) whoever asks; it
	// will not help to try again until an administrator has done something.
	ThisPath
	// Target: the server is away, full or out of order for all; it is probed.
	Target
	// Access: it does not let us in (host key, certificate, credentials) or not
	// work as configured: an administrator must act; nothing is tried until then.
	Access
)

// Fault is a failure of a target, and what it means for the work that waits.
type Fault struct {
	Scope Scope
	Hint  string // what an administrator can do; "" where nothing is known
	Err   error
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }
