package blob

// Local.Walk and Local.Sweep: going through all files of the store.

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Walk implements Store, in the order of the hashes. Files that are not blobs
// are passed over.
func (s *Local) Walk(ctx context.Context, f func(Ref) error) error {
	return s.files(ctx, func(e fs.DirEntry, dir string) error {
		sha, ok := parseName(e.Name())
		if !ok || e.Name()[:2] != dir || !e.Type().IsRegular() {
			return nil
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return fmt.Errorf("blob store: %w", err)
		}
		return f(Ref{SHA256: sha, Size: st.Size()})
	})
}

// Sweep removes what Puts of killed processes left behind: temporary files
// last written before the given time. Choose one well in the past: files of
// Puts under way, in whatever process, are temporary files too.
func (s *Local) Sweep(ctx context.Context, before time.Time) (removed int, err error) {
	sweep := func(e fs.DirEntry, dir string) error {
		if !strings.HasPrefix(e.Name(), tempPrefix) || !e.Type().IsRegular() {
			return nil
		}
		st, err := e.Info()
		if err == nil && st.ModTime().Before(before) {
			if err = os.Remove(filepath.Join(s.dir, dir, e.Name())); err == nil {
				removed++
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("blob store: %w", err)
		}
		return nil
	}
	drafts, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, fmt.Errorf("blob store: %w", err)
	}
	for _, e := range drafts {
		if err := sweep(e, ""); err != nil {
			return removed, err
		}
	}
	return removed, s.files(ctx, sweep)
}

// files calls f for every entry of the 256 subdirectories.
func (s *Local) files(ctx context.Context, f func(e fs.DirEntry, dir string) error) error {
	for i := range 256 {
		dir := hex.EncodeToString([]byte{byte(i)})
		entries, err := os.ReadDir(filepath.Join(s.dir, dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("blob store: %w", err)
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(e, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseName reads the hash from a file name: 64 lower-case digits.
func parseName(name string) (sha [32]byte, ok bool) {
	if len(name) != 2*len(sha) || strings.ToLower(name) != name {
		return sha, false
	}
	_, err := hex.Decode(sha[:], []byte(name))
	return sha, err == nil
}
