package attach

// Applying and undoing on files, with the real postconf and "postfix check". A
// running Postfix, and mail through it, is in package test.

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/mtasetup"
	"cloakroom/internal/testserver"
)

// someMain and someMaster are an instance with milters and submission.
const (
	someMain = `# kept by hand
myhostname = mx.acmecorp.test
smtpd_milters = inet:127.0.0.1:11332,
   # and a comment inside
   unix:/run/opendkim.sock
message_size_limit = 104857600
`
	someMaster = `smtp inet n - n - - smtpd
submission inet n - n - - smtpd
  -o smtpd_sasl_auth_enable=yes
# a comment
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
`
)

var someSettings = mtasetup.Settings{Listen: "inet:127.0.0.1:8891", Submit: "127.0.0.1:10026",
	Routes: []mtasetup.Route{{Domain: "acmecorp.test", Alternate: "gapps.acmecorp.test", Daemon: "gapps-in"}}}

// instance is a Postfix that never runs.
type instance struct {
	*Postfix
	t      *testing.T
	before map[string]string // all files of the folder
	clock  time.Time
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	folder, err := os.MkdirTemp("", "cloakroom-attach-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// "postfix check" makes the queue's folders, and gives them away.
		if cmd, err := testserver.AsRoot(nil, "rm", "-rf", folder); err == nil {
			_ = cmd.Run()
		}
	})
	etc, err := testserver.PostfixInstance(t.Context(), folder, someMain, someMaster)
	if err != nil {
		t.Fatal(err)
	}
	settle(etc)
	i := &instance{Postfix: openFolder(t, etc), t: t, clock: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	if os.Geteuid() != 0 {
		// postfix(1) is root's.
		i.postfix = i.script("exec sudo -n -- env LD_LIBRARY_PATH=\"$LD_LIBRARY_PATH\" " + i.postfix + ` "$@"`)
	}
	i.before = i.files()
	return i
}

// script writes a program that stands in front of postfix(1).
func (i *instance) script(line string) string {
	i.t.Helper()
	file := filepath.Join(i.t.TempDir(), "postfix")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+line+"\n"), 0o755); err != nil {
		i.t.Fatal(err)
	}
	return file
}

func (i *instance) files() map[string]string {
	i.t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(i.Folder)
	if err != nil {
		i.t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(i.file(e.Name()))
		if err != nil {
			i.t.Fatal(err)
		}
		out[e.Name()] = string(text)
	}
	return out
}

// unchanged expects the folder to be what it was.
func (i *instance) unchanged() {
	i.t.Helper()
	if now := i.files(); !maps.Equal(now, i.before) {
		i.t.Errorf("files %v, and were %v; main.cf:\n%s\nmaster.cf:\n%s", slices.Sorted(maps.Keys(now)), slices.Sorted(maps.Keys(i.before)), now["main.cf"], now["master.cf"])
	}
}

func (i *instance) planFor(set mtasetup.Settings) planner {
	return func(m *mtasetup.Machine) *mtasetup.Plan { return mtasetup.Postfix(set, m, mtasetup.Options{}) }
}

func (i *instance) apply(set mtasetup.Settings) (*Done, error) {
	i.clock = i.clock.Add(time.Minute)
	_, done, err := i.Apply(i.t.Context(), set, i.planFor(set), i.clock)
	settle(i.Folder)
	return done, err
}

func (i *instance) mustApply(set mtasetup.Settings) *Done {
	i.t.Helper()
	done, err := i.apply(set)
	if err != nil {
		i.t.Fatal(err)
	}
	return done
}

func (i *instance) mustUndo() *Undone {
	i.t.Helper()
	u, err := i.Undo(i.t.Context())
	if err != nil {
		i.t.Fatal(err)
	}
	return u
}

// edit changes a file as an administrator would.
func (i *instance) rewrite(name, old, with string) {
	i.t.Helper()
	text := i.files()[name]
	if !strings.Contains(text, old) {
		i.t.Fatalf("%s has no %q:\n%s", name, old, text)
	}
	if err := os.WriteFile(i.file(name), []byte(strings.Replace(text, old, with, 1)), 0o644); err != nil {
		i.t.Fatal(err)
	}
	settle(i.Folder)
}

func TestApplyTwiceChangesOnceAndUndoRestoresEachByte(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	done := i.mustApply(someSettings)
	if len(done.Changes) < 6 || len(done.Backups) != 2 {
		t.Errorf("done %+v", done)
	}
	for _, backup := range done.Backups {
		name, _, _ := strings.Cut(filepath.Base(backup), ".cloakroom-")
		if text, err := os.ReadFile(backup); err != nil || string(text) != i.before[name] {
			t.Errorf("the backup %s is not the file before: %v", backup, err)
		}
	}
	after := i.files()
	if !strings.Contains(after["main.cf"], "# kept by hand\n") || !strings.Contains(after["master.cf"], "# a comment\n") {
		t.Errorf("comments are lost:\n%s\n%s", after["main.cf"], after["master.cf"])
	}
	if again := i.mustApply(someSettings); len(again.Changes)+len(again.Backups) != 0 || !maps.Equal(i.files(), after) {
		t.Errorf("a second run did %+v", again)
	}
	u := i.mustUndo()
	if !u.Exact || len(u.Left) > 0 || len(u.Restored) < 6 {
		t.Errorf("undone %+v", u)
	}
	i.unchanged()
	if _, err := i.Undo(t.Context()); !errors.Is(err, ErrNothing) {
		t.Errorf("a second undo: %v", err)
	}
}

