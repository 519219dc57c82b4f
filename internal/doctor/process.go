package doctor

// The daemon as the kernel knows it, and whether its limits are enough.

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"cloakroom/internal/db"
)

// Process is the daemon that runs.
type Process struct {
	PID      int
	UID      int  // -1: not known
	Replaced bool // its program was replaced since it started
}

// Daemon is what is known of the daemon of a data directory.
type Daemon struct {
	Runs    bool
	Err     error    // whether it runs cannot be seen
	Process *Process // nil: it does not run, or in a place that we do not see
	Others  []int    // processes that serve the same configuration
	Pause   string   // in words; "" for none
}

// FindDaemon looks who holds a data directory, and who else serves a configuration.
func FindDaemon(data, configFile string) Daemon {
	held, pid, err := db.Held(data)
	d := Daemon{Runs: held, Err: err}
	if held && pid > 0 {
		d.Process = findProcess(pid)
	}
	for _, other := range serving(configFile) {
		if d.Process == nil || other != d.Process.PID {
			d.Others = append(d.Others, other)
		}
	}
	return d
}

// findProcess looks at a process; nil where there is none, as that of a container
// seen from outside.
func findProcess(pid int) *Process {
	place := filepath.Join("/proc", strconv.Itoa(pid))
	var st unix.Stat_t
	if unix.Stat(place, &st) != nil {
		return nil
	}
	p := &Process{PID: pid, UID: int(st.Uid)}
	if program, err := os.Readlink(filepath.Join(place, "exe")); err == nil {
		p.Replaced = strings.HasSuffix(program, " (deleted)")
	}
	return p
}

// serving lists the processes that are daemons with a configuration file.
func serving(configFile string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		folder, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if servesFile(strings.Split(strings.TrimRight(string(text), "\x00"), "\x00"), folder, configFile) {
			out = append(out, pid)
		}
	}
	return out
}

// servesFile tells a command line that is a daemon with a configuration file by
// name. One that has its file from the environment is not seen.
func servesFile(args []string, folder, configFile string) bool {
	if filepath.Base(args[0]) != "cloakroom" {
		return false
	}
	serve, file := false, ""
	for i := 1; i < len(args); i++ {
		value, joined := strings.CutPrefix(args[i], "--config=")
		switch {
		case joined:
			file = value
		case args[i] == "--config" && i+1 < len(args):
			i++
			file = args[i]
		case args[i] == "serve":
			serve = true
		}
	}
	if file != "" && !filepath.IsAbs(file) {
		file = filepath.Join(folder, file)
	}
	return serve && file != "" && filepath.Clean(file) == configFile
}

// Lines tells of the daemon; ready are the lines of what it says of itself.
func (d Daemon) Lines(data string, ready []Line) []Line {
	const status = "systemctl start cloakroom; if it does not stay: journalctl -u cloakroom -n 50 tells why"
	switch {
	case d.Err != nil:
		return []Line{wrong("run this as root, or as the owner of the data folder", "whether a daemon runs cannot be seen: %v", d.Err)}
	case !d.Runs && len(d.Others) > 0:
		return []Line{wrong("systemctl restart cloakroom", "process %d serves this configuration and does not hold %s: it starts or ends just now, or began with another data folder", d.Others[0], data)}
	case !d.Runs:
		return []Line{wrong(status, "no daemon runs on %s: the MTA does what its default action for milters says, and links do not open", data)}
	}
	var out []Line
	if d.Pause != "" {
		out = append(out, warn("cloakroom resume", "paused: %s", d.Pause))
	}
	if len(d.Others) > 0 {
		out = append(out, warn("end the one that systemctl status cloakroom does not show", "a second daemon serves this configuration: process %d", d.Others[0]))
	}
	if d.Process != nil && d.Process.Replaced {
		out = append(out, warn("systemctl restart cloakroom", "the program was replaced since the daemon started: it still runs the old one"))
	}
	for _, l := range ready {
		if l.State != OK {
			out = append(out, l)
		}
	}
	if len(out) > 0 {
		return out
	}
	words := "runs, where its process is not seen from here"
	if p := d.Process; p != nil {
		words = fmt.Sprintf("runs as process %d of uid %d", p.PID, p.UID)
	}
	for _, l := range ready {
		words += "; " + l.Text
	}
	return []Line{ok("%s", words)}
}

const (
	// perConnection are the files that one MTA connection takes at most: itself,
	// the spool, and a draft of a part.
	perConnection = 3
	// besides are for downloads, uploads, the database and what else is open.
	besides = 512
)

// OpenFiles compares the limit of open files with what the configuration may
// need: connections at a time, and downloads and uploads besides.
func OpenFiles(daemon *Process, connections int) []Line {
	limit, whose, err := fileLimit(daemon)
	if err != nil {
		return []Line{warn("run this as root", "the limit of open files cannot be seen: %v", err)}
	}
	return enoughFiles(limit, whose, connections)
}

func enoughFiles(limit uint64, whose string, connections int) []Line {
	need := uint64(connections*perConnection + besides)
	words := fmt.Sprintf("%s may open %d files, %d MTA connections need up to %d", whose, limit, connections, need)
	if limit >= unlimited {
		words = fmt.Sprintf("%s may open any number of files", whose)
	}
	fix := fmt.Sprintf("LimitNOFILE=%d in the unit and a restart, or a smaller milter.max_connections", need)
	switch {
	case limit < uint64(connections):
		return []Line{wrong(fix, "%s", words)}
	case limit < need:
		return []Line{warn(fix, "%s", words)}
	}
	return []Line{ok("%s", words)}
}

// unlimited is as good as no limit: beyond what any kernel has.
const unlimited = 1 << 62

// fileLimit reads the daemon's limit, or what a daemon started from here would
// have.
func fileLimit(daemon *Process) (limit uint64, whose string, err error) {
	if daemon != nil {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", daemon.PID))
		if err == nil {
			limit, err = limitIn(text)
		}
		return limit, "the daemon", err
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, "", err
	}
	return r.Max, "a daemon started from this shell", nil // Go raises the soft limit to the hard one
}

// limitIn finds the soft limit of open files in /proc/PID/limits.
func limitIn(text []byte) (uint64, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		rest, found := strings.CutPrefix(lines.Text(), "Max open files")
		if fields := strings.Fields(rest); found && len(fields) > 0 {
			if fields[0] == "unlimited" {
				return unlimited, nil
			}
			return strconv.ParseUint(fields[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("the kernel's list of limits has no open files")
}
