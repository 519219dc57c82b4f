package app

// `directory diff` and `directory import`: the other side's list against ours.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"cloakroom/policy"
	"cloakroom/policy/directory"
	"cloakroom/policy/directory/book"
)

// BadFileError is returned for a file of the other side that cannot be used.
type BadFileError struct {
	Path string
	Err  error
}

func (e *BadFileError) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *BadFileError) Unwrap() error { return e.Err }

// readBook reads a file of the other side.
func readBook(path string) (*book.Book, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &BadFileError{path, errors.Unwrap(err)}
	}
	defer f.Close()
	b, err := book.Read(f)
	if err != nil {
		return nil, &BadFileError{path, err}
	}
	return b, nil
}

// walk gives all users; what fails is in failed afterwards.
func (d *Directory) walk(ctx context.Context, failed *error) iter.Seq[*directory.User] {
	return func(yield func(*directory.User) bool) {
		*failed = d.users.All(ctx, yield)
	}
}

func (d *Directory) isOurAddress(address string) bool { return d.isOurs(policy.Domain(address)) }

// Diff compares the directory with a file of the other side.
func (d *Directory) Diff(ctx context.Context, path string) (*book.Report, error) {
	theirs, err := readBook(path)
	if err != nil {
		return nil, err
	}
	var failed error
	report := book.Diff(d.walk(ctx, &failed), theirs, book.View{Away: d.away, Home: d.routes.Home, Ours: d.isOurAddress})
	if failed != nil {
		return nil, failed
	}
	return report, nil
}

// printedFindings is how many findings of a kind are written for people.
const printedFindings = 50

// PrintDiff writes a comparison, the worst first; with all nothing is cut short.
func PrintDiff(w io.Writer, r *book.Report, all bool) error {
	var b strings.Builder
	for _, line := range r.Passed {
		fmt.Fprintf(&b, "passed over: %s\n", plain(line))
	}
	for _, kind := range book.Differences() {
		n := 0
		for _, f := range r.Findings {
			if f.Kind != kind {
				continue
			}
			if n++; !all && n > printedFindings {
				continue
			}
			fmt.Fprintf(&b, "%s: %s: %s\n", kind, plain(f.Address), plain(f.Text))
		}
		if !all && n > printedFindings {
			fmt.Fprintf(&b, "%s: and %d more; --all or --json shows them\n", kind, n-printedFindings)
		}
	}
	fmt.Fprintf(&b, "%d users here, %d there, %d the same, %d differences\n", r.Here, r.There, r.Same, len(r.Findings))
	if r.Foreign > 0 {
		fmt.Fprintf(&b, "%d users have no address in our domains, and were not compared\n", r.Foreign)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Import says what `directory import` does.
type Import struct {
	Path  string // the other side's file
	Group string // to put its people into
	Into  string // the users file to write; "" writes nothing
	Force bool   // replace Into if it is there
}

// ErrExists is returned for a users file that would have to be replaced.
var ErrExists = errors.New("is there already")

// ErrGroupOfContacts is returned for contacts that are to become members.
var ErrGroupOfContacts = errors.New("this is an export of Google Contacts: it does not tell who has an account there, so that nobody can be put into a group by it; export the users in the admin console")

// Import takes the other side's users in. base names where the users come from
// who are kept.
func (d *Directory) Import(ctx context.Context, in Import, log *slog.Logger) (merged *book.Merged, base string, err error) {
	theirs, err := readBook(in.Path)
	if err != nil {
		return nil, "", err
	}
	if theirs.Kind == book.Contacts && in.Group != "" {
		return nil, "", &BadFileError{in.Path, ErrGroupOfContacts}
	}
	var failed error
	users, base, err := d.base(ctx, in, &failed, log)
	if err != nil {
		return nil, "", err
	}
	merged = book.Merge(users, theirs, book.Intake{Group: in.Group, Home: d.routes.Home, Ours: d.isOurAddress})
	if failed != nil && !errors.Is(failed, ErrNoDirectory) {
		return nil, "", failed
	}
	for _, line := range theirs.Passed {
		merged.Changes = append(merged.Changes, book.Change{Action: book.Skipped, Text: line})
	}
	if in.Into == "" {
		return merged, base, nil
	}
	return merged, base, writeUsers(in, merged, log)
}

// base gives the users who are kept: those of the file to write, if it is there
// already, else the directory's.
func (d *Directory) base(ctx context.Context, in Import, failed *error, log *slog.Logger) (iter.Seq[*directory.User], string, error) {
	if in.Into != "" {
		_, err := os.Stat(in.Into)
		switch {
		case err == nil && !in.Force:
			return nil, "", fmt.Errorf("%s %w; --force adds the new users to those in it (comments in it are lost), without --into you see what would change", in.Into, ErrExists)
		case err == nil:
			file, err := directory.OpenFile(in.Into, "", log)
			if err != nil {
				return nil, "", err
			}
			return file.All, in.Into, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, "", err
		}
	}
	return d.walk(ctx, failed), "the directory", nil
}

// writeUsers writes a users file that directory.file can read, which is tried
// before it is put in place.
func writeUsers(in Import, merged *book.Merged, log *slog.Logger) error {
	format := book.YAML
	switch strings.ToLower(filepath.Ext(in.Into)) {
	case ".yaml", ".yml":
	case ".csv":
		format = book.CSV
	default:
		return fmt.Errorf("--into: the name of %s tells neither YAML (.yaml, .yml) nor CSV (.csv)", in.Into)
	}
	return writeWhole(in.Into, func(out io.Writer) error {
		w, err := book.NewWriter(out, format, book.Options{})
		if err != nil {
			return err
		}
		for _, u := range merged.Users {
			if err := w.Write(u); err != nil {
				return err
			}
		}
		if len(w.Notices) > 0 {
			return fmt.Errorf("%s (%d such problems); write a .yaml file instead", w.Notices[0], len(w.Notices)+w.More)
		}
		return w.Close()
	}, func(name string) error {
		file, err := directory.OpenFile(name, "", log)
		if err != nil {
			return fmt.Errorf("the new file could not be read again: %w", err)
		}
		if file.Len() != len(merged.Users) {
			return fmt.Errorf("the new file has %d users, not %d", file.Len(), len(merged.Users))
		}
		return nil
	})
}

// PrintMerged writes what an import does, or would do.
func PrintMerged(w io.Writer, m *book.Merged) error {
	var b strings.Builder
	for _, c := range m.Changes {
		who := plain(c.Address)
		if who != "" {
			who += ": "
		}
		fmt.Fprintf(&b, "%s: %s%s\n", c.Action, who, plain(c.Text))
	}
	fmt.Fprintf(&b, "%d new, %d changed, %d the same, %d not taken\n", m.Count(book.Added), m.Count(book.Changed), m.Same,
		m.Count(book.Skipped)+m.Count(book.Conflict))
	_, err := io.WriteString(w, b.String())
	return err
}
