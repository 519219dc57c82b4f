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
)

// Process is the daemon that runs.
type Process struct {
	PID int
	UID int // -1: not known
}

// FindProcess takes the number that a daemon wrote into its lock; nil where it
// says nothing, or no such process is there.
func FindProcess(lockFile string) *Process {
	text, err := os.ReadFile(lockFile)
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return nil
	}
	var st unix.Stat_t
	if unix.Stat(filepath.Join("/proc", strconv.Itoa(pid)), &st) != nil {
		return &Process{PID: pid, UID: -1}
	}
	return &Process{PID: pid, UID: int(st.Uid)}
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
		return []Line{warn("", "the limit of open files cannot be seen: %v", err)}
	}
	need := uint64(connections*perConnection + besides)
	words := fmt.Sprintf("%s may open %d files, %d MTA connections need up to %d", whose, limit, connections, need)
	fix := fmt.Sprintf("LimitNOFILE=%d in the unit, or a smaller milter.max_connections", need)
	switch {
	case limit < uint64(connections):
		return []Line{wrong(fix, "%s", words)}
	case limit < need:
		return []Line{warn(fix, "%s", words)}
	}
	return []Line{ok("%s", words)}
}

// fileLimit reads the daemon's limit, or what a daemon started from here would
// have.
func fileLimit(daemon *Process) (limit uint64, whose string, err error) {
	if daemon != nil {
		if limit, err = limitOf(daemon.PID); err == nil {
			return limit, "the daemon", nil
		}
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, "", err
	}
	return r.Max, "a process of this account", nil // Go raises the soft limit to the hard one
}

func limitOf(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		rest, found := strings.CutPrefix(lines.Text(), "Max open files")
		if fields := strings.Fields(rest); found && len(fields) > 0 {
			if fields[0] == "unlimited" {
				return 1 << 63, nil
			}
			return strconv.ParseUint(fields[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/limits has no open files", pid)
}
