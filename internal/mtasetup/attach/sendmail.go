package attach

// Sendmail: a block of sendmail.mc, and sendmail.cf made from it as the
// administrator makes it.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/mtasetup"
)

// SendmailFolder is where Sendmail's configuration is everywhere.
const SendmailFolder = "/etc/mail"

// The files of Sendmail.
const (
	macrosFile = "sendmail.mc"
	madeFile   = "sendmail.cf"
)

// Sendmail is a folder with sendmail.mc and what is made from it.
type Sendmail struct {
	home
	m4, make string // programs; "" where they are missing
}

// OpenSendmail looks for sendmail.mc; folder is "" for /etc/mail.
func OpenSendmail(folder string) (*Sendmail, error) {
	if folder == "" {
		folder = SendmailFolder
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, fmt.Errorf("folder of Sendmail's configuration: %w", err)
	}
	s := &Sendmail{home: home{Folder: folder, like: macrosFile}}
	if _, err := os.Stat(s.file(macrosFile)); err != nil {
		return nil, fmt.Errorf("configuration of Sendmail: %w (where Sendmail is configured without sendmail.mc, add the lines to sendmail.cf as docs/mta.md has them)", err)
	}
	s.m4, _ = exec.LookPath("m4")
	s.make, _ = exec.LookPath("make")
	return s, nil
}

// Machine reads what the plan has to know.
func (s *Sendmail) Machine(ctx context.Context) (*mtasetup.SendmailMachine, error) {
	m := &mtasetup.SendmailMachine{Folder: s.Folder, Tables: map[string]bool{}}
	for name, text := range map[string]*string{macrosFile: &m.Macros, madeFile: &m.Config} {
		content, err := os.ReadFile(s.file(name))
		if err != nil && !(name == madeFile && errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("read Sendmail's configuration: %w", err)
		}
		*text = string(content)
	}
	for _, name := range []string{"virtusertable", "mailertable", "access"} {
		if _, err := os.Stat(s.file(name)); err == nil {
			m.Tables[name] = true
		}
	}
	switch {
	case s.byMake():
		m.Maker = mtasetup.Shell([]string{"make", "-C", s.Folder})
	case s.byM4(ctx, m):
		m.Maker = "m4 " + s.file(macrosFile) + " > " + s.file(madeFile)
	}
	return m, nil
}

// byMake tells that the folder has a Makefile, as on Debian, Red Hat and the BSDs.
func (s *Sendmail) byMake() bool {
	if s.make == "" {
		return false
	}
	_, err := os.Stat(s.file("Makefile"))
	return err == nil
}

// byM4 tells that sendmail.cf is what m4 makes of sendmail.mc: then it may be made
// again, and nobody's edits are lost.
func (s *Sendmail) byM4(ctx context.Context, m *mtasetup.SendmailMachine) bool {
	if s.m4 == "" {
		return false
	}
	made, err := s.expand(ctx)
	return err == nil && (m.Config == "" || substance(made) == substance(m.Config))
}

