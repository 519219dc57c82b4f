// Package sftp keeps files on an SFTP server, such as OpenSSH's.
//
// A file is written below a staging folder, synced, read back, and then moved
// to its name in a way that never replaces another file. Nothing that the
// client library reports as success is believed without a count or a look: it
// has taken dead connections for the end of a file.
package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"cloakroom/vault"
)

// cleanupGrace is how long an operation whose context has ended may take to
// clean up before its caller is told.
const cleanupGrace = time.Second

// Server is one SFTP server with its base folder; a vault.Destination.
type Server struct {
	cfg      Config
	log      *slog.Logger
	pool     *pool
	fileMode fs.FileMode
	dirMode  fs.FileMode

	mu     sync.Mutex
	active map[string]struct{} // names of temporary files in use
	apart  map[string]struct{} // folders on another file system than staging
}

var _ vault.Destination = (*Server)(nil)

// New makes a Server. It connects when there is something to do.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	fileMode, err := parseMode(cfg.FileMode)
	if err != nil {
		return nil, fmt.Errorf("file_mode: %w", err)
	}
	dirMode, err := parseMode(cfg.DirMode)
	if err != nil {
		return nil, fmt.Errorf("dir_mode: %w", err)
	}
	return &Server{cfg: cfg, log: log, pool: newPool(cfg, log), fileMode: fileMode, dirMode: dirMode,
		active: map[string]struct{}{}, apart: map[string]struct{}{}}, nil
}

// Close implements vault.Destination.
func (d *Server) Close() error {
	d.pool.close()
	return nil
}

// do runs f with a session. When ctx ends it returns soon, and f on its own: what
// is stuck is freed by the watchdog.
func (d *Server) do(ctx context.Context, f func(*session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, release, err := d.pool.get(ctx)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer release()
		done <- f(s)
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(cleanupGrace):
			return ctx.Err()
		}
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

// at is where a path of the target is on the server.
func (d *Server) at(p string) string { return path.Join(d.cfg.Base, p) }

// staged is where a file of that name in the staging folder is on the server.
func (d *Server) staged(name string) string { return path.Join(d.cfg.Base, d.cfg.Staging, name) }

func parentOf(p string) string { return path.Dir(p) }

// maxAttempt bounds the name of an attempt, in bytes: it is part of file names,
// of which Linux allows 255.
const maxAttempt = 200

// attemptPattern is what names an attempt.
var attemptPattern = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9-]{1,%d}$`, maxAttempt))

// checkNames tells what cannot be meant, or is ours.
func (d *Server) checkNames(attempt string, paths ...string) error {
	for _, p := range paths {
		if !fs.ValidPath(p) || p == "." || strings.ContainsFunc(p, unicode.IsControl) {
			return &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%q is not a path below the base folder", p)}
		}
		if p == d.cfg.Staging || strings.HasPrefix(p, d.cfg.Staging+"/") {
			return &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%q is in the staging folder", p)}
		}
	}
	if !attemptPattern.MatchString(attempt) {
		return fmt.Errorf("attempt %q is not of up to %d letters, digits and dashes", attempt, maxAttempt)
	}
	return nil
}

// begin and finish say that a temporary file is in use, so that Sweep lets it be.
func (d *Server) begin(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active[name] = struct{}{}
}

func (d *Server) finish(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.active, name)
}

func (d *Server) inUse(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.active[name]
	return ok
}

// makeStaging makes the staging folder, for us alone: it holds what belongs to
// anybody.
func (d *Server) makeStaging(s *session) error {
	folder := d.staged("")
	if err := s.makeFolder(folder); err != nil {
		return s.fault(err, "make the staging folder", folder, inStaging)
	}
	if err := s.files.Chmod(folder, 0o700); err != nil {
		return s.fault(err, "protect the staging folder", folder, inStaging)
	}
	return nil
}

// makeFolder is mkdir, where a folder that exists is as good.
func (s *session) makeFolder(folder string) error {
	err := s.files.Mkdir(folder)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	if info, statErr := s.files.Stat(folder); statErr == nil && info.IsDir() {
		return nil
	}
	return err
}
