package attach

// The set-up of Sendmail on files, with the real m4 and Sendmail's own macros. A
// running Sendmail, and mail through it, is in package test.

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/mtasetup"
	"cloakroom/internal/testserver"
)

// debianMacros is what matters of Debian's sendmail.mc.
const debianMacros = `divert(-1)dnl
# This is a header of m4's own kind, with somebody's apostrophe
divert(0)dnl
include(` + "`CFM4'" + `)dnl
VERSIONID(` + "`$Id: sendmail.mc'" + `)
OSTYPE(` + "`linux'" + `)dnl
FEATURE(` + "`no_default_msa'" + `)dnl
dnl DAEMON_OPTIONS(` + "`Family=inet6, Name=MTA-v6, Port=smtp, Addr=::1'" + `)dnl
DAEMON_OPTIONS(` + "`Family=inet,  Name=MTA-v4, Port=smtp'" + `)dnl
DAEMON_OPTIONS(` + "`Family=inet,  Name=MSP-v4, Port=submission, M=Ea'" + `)dnl
EXTRA
MAILER_DEFINITIONS
MAILER(` + "`smtp'" + `)dnl
`

// mailFolder is an /etc/mail.
type mailFolder struct {
	*Sendmail
	t      *testing.T
	before map[string]string
	clock  time.Time
}

