package testserver

// The processes of an OpenSSH server: halting and killing them, as hung and
// crashing machines do.

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Pause halts the server and its sessions as a hung machine would: connections
// stay open and are still accepted by the kernel, but nothing is answered.
func (s *SSHD) Pause() error { return s.signalAll(syscall.SIGSTOP) }

// Resume lets a paused server, and what PauseSFTP halted, go on.
func (s *SSHD) Resume() error { return s.signalAll(syscall.SIGCONT) }

func (s *SSHD) signalAll(signal syscall.Signal) error {
	return signalEach(append([]int{s.pid}, descendants(s.pid)...), signal)
}

// PauseSFTP halts what serves files, as a hung disk would, in the sessions there
// are now: SSH itself still answers.
func (s *SSHD) PauseSFTP() error {
	leaves := slices.DeleteFunc(descendants(s.pid), func(p int) bool { return len(descendants(p)) > 0 })
	return signalEach(leaves, syscall.SIGSTOP)
}

// KillSessions kills the sessions there are now at once (kill -9), and tells how
// many processes that were. The server accepts new ones.
func (s *SSHD) KillSessions() (int, error) {
	sessions := descendants(s.pid)
	return len(sessions), signalEach(sessions, syscall.SIGKILL)
}

// signalEach signals processes; those that have ended meanwhile do not matter.
func signalEach(pids []int, signal syscall.Signal) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("send process %d %v: %w", pid, signal, err)
		}
	}
	return nil
}

// descendants lists the processes below pid.
func descendants(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid))
	if err != nil { // it has ended
		return nil
	}
	var all []int
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			all = append(append(all, child), descendants(child)...)
		}
	}
	return all
}
