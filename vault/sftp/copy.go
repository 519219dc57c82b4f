package sftp

// Copies of a file that is on the server already, made by the server.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	pkgsftp "github.com/pkg/sftp"

	"cloakroom/vault"
)

// Copy implements vault.Destination. The content of the copy is always read
// back, whatever Verify says: a user may have changed what it was made from.
func (d *Server) Copy(ctx context.Context, from, p string, c vault.Content, attempt string) error {
	if err := d.checkNames(attempt, from, p); err != nil {
		return err
	}
	if !d.cfg.ServerSideCopy && !d.cfg.HardLinksUsersCannotWrite {
		return fmt.Errorf("copy on the server: not configured: %w", errors.ErrUnsupported)
	}
	return d.do(ctx, func(s *session) error {
		if err := d.wantSource(s, from, c); err != nil {
			return err
		}
		if d.cfg.HardLinksUsersCannotWrite {
			if err := d.link(s, from, p, c); !errors.Is(err, errors.ErrUnsupported) {
				return err
			}
		}
		if _, ok := s.files.HasExtension(copyDataExtension); !ok || !d.cfg.ServerSideCopy {
			return fmt.Errorf("the server cannot copy files: %w", errors.ErrUnsupported)
		}
		if err := d.wantFree(s, p); err != nil {
			return err
		}
		return d.place(ctx, s, p, attempt, func(f *pkgsftp.File) error { return d.fillFrom(ctx, s, from, f, c) })
	})
}

// wantSource is errors.ErrUnsupported if from can obviously not be copied.
func (d *Server) wantSource(s *session, from string, c vault.Content) error {
	info, err := s.files.Lstat(d.at(from))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("copy %s: %w (%w)", d.at(from), errors.ErrUnsupported, hide(err))
	case err != nil:
		return s.fault(err, "look at", d.at(from), inSpace)
	case !info.Mode().IsRegular() || info.Size() != c.Size:
		return changed(d.at(from))
	}
	return nil
}

// changed says that a file is not the content any more.
func changed(at string) error {
	return fmt.Errorf("copy %s: somebody has changed it: %w", at, errors.ErrUnsupported)
}

// hide keeps the text of an error and drops what it is.
func hide(err error) error { return errors.New(err.Error()) }

// fillFrom has the server copy from into f, and verifies it.
func (d *Server) fillFrom(ctx context.Context, s *session, from string, f *pkgsftp.File, c vault.Content) error {
	err := s.copyData(ctx, d.at(from), f.Name(), c)
	var status *pkgsftp.StatusError
	switch {
	case errors.Is(err, errSourceEnded):
		return changed(d.at(from))
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &status) && status.Code == statusUnsupported,
		errors.Is(err, errRefused), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("copy %s: %w (%w)", d.at(from), errors.ErrUnsupported, hide(err))
	case err != nil:
		return s.fault(err, "copy to", f.Name(), inStaging)
	}
	if _, ok := s.files.HasExtension("fsync@openssh.com"); ok {
		if err := f.Sync(); err != nil {
			return s.fault(err, "sync", f.Name(), inStaging)
		}
	}
	same, err := readsAs(f, c)
	if err == nil && !same {
		return changed(d.at(from))
	}
	return s.fault(err, "read back", f.Name(), inStaging)
}

// link gives a file a second name. errors.ErrUnsupported where it cannot be.
func (d *Server) link(s *session, from, p string, c vault.Content) error {
	const unsupported = "link %s: the server cannot: %w"
	if _, ok := s.files.HasExtension("hardlink@openssh.com"); !ok {
		return fmt.Errorf(unsupported, d.at(p), errors.ErrUnsupported)
	}
	same, err := d.same(s, from, c)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !same:
		return changed(d.at(from))
	case err != nil:
		return err
	}
	err = s.files.Link(d.at(from), d.at(p))
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.makeFolders(s, path.Dir(p)); err != nil {
			return err
		}
		err = s.files.Link(d.at(from), d.at(p))
	}
	var status *pkgsftp.StatusError
	if !errors.As(err, &status) {
		return s.fault(err, "link", d.at(p), inSpace)
	}
	if err := d.wantFree(s, p); err != nil {
		return err
	}
	return fmt.Errorf(unsupported, d.at(p), errors.ErrUnsupported) // another file system, or one without links
}
