package app

// The targets of the vault as an administrator sees them, and a test of one.

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/config"
	"cloakroom/internal/jobs"
	"cloakroom/message"
	"cloakroom/vault"
)

// VaultTarget is a target with what the queue knows of it.
type VaultTarget struct {
	Name    string    `json:"name"`
	Kind    string    `json:"kind"` // sftp, ftps, dir; "" is in no configuration any more
	Address string    `json:"address"`
	State   string    `json:"state"` // up, down, held; unused: it never had a job; not configured
	Since   time.Time `json:"since,omitzero"`
	Probe   time.Time `json:"probe_at,omitzero"` // when a job tries it next
	Error   string    `json:"last_error,omitempty"`
	Waiting int64     `json:"waiting"`
	Running int64     `json:"running"`
	Failed  int64     `json:"failed"`
	Held    int64     `json:"held"`
	Check   *Check    `json:"check,omitempty"`
}

// Check is how a target answered.
type Check struct {
	Connect float64 `json:"connect_ms"` // until the first answer
	Latency float64 `json:"latency_ms"` // of a question on the connection
	Error   string  `json:"error,omitempty"`
	Hint    string  `json:"hint,omitempty"`
}

// VaultTargets lists the configured targets, and those that still have jobs. s
// is nil where nothing was ever stored.
func VaultTargets(ctx context.Context, s *Store, cfg *config.Config) ([]VaultTarget, error) {
	known := make(map[targetName]jobs.Target)
	var stats []jobs.Stat
	if s != nil {
		var err error
		if known, err = s.targetsByName(ctx); err != nil {
			return nil, err
		}
		if stats, err = s.Jobs.Stats(ctx); err != nil {
			return nil, err
		}
	}
	counts := make(map[string]map[jobs.State]int64)
	for _, one := range stats {
		if one.Kind != vault.JobKind {
			continue
		}
		if counts[one.Target] == nil {
			counts[one.Target] = make(map[jobs.State]int64)
		}
		counts[one.Target][one.State] = one.Count
	}
	names := slices.Collect(maps.Keys(cfg.Vault.Targets))
	for name := range counts {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := make([]VaultTarget, len(names))
	for i, name := range names {
		t := VaultTarget{Name: name, State: targetUnused}
		if k, found := known[targetName{vault.JobKind, name}]; found {
			now := targetState(k)
			t.State, t.Since, t.Probe, t.Error = now.State, now.Since, now.Probe, now.Error
		}
		n := counts[name]
		t.Waiting, t.Running, t.Failed, t.Held = n[jobs.Waiting], n[jobs.Running], n[jobs.Failed], n[jobs.Held]
		if c, found := cfg.Vault.Targets[name]; found {
			t.Kind, t.Address = serverOf(c)
		} else {
			t.Kind, t.State = "", "not configured"
		}
		out[i] = t
	}
	return out, nil
}

// serverOf tells what kind of server a target is, and where.
func serverOf(t config.VaultTarget) (kind, address string) {
	switch {
	case t.SFTP != nil:
		return "sftp", t.SFTP.User + "@" + t.SFTP.Address + ":" + t.SFTP.Base
	case t.FTPS != nil:
		return "ftps", t.FTPS.User + "@" + t.FTPS.Address + "/" + strings.TrimPrefix(t.FTPS.Base, "/")
	}
	return "dir", t.Dir.Base
}

const (
	// testFolder is where tests of a target put their files. People do not see
	// it; it stays, empty.
	testFolder = ".cloakroom-test"
	// testSize is the size of a test's file in bytes: more than one packet, less
	// than anybody waits for.
	testSize = 256 << 10
	// checkTimeout bounds each step of a test.
	checkTimeout = time.Minute
)

// CheckTarget connects to a target and measures how long it takes to answer.
func CheckTarget(ctx context.Context, t config.VaultTarget) Check {
	o, err := Outlet(t, slog.New(slog.DiscardHandler))
	if err != nil {
		return checkError(err)
	}
	defer o.Close()
	nothing := vault.Content{SHA256: sha256.Sum256(nil), Open: func() (io.ReadSeekCloser, error) { return memory{bytes.NewReader(nil)}, nil }}
	ask := func() (float64, error) {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		start := time.Now()
		_, err := o.Same(ctx, testFolder+"/nothing", nothing)
		return milliseconds(time.Since(start)), missing(err)
	}
	var out Check
	if out.Connect, err = ask(); err == nil {
		out.Latency, err = ask()
	}
	if err != nil {
		failed := checkError(err)
		failed.Connect = out.Connect
		return failed
	}
	return out
}

// missing takes the answer that a file is not there for no error. A base that is
// not there is a Fault.
func missing(err error) error {
	if _, fault := errors.AsType[*vault.Fault](err); !fault && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func checkError(err error) Check { return Check{Error: err.Error(), Hint: hintOf(err)} }

func hintOf(err error) string {
	if f, ok := errors.AsType[*vault.Fault](err); ok {
		return f.Hint
	}
	return ""
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// memory is a content in memory.
type memory struct{ io.ReadSeeker }

func (memory) Close() error { return nil }

// TestStep is one step of a target's test.
type TestStep struct {
	Name    string  `json:"step"`
	OK      bool    `json:"ok"`
	Note    string  `json:"note,omitempty"`
	Time    float64 `json:"ms"`
	Error   string  `json:"error,omitempty"`
	Hint    string  `json:"hint,omitempty"`
	Skipped bool    `json:"skipped,omitempty"`
}

// targetTest runs the steps.
type targetTest struct {
	ctx   context.Context
	o     *vault.Outlet
	id    string
	paths []string // of files that may be there
	steps []TestStep
	show  func(TestStep)
	bad   bool
}

// TestTarget puts a file on a target and does with it what uploads do; then it
// is deleted. show is told of each step when it is over.
func TestTarget(ctx context.Context, t config.VaultTarget, show func(TestStep)) ([]TestStep, error) {
	o, err := Outlet(t, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer o.Close()
	text, other := make([]byte, testSize), make([]byte, testSize)
	rand.Read(text)
	rand.Read(other)
	x := &targetTest{ctx: ctx, o: o, id: "test-" + strings.ToLower(rand.Text()[:12]), show: show}
	x.run(inMemory(text), inMemory(other))
	return x.steps, nil
}

func inMemory(b []byte) vault.Content {
	return vault.Content{SHA256: sha256.Sum256(b), Size: int64(len(b)), Open: func() (io.ReadSeekCloser, error) { return memory{bytes.NewReader(b)}, nil }}
}

func (x *targetTest) run(c, other vault.Content) {
	first, second := testFolder+"/"+x.id+".bin", testFolder+"/"+x.id+" (2).bin"
	x.step("connect", func(ctx context.Context) (string, error) {
		_, err := x.o.Same(ctx, first, c)
		return "", missing(err)
	})
	x.step("write, verify, rename", func(ctx context.Context) (string, error) {
		x.paths = append(x.paths, first)
		return message.FormatSize(c.Size), x.o.Put(ctx, first, c, x.id+"-1")
	})
	x.step("read back", func(ctx context.Context) (string, error) { return "", x.holds(ctx, first, c) })
	x.step("replace nothing", func(ctx context.Context) (string, error) {
		err := x.o.Put(ctx, first, other, x.id+"-2")
		if err == nil {
			return "", errors.New("another file took the place of the first")
		}
		if !errors.Is(err, vault.ErrTaken) {
			return "", err
		}
		return "a second file of the name was refused", x.holds(ctx, first, c)
	})
	x.step("copy", func(ctx context.Context) (string, error) {
		x.paths = append(x.paths, second)
		err := x.o.Copy(ctx, first, second, c, x.id+"-3")
		if errors.Is(err, errors.ErrUnsupported) {
			x.paths = x.paths[:1]
			return "the server cannot: each space gets the file over the network", nil
		}
		if err != nil {
			return "", err
		}
		return "on the server", x.holds(ctx, second, c)
	})
	x.clean()
}

func (x *targetTest) holds(ctx context.Context, path string, c vault.Content) error {
	same, err := x.o.Same(ctx, path, c)
	if err == nil && !same {
		err = fmt.Errorf("%s does not hold what was written", path)
	}
	return err
}

// clean deletes what the test made, also where a step failed or the caller left.
func (x *targetTest) clean() {
	failed := x.bad
	x.ctx, x.bad = context.WithoutCancel(x.ctx), len(x.paths) == 0
	x.step("delete", func(ctx context.Context) (string, error) {
		var errs []error
		for _, p := range x.paths {
			if err := x.o.Remove(ctx, p); err != nil && !(failed && errors.Is(err, fs.ErrNotExist)) {
				errs = append(errs, err)
			}
		}
		return "", errors.Join(errs...)
	})
}

// step runs one; after one that failed the others are left out.
func (x *targetTest) step(name string, f func(context.Context) (string, error)) {
	s := TestStep{Name: name, Skipped: x.bad}
	if !x.bad {
		ctx, cancel := context.WithTimeout(x.ctx, checkTimeout)
		defer cancel()
		start := time.Now()
		note, err := f(ctx)
		s.Time, s.OK, s.Note = milliseconds(time.Since(start)), err == nil, note
		if err != nil {
			x.bad = true
			s.Note, s.Error, s.Hint = "", err.Error(), hintOf(err)
		}
	}
	x.steps = append(x.steps, s)
	if x.show != nil {
		x.show(s)
	}
}

// PrintTestStep writes one step of a test.
func PrintTestStep(w io.Writer, s TestStep) error {
	var b strings.Builder
	switch {
	case s.Skipped:
		fmt.Fprintf(&b, "--    %s\n", s.Name)
	case s.OK:
		fmt.Fprintf(&b, "ok    %-22s %8.1f ms  %s\n", s.Name, s.Time, s.Note)
	default:
		fmt.Fprintf(&b, "FAIL  %-22s %8.1f ms  %s\n", s.Name, s.Time, plain(s.Error))
		if s.Hint != "" {
			fmt.Fprintf(&b, "      hint: %s\n", plain(s.Hint))
		}
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n"))
	return err
}

// PrintVaultTargets writes targets as a table, and what is wrong with them.
func PrintVaultTargets(w io.Writer, all []VaultTarget, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no targets: `vault.targets` in the configuration is empty")
		return err
	}
	checked := slices.ContainsFunc(all, func(t VaultTarget) bool { return t.Check != nil })
	err := table(w, func(t io.Writer) {
		head := "TARGET\tKIND\tSTATE\tSINCE\tWAITING\tRUNNING\tFAILED\tHELD"
		if checked {
			head += "\tCONNECT\tLATENCY"
		}
		fmt.Fprintln(t, head+"\tADDRESS")
		for _, v := range all {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d", v.Name, v.Kind, v.State, when(v.Since, "-"), v.Waiting, v.Running, v.Failed, v.Held)
			switch {
			case v.Check != nil && v.Check.Error == "":
				fmt.Fprintf(t, "\t%.0f ms\t%.1f ms", v.Check.Connect, v.Check.Latency)
			case v.Check != nil:
				fmt.Fprint(t, "\tfailed\t")
			case checked:
				fmt.Fprint(t, "\t\t")
			}
			fmt.Fprintf(t, "\t%s\n", plain(v.Address))
		}
	})
	for _, v := range all {
		if v.Error != "" {
			text := fmt.Sprintf("%s: last error: %s", v.Name, v.Error)
			if !v.Probe.IsZero() {
				text += "; tried " + inTime(v.Probe, now)
			}
			fmt.Fprintf(w, "%s\n", plain(text))
		}
		if v.State == targetHeld {
			fmt.Fprintf(w, "%s: nothing is uploaded until: cloakroom queue release --target %s\n", v.Name, v.Name)
		}
		if c := v.Check; c != nil && c.Error != "" {
			fmt.Fprintf(w, "%s: %s\n", v.Name, plain(c.Error))
			if c.Hint != "" {
				fmt.Fprintf(w, "  hint: %s\n", plain(c.Hint))
			}
		}
	}
	return err
}
