package attach

// Taking our block out of sendmail.mc.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cloakroom/internal/mtasetup"
)

// Undo takes the block out of sendmail.mc and makes sendmail.cf without it. Files
// that nobody has changed since become what they were, byte for byte; of an edited
// sendmail.mc the edit stays. The error is ErrNothing where nothing was applied.
func (s *Sendmail) Undo(ctx context.Context) (*Undone, error) {
	unlock, m, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	record, err := s.record()
	if err != nil {
		return nil, err
	}
	u := &Undone{Exact: true, Restored: []mtasetup.Change{}, Left: []string{}, Backups: []string{}}
	if err := s.takeOut(ctx, m, record, u); err != nil {
		before := map[string]string{macrosFile: m.Macros}
		if m.Config != "" {
			before[madeFile] = m.Config
		}
		if failed := s.putBack(before); failed != nil {
			return nil, fmt.Errorf("%w; and it could not be put back: %w", err, failed)
		}
		return nil, fmt.Errorf("nothing was changed: %w", err)
	}
	return u, s.tidy(record, u)
}

// takeOut changes both files.
func (s *Sendmail) takeOut(ctx context.Context, m *mtasetup.SendmailMachine, record *Record, u *Undone) error {
	rest, block, found := mtasetup.CutBlock(m.Macros)
	original, exact := s.original(record.file(macrosFile), m.Macros)
	switch {
	case exact:
		rest = string(original)
	case found && s.isOriginal(record.file(macrosFile), rest):
		exact = true // a run that was cut off before sendmail.cf was made
	case found:
		u.Exact = false
		for _, c := range record.Changes {
			if c.New != block {
				u.Left = append(u.Left, "the lines between Cloakroom's marks were changed since, and are taken out all the same: the backups have what was there before")
			}
		}
	default:
		u.Exact = false
		u.Left = append(u.Left, s.file(macrosFile)+" has no block of Cloakroom's any more")
	}
	if rest != m.Macros {
		if err := replace(s.file(macrosFile), []byte(rest)); err != nil {
			return err
		}
		u.Restored = append(u.Restored, record.Changes...)
	}
	if original, ok := s.original(record.file(madeFile), m.Config); ok && exact {
		return s.putBack(map[string]string{madeFile: string(original)})
	}
	u.Exact = false
	if m.Maker == "" {
		u.Left = append(u.Left, s.file(madeFile)+" still has Cloakroom's filter: make it from sendmail.mc as you always do")
		return nil
	}
	if err := s.regenerate(ctx, m); err != nil {
		return err
	}
	u.Made = m.Maker
	return nil
}

// original is a file as it was before the first run, if nobody else has changed it.
func (s *Sendmail) original(f *RecordedFile, now string) ([]byte, bool) {
	if f == nil || f.Backup == "" {
		return nil, false
	}
	if present := digest([]byte(now)); f.After != present && (f.After != "" || f.Before != present) {
		return nil, false
	}
	content, err := os.ReadFile(s.file(f.Backup))
	return content, err == nil && digest(content) == f.Before
}

// isOriginal tells that a file would be what it was before the first run.
func (s *Sendmail) isOriginal(f *RecordedFile, text string) bool {
	return f != nil && f.Backup != "" && f.Before == digest([]byte(text))
}

// tidy removes the record, and the backups where they are of no use any more.
func (s *Sendmail) tidy(record *Record, u *Undone) error {
	for _, backup := range record.Backups {
		if !u.Exact {
			u.Backups = append(u.Backups, filepath.Join(s.Folder, backup))
			continue
		}
		if err := os.Remove(s.file(backup)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return s.keep(nil)
}
