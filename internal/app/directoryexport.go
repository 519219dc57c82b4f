package app

// `directory export`: address books and maps.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"cloakroom/policy/directory"
	"cloakroom/policy/directory/book"
	"cloakroom/policy/forward"
)

// Export says what `directory export` writes.
type Export struct {
	Format string // of ExportFormats
	Select Select
	book.Options
	// Out is the file to write; "" is standard output.
	Out string
	// Force writes a file without a single user too.
	Force bool
	// Progress is called every progressStep users; it may be nil.
	Progress func(users int)
}

// progressStep is after how many users progress is told: a second or so.
const progressStep = 100_000

// googleImport is how many contacts Google Contacts imports at a time.
const googleImport = 3000

// ErrNoUsers is returned where a file would have nobody in it: more likely a
// mistake in the directory than what is wanted.
var ErrNoUsers = errors.New("no user was found for it; --force writes it all the same")

// Exported is what an export did.
type Exported struct {
	Users   int // selected
	Notices []book.Notice
	More    int // further notices
	Hint    string
}

// ExportFormats lists the formats, address books first.
func ExportFormats() []string {
	var out []string
	for _, f := range book.Formats() {
		out = append(out, string(f))
	}
	for _, f := range forward.MapFormats() {
		out = append(out, string(f))
	}
	return out
}

// Export writes the users of a selection to a file, or to stdout.
func (d *Directory) Export(ctx context.Context, stdout io.Writer, e Export) (Exported, error) {
	var done Exported
	write := func(w io.Writer) (err error) {
		if slices.Contains(forward.MapFormats(), forward.MapFormat(e.Format)) {
			done, err = d.exportMap(ctx, w, e)
		} else {
			done, err = d.exportBook(ctx, w, e)
		}
		return err
	}
	if e.Out == "" {
		return done, write(stdout)
	}
	err := writeWhole(e.Out, func(w io.Writer) error {
		if err := write(w); err != nil {
			return err
		}
		if done.Users == 0 && !e.Force && needsUsers(e.Format) {
			return ErrNoUsers
		}
		return nil
	}, nil)
	return done, err
}

// needsUsers tells the formats in which no user at all is a mistake. The maps
// of rewritten senders come from the configuration alone.
func needsUsers(format string) bool {
	return format != string(forward.PostfixSRS) && format != string(forward.PostfixRelay)
}

func (d *Directory) exportBook(ctx context.Context, out io.Writer, e Export) (Exported, error) {
	if e.Format == string(book.LDIF) && e.Base == "" {
		if len(d.domains) == 0 {
			return Exported{}, errors.New("--base: is required: the DN below which the users stand, such as ou=people,dc=example,dc=com")
		}
		e.Base = "ou=people,dc=" + strings.ReplaceAll(d.domains[0], ".", ",dc=")
	}
	w, err := book.NewWriter(out, book.Format(e.Format), e.Options)
	if err != nil {
		return Exported{}, err
	}
	n := 0
	err = d.each(ctx, e.Select, func(u *directory.User) error {
		n++
		e.progress(n)
		return w.Write(u)
	})
	if err := errors.Join(err, w.Close()); err != nil {
		return Exported{Users: n}, err
	}
	done := Exported{Users: n, Notices: w.Notices, More: w.More}
	if e.Format == string(book.GoogleCSV) && w.Users > googleImport {
		done.Hint = fmt.Sprintf("Google Contacts imports %d contacts at a time: split the file, keeping its first line", googleImport)
	}
	return done, nil
}

// exportMap writes a map. Users come through a pull of each, so that a failed
// reading ends in an error and not in a map without them.
func (d *Directory) exportMap(ctx context.Context, out io.Writer, e Export) (Exported, error) {
	if d.routes.Len() == 0 {
		return Exported{}, ErrNoRoutes
	}
	var failed error
	n := 0
	users := func(yield func(forward.User) bool) {
		err := d.each(ctx, e.Select, func(u *directory.User) error {
			n++
			e.progress(n)
			if !yield(forward.User{Address: u.Address, Aliases: u.Aliases, Groups: u.Groups}) {
				return errStopped
			}
			return nil
		})
		switch {
		case errors.Is(err, ErrNoDirectory) || errors.Is(err, errStopped): // routes may list their members themselves
		case err != nil:
			failed = err
		}
	}
	lines, err := d.routes.Maps(forward.MapFormat(e.Format), users)
	if err != nil {
		return Exported{}, err
	}
	entries := 0
	for line := range lines {
		if !strings.HasPrefix(line, "#") {
			entries++
		}
		if _, err := io.WriteString(out, line+"\n"); err != nil {
			return Exported{}, err
		}
	}
	done := Exported{Users: entries}
	if entries == 0 {
		done.Hint = "the map is empty: no user belongs to a route of coexistence"
	}
	return done, failed
}

// errStopped ends a reading that nobody listens to any more.
var errStopped = errors.New("stopped")

func (e *Export) progress(n int) {
	if e.Progress != nil && n%progressStep == 0 {
		e.Progress(n)
	}
}