func TestUndoAfterASecondSetupGoesBackToTheBeginning(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.mustApply(mtasetup.Settings{Listen: "inet:127.0.0.1:8891"})
	moved := i.mustApply(mtasetup.Settings{Listen: "inet:127.0.0.1:8899"})
	if text := i.files()["main.cf"]; strings.Contains(text, ":8891") || !strings.Contains(text, ":8899") || len(moved.Changes) < 2 {
		t.Errorf("the milter's new address did not take the place of the old one:\n%s", text)
	}
	if u := i.mustUndo(); !u.Exact {
		t.Errorf("undone %+v", u)
	}
	i.unchanged()
}

func TestUndoKeepsWhatAnAdministratorHasEdited(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.mustApply(someSettings)
	i.rewrite("main.cf", "message_size_limit = 104857600", "# larger, by Eve\nmessage_size_limit = 209715200")
	i.rewrite("main.cf", "non_smtpd_milters = inet:127.0.0.1:8891", "non_smtpd_milters = inet:127.0.0.1:8891, inet:127.0.0.1:4711")
	u := i.mustUndo()
	if u.Exact || len(u.Left) != 1 || !strings.Contains(u.Left[0], "non_smtpd_milters in main.cf was changed since") || len(u.Backups) != 2 {
		t.Errorf("undone %+v", u)
	}
	after := i.files()
	for _, want := range []string{"# larger, by Eve\n", "message_size_limit = 209715200\n", "smtpd_milters = inet:127.0.0.1:11332, unix:/run/opendkim.sock\n", "inet:127.0.0.1:4711\n"} {
		if !strings.Contains(after["main.cf"], want) {
			t.Errorf("main.cf has no %q:\n%s", want, after["main.cf"])
		}
	}
	if strings.Contains(after["main.cf"], "milter_default_action") || after["master.cf"] != i.before["master.cf"] {
		t.Errorf("something of ours is left:\n%s\n%s", after["main.cf"], after["master.cf"])
	}
	// What was left is still known: once the administrator takes it out, it is done.
	i.rewrite("main.cf", "non_smtpd_milters = inet:127.0.0.1:8891, inet:127.0.0.1:4711\n", "")
	if u := i.mustUndo(); len(u.Left) > 0 {
		t.Errorf("undone %+v", u)
	}
}

func TestUndoKeepsAnEditedServiceAndTakesOutTheOthers(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.mustApply(someSettings)
	i.rewrite("master.cf", "-o syslog_name=postfix/gapps-in", "-o syslog_name=postfix/google")
	u := i.mustUndo()
	text := i.files()["master.cf"]
	if len(u.Left) != 1 || !strings.Contains(u.Left[0], "/inet was changed since") || !strings.Contains(text, "postfix/google") ||
		strings.Contains(text, "cleanup-own") || strings.Contains(text, "10026") {
		t.Errorf("undone %+v\n%s", u, text)
	}
}

// TestFailedCheckPutsEverythingBack lets postfix(1) fail the second time it is
// asked: after the changes.
func TestFailedCheckPutsEverythingBack(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	once := filepath.Join(t.TempDir(), "once")
	i.postfix = i.script("[ -e " + once + " ] && { echo 'fatal: of no use' >&2; exit 1; }\n: >" + once)
	_, err := i.apply(someSettings)
	if err == nil || !strings.Contains(err.Error(), "everything was put back as it was") || !strings.Contains(err.Error(), "fatal: of no use") {
		t.Errorf("%v", err)
	}
	i.unchanged()
	if _, err := i.Undo(t.Context()); !errors.Is(err, ErrNothing) {
		t.Errorf("undo after that: %v", err)
	}
}

func TestConfigurationWithMistakesIsNotTouched(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.rewrite("main.cf", "myhostname =", "mail_owner = nobody-of-that-name\nmyhostname =")
	i.before = i.files()
	_, err := i.apply(someSettings)
	if err == nil || !strings.Contains(err.Error(), "has mistakes already") {
		t.Errorf("%v", err)
	}
	i.unchanged()
}

func TestProblemsOfThePlanLeaveEverythingAsItIs(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	set := someSettings
	set.Submit = "127.0.0.1:25" // others' listener
	if _, err := i.apply(set); err == nil || !strings.Contains(err.Error(), "nothing was changed: submit.smtp (127.0.0.1:25) leads to smtp/inet") {
		t.Errorf("%v", err)
	}
	i.unchanged()
}

func TestRunsAtTheSameTimeAreRefused(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	unlock, err := lock(i.Folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.apply(someSettings); !errors.Is(err, ErrOtherSetup) {
		t.Errorf("apply: %v", err)
	}
	if _, err := i.Undo(t.Context()); !errors.Is(err, ErrOtherSetup) {
		t.Errorf("undo: %v", err)
	}
	i.unchanged()
	unlock()
	i.mustApply(someSettings)
}

func TestLinksAndForbiddenFilesAreRefused(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	if err := os.Rename(i.file("main.cf"), i.file("main.real")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("main.real", i.file("main.cf")); err != nil {
		t.Fatal(err)
	}
	if _, err := i.apply(someSettings); err == nil || !strings.Contains(err.Error(), "is not a plain file") {
		t.Errorf("%v", err)
	}
	if _, err := Open(context.Background(), filepath.Join(i.Folder, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestFileThatIsThereAlreadyStays(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	if err := os.WriteFile(i.file("other-system"), []byte("198.51.100.0/24 OK\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	i.before = i.files()
	done := i.mustApply(someSettings)
	if len(done.Kept) != 1 || !strings.Contains(done.Kept[0], "other-system is there already") {
		t.Errorf("done %+v", done)
	}
	i.mustUndo()
	i.unchanged()
}
