// Package ftps is a vault destination on an FTP server with TLS (RFC 959, 4217,
// 3659).
//
// A file is sent to a staging folder, verified, and renamed. FTP has no rename
// that replaces nothing: that the name is free is looked up right before, under
// a lock of this process. A file that somebody else makes between the two is
// lost on servers that replace.
package ftps

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/jlaffaye/ftp"

	"cloakroom/vault"
)

// tempPrefix begins the names of temporary files in the staging folder; the
// attempt follows.
const tempPrefix = "put-"

// FTPS is an FTP server as a destination.
type FTPS struct {
	cfg     Config
	address string // host:port

	slots chan struct{} // one for each call under way
	life  context.Context
	end   context.CancelFunc

	mu     sync.Mutex
	idle   []idle
	locked map[string]chan struct{} // by path; closed when it is free again
}

var _ vault.Destination = (*FTPS)(nil)

// New makes a destination of valid settings. The server is connected to when it
// is used. There should be one for a server and account: they do not know of
// each other's uploads.
func New(cfg Config) (*FTPS, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	address, err := cfg.hostPort()
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	return &FTPS{
		cfg: cfg, address: address, slots: make(chan struct{}, cfg.Connections), life: life, end: end,
		locked: map[string]chan struct{}{},
	}, nil
}

// Copy implements vault.Destination. FTP cannot copy.
func (d *FTPS) Copy(context.Context, string, string, vault.Content, string) error {
	return fmt.Errorf("FTP server %s: copy: %w", d.address, errors.ErrUnsupported)
}

// Same implements vault.Destination. Whether a file is a symbolic link, servers
// do not tell; it is what it points to.
func (d *FTPS) Same(ctx context.Context, p string, c vault.Content) (bool, error) {
	if err := d.checkPath(p); err != nil {
		return false, err
	}
	same := false
	err := d.do(ctx, func(ctx context.Context, s *session) (bool, error) {
		full := path.Join(s.base, p)
		found, err := s.look(full)
		if err != nil || found.kind == nothing {
			return usable(err), notThere(p, onPath(err))
		}
		if found.kind == folder || found.size != c.Size {
			return true, nil
		}
		same, err = s.holds(full, c)
		return usable(err), onPath(err)
	})
	return same && err == nil, err
}

// notThere is the error of a file that does not exist, unless there is another.
func notThere(p string, err error) error {
	if err == nil {
		err = fmt.Errorf("%s: %w", p, fs.ErrNotExist)
	}
	return err
}

// Remove implements vault.Destination.
func (d *FTPS) Remove(ctx context.Context, p string) error {
	if err := d.checkPath(p); err != nil {
		return err
	}
	return d.do(ctx, func(ctx context.Context, s *session) (bool, error) {
		full := path.Join(s.base, p)
		found, err := s.look(full)
		switch {
		case err != nil || found.kind == nothing:
			return usable(err), notThere(p, onPath(err))
		case found.kind == folder:
			return true, &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%s is a folder", p)}
		}
		err = s.Delete(full)
		return usable(err), onPath(err)
	})
}

// Sweep implements vault.Destination.
func (d *FTPS) Sweep(ctx context.Context, age time.Duration) (int, error) {
	removed := 0
	err := d.do(ctx, func(ctx context.Context, s *session) (bool, error) {
		n, err := s.sweep(path.Join(s.base, d.cfg.Staging), age)
		removed = n
		return usable(err), onStaging(err)
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// kind is what there is under a name.
type kind int

const (
	nothing kind = iota
	file
	folder
)

type found struct {
	kind kind
	size int64
}

// look tells what is under a name: by MLST (RFC 3659), and by SIZE and CWD where
// the server does not know it. The error is the server's or the network's.
func (s *session) look(full string) (found, error) {
	entry, err := s.GetEntry(full)
	switch code := replyCode(err); {
	case err == nil && entry.Type == ftp.EntryTypeFolder:
		return found{kind: folder}, nil
	case err == nil:
		return found{kind: file, size: int64(entry.Size)}, nil
	case (code == ftp.StatusFileUnavailable || code == ftp.StatusFileActionIgnored) && saysDenied(err):
		return found{}, err
	case code == ftp.StatusFileUnavailable || code == ftp.StatusFileActionIgnored:
		return found{}, nil
	case code == ftp.StatusNotAvailable || code > 0 && code < 500 || code == 0 && broken(err):
		return found{}, err
	}
	size, err := s.FileSize(full)
	if err == nil {
		return found{kind: file, size: size}, nil
	}
	if code := replyCode(err); code != ftp.StatusFileUnavailable {
		return found{}, err
	}
	err = s.ChangeDir(full) // paths are absolute: it does not matter where we are
	if err == nil {
		return found{kind: folder}, nil
	}
	if code := replyCode(err); code != ftp.StatusFileUnavailable {
		return found{}, err
	}
	return found{}, nil
}

// holds reads a file back and compares it with a content.
func (s *session) holds(full string, c vault.Content) (bool, error) {
	r, err := s.Retr(full)
	if err != nil {
		return false, err
	}
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return false, err
	}
	return n == c.Size && [32]byte(h.Sum(nil)) == c.SHA256, nil
}

// checkPath refuses what is not a path below the base, is one that we keep for
// ourselves, or cannot be said on a line.
func (d *FTPS) checkPath(p string) error {
	if !fs.ValidPath(p) || p == "." || strings.ContainsAny(p, "\x00\r\n") {
		return &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%q is not a path below the base", p)}
	}
	if first, _, _ := strings.Cut(p, "/"); strings.EqualFold(first, d.cfg.Staging) {
		return &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%q is in the staging folder", p)}
	}
	return nil
}

// foldPath is the same for paths that a server which ignores case may confuse.
func foldPath(p string) string { return strings.ToLower(p) }
