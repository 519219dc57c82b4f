package test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// demo is the program of "make demo", about to run with a folder for temporary
// files of its own.
type demo struct {
	cmd *exec.Cmd
	tmp string
	out bytes.Buffer // standard error
}

// demoProgram builds the program once, beside the binary.
var demoProgram = sync.OnceValues(func() (string, error) {
	program := filepath.Join(filepath.Dir(binary), "demo")
	if err := build(program, "cloakroom/deploy/demo"); err != nil {
		return "", err
	}
	return program, nil
})

func newDemo(t *testing.T, args ...string) *demo {
	t.Helper()
	program, err := demoProgram()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: Postfix's accounts must be able to search it.
	tmp, err := os.MkdirTemp("", "cloakroom-tmp-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	d := &demo{cmd: exec.Command(program, args...), tmp: tmp}
	d.cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	d.cmd.Stderr = &d.out
	return d
}

// run runs the demo to its end.
func (d *demo) run() (stdout string, err error) {
	out, err := d.cmd.Output()
	return string(out), err
}

// interruptAt runs the demo and interrupts it once it prints a text. It gives
// all that was printed, and the exit code.
func (d *demo) interruptAt(t *testing.T, text string) (string, int) {
	t.Helper()
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { d.cmd.Process.Kill() })
	defer timer.Stop()
	var printed strings.Builder
	r := bufio.NewReader(stdout)
	for !strings.Contains(printed.String(), text) {
		line, err := r.ReadString('\n')
		printed.WriteString(line)
		if err != nil {
			t.Fatalf("the demo ended before it printed %q: %v\n%s%s", text, err, &printed, &d.out)
		}
	}
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(rest)
	_ = d.cmd.Wait() // the exit code tells
	return printed.String(), d.cmd.ProcessState.ExitCode()
}

// assertNothingLeft looks for files and processes of the demo.
func (d *demo) assertNothingLeft(t *testing.T) {
	t.Helper()
	if left, err := os.ReadDir(d.tmp); err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v (%v)", left, err)
	}
	processes, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		// Processes that end meanwhile have neither.
		line, _ := os.ReadFile(filepath.Join("/proc", p.Name(), "cmdline"))
		cwd, _ := os.Readlink(filepath.Join("/proc", p.Name(), "cwd"))
		if bytes.Contains(line, []byte(d.tmp)) || strings.HasPrefix(cwd, d.tmp) {
			t.Errorf("process %s left: %q in %s", p.Name(), line, cwd)
		}
	}
}

func TestDemoShowsWhatItPromises(t *testing.T) {
	t.Parallel()
	d := newDemo(t, "-binary", binary)
	stdout, err := d.run()
	if err != nil {
		t.Fatalf("the demo: %v\n%s%s", err, stdout, &d.out)
	}
	for _, want := range []string{
		"multipart/mixed", "north-hall.pdf", "2 attachments of this message are kept at 127.0.0.1:",
		"$ cloakroom policy explain", `link, by rule "all others become links"`,
		"$ cloakroom store stats", "saved by single instance", "$ cloakroom links list",
		`msg="attachments linked"`, "left_alone=multipart/signed", "the signature still verifies", "All 23 checks held",
		"The vault: a copy of each file", "$ echo 'ls -l spaces/*/*'", "spaces/building/north-hall.pdf", "spaces/carol@acmecorp.test/offer.pdf",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not shown", want)
		}
	}
	if n := strings.Count(stdout, "  equal\n"); n != 4 {
		t.Errorf("%d downloads are shown as equal, want 4", n)
	}
	for _, bad := range []string{"NOT EQUAL", "NOT OK", "\x1b"} {
		if strings.Contains(stdout, bad) {
			t.Errorf("%q is in the output", bad)
		}
	}
	for line := range strings.Lines(stdout) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 100 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	if t.Failed() {
		t.Logf("the output:\n%s%s", stdout, &d.out)
	}
	d.assertNothingLeft(t)
}

func TestDemoThatStaysEndsCleanlyAtAnInterrupt(t *testing.T) {
	t.Parallel()
	d := newDemo(t, "-binary", binary, "-keep")
	out, code := d.interruptAt(t, "Press Ctrl-C")
	if code != 0 || !strings.Contains(out, "curl smtp://127.0.0.1:") || !strings.Contains(out, "stopped and removed") {
		t.Errorf("exit code %d\n%s%s", code, out, &d.out)
	}
	d.assertNothingLeft(t)
}

func TestDemoInterruptedHalfWayLeavesNothing(t *testing.T) {
	t.Parallel()
	d := newDemo(t, "-binary", binary)
	out, code := d.interruptAt(t, " 2  Ann sends files")
	if code != 130 || !strings.Contains(out, "Interrupted.") {
		t.Errorf("exit code %d\n%s%s", code, out, &d.out)
	}
	d.assertNothingLeft(t)
}

func TestDemoFailsWhenSomethingDoesNotHold(t *testing.T) {
	t.Parallel()
	// The real program, but for one command that tells of a store that saves nothing.
	wrong := filepath.Join(t.TempDir(), "wrong")
	script := "#!/bin/sh\ncase \"$*\" in *'store stats --json') echo '{\"linked\":3,\"saved\":0,\"store\":{\"blobs\":3}}'; exit ;; esac\nexec " + binary + " \"$@\"\n"
	if err := os.WriteFile(wrong, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	d := newDemo(t, "-binary", wrong)
	stdout, err := d.run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Count(stdout, "NOT OK") != 2 {
		t.Errorf("%v\n%s", err, stdout)
	}
	_, rest, named := strings.Cut(d.out.String(), "are in ")
	name, _, _ := strings.Cut(rest, ";")
	log, err := os.ReadFile(name)
	if !named || err != nil || !bytes.Contains(log, []byte("msg=ready")) || !bytes.Contains(log, []byte("postfix/smtpd")) {
		t.Errorf("the logs are not kept where it says: %s (%v)", &d.out, err)
	}
	if err := os.Remove(name); err != nil {
		t.Error(err)
	}
	d.assertNothingLeft(t)
}