// substance leaves out comments, which have the place and time of making.
func substance(config string) string {
	var b strings.Builder
	for line := range strings.Lines(config) {
		if !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// expand runs m4 on sendmail.mc. What m4 complains about is an error.
func (s *Sendmail) expand(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, s.m4, macrosFile)
	cmd.Dir = s.Folder
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil || complaint.Len() > 0 {
		return "", fmt.Errorf("m4 %s: %v: %s", s.file(macrosFile), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// regenerate makes sendmail.cf in the way that Machine found.
func (s *Sendmail) regenerate(ctx context.Context, m *mtasetup.SendmailMachine) error {
	if s.byMake() {
		_, err := run(ctx, s.make, "-C", s.Folder)
		return err
	}
	made, err := s.expand(ctx)
	if err != nil {
		return err
	}
	if m.Config == "" {
		return copyOf(s.file(macrosFile), s.file(madeFile), []byte(made))
	}
	return replace(s.file(madeFile), []byte(made))
}

// sendmailPlanner makes the plan for what a machine is.
type sendmailPlanner func(*mtasetup.SendmailMachine) *mtasetup.Plan

// Apply writes the block into sendmail.mc and makes sendmail.cf anew where it is
// known how. After an error the files are what they were.
func (s *Sendmail) Apply(ctx context.Context, plan sendmailPlanner, now time.Time) (*mtasetup.Plan, *Done, error) {
	unlock, m, err := s.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	made := plan(m)
	if problems := made.Problems(); len(problems) > 0 {
		return made, nil, fmt.Errorf("nothing was changed: %s", strings.Join(problems, "; "))
	}
	remake := m.Maker != "" && slices.ContainsFunc(made.Steps, func(x mtasetup.Step) bool { return x.Command == m.Maker })
	done := &Done{Changes: made.Changes, Backups: []string{}, Kept: []string{}}
	if len(made.Changes) == 0 && !remake {
		return made, done, nil
	}
	a := &sendmailChange{s: s, before: m, done: done}
	if err := a.carryOut(ctx, plan, made, remake, now); err != nil {
		return made, nil, a.restore(err)
	}
	if remake {
		done.Made = m.Maker
		made.Steps = slices.DeleteFunc(made.Steps, func(x mtasetup.Step) bool { return x.Command == m.Maker })
	}
	return made, done, nil
}

// begin locks the folder and reads it.
func (s *Sendmail) begin(ctx context.Context) (unlock func(), m *mtasetup.SendmailMachine, err error) {
	files := []string{macrosFile}
	if _, err := os.Stat(s.file(madeFile)); err == nil {
		files = append(files, madeFile)
	}
	if err := s.changeable(files...); err != nil {
		return nil, nil, err
	}
	if unlock, err = lock(s.Folder); err != nil {
		return nil, nil, err
	}
	if m, err = s.Machine(ctx); err != nil {
		unlock()
		return nil, nil, err
	}
	return unlock, m, nil
}

// sendmailChange is one run that changes something.
type sendmailChange struct {
	s       *Sendmail
	before  *mtasetup.SendmailMachine
	earlier *Record
	record  *Record
	done    *Done
	created []string
}

// files are what a run may change, with their contents before.
func (a *sendmailChange) files() map[string]string {
	f := map[string]string{macrosFile: a.before.Macros}
	if a.before.Config != "" {
		f[madeFile] = a.before.Config
	}
	return f
}

func (a *sendmailChange) carryOut(ctx context.Context, plan sendmailPlanner, made *mtasetup.Plan, remake bool, now time.Time) error {
	if err := a.prepare(made, now); err != nil {
		return err
	}
	for _, c := range made.Changes {
		rest, _, _ := mtasetup.CutBlock(a.before.Macros)
		if err := replace(c.Name, []byte(mtasetup.PutBlock(rest, c.New))); err != nil {
			return err
		}
	}
	if remake {
		if err := a.s.regenerate(ctx, a.before); err != nil {
			return err
		}
	}
	after, err := a.s.Machine(ctx)
	if err != nil {
		return err
	}
	if left := plan(after); len(left.Changes) > 0 || remake && slices.ContainsFunc(left.Steps, func(x mtasetup.Step) bool { return x.Command == a.before.Maker }) {
		return fmt.Errorf("%s does not have Cloakroom's filter after: %s", a.s.file(madeFile), a.before.Maker)
	}
	for i := range a.record.Files {
		f := &a.record.Files[i]
		f.After = digest([]byte(map[string]string{macrosFile: after.Macros, madeFile: after.Config}[f.Name]))
	}
	return a.s.keep(a.record)
}

// prepare makes backups and the record.
func (a *sendmailChange) prepare(made *mtasetup.Plan, now time.Time) error {
	earlier, err := a.s.record()
	if err != nil && !errors.Is(err, ErrNothing) {
		return err
	}
	a.earlier = earlier
	a.record = &Record{Version: recordVersion, Applied: now.UTC(), Milters: []string{made.Milter}}
	if earlier != nil {
		a.record.Changes, a.record.Backups = slices.Clone(earlier.Changes), slices.Clone(earlier.Backups)
	}
	for name, content := range a.files() {
		backup := name + ".cloakroom-" + stamp(now)
		if err := copyOf(a.s.file(name), a.s.file(backup), []byte(content)); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		a.created = append(a.created, a.s.file(backup))
		a.done.Backups = append(a.done.Backups, a.s.file(backup))
		a.record.Backups = append(a.record.Backups, backup)
		f := RecordedFile{Name: name, Backup: backup, Before: digest([]byte(content))}
		if earlier != nil {
			f = continued(earlier.file(name), f)
		}
		a.record.Files = append(a.record.Files, f)
	}
	a.record.merge(made.Changes)
	return a.s.keep(a.record)
}

// restore puts everything back after a failure.
func (a *sendmailChange) restore(cause error) error {
	failed := a.s.putBack(a.files())
	if a.before.Config == "" {
		if err := os.Remove(a.s.file(madeFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	for _, name := range a.created {
		failed = errors.Join(failed, os.Remove(name))
	}
	if a.record != nil {
		failed = errors.Join(failed, a.s.keep(a.earlier))
	}
	if failed != nil {
		return fmt.Errorf("%w; and it could not all be put back: %w; the configuration before was %s", cause, failed, strings.Join(a.done.Backups, ", "))
	}
	return fmt.Errorf("everything was put back as it was: %w", cause)
}

// putBack writes files that differ.
func (s *Sendmail) putBack(files map[string]string) error {
	var failed error
	for name, content := range files {
		now, err := os.ReadFile(s.file(name))
		if err == nil && string(now) != content {
			err = replace(s.file(name), []byte(content))
		}
		failed = errors.Join(failed, err)
	}
	return failed
}