func newMailFolder(t *testing.T, extra string) *mailFolder {
	t.Helper()
	tools, err := testserver.FindSendmailTools()
	if err != nil {
		t.Fatal(err)
	}
	f := &mailFolder{t: t, clock: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	folder := t.TempDir()
	text := strings.NewReplacer("CFM4", tools.Macros, "EXTRA\n", extra).Replace(debianMacros)
	if err := os.WriteFile(filepath.Join(folder, macrosFile), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	if f.Sendmail, err = OpenSendmail(folder); err != nil {
		t.Fatal(err)
	}
	// The Postfix of these tests has libraries of its own.
	f.m4 = filepath.Join(t.TempDir(), "m4")
	script := "#!/bin/sh\nexec env " + strings.Join(tools.Env, " ") + " " + tools.M4 + ` "$@"` + "\n"
	if err := os.WriteFile(f.m4, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	made, err := f.expand(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.file(madeFile), []byte(made), 0o644); err != nil {
		t.Fatal(err)
	}
	f.before = f.files()
	return f
}

func (f *mailFolder) files() map[string]string {
	f.t.Helper()
	out := map[string]string{}
	found, err := filepath.Glob(f.file("*"))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, name := range found {
		text, err := os.ReadFile(name)
		if err != nil {
			f.t.Fatal(err)
		}
		out[filepath.Base(name)] = string(text)
	}
	return out
}

func (f *mailFolder) apply(set mtasetup.Settings) (*mtasetup.Plan, *Done, error) {
	f.clock = f.clock.Add(time.Minute)
	return f.Apply(f.t.Context(), func(m *mtasetup.SendmailMachine) *mtasetup.Plan { return mtasetup.Sendmail(set, m, mtasetup.Options{}) }, f.clock)
}

// configured is a line of sendmail.cf.
func (f *mailFolder) configured(pattern string) string {
	return regexp.MustCompile(`(?m)^` + pattern + `$`).FindString(f.files()[madeFile])
}

func TestSendmailBlockIsMadeIntoSendmailCF(t *testing.T) {
	t.Parallel()
	f := newMailFolder(t, "INPUT_MAIL_FILTER(`clmilter', `S=local:/run/clamav/clmilter.ctl, F=T')dnl\n"+
		"INPUT_MAIL_FILTER(`opendkim', `S=inet:12301@localhost')dnl\ndefine(`confMILTER_MACROS_ENVFROM', ``j, {mail_addr}'')dnl\n")
	set := someSettings
	plan, done, err := f.apply(set)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Changes) != 1 || len(done.Backups) != 2 || done.Made == "" {
		t.Errorf("done %+v", done)
	}
	for pattern, want := range map[string]string{
		"Xcloakroom,.*":                        "Xcloakroom, S=inet:8891@127.0.0.1, F=T, T=C:30s;S:2m;R:2m;E:10m",
		"O InputMailFilters=.*":                "O InputMailFilters=clmilter, opendkim, cloakroom",
		"O Milter.macros.envfrom=.*":           "O Milter.macros.envfrom=j, {mail_addr}, i, {auth_authen}",
		"O DaemonPortOptions=.*10026.*":        "O DaemonPortOptions=Name=cloakroom-own, Family=inet, Addr=127.0.0.1, Port=10026, InputMailFilters=opendkim",
		"O DaemonPortOptions=Name=gapps-in.*":  "O DaemonPortOptions=Name=gapps-in, Port=10025",
		"O DaemonPortOptions=.*MTA-v4.*":       "O DaemonPortOptions=Family=inet,  Name=MTA-v4, Port=smtp",
		"O Milter.macros.connect=.*":           "O Milter.macros.connect=j, _, {daemon_name}, {if_name}, {if_addr}",
		"O DaemonPortOptions=.*submission.*Ea": "O DaemonPortOptions=Family=inet,  Name=MSP-v4, Port=submission, M=Ea",
	} {
		if got := f.configured(pattern); got != want {
			t.Errorf("sendmail.cf has %q, want %q", got, want)
		}
	}
	if info, err := os.Stat(f.file(macrosFile)); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode of sendmail.mc: %v %v", info.Mode(), err)
	}
	// The submission listener's line is the administrator's, and told.
	own := "DAEMON_OPTIONS(`Family=inet,  Name=MSP-v4, Port=submission, M=Ea, InputMailFilters=clmilter;cloakroom;opendkim')dnl"
	if !slices.ContainsFunc(plan.Steps, func(s mtasetup.Step) bool { return slices.Equal(s.Lines, []string{own}) }) {
		t.Errorf("steps %+v", plan.Steps)
	}
	after := f.files()
	if _, again, err := f.apply(set); err != nil || len(again.Changes)+len(again.Backups) > 0 || !maps.Equal(f.files(), after) {
		t.Errorf("a second run did %+v, %v", again, err)
	}
	set.Listen = "unix:/run/cloakroom/milter.sock"
	if _, _, err := f.apply(set); err != nil || f.configured("Xcloakroom, S=unix:/run/cloakroom/milter.sock,.*") == "" || strings.Count(f.files()[macrosFile], "INPUT_MAIL_FILTER(`cloakroom'") != 1 {
		t.Errorf("another milter.listen: %v\n%s", err, f.files()[macrosFile])
	}
	u, err := f.Undo(t.Context())
	if err != nil || !u.Exact || len(u.Left) > 0 {
		t.Errorf("undone %+v, %v", u, err)
	}
	if now := f.files(); !maps.Equal(now, f.before) {
		t.Errorf("after the undo: %v", slices.Sorted(maps.Keys(now)))
	}
	if _, err := f.Undo(t.Context()); !errors.Is(err, ErrNothing) {
		t.Errorf("a second undo: %v", err)
	}
}

func TestSendmailWithoutListenersKeepsItsOwn(t *testing.T) {
	t.Parallel()
	f := newMailFolder(t, "")
	text := regexp.MustCompile("(?m)^(DAEMON_OPTIONS.*|FEATURE\\(`no_default_msa.*)\n").ReplaceAllString(f.before[macrosFile], "")
	if err := os.WriteFile(f.file(macrosFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.file(madeFile)); err != nil {
		t.Fatal(err)
	}
	plan, _, err := f.apply(someSettings)
	if err != nil {
		t.Fatal(err)
	}
	again, done, err := f.apply(someSettings)
	if err != nil || len(done.Changes) > 0 {
		t.Errorf("a second run did %+v, %v", done, err)
	}
	if !slices.ContainsFunc(again.Listeners, func(l mtasetup.Listener) bool {
		return l.Service == "MTA (port 25)" && l.Purpose == "the Internet" && l.Ours
	}) {
		t.Errorf("mail is seen by %+v, and before by %+v", again.Listeners, plan.Listeners)
	}
	for _, want := range []string{"O DaemonPortOptions=Name=MTA", "O DaemonPortOptions=Port=587, Name=MSA, M=E", "O DaemonPortOptions=Name=gapps-in, Port=10025"} {
		if f.configured(regexp.QuoteMeta(want)) == "" {
			t.Errorf("sendmail.cf has no %q", want)
		}
	}
}

func TestSendmailUndoKeepsEdits(t *testing.T) {
	t.Parallel()
	f := newMailFolder(t, "")
	if _, _, err := f.apply(someSettings); err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(f.files()[macrosFile], "MAILER_DEFINITIONS", "define(`confMAX_MESSAGE_SIZE', `209715200')dnl by Eve\nMAILER_DEFINITIONS", 1)
	if err := os.WriteFile(f.file(macrosFile), []byte(edited), 0o640); err != nil {
		t.Fatal(err)
	}
	if made, err := f.expand(t.Context()); err != nil || os.WriteFile(f.file(madeFile), []byte(made), 0o644) != nil {
		t.Fatal(err)
	}
	u, err := f.Undo(t.Context())
	if err != nil || u.Exact || len(u.Left) > 0 || u.Made == "" || len(u.Backups) != 2 {
		t.Errorf("undone %+v, %v", u, err)
	}
	want := strings.Replace(f.before[macrosFile], "MAILER_DEFINITIONS", "define(`confMAX_MESSAGE_SIZE', `209715200')dnl by Eve\nMAILER_DEFINITIONS", 1)
	if got := f.files()[macrosFile]; got != want {
		t.Errorf("sendmail.mc is\n%s\nwant\n%s", got, want)
	}
	if f.configured("Xcloakroom.*") != "" || f.configured("O MaxMessageSize=209715200") == "" {
		t.Error("sendmail.cf was not made anew")
	}
}

// TestSendmailListenersOfBothFamiliesStay has Sendmail's own two, which are gone
// when another is named.
func TestSendmailListenersOfBothFamiliesStay(t *testing.T) {
	t.Parallel()
	f := newMailFolder(t, "define(`_NETINET6_', `1')dnl\n")
	text := regexp.MustCompile("(?m)^DAEMON_OPTIONS.*\n").ReplaceAllString(f.before[macrosFile], "")
	if err := os.WriteFile(f.file(macrosFile), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	made, err := f.expand(t.Context())
	if err != nil || os.WriteFile(f.file(madeFile), []byte(made), 0o644) != nil {
		t.Fatal(err)
	}
	if _, _, err := f.apply(someSettings); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"O DaemonPortOptions=Name=MTA-v4, Family=inet", "O DaemonPortOptions=Name=MTA-v6, Family=inet6"} {
		if !strings.Contains(made, "\n"+want+"\n") || f.configured(want) == "" {
			t.Errorf("sendmail.cf has no %q", want)
		}
	}
	if _, done, err := f.apply(someSettings); err != nil || len(done.Changes) > 0 {
		t.Errorf("a second run did %+v, %v", done, err)
	}
}

// TestSendmailRunThatWasCutOffIsUndone takes back a run whose record and block were
// written, and whose sendmail.cf was not made.
func TestSendmailRunThatWasCutOffIsUndone(t *testing.T) {
	t.Parallel()
	f := newMailFolder(t, "")
	if _, _, err := f.apply(someSettings); err != nil {
		t.Fatal(err)
	}
	r, err := f.record()
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Files {
		r.Files[i].After = ""
	}
	if err := errors.Join(f.keep(r), os.WriteFile(f.file(madeFile), []byte(f.before[madeFile]), 0o644)); err != nil {
		t.Fatal(err)
	}
	u, err := f.Undo(t.Context())
	if err != nil || !u.Exact || len(u.Left) > 0 || !maps.Equal(f.files(), f.before) {
		t.Errorf("undone %+v, %v; files %v", u, err, slices.Sorted(maps.Keys(f.files())))
	}
}

func TestSendmailCFThatIsMadeAnotherWayIsLeftToItsMaker(t *testing.T) {
	t.Parallel()
	f := newMailFolder(t, "")
	byHand := f.before[madeFile] + "# edited\nO Timeout.queuereturn=7d\n"
	if err := os.WriteFile(f.file(madeFile), []byte(byHand), 0o644); err != nil {
		t.Fatal(err)
	}
	plan, done, err := f.apply(someSettings)
	if err != nil {
		t.Fatal(err)
	}
	told := slices.ContainsFunc(plan.Steps, func(s mtasetup.Step) bool { return strings.HasPrefix(s.Command, "m4 "+f.file(macrosFile)) })
	if done.Made != "" || f.files()[madeFile] != byHand || !told || !strings.Contains(f.files()[macrosFile], "INPUT_MAIL_FILTER(`cloakroom'") {
		t.Errorf("done %+v, steps %+v", done, plan.Steps)
	}
}

// TestSendmailMakeIsUsed has a Makefile as /etc/mail has; one that fails, or makes
// something else, changes nothing.
func TestSendmailMakeIsUsed(t *testing.T) {
	t.Parallel()
	f := newMailFolder(t, "")
	program, err := exec.LookPath("make")
	if err != nil {
		t.Fatalf("%v: the tests are run by make", err)
	}
	f.make = program
	makefile := func(recipe string) {
		if err := os.WriteFile(f.file("Makefile"), []byte("all: sendmail.cf\nsendmail.cf: sendmail.mc\n\t"+recipe+"\n.PHONY: sendmail.cf\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		f.before = f.files()
	}
	for recipe, want := range map[string]string{"echo gone wrong >&2; exit 1": "gone wrong", "echo nothing >sendmail.cf": "does not have Cloakroom's filter after: make"} {
		makefile(recipe)
		if _, _, err := f.apply(someSettings); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "everything was put back") {
			t.Errorf("%s: %v", recipe, err)
		}
		if now := f.files(); !maps.Equal(now, f.before) {
			t.Errorf("%s: after it: %v", recipe, slices.Sorted(maps.Keys(now)))
		}
	}
	makefile(f.m4 + " sendmail.mc > sendmail.cf")
	if _, done, err := f.apply(someSettings); err != nil || done.Made != "make -C "+f.Folder || f.configured("Xcloakroom.*") == "" {
		t.Errorf("done %+v, %v", done, err)
	}
}

func TestSendmailProblemsAndOthersAtWorkAreRefused(t *testing.T) {
	t.Parallel()
	f := newMailFolder(t, "INPUT_MAIL_FILTER(`cloak', `S=inet:8891@localhost')dnl\n")
	if _, _, err := f.apply(someSettings); err == nil || !strings.Contains(err.Error(), "the filter cloak has no F=T") {
		t.Errorf("%v", err)
	}
	unlock, err := lock(f.Folder)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, _, err := f.apply(someSettings); !errors.Is(err, ErrOtherSetup) {
		t.Errorf("%v", err)
	}
	if now := f.files(); !maps.Equal(now, f.before) {
		t.Errorf("after it: %v", slices.Sorted(maps.Keys(now)))
	}
}
