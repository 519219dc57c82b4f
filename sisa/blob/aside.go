package blob

// Taking blobs out of the store in two steps, so that the first can be undone.

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Where files rest that are no blobs any more.
const (
	asideDir   = "removing" // until it is certain that nothing refers to them
	damagedDir = "damaged"  // for good, for an administrator to look at
)

// SetAside takes a blob out of the store. It is kept under another name until
// TakeBack or Drop. A blob that is not there is no error.
func (s *Local) SetAside(ctx context.Context, sha [32]byte) error {
	return s.moveOut(ctx, sha, asideDir)
}

// Quarantine takes a blob out of the store whose content is not what its name
// says, and keeps it under <dir>/damaged. Nobody removes it from there.
func (s *Local) Quarantine(ctx context.Context, sha [32]byte) error {
	return s.moveOut(ctx, sha, damagedDir)
}

func (s *Local) moveOut(ctx context.Context, sha [32]byte, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, path := s.path(sha)
	if err := os.MkdirAll(filepath.Join(s.dir, to), 0o700); err != nil {
		return fmt.Errorf("blob store: %w", err)
	}
	if err := os.Rename(path, s.beside(to, sha)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob store: %w", err)
	}
	return nil
}

// beside is the name of a file that is no blob any more.
func (s *Local) beside(dir string, sha [32]byte) string {
	return filepath.Join(s.dir, dir, hex.EncodeToString(sha[:]))
}

// TakeBack undoes SetAside, where the blob was not put again meanwhile.
func (s *Local) TakeBack(ctx context.Context, sha [32]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, path := s.path(sha)
	// A link, not a rename: what was put meanwhile stays.
	err := os.Link(s.beside(asideDir, sha), path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("blob store: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("blob store: sync directory: %w", err)
	}
	return s.Drop(ctx, sha)
}

// Drop ends a blob that was set aside.
func (s *Local) Drop(ctx context.Context, sha [32]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(s.beside(asideDir, sha)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob store: %w", err)
	}
	return nil
}

// Aside lists what was set aside and neither taken back nor dropped.
func (s *Local) Aside(ctx context.Context) ([][32]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, asideDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("blob store: %w", err)
	}
	var out [][32]byte
	for _, e := range entries {
		if sha, ok := parseName(e.Name()); ok && e.Type().IsRegular() {
			out = append(out, sha)
		}
	}
	return out, nil
}
