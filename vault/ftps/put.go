package ftps

// Uploads: staging, verification, folders, the rename.

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/jlaffaye/ftp"

	"cloakroom/vault"
)

// firstPiece is how many bytes are read before the server is asked to take them.
const firstPiece = 32 << 10

// Put implements vault.Destination.
func (d *FTPS) Put(ctx context.Context, p string, c vault.Content, attempt string) error {
	if err := d.checkPath(p); err != nil {
		return err
	}
	if err := checkAttempt(attempt); err != nil {
		return err
	}
	return d.do(ctx, func(ctx context.Context, s *session) (bool, error) {
		u := &upload{
			session: s, path: p, content: c,
			full: path.Join(s.base, p), staging: path.Join(s.base, d.cfg.Staging),
		}
		u.temp = path.Join(u.staging, tempPrefix+attempt)
		err := u.run(ctx, d)
		if u.reached && !u.moved && usable(u.last) && ctx.Err() == nil {
			u.last = s.Delete(u.temp) // else Sweep does; 550 where it never came to be
		}
		return usable(u.last), err
	})
}

// upload is one call of Put.
type upload struct {
	*session
	path, full    string // below the base, and on the server
	staging, temp string // on the server
	content       vault.Content

	last    error // of the last command
	reached bool  // the temporary file may exist
	moved   bool
}

func (u *upload) run(ctx context.Context, d *FTPS) error {
	if err := u.free(); err != nil { // before the work; the look before the rename decides
		return err
	}
	if err := u.send(ctx); err != nil {
		return err
	}
	if err := u.check(d.cfg.Verify == verifyContent); err != nil {
		return err
	}
	if u.last = u.makeFolders(path.Dir(u.full)); u.last != nil {
		return onPath(fmt.Errorf("folder of %s: %w", u.path, u.last))
	}
	unlock, err := d.lock(ctx, u.full)
	if err != nil {
		return err
	}
	defer unlock()
	if err := u.free(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // the last moment to leave nothing
		return err
	}
	return u.rename()
}

// free is ErrTaken if there is something under the name.
func (u *upload) free() error {
	there, err := u.look(u.full)
	u.last = err
	if err != nil {
		return onPath(fmt.Errorf("look at %s: %w", u.path, err))
	}
	if there.kind != nothing {
		return fmt.Errorf("%s: %w", u.path, vault.ErrTaken)
	}
	return nil
}

