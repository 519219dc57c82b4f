package attach

// Applying a plan, all of it or nothing.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/mtasetup"
)

// Done is what a run changed.
type Done struct {
	Changes []mtasetup.Change `json:"changes"`
	Backups []string          `json:"backups"`
	Kept    []string          `json:"kept"`           // what was left as it is, and why
	Made    string            `json:"made,omitempty"` // the command by which sendmail.cf was made
}

// planner makes the plan for what a machine is.
type planner func(*mtasetup.Machine) *mtasetup.Plan

// Apply reads the machine, plans and carries the plan out. A plan without
// changes changes nothing. After an error the configuration is what it was.
func (p *Postfix) Apply(ctx context.Context, set mtasetup.Settings, plan planner, now time.Time) (*mtasetup.Plan, *Done, error) {
	if err := p.changeable(configFiles...); err != nil {
		return nil, nil, err
	}
	unlock, err := lock(p.Folder)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	before, err := p.snapshot()
	if err != nil {
		return nil, nil, err
	}
	m, err := p.Machine(ctx, set)
	if err != nil {
		return nil, nil, err
	}
	made := plan(m)
	if problems := made.Problems(); len(problems) > 0 {
		return made, nil, fmt.Errorf("nothing was changed: %s", strings.Join(problems, "; "))
	}
	if len(made.Changes) == 0 {
		return made, &Done{}, nil
	}
	if err := p.Check(ctx); err != nil {
		return made, nil, fmt.Errorf("nothing was changed, as Postfix's configuration has mistakes already: %w", err)
	}
	r := &applying{p: p, plan: made, before: before, done: &Done{Changes: made.Changes, Backups: []string{}, Kept: []string{}}}
	if err := r.prepare(now); err != nil {
		return made, nil, r.restore(err)
	}
	if err := r.carryOut(ctx, set, plan); err != nil {
		return made, nil, r.restore(err)
	}
	return made, r.done, nil
}

// applying is one run of Apply.
type applying struct {
	p       *Postfix
	plan    *mtasetup.Plan
	before  snapshot
	earlier *Record // nil: the first run
	record  *Record
	done    *Done
	created []string // files to remove if it fails
}

// prepare makes the backups and the record, before anything is changed.
func (r *applying) prepare(now time.Time) error {
	earlier, err := r.p.record()
	if err != nil && !errors.Is(err, ErrNothing) {
		return err
	}
	r.earlier = earlier
	r.record = &Record{Version: recordVersion, Applied: now.UTC()}
	if earlier != nil {
		r.record.Milters, r.record.Changes, r.record.Backups = slices.Clone(earlier.Milters), slices.Clone(earlier.Changes), slices.Clone(earlier.Backups)
	}
	r.record.Milters = append(slices.DeleteFunc(r.record.Milters, func(a string) bool { return a == r.plan.Milter }), r.plan.Milter)
	for _, name := range configFiles {
		backup := name + ".cloakroom-" + stamp(now)
		if err := copyOf(r.p.file(name), r.p.file(backup), r.before[name]); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		r.created = append(r.created, r.p.file(backup))
		r.done.Backups = append(r.done.Backups, r.p.file(backup))
		r.record.Backups = append(r.record.Backups, backup)
		f := RecordedFile{Name: name, Backup: backup, Before: digest(r.before[name])}
		if earlier != nil {
			f = continued(earlier.file(name), f)
		}
		r.record.Files = append(r.record.Files, f)
	}
	r.record.merge(r.plan.Changes)
	return r.p.keep(r.record)
}

// continued goes back to the first backup, as long as nobody else has edited the
// file since our last run, or that run was cut off before it changed the file.
func continued(earlier *RecordedFile, f RecordedFile) RecordedFile {
	untouched := earlier != nil && earlier.After == "" && earlier.Before == f.Before
	if earlier == nil || earlier.After != f.Before && !untouched {
		return RecordedFile{Name: f.Name}
	}
	return RecordedFile{Name: f.Name, Backup: earlier.Backup, Before: earlier.Before}
}

// carryOut changes the configuration and looks whether it took effect.
func (r *applying) carryOut(ctx context.Context, set mtasetup.Settings, plan planner) error {
	now, err := r.p.snapshot()
	if err != nil {
		return err
	}
	for _, name := range configFiles {
		if digest(now[name]) != digest(r.before[name]) {
			return fmt.Errorf("%s: %w", r.p.file(name), ErrMoved)
		}
	}
	for _, c := range r.plan.Changes {
		if c.Kind == mtasetup.File {
			if err := r.create(c); err != nil {
				return err
			}
		}
	}
	for _, argv := range r.plan.Commands() {
		if err := r.p.edit(ctx, argv...); err != nil {
			return err
		}
	}
	if err := r.p.Check(ctx); err != nil {
		return err
	}
	m, err := r.p.Machine(ctx, set)
	if err != nil {
		return err
	}
	if left := plan(m).Changes; len(left) > 0 {
		return fmt.Errorf("%s %s%s did not take effect", left[0].Kind, left[0].Service, left[0].Name)
	}
	after, err := r.p.snapshot()
	if err != nil {
		return err
	}
	for i := range r.record.Files {
		r.record.Files[i].After = digest(after[r.record.Files[i].Name])
	}
	return r.p.keep(r.record)
}

// create writes a new file; one that is there is somebody's and stays.
func (r *applying) create(c mtasetup.Change) error {
	f, err := os.OpenFile(c.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		r.done.Kept = append(r.done.Kept, c.Name+" is there already and stays as it is")
		r.record.Changes = slices.DeleteFunc(r.record.Changes, func(x mtasetup.Change) bool { return sameThing(x, c) && x.Old == nil && !recorded(r.earlier, c) })
		r.done.Changes = slices.DeleteFunc(slices.Clone(r.done.Changes), func(x mtasetup.Change) bool { return sameThing(x, c) })
		return nil
	}
	if err != nil {
		return err
	}
	r.created = append(r.created, c.Name)
	info, err := os.Stat(r.p.file("main.cf"))
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if err := fill(f, info, []byte(c.New)); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(c.Name))
}

// recorded tells whether an earlier run made a change.
func recorded(r *Record, c mtasetup.Change) bool {
	return r != nil && slices.ContainsFunc(r.Changes, func(x mtasetup.Change) bool { return sameThing(x, c) })
}

// restore puts everything back after a failure.
func (r *applying) restore(cause error) error {
	var failed []error
	if !errors.Is(cause, ErrMoved) { // another's edit is not ours to undo
		failed = append(failed, r.p.putBack(r.before))
	}
	for _, name := range r.created {
		failed = append(failed, os.Remove(name))
	}
	if r.record != nil {
		failed = append(failed, r.p.keep(r.earlier))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%w; and it could not all be put back: %w; the configuration before was %s", cause, err, strings.Join(r.done.Backups, ", "))
	}
	return fmt.Errorf("everything was put back as it was: %w", cause)
}

// putBack writes the files of a snapshot that differ.
func (p *Postfix) putBack(s snapshot) error {
	var failed []error
	for _, name := range configFiles {
		now, err := os.ReadFile(p.file(name))
		if err == nil && digest(now) != digest(s[name]) {
			err = replace(p.file(name), s[name])
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}
