package attach

// A run that is killed in the middle.

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/mtasetup"
)

// killed runs Apply in a process that is killed after a change by postconf: the
// first, and one more for each letter of n.
func (i *instance) killed(n string) {
	i.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestApplyThatIsKilled$")
	cmd.Env = append(os.Environ(), "CLOAKROOM_KILLED_IN="+i.Folder, "CLOAKROOM_KILLED_AT="+n)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(err.Error(), "killed") {
		i.t.Fatalf("%v: %s", err, out)
	}
	settle(i.Folder)
}

// TestApplyThatIsKilled is the process that killed runs.
func TestApplyThatIsKilled(t *testing.T) {
	folder := os.Getenv("CLOAKROOM_KILLED_IN")
	if folder == "" {
		return
	}
	p := openFolder(t, folder)
	p.postfix = "true"
	left := len(os.Getenv("CLOAKROOM_KILLED_AT"))
	die := func() {
		if left == 0 {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
		left--
		settle(folder)
	}
	p.edited = die
	plan := func(m *mtasetup.Machine) *mtasetup.Plan { return mtasetup.Postfix(someSettings, m, mtasetup.Options{}) }
	_, _, err := p.Apply(t.Context(), someSettings, plan, time.Now())
	t.Fatalf("it came to its end: %v", err)
}

func TestRunThatWasKilledCanBeUndoneOrRepeated(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{"after the services": "", "after services and their parameters": "x"} {
		t.Run(name, func(t *testing.T) {
			i := newInstance(t)
			before := i.masterText()
			i.killed(at)
			if now := i.files(); now["master.cf"] == i.before["master.cf"] || now[recordFile] == "" {
				t.Fatalf("nothing was half done: %v", slices.Sorted(maps.Keys(now)))
			}
			if at == "" {
				u := i.mustUndo()
				now := i.files()
				if !u.Exact || len(u.Left) > 0 || now["main.cf"] != i.before["main.cf"] || now["master.cf"] != i.before["master.cf"] {
					t.Errorf("undone %+v\n%s\n%s", u, now["main.cf"], now["master.cf"])
				}
				return
			}
			i.mustApply(someSettings)
			if again := i.mustApply(someSettings); len(again.Changes) > 0 {
				t.Errorf("a third run did %+v", again)
			}
			// Which of the bytes were the killed run's nobody knows: values go back.
			u := i.mustUndo()
			if now := i.files(); len(u.Left) > 0 || now["main.cf"] != i.before["main.cf"] || i.masterText() != before || len(u.Backups) != 4 {
				t.Errorf("undone %+v\n%s\n%s", u, now["main.cf"], now["master.cf"])
			}
		})
	}
}

// masterText is master.cf, however it is laid out.
func (i *instance) masterText() string {
	i.t.Helper()
	text, err := i.config(i.t.Context(), "-M")
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}
