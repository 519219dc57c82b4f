package dir

// A file on its way: written and verified in the staging folder, then moved.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"cloakroom/vault"
)

// bufferSize is the size in bytes of reads and writes.
const bufferSize = 256 << 10

// temp is a temporary file in the staging folder.
type temp struct {
	base    *base
	staging int // the folder
	name    string
	file    *os.File
	content vault.Content
	verify  bool // read back before the move
	beat    func()
	moved   bool
}

// newTemp makes the temporary file of an attempt, and the staging folder where
// it is missing.
func (d *Dir) newTemp(b *base, attempt string, beat func()) (*temp, error) {
	staging, err := openOrMake(b.fd, d.cfg.Staging, stagingMode)
	if err != nil {
		return nil, onTarget(fmt.Errorf("staging folder %s in %s: %w", d.cfg.Staging, d.cfg.Base, err))
	}
	t := &temp{base: b, staging: staging, name: tempPrefix + attempt, beat: beat}
	fd, err := openAt(staging, t.name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		unix.Close(staging)
		err = fmt.Errorf("staging folder %s in %s: make %s: %w", d.cfg.Staging, d.cfg.Base, t.name, err)
		if errors.Is(err, unix.EEXIST) { // the attempt was not unique
			return nil, &vault.Fault{Scope: vault.OneFile, Err: err}
		}
		return nil, onTarget(err)
	}
	t.file = os.NewFile(uintptr(fd), t.name)
	return t, nil
}

// discard closes the file, and removes it unless it was moved.
func (t *temp) discard() {
	t.file.Close()
	if !t.moved {
		_ = again(func() error { return unix.Unlinkat(t.staging, t.name, 0) }) // else Sweep does
	}
	unix.Close(t.staging)
}

// write sends the content into the file.
func (t *temp) write(ctx context.Context, c vault.Content, verify bool) error {
	t.content, t.verify = c, verify
	source, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	buf := make([]byte, bufferSize)
	for {
		n, readErr := source.Read(buf)
		if _, err := t.file.Write(buf[:n]); err != nil {
			return onFile(err)
		}
		t.beat()
		if readErr == io.EOF {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
}

// copyFrom makes the file a copy of source. It is read back in any case: users
// may have changed the source, and may be changing it now.
func (t *temp) copyFrom(ctx context.Context, source *os.File, c vault.Content) error {
	t.content = c
	info, err := source.Stat()
	if err != nil {
		return onFile(err)
	}
	if info.Size() != c.Size {
		return fmt.Errorf("copy: %w: the source has %d bytes instead of %d", errors.ErrUnsupported, info.Size(), c.Size)
	}
	if err := cloneFile(ctx, t.file, source, c.Size, t.beat); err != nil {
		return err
	}
	ok, err := holds(ctx, t.file, c, t.beat)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("copy: %w: the source was changed", errors.ErrUnsupported)
	}
	if c.Progress != nil {
		c.Progress(c.Size)
	}
	return nil
}

// finish gives the file its mode, and its group where folder hands it down;
// then it is synced, and verified.
func (t *temp) finish(ctx context.Context, folder int, mode uint32) error {
	fd := int(t.file.Fd())
	st, err := fstat(folder)
	if err != nil {
		return onFile(err)
	}
	if st.Mode&unix.S_ISGID != 0 {
		_ = again(func() error { return unix.Fchown(fd, -1, int(st.Gid)) }) // where we may
	}
	if err := chmod(fd, mode); err != nil {
		return onFile(err)
	}
	t.beat()
	// A failed sync is not tried again: the kernel may have dropped the pages,
	// and a second one would report success.
	if err := again(func() error { return unix.Fsync(fd) }); err != nil {
		return onFile(fmt.Errorf("sync %s: %w", t.name, err))
	}
	t.beat()
	now, err := fstat(fd)
	if err != nil {
		return onFile(err)
	}
	if now.Size != t.content.Size {
		return &vault.Fault{Scope: vault.OneFile, Err: fmt.Errorf("%s has %d bytes after %d were written", t.name, now.Size, t.content.Size)}
	}
	if !t.verify {
		return nil
	}
	dropCache(fd)
	ok, err := holds(ctx, t.file, t.content, t.beat)
	if err == nil && !ok {
		err = &vault.Fault{Scope: vault.OneFile, Hint: "look at the disk, or the file server",
			Err: fmt.Errorf("%s does not hold what was written", t.name)}
	}
	return err
}

// holds reads a file from its beginning and compares it with a content.
func holds(ctx context.Context, f *os.File, c vault.Content, beat func()) (bool, error) {
	h := sha256.New()
	buf := make([]byte, bufferSize)
	for offset := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := f.ReadAt(buf, offset)
		h.Write(buf[:n])
		offset += int64(n)
		beat()
		if err == io.EOF || offset > c.Size {
			return offset == c.Size && [32]byte(h.Sum(nil)) == c.SHA256, nil
		}
		if err != nil {
			return false, onFile(err)
		}
	}
}
