package sftp

// Giving a file its name without ever replacing another.

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	pkgsftp "github.com/pkg/sftp"

	"cloakroom/vault"
)

// SSH_FXP_RENAME must fail if the new name exists (draft-ietf-secsh-filexfer-02
// section 6.5). OpenSSH sees to it by link and unlink, but only looks before it
// renames where the file system has no hard links; other servers replace what
// is there. So each connection finds out what its server does, in our folder.
type moveMethod int

const (
	// moveByRename: renaming is exclusive.
	moveByRename moveMethod = iota
	// moveByLink: it is not, but a hard link is; the old name is removed after.
	moveByLink
	// moveByLock: neither. All of us who use the server take turns for one name
	// and look before they rename; a user's file of the same instant would lose.
	moveByLock
)

// moves is what is known about moving on one connection.
type moves struct {
	once   sync.Once
	method moveMethod
	err    error
}

// errApart says that the staging folder and the file's are on different file systems.
var errApart = errors.New("the folders are on different file systems")

const (
	lockPrefix  = "lock-"
	probePrefix = "probe-"

	// lockPatience bounds the wait for a name that another one is taking, which
	// is a few round trips for each of those who want it.
	lockPatience = 10 * time.Second
	// lockPause is how long to wait before asking again.
	lockPause = 50 * time.Millisecond
)

// move gives the temporary file its name, making folders. ErrTaken if it exists.
func (d *Server) move(ctx context.Context, s *session, temp, p string) error {
	method, err := d.moveMethod(s)
	if err != nil {
		return err
	}
	err = d.moveBy(ctx, s, method, temp, p)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.makeFolders(s, path.Dir(p)); err != nil {
			return err
		}
		err = d.moveBy(ctx, s, method, temp, p)
	}
	if err == nil {
		return nil
	}
	return d.whyNotMoved(s, err, temp, p)
}

func (d *Server) moveBy(ctx context.Context, s *session, method moveMethod, temp, p string) error {
	switch method {
	case moveByRename:
		return s.files.Rename(temp, d.at(p))
	case moveByLink:
		if err := s.files.Link(temp, d.at(p)); err != nil {
			return err
		}
		s.discard(temp)
		return nil
	}
	return d.moveLocked(ctx, s, temp, p)
}

// moveLocked holds a folder as a lock of the name.
func (d *Server) moveLocked(ctx context.Context, s *session, temp, p string) error {
	sum := sha256.Sum256([]byte(p))
	lock := d.staged(lockPrefix + hex.EncodeToString(sum[:16]))
	if err := d.lock(ctx, s, lock, p); err != nil {
		return err
	}
	defer func() { _ = s.files.RemoveDirectory(lock) }()
	if err := d.wantFree(s, p); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.files.Rename(temp, d.at(p))
}

