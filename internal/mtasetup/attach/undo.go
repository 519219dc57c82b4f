package attach

// Taking back what the set-up changed, and nothing else.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cloakroom/internal/mtasetup"
)

// Undone is what an undo did.
type Undone struct {
	Exact    bool              `json:"exact"`          // the files are byte for byte what they were
	Restored []mtasetup.Change `json:"restored"`       // new: what is there now no more
	Left     []string          `json:"left"`           // what was changed since, and stays
	Backups  []string          `json:"backups"`        // that were kept
	Made     string            `json:"made,omitempty"` // the command by which sendmail.cf was made
}

// Undo takes back what Apply did. A file that nobody has changed since becomes
// what it was, byte for byte; in one that was edited, only values that are still
// ours are put back. The error is ErrNothing where nothing was applied.
func (p *Postfix) Undo(ctx context.Context) (*Undone, error) {
	if err := p.changeable(configFiles...); err != nil {
		return nil, err
	}
	unlock, err := lock(p.Folder)
	if err != nil {
		return nil, err
	}
	defer unlock()
	record, err := p.record()
	if err != nil {
		return nil, err
	}
	before, err := p.snapshot()
	if err != nil {
		return nil, err
	}
	u := &undoing{p: p, record: record, done: &Undone{Exact: true, Restored: []mtasetup.Change{}, Left: []string{}, Backups: []string{}}}
	err = u.files(ctx, before)
	if err == nil {
		err = p.Check(ctx)
	}
	if err != nil {
		if failed := p.putBack(before); failed != nil {
			return nil, fmt.Errorf("%w; and it could not be put back: %w", err, failed)
		}
		return nil, fmt.Errorf("nothing was changed: %w", err)
	}
	return u.done, u.tidy()
}

type undoing struct {
	p      *Postfix
	record *Record
	done   *Undone
	open   []mtasetup.Change // not taken back
}

// files takes the configuration files back.
func (u *undoing) files(ctx context.Context, now snapshot) error {
	var single []mtasetup.Change
	for _, name := range configFiles {
		changes := slices.DeleteFunc(slices.Clone(u.record.Changes), func(c mtasetup.Change) bool { return fileOf(c) != name })
		original, ok := u.original(name, now)
		if !ok {
			single = append(single, changes...)
			continue
		}
		if err := replace(u.p.file(name), original); err != nil {
			return err
		}
		u.done.Restored = append(u.done.Restored, changes...)
	}
	if len(single) == 0 {
		return nil
	}
	if err := u.values(ctx, single); err != nil {
		return err
	}
	after, err := u.p.snapshot()
	if err != nil {
		return err
	}
	for _, f := range u.record.Files {
		u.done.Exact = u.done.Exact && f.Backup != "" && f.Before == digest(after[f.Name])
	}
	return nil
}

// fileOf is the configuration file that a change is in; "" for a file of its own.
func fileOf(c mtasetup.Change) string {
	switch c.Kind {
	case mtasetup.Parameter:
		return "main.cf"
	case mtasetup.Override, mtasetup.Service:
		return "master.cf"
	}
	return ""
}

// original is a file as it was before the first run, if nobody else has edited
// it since the last one, or that run was cut off before it changed the file.
func (u *undoing) original(name string, now snapshot) ([]byte, bool) {
	f := u.record.file(name)
	if f == nil || f.Backup == "" {
		return nil, false
	}
	if present := digest(now[name]); f.After != present && (f.After != "" || f.Before != present) {
		return nil, false
	}
	content, err := os.ReadFile(u.p.file(f.Backup))
	return content, err == nil && digest(content) == f.Before
}

