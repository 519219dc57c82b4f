package sftp

// Uploading: to a temporary name, verified, then moved.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	pkgsftp "github.com/pkg/sftp"

	"cloakroom/vault"
)

const (
	// lookFirst is from which size on, in bytes, it is worth a round trip to see
	// before the upload that the name is free.
	lookFirst = 1 << 20
	// onePacket is up to which size, in bytes, content is read by one request.
	onePacket = 32 << 10
	// partSuffix ends the names of files on their way in the staging folder.
	partSuffix = ".part"
)

// Put implements vault.Destination.
func (d *Server) Put(ctx context.Context, p string, c vault.Content, attempt string) error {
	if err := d.checkNames(attempt, p); err != nil {
		return err
	}
	return d.do(ctx, func(s *session) error {
		if c.Size >= lookFirst {
			if err := d.wantFree(s, p); err != nil {
				return err
			}
		}
		return d.place(ctx, s, p, attempt, func(f *pkgsftp.File) error { return d.fill(ctx, s, f, c) })
	})
}

// wantFree is vault.ErrTaken if something has the name.
func (d *Server) wantFree(s *session, p string) error {
	_, err := s.files.Lstat(d.at(p))
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w", p, vault.ErrTaken)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return s.fault(err, "look at", d.at(p), inSpace)
}

// place makes path a file that fill has filled and verified. It goes by the
// staging folder, or, where that is on another file system, by a hidden name
// beside the file.
func (d *Server) place(ctx context.Context, s *session, p, attempt string, fill func(*pkgsftp.File) error) error {
	if !d.isApart(p) {
		err := d.placeStaged(ctx, s, p, attempt, fill)
		if !errors.Is(err, errApart) {
			return err
		}
		if d.setApart(p) {
			d.log.Warn("this folder is on another file system than the staging folder: uploads to it, and to others like it, go by hidden files in it",
				"address", d.cfg.Address, "folder", path.Dir(p), "staging", d.cfg.Staging)
		}
	}
	return d.placeBeside(ctx, s, p, attempt, fill)
}

// placeStaged is place by the staging folder. errApart if that cannot be.
func (d *Server) placeStaged(ctx context.Context, s *session, p, attempt string, fill func(*pkgsftp.File) error) error {
	name := attempt + partSuffix
	d.begin(name)
	defer d.finish(name)
	temp := d.staged(name)
	f, err := d.createStaged(s, temp)
	if err != nil {
		return err
	}
	err = d.write(s, f, fill)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = d.move(ctx, s, temp, p)
	}
	if err != nil {
		s.discard(temp)
	}
	return err
}

// createStaged makes an empty file in the staging folder, and that if need be.
func (d *Server) createStaged(s *session, temp string) (*pkgsftp.File, error) {
	const exclusively = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := s.files.OpenFile(temp, exclusively)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.makeStaging(s); err != nil {
			return nil, err
		}
		f, err = s.files.OpenFile(temp, exclusively)
	}
	return f, s.fault(err, "create", temp, inStaging)
}

// write fills a file and closes it.
func (d *Server) write(s *session, f *pkgsftp.File, fill func(*pkgsftp.File) error) error {
	err := fill(f)
	if err == nil && d.fileMode != 0 {
		err = s.fault(f.Chmod(d.fileMode), "set the mode of", f.Name(), inStaging)
	}
	if closeErr := f.Close(); err == nil && closeErr != nil {
		err = s.fault(closeErr, "close", f.Name(), inStaging)
	}
	return err
}

// fill sends the content, has it synced, and verifies what arrived.
func (d *Server) fill(ctx context.Context, s *session, f *pkgsftp.File, c vault.Content) error {
	source, err := c.Reader(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	sent, err := f.ReadFromWithConcurrency(source, requestsPerFile)
	if source.Err() != nil {
		return source.Err()
	}
	if err != nil {
		return s.fault(err, "write", f.Name(), inStaging)
	}
	if sent != c.Size || !source.Complete() {
		return s.fault(io.ErrShortWrite, "write", f.Name(), inStaging)
	}
	return d.secure(s, f, c)
}

// secure has a written file synced, and verifies it.
func (d *Server) secure(s *session, f *pkgsftp.File, c vault.Content) error {
	if _, ok := s.files.HasExtension("fsync@openssh.com"); ok {
		if err := f.Sync(); err != nil {
			return s.fault(err, "sync", f.Name(), inStaging)
		}
	}
	same, err := d.verify(s, f, c)
	if err != nil {
		return s.fault(err, "read back", f.Name(), inStaging)
	}
	if !same {
		return &vault.Fault{Scope: vault.OneFile, Err: fmt.Errorf("%s on the server is not what was sent", f.Name()),
			Hint: "if it happens again, something on the way or on the server changes files: look for a broken disk or a virus scanner"}
	}
	return nil
}

// verify compares a file with the content, as configured.
func (d *Server) verify(s *session, f *pkgsftp.File, c vault.Content) (bool, error) {
	if d.cfg.Verify == VerifySize {
		info, err := f.Stat()
		return err == nil && info.Size() == c.Size, err
	}
	return readsAs(f, c)
}

// readsAs compares what is in a file with the content.
func readsAs(f *pkgsftp.File, c vault.Content) (bool, error) {
	if c.Size <= onePacket {
		return smallReadsAs(f, c)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	h := sha256.New()
	n, err := f.WriteTo(&limited{w: h, rest: c.Size})
	if errors.Is(err, errTooMuch) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if n == c.Size {
		return [32]byte(h.Sum(nil)) == c.SHA256, nil
	}
	// Less was read: the file is shorter, or the connection died and was taken for its end.
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() == c.Size {
		return false, io.ErrUnexpectedEOF
	}
	return false, nil
}

// smallReadsAs is readsAs in one round trip.
func smallReadsAs(f *pkgsftp.File, c vault.Content) (bool, error) {
	var info fs.FileInfo
	var statErr error
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		info, statErr = f.Stat()
	}()
	b := make([]byte, c.Size)
	n, err := f.ReadAt(b, 0)
	<-looked
	switch {
	case statErr != nil:
		return false, statErr
	case info.Size() != c.Size:
		return false, nil
	case n < len(b):
		return false, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return sha256.Sum256(b) == c.SHA256, nil
}

// limited passes writes on until there is more than expected.
type limited struct {
	w    io.Writer
	rest int64
}

var errTooMuch = errors.New("more than expected")

func (l *limited) Write(b []byte) (int, error) {
	if int64(len(b)) > l.rest {
		return 0, errTooMuch
	}
	l.rest -= int64(len(b))
	return l.w.Write(b)
}

// discard removes a temporary file if the connection still can; else Sweep does.
func (s *session) discard(temp string) {
	if _, over := s.over(); !over {
		_ = s.remove(temp)
	}
}
