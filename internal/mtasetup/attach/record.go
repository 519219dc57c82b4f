package attach

// The record beside the configuration: what was changed, what was there before, and where
// the backups are.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cloakroom/internal/mtasetup"
)

// recordFile is the record's name in the configuration folder.
const recordFile = "cloakroom-setup.json"

// recordVersion is the format of the record.
const recordVersion = 1

// Record is what an undo needs.
type Record struct {
	Version int               `json:"version"`
	Applied time.Time         `json:"applied"`
	Milters []string          `json:"milters"` // our addresses, the present one last
	Files   []RecordedFile    `json:"files"`
	Changes []mtasetup.Change `json:"changes"` // old: the value before the first run
	Backups []string          `json:"backups"` // all that were made, oldest first
}

// RecordedFile is a configuration file before and after.
type RecordedFile struct {
	Name   string `json:"name"`
	Backup string `json:"backup,omitempty"` // the file before the first run; "" when it was edited between runs
	Before string `json:"before,omitempty"` // SHA-256 of the backup
	After  string `json:"after,omitempty"`  // SHA-256 of the file after the last run; "" while one is at work
}

func (r *Record) file(name string) *RecordedFile {
	i := slices.IndexFunc(r.Files, func(f RecordedFile) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Files[i]
}

// home is a folder of configuration that the set-up changes.
type home struct {
	Folder string // absolute
	like   string // the file whose owner and mode new ones get
}

func (p *home) file(name string) string { return filepath.Join(p.Folder, name) }

// record reads the record; the error is ErrNothing where there is none.
func (p *home) record() (*Record, error) {
	text, err := os.ReadFile(p.file(recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNothing
	}
	if err != nil {
		return nil, fmt.Errorf("record of the set-up: %w", err)
	}
	r := &Record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("record of the set-up %s: %w", p.file(recordFile), err)
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("record of the set-up %s: version %d is not known, this program writes %d", p.file(recordFile), r.Version, recordVersion)
	}
	return r, nil
}

// keep writes the record; nil removes it.
func (p *home) keep(r *Record) error {
	name := p.file(recordFile)
	if r == nil {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("record of the set-up: %w", err)
		}
		return syncFolder(p.Folder)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		text = append(text, '\n')
		if _, missing := os.Stat(name); missing != nil {
			err = copyOf(p.file(p.like), name, text)
		} else {
			err = replace(name, text)
		}
	}
	if err == nil {
		err = syncFolder(p.Folder)
	}
	if err != nil {
		return fmt.Errorf("record of the set-up: %w", err)
	}
	return nil
}

// sameThing tells whether two changes are of one parameter or service.
func sameThing(a, b mtasetup.Change) bool {
	return a.Kind == b.Kind && a.Service == b.Service && a.Name == b.Name
}

// merge adds a run's changes to a record: the old value stays that of before the
// first run.
func (r *Record) merge(changes []mtasetup.Change) {
	for _, c := range changes {
		i := slices.IndexFunc(r.Changes, func(x mtasetup.Change) bool { return sameThing(x, c) })
		if i < 0 {
			r.Changes = append(r.Changes, c)
			continue
		}
		r.Changes[i].New, r.Changes[i].Reason = c.New, c.Reason
	}
}

// Stamp is the time in the names of backups, in UTC.
func stamp(now time.Time) string { return now.UTC().Format("20060102T150405Z") }