// values takes single values back.
func (u *undoing) values(ctx context.Context, changes []mtasetup.Change) error {
	m, err := u.p.Machine(ctx, mtasetup.Settings{})
	if err != nil {
		return err
	}
	// Parameters of services before services: a service of ours goes as a whole.
	for _, c := range changes {
		present, there, err := u.present(ctx, m, c)
		if err != nil {
			return err
		}
		switch {
		case !there && c.Old == nil, there && c.Old != nil && present == *c.Old:
			continue // somebody has taken it back already
		case !there || present != normal(c):
			u.leave(c, present, there)
			continue
		}
		argv, err := backward(c)
		if err != nil {
			u.done.Left = append(u.done.Left, err.Error())
			u.open = append(u.open, c)
			continue
		}
		if err := u.p.edit(ctx, argv...); err != nil {
			return err
		}
		u.done.Restored = append(u.done.Restored, c)
	}
	return nil
}

// present is what stands where we changed something.
func (u *undoing) present(ctx context.Context, m *mtasetup.Machine, c mtasetup.Change) (value string, there bool, err error) {
	if c.Kind == mtasetup.Parameter {
		return m.Main[c.Name], m.Explicit[c.Name], nil
	}
	i := slices.IndexFunc(m.Services, func(s mtasetup.MasterService) bool { return s.ID() == c.Service })
	if i < 0 {
		return "", false, nil
	}
	if c.Kind == mtasetup.Override {
		value, there = m.Services[i].Overrides[c.Name]
		return value, there, nil
	}
	line, err := u.p.config(ctx, "-M", c.Service)
	return strings.Join(strings.Fields(line), " "), true, err
}

// normal is our value as postconf gives it back.
func normal(c mtasetup.Change) string { return strings.Join(strings.Fields(c.New), " ") }

// leave tells of a value that is not ours any more.
func (u *undoing) leave(c mtasetup.Change, present string, there bool) {
	what := c.Name + " in main.cf"
	switch c.Kind {
	case mtasetup.Override:
		what = c.Name + " of " + c.Service
	case mtasetup.Service:
		what = "the service " + c.Service
	}
	if !there {
		u.done.Left = append(u.done.Left, what+" was taken out since; nothing is put in its place")
		return
	}
	u.done.Left = append(u.done.Left, fmt.Sprintf("%s was changed since the set-up and is left as it is: %s (the set-up wrote: %s)", what, present, c.New))
	u.open = append(u.open, c)
}

// backward is the postconf command that takes a change back.
func backward(c mtasetup.Change) ([]string, error) {
	switch {
	case c.Kind == mtasetup.Parameter && c.Old == nil:
		return []string{"-X", c.Name}, nil
	case c.Kind == mtasetup.Parameter:
		return []string{"-e", c.Name + "=" + *c.Old}, nil
	case c.Kind == mtasetup.Service:
		return []string{"-MX", c.Service}, nil
	case c.Old == nil:
		return []string{"-PX", c.Service + "/" + c.Name}, nil
	case strings.ContainsAny(*c.Old, " \t"):
		return nil, fmt.Errorf("%s of %s had blanks, which postconf cannot write: put back %q by hand", c.Name, c.Service, *c.Old)
	}
	return []string{"-P", c.Service + "/" + c.Name + "=" + *c.Old}, nil
}

// tidy removes what the set-up left beside the configuration.
func (u *undoing) tidy() error {
	for _, c := range u.record.Changes {
		if c.Kind != mtasetup.File {
			continue
		}
		content, err := os.ReadFile(c.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err == nil && string(content) == c.New:
			if err := os.Remove(c.Name); err != nil {
				return err
			}
			u.done.Restored = append(u.done.Restored, c)
		default:
			u.done.Left = append(u.done.Left, c.Name+" was changed since and stays")
		}
	}
	keep := *u.record
	keep.Changes, keep.Backups = u.open, nil
	for _, backup := range u.record.Backups {
		if u.done.Exact {
			if err := os.Remove(u.p.file(backup)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		keep.Backups = append(keep.Backups, backup)
		u.done.Backups = append(u.done.Backups, filepath.Join(u.p.Folder, backup))
	}
	if len(u.open) == 0 {
		return u.p.keep(nil)
	}
	for i := range keep.Files {
		keep.Files[i] = RecordedFile{Name: keep.Files[i].Name}
	}
	return u.p.keep(&keep)
}
