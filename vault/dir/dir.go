// Package dir is a vault destination in a folder of this machine: on a local
// disk, or mounted from a file server. It needs no server of its own.
//
// Every step starts at the base folder and passes through folders only, never
// through a symbolic link: what a user plants in a space leads nowhere else.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"cloakroom/vault"
)

const (
	// tempPrefix begins the names of temporary files in the staging folder; the
	// attempt follows.
	tempPrefix = "put-"
	// stagingMode lets nobody else at what is not delivered yet.
	stagingMode = 0o700
)

// Dir is a folder as a destination.
type Dir struct {
	cfg               Config
	fileMode, dirMode uint32

	slots chan struct{} // one for each call under way
	stuck atomic.Int32  // slots whose call we gave up
	life  context.Context
	end   context.CancelFunc
}

var _ vault.Destination = (*Dir)(nil)

// New makes a destination of valid settings. The folder is looked at when it is
// used.
func New(cfg Config) (*Dir, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	fileMode, err := parseMode(cfg.FileMode, maxFileMode, ownerAccess)
	if err != nil {
		return nil, err
	}
	dirMode, err := parseMode(cfg.DirMode, maxDirMode, ownerAccess)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	return &Dir{
		cfg: cfg, fileMode: fileMode, dirMode: dirMode,
		slots: make(chan struct{}, cfg.Connections), life: life, end: end,
	}, nil
}

// Close implements vault.Destination.
func (d *Dir) Close() error {
	d.end()
	return nil
}

// Put implements vault.Destination.
func (d *Dir) Put(ctx context.Context, path string, c vault.Content, attempt string) error {
	return d.run(ctx, func(ctx context.Context, beat func()) error {
		return d.deliver(ctx, path, attempt, beat, func(t *temp) error {
			return t.write(ctx, c, d.cfg.Verify == verifyContent)
		})
	})
}

// Copy implements vault.Destination, by a reflink or copy_file_range(2); never
// by a hard link, as users edit their files.
func (d *Dir) Copy(ctx context.Context, from, path string, c vault.Content, attempt string) error {
	return d.run(ctx, func(ctx context.Context, beat func()) error {
		return d.deliver(ctx, path, attempt, beat, func(t *temp) error {
			source, err := t.base.openFile(from)
			if err != nil {
				return notCopied(err)
			}
			defer source.Close()
			return t.copyFrom(ctx, source, c)
		})
	})
}

// notCopied makes errors.ErrUnsupported of what concerns the source alone.
func notCopied(err error) error {
	var fault *vault.Fault
	if errors.As(err, &fault) && fault.Scope != vault.ThisPath {
		return err
	}
	return fmt.Errorf("copy: %w: %w", errors.ErrUnsupported, err)
}

// deliver makes a temporary file, has it filled, and gives it its name.
func (d *Dir) deliver(ctx context.Context, path, attempt string, beat func(), fill func(*temp) error) error {
	if err := d.checkPath(path); err != nil {
		return err
	}
	if err := checkAttempt(attempt); err != nil {
		return err
	}
	base, err := d.openBase()
	if err != nil {
		return err
	}
	defer base.close()
	// A look before the work; the move decides.
	if _, err := base.stat(path); err == nil {
		return fmt.Errorf("%s: %w", path, vault.ErrTaken)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t, err := d.newTemp(base, attempt, beat)
	if err != nil {
		return err
	}
	defer t.discard()
	if err := fill(t); err != nil {
		return err
	}
	folders, name, err := base.makeFolders(path, d.dirMode)
	if err != nil {
		return err
	}
	defer closeAll(folders)
	if err := t.finish(ctx, folders[len(folders)-1], d.fileMode); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // the last moment to leave nothing
		return err
	}
	if err := t.move(folders[len(folders)-1], name, path, d.cfg.Move == moveChecked); err != nil {
		return err
	}
	// Also folders that were there: another call may have made them a moment ago.
	for i := len(folders) - 1; i >= 0; i-- {
		beat()
		if err := syncFolder(folders[i]); err != nil {
			return onTarget(fmt.Errorf("sync the folder of %s: %w", path, err))
		}
	}
	return nil
}

// Same implements vault.Destination.
func (d *Dir) Same(ctx context.Context, path string, c vault.Content) (bool, error) {
	same := false
	err := d.run(ctx, func(ctx context.Context, beat func()) error {
		if err := d.checkPath(path); err != nil {
			return err
		}
		base, err := d.openBase()
		if err != nil {
			return err
		}
		defer base.close()
		st, err := base.stat(path)
		if err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != c.Size {
			return nil
		}
		f, err := base.openFile(path)
		if err != nil {
			return err
		}
		defer f.Close()
		same, err = holds(ctx, f, c, beat)
		return err
	})
	return same && err == nil, err
}

// Remove implements vault.Destination.
func (d *Dir) Remove(ctx context.Context, path string) error {
	return d.run(ctx, func(context.Context, func()) error {
		if err := d.checkPath(path); err != nil {
			return err
		}
		base, err := d.openBase()
		if err != nil {
			return err
		}
		defer base.close()
		folder, name, err := base.parent(path)
		if err != nil {
			return err
		}
		defer unix.Close(folder)
		st, err := statAt(folder, name)
		if err != nil {
			return onPath(path, err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%s is a folder", path)}
		}
		return onPath(path, again(func() error { return unix.Unlinkat(folder, name, 0) }))
	})
}

// Sweep implements vault.Destination.
func (d *Dir) Sweep(ctx context.Context, age time.Duration) (int, error) {
	removed := 0
	err := d.run(ctx, func(ctx context.Context, beat func()) error {
		base, err := d.openBase()
		if err != nil {
			return err
		}
		defer base.close()
		removed, err = d.sweep(ctx, base, age, beat)
		return err
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// checkPath refuses what is not a path below the base, or is one that we keep
// for ourselves.
func (d *Dir) checkPath(path string) error {
	if !fs.ValidPath(path) || path == "." || strings.ContainsAny(path, "\x00\r\n") {
		return &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%q is not a path below the base", path)}
	}
	if first, _, _ := strings.Cut(path, "/"); first == d.cfg.Staging {
		return &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%q is in the staging folder", path)}
	}
	return nil
}

// checkAttempt keeps the attempt from being anything but a part of a name.
func checkAttempt(attempt string) error {
	for _, r := range attempt {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("attempt %q is not of letters, digits and dashes", attempt)
		}
	}
	if attempt == "" || len(tempPrefix+attempt) > maxName {
		return fmt.Errorf("attempt %q is empty or too long", attempt)
	}
	return nil
}
