package sftp

// Looking at files, removing them, and sweeping what uploads left behind.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"crypto/rand"

	"cloakroom/vault"
)

// Same implements vault.Destination.
func (d *Server) Same(ctx context.Context, p string, c vault.Content) (same bool, err error) {
	if err := d.checkNames("same", p); err != nil {
		return false, err
	}
	err = d.do(ctx, func(s *session) error {
		same, err = d.same(s, p, c)
		return err
	})
	return same && err == nil, err
}

func (d *Server) same(s *session, p string, c vault.Content) (bool, error) {
	at := d.at(p)
	info, err := s.files.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("%s: %w", at, fs.ErrNotExist)
	}
	if err != nil {
		return false, s.fault(err, "look at", at, inSpace)
	}
	if !info.Mode().IsRegular() || info.Size() != c.Size {
		return false, nil
	}
	f, err := s.files.Open(at)
	if err != nil {
		return false, s.fault(err, "open", at, inSpace)
	}
	defer f.Close()
	same, err := readsAs(f, c)
	return same, s.fault(err, "read", at, inSpace)
}

// Remove implements vault.Destination.
func (d *Server) Remove(ctx context.Context, p string) error {
	if err := d.checkNames("remove", p); err != nil {
		return err
	}
	at := d.at(p)
	return d.do(ctx, func(s *session) error {
		info, err := s.files.Lstat(at)
		switch {
		case err == nil && info.IsDir():
			return &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("remove %s: it is a folder", at)}
		case err == nil:
			err = s.remove(at)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", at, fs.ErrNotExist)
		}
		return s.fault(err, "remove", at, inSpace)
	})
}

// remove deletes a file, or an empty folder.
func (s *session) remove(at string) error { return s.files.Remove(at) }

// Sweep implements vault.Destination.
func (d *Server) Sweep(ctx context.Context, age time.Duration) (removed int, err error) {
	err = d.do(ctx, func(s *session) error {
		removed, err = d.sweep(ctx, s, age)
		return err
	})
	return removed, err
}

func (d *Server) sweep(ctx context.Context, s *session, age time.Duration) (removed int, err error) {
	folder := d.staged("")
	entries, err := s.files.ReadDirContext(ctx, folder)
	if errors.Is(err, fs.ErrNotExist) { // nothing was ever uploaded
		return 0, nil
	}
	if err != nil {
		return 0, s.fault(err, "list", folder, inStaging)
	}
	if len(entries) == 0 {
		return 0, nil
	}
	now, err := d.serverTime(s)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		// The server tells times in whole seconds.
		if !isOurs(entry) || now.Sub(entry.ModTime()) < age || d.inUse(entry.Name()) {
			continue
		}
		n, err := d.sweepOne(s, entry)
		removed += n
		errs = append(errs, s.fault(err, "sweep", path.Join(folder, entry.Name()), inStaging))
	}
	return removed, errors.Join(errs...)
}

// sweepOne removes a leftover, and tells whether it counts as a file.
func (d *Server) sweepOne(s *session, entry fs.FileInfo) (int, error) {
	if strings.HasPrefix(entry.Name(), notePrefix) {
		if err := d.followNote(s, entry.Name()); err != nil {
			return 0, err
		}
	}
	err := s.remove(d.staged(entry.Name()))
	if errors.Is(err, fs.ErrNotExist) { // another one sweeps too
		return 0, nil
	}
	if err != nil || entry.IsDir() {
		return 0, err
	}
	return 1, nil
}

// isOurs tells whether an entry of the staging folder has a name that we give.
func isOurs(entry fs.FileInfo) bool {
	name := entry.Name()
	if entry.IsDir() {
		return strings.HasPrefix(name, lockPrefix)
	}
	return entry.Mode().IsRegular() && (strings.HasSuffix(name, partSuffix) ||
		strings.HasPrefix(name, notePrefix) || strings.HasPrefix(name, probePrefix))
}

// serverTime is what a new file's time is.
func (d *Server) serverTime(s *session) (time.Time, error) {
	name := d.staged(probePrefix + rand.Text())
	if err := s.createEmpty(name); err != nil {
		return time.Time{}, s.fault(err, "create", name, inStaging)
	}
	defer s.discard(name)
	info, err := s.files.Stat(name)
	if err != nil {
		return time.Time{}, s.fault(err, "look at", name, inStaging)
	}
	return info.ModTime(), nil
}