// send makes the temporary file.
func (u *upload) send(ctx context.Context) error {
	source, err := u.content.Reader(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	// A data connection that ends before anything was sent is an error of TLS to
	// some servers (vsftpd), which end the session: so what cannot be read is
	// noticed before.
	first := make([]byte, firstPiece)
	n, err := io.ReadFull(source, first)
	if err != nil && source.Err() != nil {
		return source.Err()
	}
	if u.last = u.makeStaging(u.staging); u.last != nil {
		return onStaging(fmt.Errorf("staging folder %s: %w", u.staging, u.last))
	}
	u.reached = true
	u.last = u.Stor(u.temp, io.MultiReader(bytes.NewReader(first[:n]), source))
	if err := source.Err(); err != nil { // the server saw only a shorter file
		u.last = without(u.last, err)
		return err
	}
	if u.last != nil {
		return onStaging(fmt.Errorf("send to %s: %w", u.temp, u.last))
	}
	if !source.Complete() {
		return &vault.Fault{Scope: vault.OneFile, Err: fmt.Errorf("send to %s: it ended early", u.temp)}
	}
	return nil
}

// without leaves out of joined errors those that one cause explains.
func without(err, cause error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var rest []error
	for _, e := range joined.Unwrap() {
		if !errors.Is(e, cause) {
			rest = append(rest, e)
		}
	}
	return errors.Join(rest...)
}

// check compares what the server has with what was sent.
func (u *upload) check(content bool) error {
	size, err := u.FileSize(u.temp)
	if code := replyCode(err); code >= 500 && code != ftp.StatusFileUnavailable { // SIZE is not in RFC 959
		var there found
		there, err = u.look(u.temp)
		size = there.size
	}
	if u.last = err; err != nil {
		return onStaging(fmt.Errorf("size of %s: %w", u.temp, err))
	}
	if size != u.content.Size {
		return &vault.Fault{Scope: vault.OneFile, Err: fmt.Errorf("%s has %d bytes after %d were sent", u.temp, size, u.content.Size)}
	}
	if !content {
		return nil
	}
	same, err := u.holds(u.temp, u.content)
	if u.last = err; err != nil {
		return onStaging(fmt.Errorf("read %s back: %w", u.temp, err))
	}
	if !same {
		return &vault.Fault{Scope: vault.OneFile, Hint: "look at the server's disk, and at what stands between",
			Err: fmt.Errorf("%s does not hold what was sent", u.temp)}
	}
	return nil
}

// rename gives the file its name.
func (u *upload) rename() error {
	u.last = u.Rename(u.temp, u.full)
	if u.last == nil {
		u.moved = true
		return nil
	}
	failed := fmt.Errorf("rename to %s: %w", u.path, u.last)
	if code := replyCode(u.last); code >= 500 { // perhaps as somebody else has made one, on a server that does not replace
		if err := u.free(); errors.Is(err, vault.ErrTaken) {
			return err
		}
	}
	return onPath(failed)
}

// makeStaging makes the staging folder if it is missing.
func (s *session) makeStaging(staging string) error {
	err := s.ChangeDir(staging)
	if replyCode(err) != ftp.StatusFileUnavailable {
		return err
	}
	return s.makeFolder(staging)
}

// makeFolder makes a folder; another session may make it at the same moment.
func (s *session) makeFolder(full string) error {
	err := s.MakeDir(full)
	if err == nil || !usable(err) {
		return err
	}
	if there, lookErr := s.look(full); lookErr == nil && there.kind == folder {
		return nil
	}
	return err
}

// makeFolders makes a folder below the base, with those it lies in. Most are
// there: the search goes upwards.
func (s *session) makeFolders(full string) error {
	err := s.ChangeDir(full)
	if replyCode(err) != ftp.StatusFileUnavailable || full == s.base || !strings.HasPrefix(full, strings.TrimSuffix(s.base, "/")+"/") {
		return err
	}
	if err := s.makeFolders(path.Dir(full)); err != nil {
		return err
	}
	return s.makeFolder(full)
}

// sweep removes temporary files that are older than age. The time now is that of
// a new file in the same listing, so that neither clocks nor time zones matter.
func (s *session) sweep(staging string, age time.Duration) (int, error) {
	if err := s.ChangeDir(staging); err != nil {
		if replyCode(err) == ftp.StatusFileUnavailable && !saysDenied(err) {
			return 0, nil
		}
		return 0, err
	}
	probe := tempPrefix + "clock-" + rand.Text()
	if err := s.Stor(path.Join(staging, probe), strings.NewReader("")); err != nil {
		return 0, err
	}
	entries, err := s.List(staging)
	if err != nil {
		return 0, err
	}
	var now time.Time
	for _, e := range entries {
		if e.Name == probe {
			now = e.Time
		}
	}
	if err := s.Delete(path.Join(staging, probe)); err != nil {
		return 0, err
	}
	removed := 0
	for _, e := range entries {
		old := e.Name != probe && !now.IsZero() && !e.Time.IsZero() && e.Time.Before(now.Add(-age))
		if !old || e.Type != ftp.EntryTypeFile || !strings.HasPrefix(e.Name, tempPrefix) || strings.ContainsAny(e.Name, "/\r\n") {
			continue
		}
		if err := s.Delete(path.Join(staging, e.Name)); err != nil && replyCode(err) != ftp.StatusFileUnavailable {
			return removed, err
		} else if err == nil {
			removed++
		}
	}
	return removed, nil
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
