package backup

// The journal of a generation, and one that goes on where it ends.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// journal restores the segments, and adds those that go on. A damaged segment is
// noted, and no reason to end: the database has what was in it, and generations
// share their segments, so that no other may have a better one.
func (r *restore) journal(ctx context.Context) error {
	for _, file := range r.out.Manifest.Files {
		name, ok := strings.CutPrefix(file.Name, JournalName+"/")
		if !ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.segment(file, filepath.Join(r.o.Data, JournalName, name)); err != nil {
			return err
		}
	}
	if r.o.Journal != "" {
		if err := r.goOn(ctx); err != nil {
			return err
		}
	}
	r.out.Reaches = r.reaches()
	return nil
}

// segment restores one segment, as far as it is there.
func (r *restore) segment(want File, to string) error {
	got, err := replaceFile(r.f.Path(r.out.Manifest.Generation, filepath.FromSlash(want.Name)), to)
	var reading sourceError
	switch {
	case errors.Is(err, fs.ErrNotExist) && errors.As(err, &reading):
		r.out.Absent = append(r.out.Absent, want.Name)
	case err != nil && !errors.As(err, &reading):
		return fmt.Errorf("restore %s: %w", want.Name, err)
	case err != nil || got.Size != want.Size || got.SHA256 != want.SHA256:
		r.out.Damaged = append(r.out.Damaged, want.Name)
	}
	return nil
}

// replaceFile copies a file over one that may be there, for good.
func replaceFile(from, to string) (File, error) {
	temp := to + ".restoring"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return File{}, err
	}
	got, err := copyFile(from, temp, -1)
	if err != nil {
		os.Remove(temp)
		return got, err
	}
	return got, rename(temp, to)
}

// goOn takes the segments of a journal that survived. Where the backup has a
// segment too, it must begin with the same bytes.
func (r *restore) goOn(ctx context.Context) error {
	found, err := filepath.Glob(filepath.Join(r.o.Journal, "*.jsonl"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("there is no journal in %s: %w", r.o.Journal, errors.Join(err, fs.ErrNotExist))
	}
	for _, path := range found {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := filepath.Base(path)
		entry := JournalName + "/" + name
		if saved := r.out.Manifest.file(entry); saved != nil {
			got, err := hashFile(path, saved.Size)
			if err != nil {
				return fmt.Errorf("journal: %w", err)
			}
			if got.Size != saved.Size || got.SHA256 != saved.SHA256 {
				return fmt.Errorf("%w: %s does not begin as in the backup", ErrOtherJournal, path)
			}
			whole := !slices.Contains(r.out.Damaged, entry) && !slices.Contains(r.out.Absent, entry)
			if st, err := os.Stat(path); err == nil && st.Size() == saved.Size && whole {
				continue
			}
		}
		if _, err := replaceFile(path, filepath.Join(r.o.Data, JournalName, name)); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		is := func(one string) bool { return one == entry }
		r.out.Damaged, r.out.Absent = slices.DeleteFunc(r.out.Damaged, is), slices.DeleteFunc(r.out.Absent, is)
		r.out.Journal++
	}
	return nil
}

// reaches looks whether the journal that is there now goes as far as that of the
// newest generation, as far as that can be read.
func (r *restore) reaches() bool {
	newest, err := r.f.Manifest("")
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(newest.Files, func(file File) bool {
		name, ok := strings.CutPrefix(file.Name, JournalName+"/")
		if !ok {
			return false
		}
		st, err := os.Stat(filepath.Join(r.o.Data, JournalName, name))
		return err != nil || st.Size() < file.Size
	})
}