// lock makes the folder, or waits for who has made it: a moment, unless that one died.
func (d *Server) lock(ctx context.Context, s *session, lock, p string) error {
	for began := time.Now(); ; {
		err := s.files.Mkdir(lock)
		if err == nil {
			return nil
		}
		var status *pkgsftp.StatusError
		if !errors.As(err, &status) || status.Code != statusFailure && status.Code != statusExists {
			return s.fault(err, "lock", lock, inStaging)
		}
		if err := d.wantFree(s, p); err != nil {
			return err
		}
		if time.Since(began) > lockPatience {
			return &vault.Fault{Scope: vault.OneFile, Err: fmt.Errorf("lock %s for %s: %w", lock, p, err),
				Hint: "another upload may have died while it took this name: the next sweep removes its lock"}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// whyNotMoved looks behind the error of a move.
func (d *Server) whyNotMoved(s *session, err error, temp, p string) error {
	at := d.at(p)
	var known *vault.Fault
	var status *pkgsftp.StatusError
	if errors.As(err, &known) || errors.Is(err, vault.ErrTaken) || !errors.As(err, &status) {
		return s.fault(err, "move to", at, inSpace)
	}
	if _, statErr := s.files.Lstat(at); statErr == nil {
		return fmt.Errorf("%s: %w", p, vault.ErrTaken)
	}
	if path.Dir(temp) == path.Dir(at) {
		return s.badName(err, at)
	}
	apart, probeErr := d.probeApart(s, p)
	switch {
	case probeErr != nil:
		return probeErr
	case apart:
		return errApart
	}
	return s.badName(err, at)
}

// probeApart moves an empty file to the folder of p, which tells whether it is
// the folder that a move failed for, or the name.
func (d *Server) probeApart(s *session, p string) (apart bool, err error) {
	if info, err := s.files.Stat(d.at(path.Dir(p))); err != nil || !info.IsDir() { // the folder's own name
		return false, s.stillThere()
	}
	name := probePrefix + rand.Text()
	hidden := path.Join(path.Dir(p), besidePrefix+name)
	note := notePrefix + name
	d.begin(note)
	defer d.finish(note)
	if err := d.writeNote(s, note, hidden); err != nil {
		return false, err
	}
	defer s.discard(d.staged(note))
	if err := s.createEmpty(d.staged(name)); err != nil {
		return false, s.fault(err, "create", d.staged(name), inStaging)
	}
	if s.files.Rename(d.staged(name), d.at(hidden)) != nil {
		s.discard(d.staged(name))
		return true, s.stillThere()
	}
	s.discard(d.at(hidden))
	return false, nil
}

// badName is the fault of a name that the server does not take.
func (s *session) badName(err error, at string) error {
	fault := s.fault(err, "move to", at, inSpace)
	var known *vault.Fault
	if errors.As(fault, &known) && known.Scope == vault.OneFile {
		known.Scope, known.Hint = vault.ThisPath, "the server does not take this name: it may be too long, or have characters that its file system has not"
	}
	return fault
}

// moveMethod finds out how files are moved, once for each connection.
func (d *Server) moveMethod(s *session) (moveMethod, error) {
	s.moves.once.Do(func() {
		s.moves.method, s.moves.err = d.probeMoves(s)
		if s.moves.err == nil && s.moves.method == moveByLock {
			d.log.Warn("this server can replace files when it renames, and has no hard links: uploads take turns",
				"address", d.cfg.Address)
		}
	})
	return s.moves.method, s.moves.err
}

// probeMoves tries what the server does, on files of no importance.
func (d *Server) probeMoves(s *session) (moveMethod, error) {
	base := d.staged(probePrefix + rand.Text())
	one, two, three := base+"-1", base+"-2", base+"-3"
	for _, name := range []string{one, two} {
		defer s.discard(name)
		if err := s.createEmpty(name); err != nil {
			return 0, s.fault(err, "create", name, inStaging)
		}
	}
	if _, ok := s.files.HasExtension("hardlink@openssh.com"); !ok || s.files.Link(one, three) != nil {
		return moveByLock, s.stillThere()
	}
	defer s.discard(three)
	if s.files.Link(one, two) == nil { // no server should
		return moveByLock, nil
	}
	if s.files.Rename(one, two) == nil {
		return moveByLink, nil
	}
	return moveByRename, s.stillThere()
}

// stillThere fails if the session has ended: what was refused before may be due
// to that.
func (s *session) stillThere() error {
	if _, err := s.files.Getwd(); err != nil {
		return s.fault(err, "find out how files are moved", "", inStaging)
	}
	return nil
}

func (s *session) createEmpty(name string) error {
	f, err := s.files.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	return f.Close()
}

// makeFolders makes a folder of the target and those above it, but not the base.
func (d *Server) makeFolders(s *session, p string) error {
	if p == "." {
		if _, err := s.files.Stat(d.cfg.Base); !errors.Is(err, fs.ErrNotExist) {
			return s.fault(err, "look at", d.cfg.Base, inStaging)
		}
		return accessFault(fmt.Errorf("folder %s: %w", d.cfg.Base, fs.ErrNotExist), "the base folder must exist: make it, or look at base")
	}
	folder := d.at(p)
	err := s.files.Mkdir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.makeFolders(s, path.Dir(p)); err != nil {
			return err
		}
		err = s.files.Mkdir(folder)
	}
	if err == nil {
		if d.dirMode != 0 {
			return s.fault(s.files.Chmod(folder, d.dirMode), "set the mode of", folder, inSpace)
		}
		return nil
	}
	info, statErr := s.files.Stat(folder)
	switch {
	case statErr == nil && info.IsDir(): // somebody was faster
		return nil
	case statErr == nil:
		return &vault.Fault{Scope: vault.ThisPath, Err: fmt.Errorf("%s is not a folder", folder), Hint: "move the file of this name away"}
	}
	return s.fault(err, "make the folder", folder, inSpace)
}
