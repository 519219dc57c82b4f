package sftp

// Hidden temporary names beside the file, where its folder is on another file
// system than the staging folder. A note in the staging folder tells Sweep where.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	pkgsftp "github.com/pkg/sftp"

	"cloakroom/vault"
)

const (
	// besidePrefix begins hidden names in the spaces.
	besidePrefix = ".cloakroom-"
	// notePrefix begins the names of notes.
	notePrefix = "note-"
	// maxNote bounds a note that is read, in bytes: Linux's PATH_MAX.
	maxNote = 4096
	// maxApart is how many folders are remembered to be on another file system;
	// one that was forgotten costs an upload to the staging folder.
	maxApart = 10_000
)

func (d *Server) isApart(p string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.apart[path.Dir(p)]
	return ok
}

// setApart remembers the folder of p, and tells whether it is the first.
func (d *Server) setApart(p string) (first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first = len(d.apart) == 0
	if len(d.apart) >= maxApart {
		clear(d.apart)
	}
	d.apart[path.Dir(p)] = struct{}{}
	return first
}

// placeBeside is place by a hidden name. What moves there is a lock's, as that
// file system may not have what the staging folder's has.
func (d *Server) placeBeside(ctx context.Context, s *session, p, attempt string, fill func(*pkgsftp.File) error) error {
	hidden := path.Join(path.Dir(p), besidePrefix+attempt+partSuffix)
	note := notePrefix + attempt
	d.begin(note)
	defer d.finish(note)
	if err := d.writeNote(s, note, hidden); err != nil {
		return err
	}
	defer s.discard(d.staged(note)) // last: without it nobody knows of the hidden file
	temp := d.at(hidden)
	f, err := d.createBeside(s, hidden)
	if err != nil {
		return err
	}
	err = d.write(s, f, fill)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		if err = d.moveBy(ctx, s, moveByLock, temp, p); err != nil {
			err = d.whyNotMoved(s, err, temp, p)
		}
	}
	if err != nil {
		s.discard(temp)
	}
	return err
}

func (d *Server) createBeside(s *session, hidden string) (*pkgsftp.File, error) {
	const exclusively = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := s.files.OpenFile(d.at(hidden), exclusively)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.makeFolders(s, path.Dir(hidden)); err != nil {
			return nil, err
		}
		f, err = s.files.OpenFile(d.at(hidden), exclusively)
	}
	return f, s.fault(err, "create", d.at(hidden), inSpace)
}

// writeNote writes down where a hidden file is about to be.
func (d *Server) writeNote(s *session, note, hidden string) error {
	f, err := d.createStaged(s, d.staged(note))
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(hidden))
	return s.fault(errors.Join(err, f.Close()), "write", d.staged(note), inStaging)
}

// followNote removes the hidden file that a note tells of. The note says only
// what we may have written.
func (d *Server) followNote(s *session, note string) error {
	f, err := s.files.Open(d.staged(note))
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNote))
	if err != nil {
		return err
	}
	hidden := string(text)
	if hidden == "" { // its writer died before it made the file
		return nil
	}
	if !fs.ValidPath(hidden) || !strings.HasPrefix(path.Base(hidden), besidePrefix) {
		return &vault.Fault{Scope: vault.OneFile, Err: fmt.Errorf("%s was not written by us: it names %q", d.staged(note), hidden),
			Hint: "nobody else should write in the staging folder"}
	}
	if err := s.remove(d.at(hidden)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
